"""What a README.md says: front matter as the Hugging Face Hub has it, and Markdown below.

Belongs here: the fields of the Hub's dataset cards (https://huggingface.co/docs/hub/datasets-cards)
that a card has a place for, and the few things that can be told from Markdown without rendering it:
the title, the first section that says something, BibTeX in a section about citing, a homepage.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from atd.cards import spdx, yaml_door
from atd.cards.said import (
    MAX_TASK_BYTES,
    TEXT_LIMITS,
    Proposal,
    Said,
    bounded,
    is_address,
    line,
    plain,
    words,
)
from atd.errors import BadSource

_FRONT: Final = re.compile(r"---[ \t]*\n(.*?)^(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.S | re.M)
_HEADING: Final = re.compile(r" {0,3}(#{1,6})(?=[ \t]|$)")
_FENCE: Final = re.compile(r" {0,3}(`{3,}|~{3,})")
_COMMENT: Final = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_IMAGE: Final = re.compile(r"!\[[^\[\]\n]*\]\([^()\n]*\)")
_LINK: Final = re.compile(r"\[([^\[\]\n]*)\]\([^()\n]*\)")
_TAG: Final = re.compile(r"</?[A-Za-z][^<>\n]{0,500}>")
_PREFIX: Final = re.compile(r"data(?:set| ?set)? card (?:for|of)\s+", re.IGNORECASE)
# Both are matched at the start of a line without its indentation, so that no white space is tried
# in more than one way: a line is as long as whoever wrote it likes.
_BULLET: Final = re.compile(r"(?:[-*+]|\d{1,9}\.)\s+")
_LABELLED: Final = re.compile(r"(?:[-*+]\s*)?\*\*[^*\n]{1,60}(?::\*\*|\*\*:)")
_HOMEPAGE: Final = re.compile(
    r"\*\*(?:homepage|project page|website)\s*(?::\*\*|\*\*:)[^\n]{0,200}?(https?://[^\s)>\]]+)",
    re.IGNORECASE,
)
_EMPTY: Final = re.compile(
    r"\[(?:more information needed|needs more information)\](?:\([^()\n]{0,500}\))?", re.IGNORECASE
)
_BIBTEX: Final = re.compile(r"^ {0,3}(?:```|~~~)[^\n]*\n(\s*@.*?)^ {0,3}(?:```|~~~)", re.M | re.S)

LICENSE_LINKS: Final = ("license_name", "license_details")


@dataclass(frozen=True)
class Section:
    """A heading with the text below it, up to the next heading."""

    level: int
    title: str
    text: str


def read(text: str, name: str = "README.md") -> Proposal:
    """What the README says of the data set.

    Args:
        text: of the file, without a byte order mark.
        name: of the file, for origins and notes.
    """
    body = plain_breaks(text)
    match = _FRONT.match(body)
    fields: dict[str, Said] = {}
    notes: list[str] = []
    if match is not None:
        body = body[match.end() :]
        try:
            front = yaml_door.load(match[1], name)
        except BadSource as error:
            notes.append(f"its front matter is not taken: {error.message}")
            front = None
        if isinstance(front, dict):
            found, said = _front(front, name)
            fields |= found
            notes += said
    for field, value in _markdown(body, name).items():
        fields.setdefault(field, value)
    return Proposal(fields, tuple(notes))


def plain_breaks(text: str) -> str:
    """``text`` with ``\\n`` for line breaks."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


# ------------------------------------------------------------------ front matter


def _front(front: Mapping[str, Any], name: str) -> tuple[dict[str, Said], list[str]]:
    notes: list[str] = []
    languages = [f"language:{one}" for one in _texts(front.get("language"))]
    tasks = [*_texts(front.get("task_categories")), *_texts(front.get("task_ids"))]
    values: dict[str, Any] = {
        "title": line(front["pretty_name"]) if isinstance(front.get("pretty_name"), str) else None,
        "license": _license(front, name, notes),
        "tags": words([*_texts(front.get("tags")), *languages]),
        "tasks": [one for one in words(tasks) if len(one.encode()) <= MAX_TASK_BYTES],
    }
    if values["title"]:
        values["title"] = bounded(values["title"], TEXT_LIMITS["title"])
    return {field: Said(value, name) for field, value in values.items() if value}, notes


