"""Strict DAG-CBOR, CIDs and the JSON form: vectors, attacks, and the fast path against the slow."""

from __future__ import annotations

import sys
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from atd.errors import InvalidSyntax, LexiconError, ProofError
from atd.protocol.cbor import (
    DAG_CBOR,
    MAX_DEPTH,
    RAW,
    Cid,
    Value,
    decode,
    encode,
    from_json,
    to_json,
)
from atd.protocol.cbor_reader import Reader
from support import json_vectors

CID = Cid.of(b"a record")
LINK = b"\xd8\x2a\x58\x25\x00" + CID.bytes

cids = st.builds(Cid.of, st.binary(max_size=8), st.sampled_from([RAW, DAG_CBOR]))
# Byte strings that look like a CID are legal too, and rare enough to be named.
lookalikes = st.one_of(
    cids.map(lambda cid: cid.bytes), st.binary(max_size=40).map(lambda data: b"\x01\x00" + data)
)
leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(1 << 63), (1 << 63) - 1),
    st.text(max_size=30),
    st.binary(max_size=40),
    lookalikes,
    cids,
)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def slowly(data: bytes) -> Value:
    """The strict decoder that `decode` falls back to, on its own."""
    return Reader(data, MAX_DEPTH).whole()


def outcome(decoder: Any, data: bytes) -> object:
    """What a decoder makes of ``data``: the value, or that it is refused."""
    try:
        return decoder(data)
    except ProofError:
        return ProofError


@pytest.mark.parametrize("index", range(3))
def test_the_data_model_fixtures_encode_and_decode(index: int) -> None:
    case = json_vectors("atproto-interop/data-model/data-model-fixtures.json")[index]
    block = b64decode(case["cbor_base64"] + "==")
    value = from_json(case["json"])
    assert encode(value) == block
    assert str(Cid.of(block)) == case["cid"]
    assert decode(block) == value
    assert to_json(value) == case["json"]


def test_every_valid_data_model_vector_is_accepted() -> None:
    for case in json_vectors("atproto-interop/data-model/data-model-valid.json"):
        value = from_json(case["json"])
        assert decode(encode(value)) == value, case["note"]


def test_every_invalid_data_model_vector_is_refused() -> None:
    for case in json_vectors("atproto-interop/data-model/data-model-invalid.json"):
        with pytest.raises(LexiconError):
            from_json(case["json"])


@given(values)
def test_decode_is_the_inverse_of_encode(value: Value) -> None:
    block = encode(value)
    assert decode(block) == value
    assert slowly(block) == value


@given(values)
def test_json_is_the_inverse_of_from_json(value: Value) -> None:
    held = {"held": value}
    try:
        assert from_json(to_json(held)) == held
    except LexiconError:
        assert "$" in repr(value)  # an object of records may not use these names for itself


@given(values, st.data())
@settings(max_examples=300)
def test_whatever_decodes_is_canonical_and_both_decoders_agree(
    value: Value, data: st.DataObject
) -> None:
    block = bytearray(encode(value))
    for _ in range(data.draw(st.integers(1, 3))):
        if block:
            block[data.draw(st.integers(0, len(block) - 1))] = data.draw(st.integers(0, 255))
    mutated = bytes(block[: data.draw(st.integers(0, len(block)))] or block)
    found = outcome(decode, mutated)
    assert found == outcome(slowly, mutated)
    if found is not ProofError:
        assert encode(found) == mutated  # type: ignore[arg-type]


@given(st.binary(max_size=24))
@example(b"\x80")
def test_arbitrary_bytes_decode_alike_or_are_refused_alike(block: bytes) -> None:
    assert outcome(decode, block) == outcome(slowly, block)


