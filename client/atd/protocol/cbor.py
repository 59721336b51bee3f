"""Strict DAG-CBOR, CIDs, and the JSON form of records: the only importer of libipld.

One value has one encoding, and only that encoding is accepted: map keys sorted (shorter first) and
unique, integers and lengths minimal, no floats, no tag but 42, nothing trailing, bounded depth.

`decode` accepts quickly and refuses slowly. libipld decodes; if encoding its result again gives the
very same bytes then the bytes were canonical, whatever libipld's decoder tolerates. What is not
accepted that way goes to `atd.protocol.cbor_reader`, a plain strict decoder, which either says
exactly what is wrong and where, or accepts what libipld confuses (it cannot tell a byte string that
looks like a CID from a CID).

Sources: ipld.io/specs/codecs/dag-cbor, atproto.com/specs/data-model.
"""

from __future__ import annotations

import binascii
import sys
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any, Final

import libipld

from atd.errors import InvalidSyntax, LexiconError, ProofError
from atd.protocol.cbor_reader import INT_MAX, INT_MIN, Reader, Value
from atd.protocol.cid import DAG_CBOR, RAW, Cid
from atd.protocol.syntax import quote

__all__ = [
    "DAG_CBOR",
    "MAX_DEPTH",
    "RAW",
    "Cid",
    "Value",
    "decode",
    "decode_plain",
    "encode",
    "from_json",
    "head",
    "to_json",
]

MAX_DEPTH: Final = 64

_DEFAULT_RECURSION_LIMIT: Final = 1000
_FEW_LEVELS: Final = 200


# --- encoding -----------------------------------------------------------------------------------


def head(major: int, number: int) -> bytes:
    """The shortest head of an item: its major type and its number or length."""
    if number < 24:
        return bytes((major << 5 | number,))
    if number < 0x100:
        return bytes((major << 5 | 24, number))
    if number < 0x10000:
        return bytes((major << 5 | 25,)) + number.to_bytes(2)
    if number < 0x100000000:
        return bytes((major << 5 | 26,)) + number.to_bytes(4)
    return bytes((major << 5 | 27,)) + number.to_bytes(8)


def encode(value: Value) -> bytes:
    """The one DAG-CBOR encoding of ``value``.

    Raises:
        InvalidSyntax: it holds what records cannot hold (a float, an integer beyond 64 bits, a map
            key that is not a string, a lone surrogate) or is nested deeper than `MAX_DEPTH`.
    """
    parts: list[bytes] = []
    _encode(value, parts, MAX_DEPTH)
    return b"".join(parts)


def _encode(value: object, parts: list[bytes], depth: int) -> None:
    if isinstance(value, str):
        parts.append(_text(value))
    elif value is None or value is True or value is False:
        parts.append(b"\xf6" if value is None else b"\xf5" if value else b"\xf4")
    elif isinstance(value, int):
        if not INT_MIN <= value <= INT_MAX:
            raise InvalidSyntax(f"an integer in a record has at most 64 bits, got {quote(value)}")
        parts.append(head(0, value) if value >= 0 else head(1, -1 - value))
    elif isinstance(value, Cid):
        parts.append(b"\xd8\x2a\x58\x25\x00" + value.bytes)
    elif isinstance(value, bytes):
        parts.append(head(2, len(value)) + value)
    elif isinstance(value, list | tuple | Mapping):
        _encode_container(value, parts, depth)
    else:
        raise InvalidSyntax(
            f"a record cannot hold a {type(value).__name__}: {quote(value)}",
            next_step="write fractions as decimal strings",
        )


def _encode_container(
    value: list[object] | tuple[object, ...] | Mapping[object, object],
    parts: list[bytes],
    depth: int,
) -> None:
    if depth <= 0:
        raise InvalidSyntax(f"a record may be nested {MAX_DEPTH} levels deep, not deeper")
    if not isinstance(value, Mapping):
        parts.append(head(4, len(value)))
        for item in value:
            _encode(item, parts, depth - 1)
        return
    entries = []
    for key, item in value.items():
        if not isinstance(key, str):
            raise InvalidSyntax(f"a map in a record has string keys, got {quote(key)}")
        entries.append((_text(key), item))
    # The head holds the length, so sorting whole encoded keys sorts shorter ones first.
    entries.sort(key=lambda entry: entry[0])
    parts.append(head(5, len(entries)))
    for name, item in entries:
        parts.append(name)
        _encode(item, parts, depth - 1)


def _text(text: str) -> bytes:
    try:
        data = text.encode()
    except UnicodeEncodeError:
        raise InvalidSyntax(f"text with a lone surrogate is not Unicode: {quote(text)}") from None
    return head(3, len(data)) + data


# --- decoding -----------------------------------------------------------------------------------


def decode(data: bytes, *, max_depth: int = MAX_DEPTH) -> Value:
    """The value that ``data`` encodes, if it is that value's one encoding.

    Args:
        data: one DAG-CBOR item, whole.
        max_depth: how many lists and maps may be nested.

    Raises:
        ProofError: not DAG-CBOR, or not canonical; says what and at which byte.
    """
    if _is_shallow(data):
        try:
            plain = libipld.decode_dag_cbor(data)
            if libipld.encode_dag_cbor(plain) == data:
                return _typed(plain, max_depth)
        except (ValueError, RecursionError):
            pass
    return Reader(data, max_depth).whole()


