"""The ATProto project's own lexicon vectors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from atd.errors import LexiconError
from atd.protocol import cbor
from atd.protocol.lexicon import Lexicons, check_lexicon
from support import vectors


def _folder() -> Path:
    return vectors("atproto-interop/lexicon")


def _cases(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((_folder() / name).read_text("utf-8"))
    return found


@pytest.fixture(scope="module")
def lexicons() -> Lexicons:
    files = sorted((_folder() / "catalog").glob("*.json"))
    assert len(files) == 5
    return Lexicons(json.loads(file.read_text("utf-8")) for file in files)


def test_every_valid_lexicon_is_accepted() -> None:
    for case in _cases("lexicon-valid.json"):
        check_lexicon(case["lexicon"])


def test_every_invalid_lexicon_is_refused() -> None:
    for case in _cases("lexicon-invalid.json"):
        with pytest.raises(LexiconError):
            check_lexicon(case["lexicon"])


def test_every_valid_record_is_accepted(lexicons: Lexicons) -> None:
    for case in _cases("record-data-valid.json"):
        lexicons.validate_record(cbor.from_json(case["data"]), "example.lexicon.record")
        lexicons.check_key("example.lexicon.record", case["rkey"])


def test_every_invalid_record_is_refused(lexicons: Lexicons) -> None:
    cases = _cases("record-data-invalid.json")
    assert len(cases) == 50
    for case in cases:
        with pytest.raises(LexiconError):
            lexicons.validate_record(cbor.from_json(case["data"]), "example.lexicon.record")


def test_every_invalid_record_is_refused_for_the_reason_in_its_name(lexicons: Lexicons) -> None:
    """Those of ``unknown`` lack a required field; with it they must be refused all the same."""
    for case in _cases("record-data-invalid.json"):
        if case["name"] == "missing required field":
            continue
        value = cbor.from_json({"integer": 1, **case["data"]})
        with pytest.raises(LexiconError):
            lexicons.validate_record(value, "example.lexicon.record")


def test_a_record_key_must_be_the_literal(lexicons: Lexicons) -> None:
    with pytest.raises(LexiconError, match=r"rkey: expected demo, found 'other'"):
        lexicons.check_key("example.lexicon.record", "other")