REFUSED = {
    "nothing": b"",
    "trailing bytes": b"\x01\x01",
    "a trailing empty map": b"\xa0\xa0",
    "an integer in two bytes that fits one": b"\x18\x17",
    "an integer in three bytes that fits two": b"\x19\x00\xff",
    "an integer in five bytes that fits three": b"\x1a\x00\x00\xff\xff",
    "an integer in nine bytes that fits five": b"\x1b" + bytes(4) + b"\xff" * 4,
    "a negative integer that is too long": b"\x38\x00",
    "a text length that is too long": b"\x78\x01a",
    "a byte length that is too long": b"\x58\x01a",
    "an array length that is too long": b"\x98\x01\x01",
    "a map length that is too long": b"\xb8\x01\x61a\x01",
    "an integer beyond 63 bits": b"\x1b\x80" + bytes(7),
    "a negative integer beyond 63 bits": b"\x3b\x80" + bytes(7),
    "a float of 64 bits": b"\xfb\x3f\xf8" + bytes(6),
    "an integral float": b"\xfb\x3f\xf0" + bytes(6),
    "a float of 32 bits": b"\xfa\x3f\xc0\x00\x00",
    "a float of 16 bits": b"\xf9\x3e\x00",
    "not a number": b"\xfb\x7f\xf8" + bytes(6),
    "a float within a map": b"\xa1\x61a\xfb\x3f\xf8" + bytes(6),
    "undefined": b"\xf7",
    "a simple value": b"\xf8\xff",
    "true written as a simple value of two bytes": b"\xf8\x15",
    "a key twice": b"\xa2\x61a\x01\x61a\x02",
    "keys out of order": b"\xa2\x61b\x01\x61a\x02",
    "a longer key before a shorter": b"\xa2\x62aa\x01\x61b\x02",
    "a key that is an integer": b"\xa1\x01\x01",
    "a key that is bytes": b"\xa1\x41a\x01",
    "text that is not UTF-8": b"\x61\xff",
    "text with a surrogate": b"\x63\xed\xa0\x80",
    "text in an overlong form": b"\x62\xc0\xaf",
    "an array of no fixed length": b"\x9f\x01\xff",
    "a map of no fixed length": b"\xbf\x61a\x01\xff",
    "text of no fixed length": b"\x7f\x61a\xff",
    "a break": b"\xff",
    "a reserved length": b"\x1c",
    "a date tag": b"\xc0\x61a",
    "a bignum": b"\xc2\x41\x01",
    "a nested tag": b"\xd8\x2a\xd8\x2a\x41\x00",
    "tag 42 in three bytes": b"\xd9\x00\x2a" + LINK[2:],
    "tag 42 over text": b"\xd8\x2a\x61a",
    "a CID without the zero": b"\xd8\x2a\x58\x24" + CID.bytes,
    "a CID with another first byte": b"\xd8\x2a\x58\x25\x01" + CID.bytes,
    "a CID with a byte too many": b"\xd8\x2a\x58\x26\x00" + CID.bytes + b"x",
    "a CID of version 0": b"\xd8\x2a\x58\x23\x00\x12\x20" + bytes(32),
    "a CID of another codec": b"\xd8\x2a\x58\x25\x00\x01\x70\x12\x20" + bytes(32),
    "a CID of another hash": b"\xd8\x2a\x58\x25\x00\x01\x71\x13\x20" + bytes(32),
    "an identity CID": b"\xd8\x2a\x45\x00\x01\x71\x00\x00",
    "an array longer than the data": b"\x9b" + b"\xff" * 8,
    "a map longer than the data": b"\xbb\x00\x00\x00\x00" + b"\xff" * 4,
    "text longer than the data": b"\x7b\x00\x00\x00\x01" + bytes(4),
    "bytes longer than the data": b"\x5a\xff\xff\xff\xff",
}


@pytest.mark.parametrize("block", REFUSED.values(), ids=REFUSED.keys())
def test_what_is_not_canonical_is_refused(block: bytes) -> None:
    for attack in (block, b"\x81" + block, b"\xa1\x61k" + block):
        with pytest.raises(ProofError, match=r"byte|CBOR"):
            decode(attack)


@pytest.mark.parametrize("opening", [b"\x81", b"\xa1\x61a", b"\x82\x01", b"\xd8\x2a"])
@pytest.mark.parametrize("levels", [MAX_DEPTH + 1, 1_000, 200_000])
def test_a_nesting_bomb_is_refused(opening: bytes, levels: int) -> None:
    for bomb in (opening * levels, opening * levels + b"\x01"):
        with pytest.raises(ProofError):
            decode(bomb)


