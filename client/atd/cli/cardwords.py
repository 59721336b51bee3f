"""Words of a card on the command line: options that several commands share, and how they are read.

Belongs here: ``TEXT|@FILE``, ``NAME <URL>``, and printing a card with who says what.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from atd.cli import output
from atd.errors import InvalidSyntax
from atd.names import check_url
from atd.protocol.syntax import Did

MAX_FILE_BYTES: Final = 1024 * 1024
_CREATOR: Final = re.compile(r"([^<>]+?)\s*<([^<>\s]+)>")
_SHOWN: Final = 100

AgreementOption = Annotated[
    str | None,
    typer.Option(metavar="TEXT|@FILE", help="What a user must agree to beyond the licence."),
]
CreatorOption = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="Who made it; a URL or DID after it in angle brackets."),
]
TaskOption = Annotated[
    list[str] | None,
    typer.Option(metavar="TASK", help="Such as image-classification; may be repeated."),
]
NoCardFilesOption = Annotated[
    bool,
    typer.Option("--no-card-files", help="Ignore README.md, CITATION.cff, LICENSE by the data."),
]


def text_of(value: str | None) -> str | None:
    """The text that an option says: itself, or what is in the file after ``@`` (``@-``: stdin).

    Raises:
        InvalidSyntax: the file cannot be read as text.
    """
    if value is None or not value.startswith("@"):
        return value
    name = value[1:]
    try:
        if name == "-":
            data = sys.stdin.buffer.read(MAX_FILE_BYTES + 1)
        else:
            with Path(name).open("rb") as opened:
                data = opened.read(MAX_FILE_BYTES + 1)
        if len(data) > MAX_FILE_BYTES:
            raise InvalidSyntax(f"{name!a} has more than {MAX_FILE_BYTES} bytes")
        return data.decode("utf-8-sig").strip()
    except OSError as error:
        raise InvalidSyntax(
            f"cannot read {name!a}: {error.strerror}",
            next_step="give the text itself, or @FILE for the text in a file",
        ) from None
    except UnicodeDecodeError:
        raise InvalidSyntax(f"{name!a} is not UTF-8") from None


def creators_of(values: Sequence[str] | None) -> list[dict[str, str]] | None:
    """Creators as a card has them.

    Raises:
        InvalidSyntax: what stands in angle brackets is neither an http(s) URL nor a DID.
    """
    if not values:
        return None
    return [_creator(value) for value in values]


def given(**words: Any) -> dict[str, Any]:
    """Those that say something."""
    return {name: value for name, value in words.items() if value is not None}


def print_card(card: Mapping[str, Any], to: Callable[[str], None] = output.say) -> None:
    """A card as ``{field: {"value", "from"}}``, a line for each field."""
    for name, one in card.items():
        to(f"card      {name}: {output.clean(shown(one['value']))} ({output.clean(one['from'])})")


def shown(value: Any) -> str:
    """A field of a card on one line."""
    if isinstance(value, list):
        text = ", ".join(_spelt(one) for one in value)
    else:
        text = " ".join(str(value).split())
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def _spelt(one: Any) -> str:
    if not isinstance(one, dict):
        return str(one)
    where = one.get("did") or one.get("url")
    return f"{one.get('name', '?')} <{where}>" if where else str(one.get("name", "?"))


def _creator(text: str) -> dict[str, str]:
    match = _CREATOR.fullmatch(text.strip())
    name, where = (text.strip(), "") if match is None else match.groups()
    if not name or (match is None and ("<" in text or ">" in text)):
        raise InvalidSyntax(
            f"expected a creator, found {text!a}",
            next_step="write 'NAME', 'NAME <https://orcid.org/…>' or 'NAME <did:…>'",
        )
    if where.startswith("did:"):
        return {"name": name, "did": str(Did.parse(where))}
    return {"name": name, "url": check_url(where)} if where else {"name": name}
