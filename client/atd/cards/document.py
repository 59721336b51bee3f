"""A card as a small file that people edit: TOML between ``+++``, and the description as Markdown.

Belongs here: writing it and reading it again, pure. What is read is compared with what was written,
so that only what somebody changed is changed; a field left empty goes.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from typing import Any, Final

from atd.cards.said import FIELDS
from atd.cards.spdx import check_license
from atd.errors import AtdError, InvalidSyntax
from atd.names import check_url
from atd.protocol.syntax import Did

Card = Mapping[str, Any]

MAX_BYTES: Final = 1024 * 1024
_FENCE: Final = "+++"
_TEXTS: Final = ("title", "license", "homepage", "citation", "agreement")
_LISTS: Final = ("tags", "tasks")
_PERSON: Final = ("name", "url", "did")
_HINTS: Final = {
    "license": 'an SPDX expression, such as "CC-BY-4.0"',
    "tags": 'words to find it by, such as ["alps", "flowers"]',
    "tasks": 'such as ["image-classification"]',
    "creators": '[{ name = "Ada Meier", url = "https://orcid.org/…" }, …], or did = "did:…"',
    "citation": "BibTeX or plain text",
    "agreement": "what a user must agree to beyond the licence",
}
_HEAD: Final = (
    "# The card of {name}. What is left empty goes; its description follows the second +++.\n"
    "# Nothing changes where this file stays as it is.\n"
)


def render(name: str, card: Card, problem: str | None = None) -> str:
    """The card as a file.

    Args:
        card: as ``network.atd.dataset`` has it.
        problem: why an earlier version of the file was not taken.
    """
    lines = [_FENCE, _HEAD.format(name=name).rstrip()]
    if problem is not None:
        lines.append(_problem(problem))
    for field in ("title", "license", "tags", "tasks", "homepage", "creators", "citation"):
        lines += ["", *_entry(field, card)]
    lines += ["", *_entry("agreement", card), _FENCE, ""]
    description: str = card.get("description", "").strip()
    return "\n".join(lines) + f"\n{description}\n"


def with_problem(text: str, problem: str) -> str:
    """``text`` with a comment that says what is wrong with it, in place of any earlier one."""
    kept = [line for line in text.split("\n") if not line.startswith("#! ")]
    at = 1 if kept and kept[0].strip() == _FENCE else 0
    return "\n".join([*kept[:at], _problem(problem), *kept[at:]])


def parse(text: str) -> dict[str, Any]:
    """The card that a file says, as ``network.atd.dataset`` has it; empty fields are not there.

    Raises:
        InvalidSyntax: it is not such a file; says what is wrong, and in which line.
    """
    if len(text.encode()) > MAX_BYTES:
        raise InvalidSyntax(f"expected at most {MAX_BYTES} bytes, found more")
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n")
    fences = [at for at, line in enumerate(lines) if line.strip() == _FENCE][:2]
    if len(fences) < 2 or any(line.strip() and line[0] != "#" for line in lines[: fences[0]]):
        raise InvalidSyntax("expected a file that begins with +++, fields, and +++ again")
    head = "\n" * (fences[0] + 1) + "\n".join(lines[fences[0] + 1 : fences[1]])
    try:
        table = tomllib.loads(head)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InvalidSyntax(f"the fields are not TOML: {error}") from None
    unknown = [key for key in table if key not in FIELDS]
    if unknown:
        raise InvalidSyntax(
            f"a card has no field {unknown[0]!a}", next_step=f"it has {', '.join(FIELDS)}"
        )
    table["description"] = "\n".join(lines[fences[1] + 1 :]).strip()
    return {key: value for key, value in _checked(table).items() if value}


def changes(before: Card, after: Card) -> tuple[dict[str, Any], list[str]]:
    """What to set and what to clear to come from one to the other, both as `parse` gives."""
    to_set = {key: value for key, value in after.items() if before.get(key) != value}
    return to_set, [key for key in before if key in FIELDS and key not in after]


# ------------------------------------------------------------------ writing


def _entry(field: str, card: Card) -> list[str]:
    value = card.get(field)
    hint = f"  # {_HINTS[field]}" if not value and field in _HINTS else ""
    if field == "creators" and value:
        people = (
            ", ".join(
                f"{key} = {_quoted(one[key])}" for key in ("name", "url", "did") if key in one
            )
            for one in value
        )
        return ["creators = [", *(f"    {{ {person} }}," for person in people), "]"]
    if field in ("creators", *_LISTS):
        items = ", ".join(_quoted(one) for one in value or ())
        return [f"{field} = [{items}]{hint}"]
    return [f"{field} = {_text(value or '')}{hint}"]


def _text(value: str) -> str:
    """A TOML string: literal over several lines where it can be, for BibTeX has backslashes."""
    lines = value.split("\n")
    plain = all(line.isprintable() and line.strip() != _FENCE for line in lines)
    if len(lines) > 1 and plain and "'''" not in value and not value.endswith("'"):
        return f"'''\n{value}'''"
    return _quoted(value)


def _quoted(value: str) -> str:
    """A basic TOML string, which escapes as JSON does; DEL too must be escaped."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _problem(problem: str) -> str:
    return "#! " + " ".join(problem.split())


# ------------------------------------------------------------------ reading


def _checked(table: dict[str, Any]) -> dict[str, Any]:
    for key, value in table.items():
        if key in (*_TEXTS, "description") and not isinstance(value, str):
            raise InvalidSyntax(f"{key}: expected text in quotes")
        if key in _LISTS and not _is_texts(value):
            raise InvalidSyntax(f'{key}: expected a list of texts, such as ["a", "b"]')
    checked: dict[str, Any] = {**table}
    checked |= {key: table[key].strip() for key in _TEXTS if key in table}
    if checked.get("license"):
        checked["license"] = check_license(checked["license"])
    if checked.get("homepage"):
        check_url(checked["homepage"])
    if "creators" in checked:
        checked["creators"] = _creators(checked["creators"])
    return checked


def _creators(value: Any) -> list[dict[str, str]]:
    expected = 'creators: expected a list such as [{ name = "Ada Meier" }]'
    if not isinstance(value, list):
        raise InvalidSyntax(expected)
    for one in value:
        whole = isinstance(one, dict) and set(one) <= {*_PERSON} and "name" in one
        if not whole or not _is_texts(list(one.values())):
            raise InvalidSyntax(f"{expected}, each with name, and url or did")
        try:
            if "url" in one:
                check_url(one["url"])
            if "did" in one:
                Did.parse(one["did"])
        except AtdError as error:
            raise InvalidSyntax(f"creators: {error.message}") from None
    return value


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) and one for one in value)