@contextmanager
def recursion_limit(limit: int) -> Iterator[None]:
    """A program that allows itself deep recursion."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(limit)
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


def test_a_nesting_bomb_is_refused_where_deep_recursion_is_allowed() -> None:
    for opening in (b"\x81", b"\xa1\x61a", b"\xd8\x2a"):
        with recursion_limit(1_000_000), pytest.raises(ProofError):
            decode(opening * 1_000_000 + b"\x01")


def test_a_large_flat_record_is_decoded_where_deep_recursion_is_allowed() -> None:
    value: Value = {"shards": [{"name": f"{index:05}", "size": index} for index in range(1_000)]}
    with recursion_limit(1_000_000):
        assert decode(encode(value)) == value


def test_nesting_up_to_the_limit_is_accepted() -> None:
    assert decode(b"\x81" * MAX_DEPTH + b"\x01")
    assert decode(b"\xa1\x61a" * MAX_DEPTH + b"\x01")
    with pytest.raises(ProofError, match="nested deeper than 2"):
        decode(b"\x81" * 3 + b"\x01", max_depth=2)


def test_the_message_says_what_is_wrong_and_where() -> None:
    with pytest.raises(ProofError, match=r"at byte 6: map key 'a' is repeated or out of order"):
        decode(b"\xa2\x61b\x01\x61a\x02")


def test_a_byte_string_that_looks_like_a_cid_stays_a_byte_string() -> None:
    value: Value = {"bytes": CID.bytes, "cid": CID, "zeros": b"\x01\x00\x00\x00"}
    assert decode(encode(value)) == value


@pytest.mark.parametrize(
    "value",
    [1.5, 1 << 63, -(1 << 63) - 1, 10**4000, {1: 2}, {b"a": 1}, "\ud800", {"\ud800": 1}, {1, 2}],
)
def test_what_a_record_cannot_hold_is_not_encoded(value: Any) -> None:
    for held in (value, [value], {"a": value}):
        with pytest.raises(InvalidSyntax):
            encode(held)


def test_a_record_nested_too_deep_is_not_encoded() -> None:
    value: Value = 1
    for _ in range(MAX_DEPTH + 1):
        value = [value]
    with pytest.raises(InvalidSyntax, match="nested"):
        encode(value)


@pytest.mark.parametrize(
    "obj",
    [
        [],
        None,
        {"$link": str(CID)},
        {"a": float("nan")},
        {"a": float("inf")},
        {"a": 1 << 63},
        {"a": 1e300},
        {"a": {"$link": str(CID).upper()}},
        {"a": {"$link": "bafkreiccldh766hwcnuxnf2wh6jgzepf2nlu2lvcllt63eww5p6chi4itz"}},
        {"a": {"$bytes": "not base64!"}},
        {"a": {"$bytes": "a"}},
        {"a": {"$bytes": "AAA\n"}},
        {"$type": "blob", "ref": {"$link": str(CID)}, "mimeType": "image/png", "size": -1},
        {"$type": "blob", "ref": {"$link": str(CID)}, "mimeType": "image/png", "size": True},
    ],
)
def test_json_that_no_record_stands_for_is_refused(obj: object) -> None:
    with pytest.raises(LexiconError):
        from_json(obj)


def test_deep_json_is_refused() -> None:
    deep: object = 1
    for _ in range(100_000):
        deep = {"a": deep}
    with pytest.raises(LexiconError, match="nested"):
        from_json(deep)


@given(cids)
def test_a_cid_is_spelt_in_one_way(cid: Cid) -> None:
    assert Cid.parse(str(cid)) == cid == Cid.from_bytes(cid.bytes)
    for other in (str(cid).upper(), str(cid) + "=", str(cid)[:-1], "B" + str(cid)[1:]):
        with pytest.raises(InvalidSyntax):
            Cid.parse(other)


def test_a_cid_with_stray_bits_in_its_last_digit_is_refused() -> None:
    text = str(CID)
    others = [text[:-1] + digit for digit in "abcdefghijklmnopqrstuvwxyz234567"]
    accepted = []
    for other in others:
        try:
            accepted.append(str(Cid.parse(other)))
        except InvalidSyntax:
            continue
    assert len(accepted) == len(set(accepted)) == 8  # 59 digits hold 288 bits and 2 that must be 0


@pytest.mark.parametrize(
    "data", [b"", CID.bytes[:-1], CID.bytes + b"x", b"\x00" * 36, b"\x12\x20" + bytes(32)]
)
def test_other_cids_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidSyntax, match="expected a CID"):
        Cid.from_bytes(data)


@pytest.mark.parametrize("text", ["", "b", None, 7, "Qm" + "a" * 44, "b" + "1" * 58, "é" * 59])
def test_text_that_is_no_cid_is_refused(text: Any) -> None:
    with pytest.raises(InvalidSyntax, match="expected a CID"):
        Cid.parse(text)


def test_a_cid_says_codec_and_digest_and_cannot_be_changed() -> None:
    raw = Cid.of(b"abc", RAW)
    assert (raw.codec, raw.digest) == (RAW, Cid.of(b"abc").digest)
    assert Cid.from_digest(raw.digest) == raw
    assert raw != Cid.of(b"abc")
    with pytest.raises(AttributeError):
        raw.bytes = b""  # type: ignore[misc]
