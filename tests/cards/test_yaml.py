"""YAML of strangers: text, lists and mappings, and no more than that."""

from __future__ import annotations

import pytest

from atd.cards import yaml_door
from atd.errors import BadSource

LAUGHS = "a: &a [lol, lol]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


def test_scalars_are_text_and_nothing_is_none() -> None:
    text = "a: no\nb: 1.10\nc: 2021-01-01\nd: ~\ne:\nf: ''\ng: 'null'\nh: [1, {x: y}]\n"
    assert yaml_door.load(text, "x") == {
        "a": "no",
        "b": "1.10",
        "c": "2021-01-01",
        "d": None,
        "e": None,
        "f": "",
        "g": "null",
        "h": ["1", {"x": "y"}],
    }


def test_a_tag_makes_no_object() -> None:
    text = "a: !!python/object/apply:os.system ['echo owned']\nb: !!python/name:os.system x\n"
    assert yaml_door.load(text, "x") == {"a": ["echo owned"], "b": "x"}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (LAUGHS, "line 2: aliases"),
        ("a: &a [*a]", "aliases"),
        ("<<: *x", "not YAML|aliases"),
        ("[" * 30 + "]" * 30, "24 levels"),
        ("[" * 100_000, "24 levels"),
        ("a: 1\na: 2", "comes twice"),
        ("? [a]\n: b", "as a key"),
        ("--- a\n--- b", "another"),
        ("[" + "a," * 20_001 + "]", "20000 items"),
        ("x" * (256 * 1024 + 1), "262144 bytes"),
        ("a: [", "not YAML"),
        ("a: \x00", "not YAML"),
        ("\ta", "not YAML"),
        ("%YAML 9.0\n--- a", "not YAML"),
        ("a: !<" + "x" * 50_000, "not YAML"),
    ],
    ids=lambda text: ascii(text[:15]),
)
def test_what_is_not_within_the_rules_is_refused(text: str, why: str) -> None:
    with pytest.raises(BadSource, match=why):
        yaml_door.load(text, "x")


def test_an_empty_document_is_nothing() -> None:
    assert yaml_door.load("", "x") is None
    assert yaml_door.load("# words\n", "x") is None
