"""Strict DAG-CBOR, CIDs, and the JSON form of records: the only importer of libipld.

One value has one encoding, and only that encoding is accepted: map keys sorted (shorter first) and
unique, integers and lengths minimal, no floats, no tag but 42, nothing trailing, bounded depth.

`decode` accepts quickly and refuses slowly. libipld decodes; if encoding its result again gives the
very same bytes then the bytes were canonical, whatever libipld's decoder tolerates. What is not
accepted that way goes to `_Reader`, a plain strict decoder, which either says exactly what is
wrong and where, or accepts what libipld confuses (it cannot tell a byte string that looks like a
CID from a CID).

Sources: ipld.io/specs/codecs/dag-cbor, atproto.com/specs/data-model.
"""

from __future__ import annotations

import binascii
import builtins
import hashlib
import sys
from base64 import b32decode, b32encode, b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import libipld

from atd.errors import InvalidSyntax, LexiconError, ProofError
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

RAW: Final = 0x55
DAG_CBOR: Final = 0x71
MAX_DEPTH: Final = 64

_CBOR_PREFIX: Final = b"\x01\x71\x12\x20"
_RAW_PREFIX: Final = b"\x01\x55\x12\x20"
_PREFIXES: Final = frozenset((_CBOR_PREFIX, _RAW_PREFIX))
_CID_BYTES: Final = 36
_DEFAULT_RECURSION_LIMIT: Final = 1000
_FEW_LEVELS: Final = 200
_INT_MIN: Final = -(1 << 63)
_INT_MAX: Final = (1 << 63) - 1


@dataclass(frozen=True, slots=True, order=True)
class Cid:
    """The name of some bytes by their hash: version 1, SHA-256, codec `DAG_CBOR` or `RAW`.

    ``bytes`` is its binary form, 36 bytes; ``str()`` its base32 form, ``bafy…`` or ``bafk…``.
    """

    bytes: builtins.bytes

    def __post_init__(self) -> None:
        if len(self.bytes) != _CID_BYTES or self.bytes[:4] not in _PREFIXES:
            raise InvalidSyntax(
                "expected a CID of version 1 with SHA-256 and codec dag-cbor or raw,"
                f" got the bytes {quote(self.bytes)}"
            )

    @classmethod
    def parse(cls, text: str) -> Cid:
        """The CID that ``text`` spells in base32, exactly as `str` would spell it.

        Raises:
            InvalidSyntax: no such CID.
        """
        try:
            if len(text) == 59 and text[0] == "b":
                cid = cls(b32decode(text[1:].upper() + "======"))
                if str(cid) == text:
                    return cid
        except (binascii.Error, ValueError, TypeError):
            pass
        raise InvalidSyntax(
            f"expected a CID such as bafyrei… or bafkrei… (59 characters), got {quote(text)}"
        )

    @classmethod
    def from_bytes(cls, data: builtins.bytes) -> Cid:
        """The CID with the binary form ``data`` (36 bytes).

        Raises:
            InvalidSyntax: another version, codec or hash, or another length.
        """
        return cls(bytes(data))

    @classmethod
    def of(cls, block: builtins.bytes, codec: int = DAG_CBOR) -> Cid:
        """The CID of ``block``, which is `DAG_CBOR` or `RAW`."""
        return cls(bytes((1, codec, 0x12, 0x20)) + hashlib.sha256(block).digest())

    @classmethod
    def from_digest(cls, digest: builtins.bytes, codec: int = RAW) -> Cid:
        """The CID with the SHA-256 ``digest`` (32 bytes)."""
        return cls(bytes((1, codec, 0x12, 0x20)) + digest)

    @property
    def codec(self) -> int:
        """`DAG_CBOR` or `RAW`."""
        return self.bytes[1]

    @property
    def digest(self) -> builtins.bytes:
        """The SHA-256 of the named bytes, 32 bytes."""
        return self.bytes[4:]

    def __str__(self) -> str:
        return "b" + b32encode(self.bytes).decode("ascii").lower().rstrip("=")

    def __repr__(self) -> str:
        return f"Cid({self})"


