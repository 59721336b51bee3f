"""A reference as BibTeX: one entry, whose braces balance whatever its words are."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, Final

from atd.cards.said import line

_KINDS: Final = {
    "article": "article",
    "magazine-article": "article",
    "newspaper-article": "article",
    "book": "book",
    "edited-work": "book",
    "conference-paper": "inproceedings",
    "proceedings": "proceedings",
    "report": "techreport",
    "thesis": "phdthesis",
    "manual": "manual",
    "unpublished": "unpublished",
}
"""Types of the Citation File Format that BibTeX has an entry for; of all others, ``misc``."""

Source = Mapping[str, Any]
People = Sequence[tuple[str, str, Any]]

_SPECIAL: Final = re.compile(r"([&%$#_])")


def entry(source: Source, people: People, doi: str | None) -> str:
    """The entry for a reference of the Citation File Format.

    Args:
        people: the authors, the second of each as BibTeX has a name.
        doi: bare.
    """
    kind = _KINDS.get(_said(source, "type"), "misc")
    place = "booktitle" if kind == "inproceedings" else "journal" if kind == "article" else ""
    fields = {
        "title": _word(_said(source, "title")),
        "author": " and ".join(_word(name) for _, name, _ in people),
        "year": _year(source),
        place: _word(_said(source, "collection-title") or _said(source, "journal")),
        "volume": _word(_said(source, "volume")),
        "number": _word(_said(source, "issue")),
        "pages": _pages(source),
        "publisher": _word(_inner(source, "publisher") or _inner(source, "institution")),
        "version": _word(_said(source, "version")) if kind == "misc" else "",
        "doi": _bare(doi or ""),
        "url": _bare(_said(source, "url")),
    }
    rows = [f"  {name} = {{{value}}}," for name, value in fields.items() if name and value]
    return "\n".join([f"@{kind}{{{_key(people, fields['year'])},", *rows, "}"])


def _key(people: People, year: str) -> str:
    first = people[0][1].partition(",")[0] if people else ""
    letters = unicodedata.normalize("NFKD", first).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]", "", letters)[:40] + year or "dataset"


def _year(source: Source) -> str:
    said = (_said(source, key) for key in ("year", "date-published", "date-released"))
    match = re.match(r"\d{4}", next(filter(None, said), ""))
    return match[0] if match else ""


def _pages(source: Source) -> str:
    start, end = _word(_said(source, "start")), _word(_said(source, "end"))
    return f"{start}--{end}" if start and end else start or _word(_said(source, "pages"))


def _said(source: Source, key: str) -> str:
    value = source.get(key)
    return line(value) if isinstance(value, str) else ""


def _inner(source: Source, key: str) -> str:
    value = source.get(key)
    return _said(value, "name") if isinstance(value, dict) else ""


def _word(text: str) -> str:
    """``text`` for BibTeX. A whole that is in braces already stays whole."""
    whole = text.startswith("{") and text.endswith("}")
    bare = re.sub(r"[{}\\]", "", text)
    safe = _SPECIAL.sub(r"\\\1", bare).strip()
    return f"{{{safe}}}" if whole and safe else safe


def _bare(text: str) -> str:
    return re.sub(r"[{}\\\s]", "", text)