_NO_CONTAINER_HEADS: Final = bytes({*range(256)} - {*range(0x80, 0xC0), *range(0xD8, 0xDC)})


def _is_shallow(data: bytes) -> bool:
    """Whether libipld may see ``data``.

    It recurses on the C stack, 700 bytes a level, as deep as ``sys.getrecursionlimit()`` lets it:
    in a program that raised the limit, 100 KB of nested lists end the process.
    """
    if sys.getrecursionlimit() <= _DEFAULT_RECURSION_LIMIT:
        return True
    return len(data.translate(None, _NO_CONTAINER_HEADS)) <= _FEW_LEVELS


def decode_plain(data: bytes) -> object:
    """The value that ``data`` encodes canonically, with each CID left as its 36 bytes.

    For tree nodes that one wrote oneself: a CID and a byte string are not told apart, and floats
    are not looked for.

    Raises:
        ProofError: not DAG-CBOR, or not canonical.
    """
    try:
        plain: object = libipld.decode_dag_cbor(data)
        if libipld.encode_dag_cbor(plain) == data:
            return plain
    except (ValueError, RecursionError) as error:
        raise ProofError(f"a block is not DAG-CBOR: {quote(str(error))}") from None
    raise ProofError("a block is not in canonical DAG-CBOR: encoding it again gives other bytes")


def _typed(plain: Any, depth: int) -> Value:
    """libipld's value with its CIDs as `Cid`; ValueError sends the bytes to the strict reader."""
    kind = type(plain)
    if kind is dict or kind is list:
        if depth <= 0:
            raise ValueError
        for place, item in plain.items() if kind is dict else enumerate(plain):
            inner = type(item)
            if inner is dict or inner is list or inner is bytes:
                plain[place] = _typed(item, depth - 1)
            elif inner is float or (inner is int and not INT_MIN <= item <= INT_MAX):
                raise ValueError
        return plain  # type: ignore[no-any-return]
    if kind is bytes:
        # Encoded again it was the same bytes: what libipld takes for a CID was one.
        return Cid(plain) if libipld.encode_dag_cbor(plain)[0] == 0xD8 else plain
    if kind is float or (kind is int and not INT_MIN <= plain <= INT_MAX):
        raise ValueError
    return plain  # type: ignore[no-any-return]


# --- the JSON form ------------------------------------------------------------------------------


def to_json(value: Value) -> object:
    """``value`` as JSON holds it: a CID as ``{"$link": …}``, bytes as ``{"$bytes": base64}``."""
    if isinstance(value, Cid):
        return {"$link": str(value)}
    if isinstance(value, bytes):
        return {"$bytes": b64encode(value).decode("ascii").rstrip("=")}
    if isinstance(value, dict):
        return {key: to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    return value


def from_json(obj: object) -> dict[str, Value]:
    """The record or object that parsed JSON ``obj`` stands for; the inverse of `to_json`.

    Integral floats (``123.0``) are taken as integers, as JSON does not tell them apart.

    Raises:
        LexiconError: not an object, or it holds what the data model does not.
    """
    if not isinstance(obj, dict):
        raise LexiconError(f"expected a JSON object, got {quote(obj)}")
    value = _from_json(obj, MAX_DEPTH)
    if not isinstance(value, dict):
        raise LexiconError(f"expected a JSON object, got a lone {type(value).__name__}")
    return value


def _from_json(obj: object, depth: int) -> Value:
    if obj is None or isinstance(obj, bool | str):
        return obj
    if isinstance(obj, float) and obj.is_integer():
        obj = int(obj)
    if isinstance(obj, int):
        if not INT_MIN <= obj <= INT_MAX:
            raise LexiconError(f"an integer has at most 64 bits, got {quote(obj)}")
        return obj
    if not isinstance(obj, list | dict):
        raise LexiconError(f"records hold no {type(obj).__name__}, got {quote(obj)}")
    if depth <= 0:
        raise LexiconError(f"JSON nested deeper than {MAX_DEPTH} levels")
    if isinstance(obj, list):
        return [_from_json(item, depth - 1) for item in obj]
    if "$link" in obj or "$bytes" in obj:
        return _from_special(obj)
    result = {key: _from_json(item, depth - 1) for key, item in obj.items()}
    _check_type(result)
    return result


def _from_special(obj: dict[str, object]) -> Cid | bytes:
    (key, *others), text = obj, next(iter(obj.values()))
    if others or not isinstance(text, str):
        raise LexiconError(f"expected one string under $link or $bytes, got {quote(obj)}")
    if key == "$link":
        try:
            return Cid.parse(text)
        except InvalidSyntax as error:
            raise LexiconError(f"bad $link: {error}") from None
    try:
        return b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise LexiconError(f"bad $bytes: not base64: {quote(text)}") from None


def _check_type(value: dict[str, Value]) -> None:
    """``$type`` is a name where it stands, and a blob has the three fields of a blob."""
    if "$type" not in value:
        return
    name = value["$type"]
    if not isinstance(name, str) or not name:
        raise LexiconError(f"$type must be a name, got {quote(name)}")
    if name == "blob":
        ref, mime, size = value.get("ref"), value.get("mimeType"), value.get("size")
        whole = isinstance(size, int) and not isinstance(size, bool) and size >= 0
        if not isinstance(ref, Cid) or not isinstance(mime, str) or not whole:
            raise LexiconError(f"a blob has ref, mimeType and size, got {quote(to_json(value))}")
