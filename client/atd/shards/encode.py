"""The short way from samples to members, for samples that are already what they should be.

Belongs here: `Encode`, a faster `atd.shards.layout.SampleWriter` with the same bytes. Most samples
are dicts or dataclass instances whose fields are exactly of the type, dtype and shape that is
stored. For these the checks are a comparison each, the msgpack around an array is the same in every
sample and made once, and the array is copied once, into the member. Whatever is different in the
least (a numpy scalar, an array in another order, a missing field, a number too large) takes the
long way through `SampleWriter`, which converts it or says what is wrong with it. So nothing here
decides what fits, or has words for it; the tests compare both ways.

Like the long way it is done with a sample when it returns: a generator may use its buffers again.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter, itemgetter
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from atd.records import Layout
from atd.schema import fields
from atd.schema.fields import Schema
from atd.shards import arrays
from atd.shards.codec import packed_key, packer
from atd.shards.fit import fitter
from atd.shards.layout import PACKED, SampleWriter, Stored, packed_keys
from atd.shards.members import Member, members_of
from atd.shards.unfit import Unfit

_Take: TypeAlias = Callable[[Any], Any]
"""A value that may be stored as it is, or `_Other`."""
_Values: TypeAlias = tuple[Any, ...]
_Part: TypeAlias = Callable[[_Values, list[Any]], None]
"""Appends the bytes of some fields of a sample to a list."""

_MOST_HEADS: Final = 4096


class _Other(Exception):
    """This sample takes the long way."""


class Encode:
    """Samples of ``schema`` as the members that ``layout`` stores.

    Raises:
        LocalError: the layout does not fit the schema.
    """

    def __init__(self, schema: Schema, layout: Layout) -> None:
        self._long_way = SampleWriter(schema, layout)
        self._names = schema.names
        self._getters: dict[type, Callable[[Any], _Values] | None] = {}
        self._short_way: Callable[[_Values], Stored]
        if layout.kind == "packed":
            self._short_way = _packed(schema, packed_keys(schema, layout))
        else:
            self._short_way = _members(schema, members_of(schema, layout))

    def __call__(self, key: str, sample: object) -> Stored:
        """The members of one sample, in the order in which they are written.

        Args:
            key: of the sample, checked already (`atd.shards.keys.check_key`).

        Raises:
            SchemaMismatch: the sample does not fit; names the key and the field.
        """
        kind = type(sample)
        try:
            get = self._getters[kind]
        except KeyError:
            get = self._getters[kind] = _getter(kind, self._names)
        if get is not None:
            try:
                return self._short_way(get(sample))
            except (_Other, Unfit, KeyError, AttributeError, UnicodeEncodeError):
                pass
        return self._long_way(key, sample)


def _getter(kind: type, names: tuple[str, ...]) -> Callable[[Any], _Values] | None:
    """What takes the fields out of samples of the type ``kind``, none more and none less."""
    alone = len(names) == 1
    if kind is dict:
        get = itemgetter(*names)

        def of_dict(sample: dict[str, Any]) -> _Values:
            if len(sample) != len(names):
                raise _Other
            return (get(sample),) if alone else get(sample)

        return of_dict
    if not dataclasses.is_dataclass(kind) or issubclass(kind, Mapping):
        return None
    if {field.name for field in dataclasses.fields(kind)} != set(names):
        return None
    read = attrgetter(*names)
    return (lambda sample: (read(sample),)) if alone else read


# ------------------------------------------------------------------ values


def _taker(field: fields.Field) -> _Take:
    """What passes a plain value of ``field`` on, and refuses all that would need more thought."""
    kind = field.kind
    match kind:
        case fields.Int():
            return _whole(*kind.limits)
        case fields.Label():
            return _labelled(kind.names)
        case fields.Float():
            return _converted(float, fitter(kind))
        case fields.Bool():
            return _of_type(bool)
        case fields.String() | fields.Text():
            return _of_type(str)
        case fields.Bytes():
            return _of_type(bytes)
        case fields.Image() | fields.Audio() | fields.Video():
            return _converted(bytes, fitter(kind))
        case _:
            return _refuse


def _refuse(value: object) -> Any:
    raise _Other


def _of_type(wanted: type) -> _Take:
    def take(value: Any) -> Any:
        if type(value) is wanted:
            return value
        raise _Other

    return take


def _converted(wanted: type, fit: _Take) -> _Take:
    def take(value: Any) -> Any:
        if type(value) is wanted:
            return fit(value)
        raise _Other

    return take


def _whole(low: int, high: int) -> _Take:
    def take(value: Any) -> Any:
        if type(value) is int and low <= value <= high:
            return value
        raise _Other

    return take


def _labelled(names: Sequence[str]) -> _Take:
    """A class by its name, as folders of images have it, or by its number."""
    numbers = {name: number for number, name in enumerate(names)}
    by_number = _whole(0, len(names) - 1)

    def take(value: Any) -> Any:
        return numbers[value] if type(value) is str and value in numbers else by_number(value)

    return take


class _Heads(dict[tuple[int, ...], bytes]):
    """What stands before the elements of an array, by its shape; filled as shapes come up."""

    def __init__(self, kind: fields.Array, head: Callable[[NDArray[Any]], bytes]) -> None:
        self._sizes = tuple(dim.size for dim in kind.dims)
        self._dtype = np.dtype(kind.dtype)
        self._head = head

    def __missing__(self, shape: tuple[int, ...]) -> bytes:
        sizes = self._sizes
        if sizes and (
            len(sizes) != len(shape)
            or any(want not in (None, have) for want, have in zip(sizes, shape, strict=True))
        ):
            raise _Other
        if len(self) >= _MOST_HEADS:
            self.clear()
        # Strides of 0: an array of that shape that takes no memory.
        found = self[shape] = self._head(np.broadcast_to(np.zeros((), self._dtype), shape))
        return found


def _array(at: int, kind: fields.Array, head: Callable[[NDArray[Any]], bytes]) -> _Part:
    """The array at place ``at`` of the values: its head, and its elements in C order."""
    dtype, heads = np.dtype(kind.dtype), _Heads(kind, head)

    def add(values: _Values, pieces: list[Any]) -> None:
        array = values[at]
        if type(array) is not np.ndarray or array.dtype != dtype:
            raise _Other
        if not array.flags.c_contiguous:
            raise _Other
        pieces.append(heads[array.shape])
        pieces.append(array)

    return add


# ------------------------------------------------------------------ the packed layout


def _packed(schema: Schema, keys: Mapping[str, str]) -> Callable[[_Values], Stored]:
    """From values in the order of the schema to the one member of a packed sample."""
    start = _header(0x80, 0xDE, len(keys))
    parts = _packed_parts(schema, keys)
    join = b"".join

    def encode(values: _Values) -> Stored:
        pieces: list[Any] = [start]
        for part in parts:
            part(values, pieces)
        return [(PACKED, join(pieces))]

    return encode


def _packed_parts(schema: Schema, keys: Mapping[str, str]) -> list[_Part]:
    """Arrays one by one, and what stands between them in runs that are packed together."""
    places = {name: at for at, name in enumerate(schema.names)}
    kinds = {field.name: field for field in schema}
    parts: list[_Part] = []
    run: list[tuple[str, int, _Take]] = []
    for name, key in keys.items():
        kind = kinds[name].kind
        if isinstance(kind, fields.Array):
            parts += _run(run)
            run = []
            parts.append(_array(places[name], kind, _bin_head(packed_key(key))))
        else:
            run.append((key, places[name], _taker(kinds[name])))
    return parts + _run(run)


def _run(run: list[tuple[str, int, _Take]]) -> list[_Part]:
    """Some neighbouring fields, packed as a list of keys and values without the list's header."""
    if not run:
        return []
    pack, taken = packer(), tuple(run)
    header = len(_header(0x90, 0xDC, 2 * len(run)))

    def add(values: _Values, pieces: list[Any]) -> None:
        flat: list[Any] = []
        for key, at, take in taken:
            flat += (key, take(values[at]))
        pieces.append(pack(flat)[header:])

    return [add]


