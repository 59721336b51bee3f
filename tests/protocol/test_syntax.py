"""Identifiers: the shared vectors, and what they do not cover."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atd.errors import InvalidSyntax
from atd.protocol.syntax import (
    AtUri,
    CidText,
    Datetime,
    Did,
    Handle,
    Language,
    Nsid,
    RecordKey,
    Tid,
    Uri,
    parse_actor,
    parse_datetime,
    quote,
)
from support import vectors

PARSERS: dict[str, Callable[[str], object]] = {
    "atidentifier": parse_actor,
    "aturi": AtUri.parse,
    "cid": CidText.parse,
    "datetime": Datetime.parse,
    "did": Did.parse,
    "handle": Handle.parse,
    "language": Language.parse,
    "nsid": Nsid.parse,
    "recordkey": RecordKey.parse,
    "tid": Tid.parse,
    "uri": Uri.parse,
}


def lines(name: str) -> list[str]:
    """The cases of a file of vectors; blanks within a line are part of the case."""
    text = vectors(f"atproto-interop/syntax/{name}.txt").read_text()
    return [line for line in text.split("\n") if line.strip() and not line.startswith("#")]


@pytest.mark.parametrize("kind", PARSERS)
def test_every_valid_vector_is_accepted(kind: str) -> None:
    for line in lines(f"{kind}_syntax_valid"):
        PARSERS[kind](line)


@pytest.mark.parametrize(
    "name",
    [
        *(f"{kind}_syntax_invalid" for kind in PARSERS),
        "datetime_parse_invalid",
        "language_parse_invalid",
    ],
)
def test_every_invalid_vector_is_refused(name: str) -> None:
    parse = PARSERS[name.split("_")[0]]
    for line in lines(name):
        with pytest.raises(InvalidSyntax):
            parse(line)


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (Did.parse, "did:plc:abc"),
        (Handle.parse, "alice.test"),
        (Nsid.parse, "com.example.thing"),
        (RecordKey.parse, "self"),
        (Tid.parse, "3jzfcijpj2z2a"),
        (AtUri.parse, "at://did:plc:abc/com.example.thing/self"),
        (Language.parse, "en"),
        (Uri.parse, "https://example.com"),
        (Datetime.parse, "1985-04-12T23:20:50Z"),
    ],
)
@pytest.mark.parametrize("extra", ["\n", "\r\n", "\0", " ", "\u2028"])
def test_a_trailing_newline_or_blank_is_refused(
    parse: Callable[[str], object], text: str, extra: str
) -> None:
    parse(text)
    for attack in (text + extra, extra + text):
        with pytest.raises(InvalidSyntax):
            parse(attack)


@pytest.mark.parametrize("parse", PARSERS.values())
@pytest.mark.parametrize("value", [None, 1, b"did:plc:abc", ["did:plc:abc"], {}])
def test_what_is_not_a_string_is_refused(parse: Callable[[object], object], value: object) -> None:
    with pytest.raises(InvalidSyntax):
        parse(value)


@pytest.mark.parametrize("parse", PARSERS.values())
def test_a_megabyte_is_refused_at_once(parse: Callable[[str], object]) -> None:
    for attack in ("a" * 1_000_000, "a." * 500_000, "did:a:" + ":" * 1_000_000, "en-" * 300_000):
        with pytest.raises(InvalidSyntax):
            parse(attack)


@given(st.text())
def test_whatever_parses_is_spelt_as_it_was(text: str) -> None:
    for parse in PARSERS.values():
        try:
            assert str(parse(text)).lower() == text.lower()
        except InvalidSyntax:
            continue


def test_a_handle_is_kept_in_lower_case() -> None:
    assert Handle.parse("Alice.Example.COM") == "alice.example.com"
    assert AtUri.parse("at://Alice.Test/com.example.fooBar").authority == "alice.test"


def test_a_did_knows_its_method() -> None:
    assert Did.parse("did:web:example.com").method == "web"


def test_an_at_uri_is_taken_apart_and_put_together() -> None:
    uri = AtUri.parse("at://did:plc:abc/com.example.thing/self")
    assert (uri.did, uri.collection, uri.rkey) == ("did:plc:abc", "com.example.thing", "self")
    assert str(uri) == "at://did:plc:abc/com.example.thing/self"
    assert str(AtUri.parse("at://alice.test")) == "at://alice.test"


def test_an_at_uri_with_a_handle_has_no_did() -> None:
    with pytest.raises(InvalidSyntax, match="by handle"):
        _ = AtUri.parse("at://alice.test/com.example.thing/self").did


@given(st.integers(0, (1 << 53) - 1), st.integers(0, 1023))
def test_a_tid_holds_its_time_and_its_clock(us: int, clock_id: int) -> None:
    tid = Tid.parse(Tid.from_micros(us, clock_id))
    assert (tid.micros, tid.clock_id) == (us, clock_id)


@given(st.integers(0, (1 << 53) - 1), st.integers(0, (1 << 53) - 1))
def test_tids_order_as_their_times(first: int, second: int) -> None:
    assert (Tid.from_micros(first, 0) < Tid.from_micros(second, 0)) == (first < second)


@pytest.mark.parametrize(("us", "clock_id"), [(-1, 0), (1 << 53, 0), (0, -1), (0, 1024)])
def test_a_tid_out_of_range_is_refused(us: int, clock_id: int) -> None:
    with pytest.raises(InvalidSyntax):
        Tid.from_micros(us, clock_id)


def test_a_datetime_becomes_a_moment_in_utc() -> None:
    assert parse_datetime("1985-04-12T23:20:50.1234567-07:30") == datetime(
        1985, 4, 13, 6, 50, 50, 123456, tzinfo=UTC
    )


@pytest.mark.parametrize(
    "text",
    [
        "0000-01-01T00:00:00Z",
        "9999-12-31T23:59:59-01:00",
        "2023-02-29T00:00:00Z",
        "2024-01-01T00:00:60Z",
    ],
)
def test_a_moment_that_does_not_exist_here_is_refused(text: str) -> None:
    with pytest.raises(InvalidSyntax, match="no such date"):
        parse_datetime(text)


def test_hostile_text_is_harmless_in_a_message() -> None:
    attack = "\x1b[31mred\r\n\u202egnp.exe\0"
    with pytest.raises(InvalidSyntax) as refused:
        Handle.parse(attack)
    shown = str(refused.value)
    assert shown.isprintable()
    assert shown.isascii()
    assert "gnp.exe" in shown


def test_a_huge_or_deep_value_is_short_in_a_message() -> None:
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    for attack in ("x" * 10_000_000, ["x" * 10_000_000] * 50, deep, 10**9000, {"a": deep}):
        assert len(quote(attack)) < 130