def _license(front: Mapping[str, Any], name: str, notes: list[str]) -> str | None:
    said = _texts(front.get("license"))
    if not said:
        return None
    if len(said) > 1:
        notes.append(f"{name} names {len(said)} licences, and not how they go together")
        return None
    hub = said[0]
    if hub.lower() == "other":
        own = next((one for key in LICENSE_LINKS for one in _texts(front.get(key))), None)
        found = None if own is None else spdx.of_hub(own) or spdx.reference(own)
    else:
        found = spdx.of_hub(hub)
    if found is None:
        notes.append(f"{name} says the licence {hub[:80]!a}, which is none of the SPDX list")
    return found


def _texts(value: Any) -> list[str]:
    """Text, or the texts of a list; the Hub takes either."""
    items = value if isinstance(value, list) else [value]
    return [line(one) for one in items if isinstance(one, str) and line(one)]


# ------------------------------------------------------------------ Markdown


def _markdown(body: str, name: str) -> dict[str, Said]:
    text = _COMMENT.sub("", body)
    found = list(_sections(text))
    values: dict[str, Said] = {}
    title = next((one.title for one in found if one.level == 1), None)
    if title:
        values["title"] = Said(bounded(title, TEXT_LIMITS["title"]), name, 2)
    for one in found:
        said = _real(one)
        if said:
            values["description"] = Said(bounded(said, TEXT_LIMITS["description"]), name)
            break
    citing = next((one for one in found if "citation" in one.title.lower()), None)
    bibtex = None if citing is None else _BIBTEX.search(citing.text + "\n")
    if bibtex is not None:
        cited = bounded(plain(bibtex[1]), TEXT_LIMITS["citation"])
        values["citation"] = Said(cited, name, 1)
    homepage = _HOMEPAGE.search(text)
    if homepage is not None and is_address(homepage[1]):
        values["homepage"] = Said(homepage[1], name)
    return values


def _sections(text: str) -> Iterator[Section]:
    """The sections of ``text``, headings inside fenced code not counted."""
    level, title, fence = 0, "", None
    lines: list[str] = []
    for one in text.split("\n"):
        mark = _FENCE.match(one)
        if mark is not None and (fence is None or one.strip().startswith(fence)):
            fence = mark[1] if fence is None else None
        head = None if fence is not None else _HEADING.match(one)
        if head is None:
            lines.append(one)
            continue
        yield Section(level, title, "\n".join(lines))
        level, title = len(head[1]), _words(one[head.end() :].rstrip(" \t#"))
        lines = []
    yield Section(level, title, "\n".join(lines))


def _words(markdown: str) -> str:
    """The words of a heading."""
    text = _TAG.sub(" ", _LINK.sub(r"\1", _IMAGE.sub("", markdown)))
    return _PREFIX.sub("", line(re.sub(r"[*_`]+", "", text)), count=1)


def _real(section: Section) -> str:
    """The text of a section without badges and places left empty; nothing if that is all it is."""
    if "contents" in section.title.lower():
        return ""
    kept = [one for one in re.split(r"\n\s*\n", plain(section.text)) if _says(one)]
    real = [one for one in kept if not _is_list_of_links(one)]
    return "\n\n".join(kept).strip("\n") if real else ""


def _says(paragraph: str) -> bool:
    bare = _EMPTY.sub("", _TAG.sub("", _LINK.sub(r"\1", _IMAGE.sub("", paragraph))))
    only_links = not _IMAGE.sub("", _LINK.sub("", _TAG.sub("", paragraph))).strip(" \n|*-·•[]()")
    return bool(bare.strip(" \n|*-·•[]()")) and not only_links


def _is_list_of_links(paragraph: str) -> bool:
    """Whether it is no more than ``- **Homepage:** …`` or a list of links."""
    lines = (one.strip() for one in paragraph.split("\n"))
    return all(_LABELLED.match(one) or _is_link(one) for one in lines if one)


def _is_link(line: str) -> bool:
    bullet = _BULLET.match(line)
    return bullet is not None and not _LINK.sub("", line[bullet.end() :]).strip()
