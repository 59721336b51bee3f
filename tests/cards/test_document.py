"""A card as a file to edit: written and read again it says the same, and mistakes are named."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atd.cards.document import changes, parse, render, with_problem
from atd.errors import InvalidSyntax

CARD: dict[str, Any] = {
    "title": 'Flowers "of" the Alps\\',
    "license": "CC-BY-4.0",
    "tags": ["flowers", "植物", "a b"],
    "tasks": ["image-classification"],
    "homepage": "https://flowers.example.com/",
    "creators": [
        {"name": "Ada 'von' Meier", "url": "https://orcid.org/0000-0002-1825-0097"},
        {"name": "The Lab", "did": "did:plc:7iza6de2dwap2sbkpav7c6c6"},
        {"name": "Bob"},
    ],
    "citation": "@misc{flowers,\n  title = {Flowers \\& more},\n}",
    "agreement": "Be kind.\n\n'''\n+++\nReally.",
    "description": "# Photographs\n\nof *flowers*.\n+++\ntitle = 1",
}

texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=60)
cards = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("title", "citation", "agreement", "description"), texts),
        "tags": st.lists(texts.filter(bool), max_size=4),
        "creators": st.lists(st.fixed_dictionaries({"name": texts.filter(bool)}), max_size=3),
    },
)


def said(card: dict[str, Any]) -> dict[str, Any]:
    """A card as its file can say it: nothing empty, no space around, lines that end alike."""
    texts = {key: value for key, value in card.items() if isinstance(value, str)}
    alike = {key: "\n".join(value.strip().splitlines()) for key, value in texts.items()}
    return {key: value for key, value in {**card, **alike}.items() if value}


def test_what_is_written_reads_back() -> None:
    text = render("flowers", CARD)
    assert parse(text) == CARD
    assert "title = {Flowers \\& more}" in text, "BibTeX is to be read without escapes"
    assert parse(text.replace("\n", "\r\n")) == CARD


@settings(max_examples=300, deadline=None)
@given(card=cards)
def test_any_card_reads_back(card: dict[str, Any]) -> None:
    assert said(parse(render("x", card))) == said(card)


def test_an_empty_card_shows_every_field() -> None:
    text = render("x", {})
    for field in CARD.keys() - {"description"}:
        assert f"\n{field} = " in text
    assert parse(text) == {}


def test_only_what_differs_is_changed() -> None:
    before = parse(render("x", CARD))
    text = render("x", CARD).replace('"a b"', '"c"').replace("CC-BY-4.0", "mit")
    text = text.replace('homepage = "https://flowers.example.com/"', "")
    to_set, clear = changes(before, parse(text))
    assert to_set == {"tags": ["flowers", "植物", "c"], "license": "MIT"}
    assert clear == ["homepage"]
    assert changes(before, before) == ({}, [])


def test_a_problem_is_said_once_at_the_top_and_is_no_part_of_the_card() -> None:
    text = with_problem(with_problem(render("x", CARD), "first\nline"), "second")
    assert text.splitlines()[:2] == ["+++", "#! second"]
    assert "first" not in text
    assert parse(text) == CARD


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "begins with"),
        ("title = 'x'", "begins with"),
        ("+++\ntitle = 'x'\n", "begins with"),
        ("words\n+++\n+++\n", "begins with"),
        ("+++\ntitle = \ntags = []\n+++\n", r"not TOML: .*line 2"),
        ("\n\n+++\n\ntitle = [\n+++\n", r"not TOML"),
        ("+++\ncolour = 'x'\n+++\n", "no field 'colour'"),
        ("+++\ntitle = 1\n+++\n", "title: expected text"),
        ("+++\ntags = 'x'\n+++\n", "tags: expected a list"),
        ("+++\ntags = ['']\n+++\n", "tags: expected a list"),
        ("+++\nlicense = 'CC-BY'\n+++\n", "no licence 'CC-BY'"),
        ("+++\nhomepage = 'ftp://x'\n+++\n", "URL"),
        ("+++\ncreators = ['Ada']\n+++\n", "creators: expected"),
        ("+++\ncreators = [{ nom = 'Ada' }]\n+++\n", "creators: expected"),
        ("+++\ncreators = [{ name = 'Ada', url = 'file:///x' }]\n+++\n", "creators: "),
        ("+++\ncreators = [{ name = 'Ada', did = 'x' }]\n+++\n", "creators: "),
        ("+++\nlatest = {}\n+++\n", "no field 'latest'"),
        ("+++\n" + "[" * 50_000 + "\n+++\n", "not TOML"),
        ("+++\n+++\n" + "x" * (1024 * 1024), "1048576 bytes"),
    ],
    ids=lambda text: ascii(text[:30]),
)
def test_a_mistake_is_named(text: str, why: str) -> None:
    with pytest.raises(InvalidSyntax, match=why):
        parse(text)
