"""Targets of `atd.cards`: the files beside data, and the card in an editor."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from atd.cards import citation, document, licence_texts, readme, spdx
from atd.cards.said import FIELDS, NAME_LIMITS, TAG_LIMITS, TEXT_LIMITS, Proposal, bounded
from atd.errors import InvalidSyntax

DATA = Path(__file__).parents[1] / "cards" / "data"
CARD = {"title": "T", "tags": ["a"], "citation": "@misc{a,\n}", "creators": [{"name": "A"}]}


def files(data: bytes) -> None:
    """Whatever a file says fits into a card, and is SPDX where it is a licence."""
    text = data.decode("utf-8", "replace")
    for proposal in (readme.read(text), citation.read(text)):
        _fits(proposal)
    found = licence_texts.recognized(text)
    assert (found.license is None) == (found.note is not None)
    if found.license is not None:
        assert spdx.check_license(found.license) == found.license


def files_seeds() -> Iterable[bytes]:
    return _seeds()


@cache
def _seeds() -> tuple[bytes, ...]:
    return tuple(
        path.read_bytes() for path in sorted(DATA.iterdir()) if path.name != "Apache-2.0.txt"
    )


def draft(data: bytes) -> None:
    """A file that is taken says the same when it is written and read again."""
    try:
        card = document.parse(data.decode("utf-8", "replace"))
    except InvalidSyntax:
        return
    assert document.parse(document.render("x", card)) == card


def draft_seeds() -> Iterable[bytes]:
    return [document.render("x", CARD).encode(), document.render("x", {}).encode()]


def _fits(proposal: Proposal) -> None:
    for name, value in proposal.values.items():
        assert name in FIELDS
        _fits_field(name, value)
    assert all(note.isprintable() for note in proposal.notes)


def _fits_field(name: str, value: Any) -> None:
    if name in TEXT_LIMITS:
        assert bounded(value, TEXT_LIMITS[name]) == value
        assert value.strip()
        assert all(c == "\n" or c >= " " for c in value)
    elif name in ("tags", "tasks"):
        assert all(bounded(one, TAG_LIMITS) == one for one in value)
    elif name == "creators":
        assert all(bounded(one["name"], NAME_LIMITS) == one["name"] for one in value)
    elif name == "license":
        assert spdx.check_license(value) == value
