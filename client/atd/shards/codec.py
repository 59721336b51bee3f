"""Samples as msgpack maps: what a packed member holds.

Writing turns plain values (`atd.shards.fit`) into msgpack: a map with string keys, arrays as bin in
the compact form, JSON as text, timestamps as RFC 3339 text, labels as integers, media as bin. No
extension types. This is the sample format of the atdata package, 0.3 and later.

Reading is driven by the schema: each field is decoded by the function of its kind, straight from
the map that the shard lies in. The rules that keep an enemy out:

- nothing is allocated for a length before that many bytes were found to be there;
- only what is asked for is decoded; what is not is stepped over, without recursion;
- nesting is bounded by the schema, and by `MAX_JSON_DEPTH` inside JSON, the number of values by
  `MAX_VALUES`, and a copy by the memory there is (`atd.shards.room`);
- unknown, repeated and missing fields, trailing bytes and extension types are errors.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeAlias

import msgpack
import numpy as np

from atd.schema import fields
from atd.shards import arrays, media
from atd.shards.documents import json_text, parse_json
from atd.shards.fit import Plain, read_moment
from atd.shards.room import MAX_VALUES, check_room
from atd.shards.unfit import Unfit, describe, shown, wanted
from atd.shards.unpack import (
    LIST,
    MAP,
    NIL,
    STR,
    read_any,
    read_bin,
    read_bool,
    read_count,
    read_int,
    read_number,
    read_str,
    skip,
)

Read: TypeAlias = Callable[[memoryview, int], tuple[Any, int]]
"""From a buffer and a position to a value and the position after it."""

# ------------------------------------------------------------------ writing

_Pack: TypeAlias = Callable[[Plain], Any]


class Encoder:
    """Plain samples as msgpack maps.

    Args:
        members: the fields of the schema.
        keys: the msgpack key of each field, in the order of the map.
    """

    def __init__(self, members: tuple[fields.Field, ...], keys: Mapping[str, str]) -> None:
        kinds = {field.name: field.kind for field in members}
        self._order = tuple((name, key, _packing(kinds[name])) for name, key in keys.items())
        self._pack = msgpack.Packer(use_bin_type=True).pack

    def __call__(self, plain: dict[str, Plain]) -> bytes:
        """The msgpack map of ``plain``; fields that it lacks are left out."""
        packed = {
            key: convert(plain[name]) if convert and plain[name] is not None else plain[name]
            for name, key, convert in self._order
            if name in plain
        }
        data: bytes = self._pack(packed)
        return data


def packer() -> Callable[[Any], bytes]:
    """A function from what is packable already to msgpack, for `atd.shards.encode`."""
    pack: Callable[[Any], bytes] = msgpack.Packer(use_bin_type=True).pack
    return pack


def pack_value(kind: fields.Kind, plain: Plain) -> bytes:
    """One plain value of ``kind`` as msgpack."""
    convert = _packing(kind)
    data: bytes = msgpack.packb(convert(plain) if convert and plain is not None else plain)
    return data


def _packing(kind: fields.Kind) -> _Pack | None:
    """What makes a plain value of ``kind`` packable; None if it is so already."""
    match kind:
        case fields.Array():
            return arrays.to_compact
        case fields.Json():
            return json_text
        case fields.List():
            item = _packing(kind.item)
            return None if item is None else lambda plain: [item(value) for value in plain]
        case fields.Struct():
            inner = {field.name: _packing(field.kind) for field in kind.fields}
            return (lambda plain: _pack_struct(inner, plain)) if any(inner.values()) else None
        case _:
            return None


def _pack_struct(inner: dict[str, _Pack | None], plain: dict[str, Plain]) -> dict[str, Any]:
    return {
        name: convert(value) if (convert := inner[name]) and value is not None else value
        for name, value in plain.items()
    }


# ------------------------------------------------------------------ reading: kinds


def reader(kind: fields.Kind) -> Read:
    """The function that reads a value of ``kind`` as a sample gives it, or raises `Unfit`.

    It may also raise IndexError or struct.error where the buffer ends: `StructReader` catches them.
    """
    match kind:
        case fields.Int():
            return _ints(kind)
        case fields.Float() if kind.bits < 64:
            return _floats(kind)
        case fields.Array():
            return _arrays(kind)
        case fields.Label():
            return _labels(kind)
        case fields.Image():
            return lambda view, at: _wrapped(media.Image, view, at)
        case fields.Audio():
            return lambda view, at: _wrapped(media.Audio, view, at)
        case fields.Video():
            return lambda view, at: _wrapped(media.Media, view, at)
        case fields.List():
            return _lists(kind)
        case fields.Struct():
            return StructReader(kind.fields).read
        case _:
            return _PLAIN_READERS[type(kind)]


def _ints(kind: fields.Int) -> Read:
    low, high = kind.limits

    def read(view: memoryview, at: int) -> tuple[int, int]:
        number, after = read_int(view, at)
        if not low <= number <= high:
            raise Unfit(wanted(kind), str(number))
        return number, after

    return read


def _floats(kind: fields.Float) -> Read:
    """Numbers of fewer bits than a Python float: a writer may keep more digits, not more range."""
    most = float(np.finfo(kind.dtype).max)

    def read(view: memoryview, at: int) -> tuple[float, int]:
        number, after = read_number(view, at)
        if abs(number) > most and not math.isinf(number):
            raise Unfit(wanted(kind), repr(number))
        return number, after

    return read


def _labels(kind: fields.Label) -> Read:
    count = len(kind.names)

    def read(view: memoryview, at: int) -> tuple[int, int]:
        index, after = read_int(view, at)
        if not 0 <= index < count:
            raise Unfit(wanted(kind), str(index))
        return index, after

    return read


def _arrays(kind: fields.Array) -> Read:
    check = array_check(kind)

    def read(view: memoryview, at: int) -> tuple[Any, int]:
        data, after = read_bin(view, at)
        return check(arrays.read_array(data)), after

    return read


def array_check(kind: fields.Array) -> Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]:
    """The function that passes an array of ``kind`` on, in native byte order, or raises `Unfit`."""
    dtype = np.dtype(kind.dtype)
    sizes = tuple(dim.size for dim in kind.dims)

    def check(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        if array.dtype != dtype:
            if array.dtype.newbyteorder("=") != dtype:
                raise Unfit(wanted(kind), describe(array))
            array = array.astype(dtype)
            array.flags.writeable = False
        if sizes and sizes != array.shape:
            pairs = zip(sizes, array.shape, strict=False)
            if len(sizes) != array.ndim or any(w not in (None, have) for w, have in pairs):
                raise Unfit(wanted(kind), describe(array))
        return array

    return check


def _wrapped(cls: type[media.Media], view: memoryview, at: int) -> tuple[media.Media, int]:
    data, after = read_bin(view, at)
    return cls(data), after


def _read_bytes(view: memoryview, at: int) -> tuple[bytes, int]:
    data, after = read_bin(view, at)
    check_room(len(data))
    return bytes(data), after


def _read_moment(view: memoryview, at: int) -> tuple[datetime, int]:
    text, after = read_str(view, at)
    return read_moment(text), after


def _read_json(view: memoryview, at: int) -> tuple[Any, int]:
    if not (0xA0 <= view[at] < 0xC0 or view[at] in STR):
        return read_any(view, at)
    text, after = read_str(view, at)
    return parse_json(text), after


def _lists(kind: fields.List) -> Read:
    read_item = reader(kind.item)

    def read(view: memoryview, at: int) -> tuple[list[Any], int]:
        count, at = read_count(view, at, 0x90, LIST)
        items: list[Any] = []
        try:
            for _ in range(count):
                item, at = read_item(view, at)
                items.append(item)
        except Unfit as error:
            raise error.within(f"[{len(items)}]") from None
        return items, at

    return read


def _read_box(view: memoryview, at: int) -> tuple[tuple[float, ...], int]:
    count, at = read_count(view, at, 0x90, LIST)
    if count != 4:
        raise Unfit("a box of four numbers", f"a list of {count}")
    sides: list[float] = []
    for _ in range(4):
        side, at = read_number(view, at)
        if not math.isfinite(side):
            raise Unfit("a box of four finite numbers", str(side))
        sides.append(side)
    return tuple(sides), at


_PLAIN_READERS: Final[dict[type[Any], Read]] = {
    fields.Bool: read_bool,
    fields.Float: read_number,
    fields.String: read_str,
    fields.Text: read_str,
    fields.Bytes: _read_bytes,
    fields.Timestamp: _read_moment,
    fields.Json: _read_json,
    fields.Box: _read_box,
}


@dataclass(frozen=True, slots=True)
class _Entry:
    """One field of a map: its key as msgpack bytes, and how its value is read."""

    name: str
    key: bytes
    nullable: bool
    optional: bool
    kind: fields.Kind
    nests: bool
    read: Read


class StructReader:
    """Reads msgpack maps of the given fields: a sample, or a struct inside one.

    Args:
        members: the fields, in the order of the schema.
        keys: the msgpack key of each field, in the order that the writer most likely used (only
            speed depends on the order); the fields' own names if not given.
    """

    def __init__(
        self, members: tuple[fields.Field, ...], keys: Mapping[str, str] | None = None
    ) -> None:
        keys = keys or {field.name: field.name for field in members}
        self._entries = {field.name: _entry(field, keys[field.name]) for field in members}
        self._expected = tuple(self._entries[name] for name in keys)
        self._by_key = {keys[name]: entry for name, entry in self._entries.items()}
        self._place = {entry.name: at for at, entry in enumerate(self._expected)}

    def sample(self, view: memoryview, only: Collection[str] | None = None) -> dict[str, Any]:
        """The sample that ``view`` holds, all of it and nothing else.

        Args:
            view: one msgpack map.
            only: the fields to decode; the others are stepped over and left out.

        Raises:
            Unfit: with the path of the field that does not fit.
        """
        try:
            out, end = self.read(view, 0, only)
        except (IndexError, struct.error):
            raise Unfit("a whole sample", f"{len(view)} bytes that end in its middle") from None
        if end != len(view):
            raise Unfit("the end of the sample", f"{len(view) - end} more bytes")
        return out

    def read(
        self, view: memoryview, at: int, only: Collection[str] | None = None
    ) -> tuple[dict[str, Any], int]:
        """The map at ``at`` and the position after it."""
        count, at = read_count(view, at, 0x80, MAP)
        found: dict[str, Any] = {}
        turn = 0
        for _ in range(count):
            entry, at = self._next(view, at, turn)
            turn = self._place[entry.name] + 1
            name = entry.name
            if name in found:
                raise Unfit("each field once", "it twice", name)
            if view[at] == NIL and (entry.nullable or not isinstance(entry.kind, fields.Json)):
                if not entry.nullable:
                    raise Unfit(f"{wanted(entry.kind)}, not null", "null", name)
                found[name], at = None, at + 1
                continue
            try:
                if only is None or name in only:
                    if entry.nests and len(view) - at > MAX_VALUES:
                        skip(view, at)  # counts the parts before anything is made of them
                    found[name], at = entry.read(view, at)
                else:
                    found[name], at = None, skip(view, at)
            except Unfit as error:
                raise error.within(name) from None
            except MemoryError:
                raise Unfit("a value that fits into memory", f"{len(view)} bytes", name) from None
        return self._in_order(found, only), at

    def _next(self, view: memoryview, at: int, turn: int) -> tuple[_Entry, int]:
        """The field whose key stands at ``at``, and where its value starts."""
        if turn < len(self._expected):
            entry = self._expected[turn]
            end = at + len(entry.key)
            if view[at:end] == entry.key:
                return entry, end
        name, at = read_str(view, at)
        known = self._by_key.get(name)
        if known is None:
            raise Unfit("no such field: the schema has none", "one", shown(name))
        return known, at

    def _in_order(self, found: dict[str, Any], only: Collection[str] | None) -> dict[str, Any]:
        if len(found) != len(self._entries):
            for name, entry in self._entries.items():
                if name not in found and not entry.optional:
                    raise Unfit(wanted(entry.kind), "nothing", name)
        return {
            name: found[name]
            for name in self._entries
            if name in found and (only is None or name in only)
        }


def _entry(field: fields.Field, key: str) -> _Entry:
    kind = field.kind
    nests = isinstance(kind, fields.Json | fields.List | fields.Struct)
    return _Entry(
        field.name, packed_key(key), field.nullable, field.optional, kind, nests, reader(kind)
    )


def packed_key(key: str) -> bytes:
    """The key of a field as msgpack, in the shortest form."""
    data: bytes = msgpack.packb(key)
    return data


def value_reader(kind: fields.Kind) -> Callable[[memoryview], Any]:
    """The function from one msgpack value, all of the view and nothing else, to what it means."""
    read_one = reader(kind)

    def read(view: memoryview) -> Any:
        try:
            if len(view) > MAX_VALUES:
                skip(view, 0)
            value, end = read_one(view, 0)
        except (IndexError, struct.error):
            raise Unfit(wanted(kind), f"{len(view)} bytes that end in its middle") from None
        if end != len(view):
            raise Unfit("the end of the value", f"{len(view) - end} more bytes")
        return value

    return read