def _header(short: int, long: int, count: int) -> bytes:
    """The header of a msgpack map or list of ``count``, given the tags of the two shortest."""
    if count < 16:
        return bytes([short | count])
    if count < 1 << 16:
        return struct.pack(">BH", long, count)
    return struct.pack(">BI", long + 1, count)


def _bin_head(key: bytes) -> Callable[[NDArray[Any]], bytes]:
    """The key of an array, the header of a bin, and what the compact form says of the array."""

    def head(array: NDArray[Any]) -> bytes:
        compact = arrays.compact_head(array)
        size = len(compact) + array.nbytes
        if size < 1 << 8:
            return key + struct.pack(">BB", 0xC4, size) + compact
        if size < 1 << 16:
            return key + struct.pack(">BH", 0xC5, size) + compact
        if size < 1 << 32:
            return key + struct.pack(">BI", 0xC6, size) + compact
        raise _Other

    return head


# ------------------------------------------------------------------ the members layout


def _members(schema: Schema, members: tuple[Member, ...]) -> Callable[[_Values], Stored]:
    """From values in the order of the schema to the members of a sample."""
    writers = [_member(schema, member) for member in members]

    def encode(values: _Values) -> Stored:
        return [(suffix, write(values)) for suffix, write in writers]

    return encode


def _member(schema: Schema, member: Member) -> tuple[str, Callable[[_Values], bytes]]:
    held = [(at, field) for at, field in enumerate(schema) if field.name in member.names]
    at, first = held[0]
    if len(held) == 1 and isinstance(first.kind, fields.Array) and member.suffix.endswith("npy"):
        part = _array(at, first.kind, arrays.npy_head)
        return member.suffix, lambda values: _joined(part, values)
    takers = [(at, field.name, _taker(field)) for at, field in held]
    return member.suffix, lambda values: _plainly(member, takers, values)


def _joined(part: _Part, values: _Values) -> bytes:
    pieces: list[Any] = []
    part(values, pieces)
    return b"".join(pieces)


def _plainly(member: Member, takers: list[tuple[int, str, _Take]], values: _Values) -> bytes:
    payload = member.write({name: take(values[at]) for at, name, take in takers})
    if payload is None:
        raise _Other
    return payload