Value: TypeAlias = "bool | int | str | bytes | list[Value] | dict[str, Value] | Cid | None"


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
        if not _INT_MIN <= value <= _INT_MAX:
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
    return _Reader(data, max_depth).whole()


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
            elif inner is float or (inner is int and not _INT_MIN <= item <= _INT_MAX):
                raise ValueError
        return plain  # type: ignore[no-any-return]
    if kind is bytes:
        # Encoded again it was the same bytes: what libipld takes for a CID was one.
        return Cid(plain) if libipld.encode_dag_cbor(plain)[0] == 0xD8 else plain
    if kind is float or (kind is int and not _INT_MIN <= plain <= _INT_MAX):
        raise ValueError
    return plain  # type: ignore[no-any-return]


class _Reader:
    """The plain strict decoder: slower, and able to say what is wrong and where."""

    def __init__(self, data: bytes, max_depth: int) -> None:
        self.data = data
        self.at = 0
        self.max_depth = max_depth

    def whole(self) -> Value:
        value = self.item(self.max_depth)
        if self.at != len(self.data):
            raise self.error(f"{len(self.data) - self.at} bytes follow the value")
        return value

    def error(self, what: str) -> ProofError:
        return ProofError(f"not canonical DAG-CBOR at byte {self.at}: {what}")

    def take(self, count: int) -> bytes:
        piece = self.data[self.at : self.at + count]
        if len(piece) != count:
            raise self.error(f"{count} bytes expected, {len(piece)} are left")
        self.at += count
        return piece

    def read_head(self) -> tuple[int, int]:
        """The next item's major type and number, which must be written as short as can be."""
        first = self.take(1)[0]
        major, number = first >> 5, first & 31
        if number < 24:
            return major, number
        if number > 27:
            raise self.error("indefinite or reserved length")
        size = 1 << number - 24
        if major == 7:
            raise self.error("a float or an unknown simple value")
        number = int.from_bytes(self.take(size))
        if number < (24 if size == 1 else 1 << 4 * size):
            raise self.error(f"the number {number} is not written in its shortest form")
        return major, number

    def item(self, depth: int) -> Value:
        major, number = self.read_head()
        if major == 3:
            return self.text(number)
        if major <= 1:
            if number > _INT_MAX:
                raise self.error("an integer of more than 64 bits")
            return number if major == 0 else -1 - number
        if major == 2:
            return self.take(number)
        if major == 6:
            return self.link(number)
        if major == 7:
            return self.simple(number)
        if depth <= 0:
            raise self.error(f"nested deeper than {self.max_depth} levels")
        if number > len(self.data) - self.at:
            raise self.error(f"{number} items cannot fit in the {len(self.data) - self.at} left")
        if major == 4:
            return [self.item(depth - 1) for _ in range(number)]
        return self.mapping(number, depth)

    def simple(self, number: int) -> Value:
        if number not in (20, 21, 22):
            raise self.error(f"simple value {number} (only false, true and null exist)")
        return None if number == 22 else number == 21

    def text(self, size: int) -> str:
        try:
            return self.take(size).decode()
        except UnicodeDecodeError:
            raise self.error("text that is not UTF-8") from None

    def link(self, tag: int) -> Cid:
        if tag != 42:
            raise self.error(f"tag {tag} (only 42, a CID, exists)")
        major, size = self.read_head()
        body = self.take(size) if major == 2 else b""
        if body[:1] != b"\x00":
            raise self.error("tag 42 without a CID")
        try:
            return Cid(body[1:])
        except InvalidSyntax as error:
            raise self.error(str(error)) from None

    def mapping(self, count: int, depth: int) -> dict[str, Value]:
        result: dict[str, Value] = {}
        before = b""
        for _ in range(count):
            start = self.at
            major, size = self.read_head()
            if major != 3:
                raise self.error("a map key that is not text")
            key = self.text(size)
            encoded = self.data[start : self.at]
            if encoded <= before:
                raise self.error(f"map key {quote(key)} is repeated or out of order")
            before = encoded
            result[key] = self.item(depth - 1)
        return result


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
        if not _INT_MIN <= obj <= _INT_MAX:
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
