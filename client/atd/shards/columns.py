"""A packed shard column by column: where each field of every sample lies, found all at once.

`read_columns` follows the msgpack structure of all samples together, field by field, with the
schema in hand: one gather for the tags of a field in all samples, one for the lengths, and so on.
The slow twin is `atd.shards.codec.StructReader`, which reads a sample by itself, and the rule is:
**what is accepted here, the twin accepts, with the same value.** Whatever is merely unusual
(another order of fields, an integer where a float is expected, a number out of range, text that
ends beyond its sample) is left to the twin: such samples have no row in the
columns (`Columns.row` is -1 for them), and reading them one by one gives the value or the precise
error.

Belongs here: the structure. What a column makes of it is in `atd.shards.column_kinds`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from atd.schema import fields
from atd.schema.fields import Schema
from atd.shards import codec
from atd.shards.column_kinds import Arrays, Column, Numbers, Others, ShardColumn, Strings
from atd.shards.gather import Octets, Offsets, rows
from atd.shards.room import LARGE
from atd.shards.unfit import Unfit
from atd.shards.unpack import NIL, skip

_MARGIN: Final = 1024
"""Bytes after the last sample, the end mark of the archive: a look ahead stays in the map."""

_MAX_KEY: Final = 512
_FEW: Final = 16
"""Entries from which the header of a map is more than one byte."""

_STR_FORMS: Final = {0xD9: 1, 0xDA: 2, 0xDB: 4}
_BIN_FORMS: Final = {0xC4: 1, 0xC5: 2, 0xC6: 4}
_INT_FORMS: Final = {
    0xCC: ">u1",
    0xCD: ">u2",
    0xCE: ">u4",
    0xCF: ">u8",
    0xD0: ">i1",
    0xD1: ">i2",
    0xD2: ">i4",
    0xD3: ">i8",
}
_FLOAT_FORMS: Final = {0xCA: ">f4", 0xCB: ">f8"}
_BOX_TAGS: Final = np.frombuffer(b"\x94" + b"\xcb".ljust(9) * 4, np.uint8)
_MOST_EXTENT: Final = 2.0**40

Found: TypeAlias = tuple[ShardColumn, Offsets]
"""A column, and where the value of each sample ends."""


class _Odd(Exception):
    """Some samples are not as the others; ``rows`` are those among the samples looked at."""

    def __init__(self, rows: NDArray[np.int64]) -> None:
        super().__init__(f"{len(rows)} samples")
        self.rows = rows


def _expect(fits: NDArray[np.bool_]) -> None:
    if not fits.all():
        raise _Odd(np.flatnonzero(~fits))


class Columns:
    """The fields of a shard's samples as columns.

    Attributes:
        count: samples in the shard.
        row: for each sample its row in the columns, or -1: read that one by itself. None if the
            rows are the samples themselves.
        by_name: the columns.
        whole: every sample has every field.
    """

    def __init__(
        self, count: int, row: NDArray[np.int64] | None, by_name: Mapping[str, Column]
    ) -> None:
        self.count = count
        self.row = row
        self.by_name = by_name
        self.whole = all(column.absent is None for column in by_name.values())


def read_columns(
    octets: Octets, offsets: Offsets, sizes: Offsets, schema: Schema, keys: Mapping[str, str]
) -> Columns:
    """The columns of the samples whose msgpack maps are at ``offsets``, ``sizes`` bytes long.

    Args:
        octets: the whole shard.
        keys: the msgpack key of each field, in the order in which the writer put them.
    """
    count = len(offsets)
    # What is large is looked at by itself, where it is asked whether it fits into memory.
    kept = np.flatnonzero((offsets + sizes <= len(octets) - _MARGIN) & (sizes < LARGE))
    by_name: dict[str, Column] = {}
    while len(kept):
        try:
            parser = _Parser(octets, offsets[kept], offsets[kept] + sizes[kept])
            by_name = parser.read(schema, keys)
            break
        except _Odd as odd:
            # Rare, and each time at least one sample fewer: usually all of one kind at once.
            kept = np.delete(kept, odd.rows)
    if len(kept) == count:
        return Columns(count, None, by_name)
    row = np.full(count, -1, np.int64)
    row[kept] = np.arange(len(kept))
    return Columns(count, row, by_name)


class _Parser:
    """The samples at ``starts`` to ``ends``, followed together; any that differs raises `_Odd`."""

    def __init__(self, octets: Octets, starts: Offsets, ends: Offsets) -> None:
        self._octets = octets
        self._starts = starts
        self._ends = ends

    def read(self, schema: Schema, keys: Mapping[str, str]) -> dict[str, Column]:
        """All columns, in the order of the map, out of which optional fields may be left."""
        optional = [name for name in keys if schema[name].optional and len(keys) < _FEW]
        at = self._starts + 1
        if optional:
            declared = self._map_of_few(len(keys) - len(optional), len(keys))
        else:
            at, declared = self._map(len(keys)), np.full(len(at), len(keys))
        seen = np.full(len(at), len(keys) - len(optional))
        found: dict[str, Column] = {}
        for name, key in keys.items():
            if name in optional:
                there, after = self._finds(at, self._packed(key))
                column, at = self._partly(schema[name], at, after, there)
                seen += there
            else:
                column, at = self._field(schema[name], self._literal(at, self._packed(key)))
            _expect(at <= self._ends)
            found[name] = column
        _expect((at == self._ends) & (seen == declared))
        return found

    def _map(self, count: int) -> Offsets:
        """The header of a map of ``count`` entries, as short as it can be; where it ends."""
        _expect(self._starts < self._ends)
        if count < _FEW:
            _expect(self._octets[self._starts] == 0x80 | count)
            return self._starts + 1
        return self._literal(self._starts, struct.pack(">BH", 0xDE, count))

    def _map_of_few(self, least: int, most: int) -> Offsets:
        """The entries of each map, which are so many, and the header of which is one byte."""
        _expect(self._starts < self._ends)
        tags = self._octets[self._starts]
        declared = (tags & 0x0F).astype(np.int64)
        _expect((tags & 0xF0 == 0x80) & (declared >= least) & (declared <= most))
        return declared

    def _packed(self, key: str) -> bytes:
        packed = codec.packed_key(key)
        if len(packed) > _MAX_KEY:
            raise _Odd(np.arange(len(self._starts)))
        return packed

    def _finds(self, at: Offsets, wanted: bytes) -> tuple[NDArray[np.bool_], Offsets]:
        """Where these bytes are, with a value after them in their sample; and where they end."""
        here = rows(self._octets, at, len(wanted))
        end = at + len(wanted)
        there = (here == np.frombuffer(wanted, np.uint8)).all(axis=1)
        return there & (end < self._ends), end

    def _literal(self, at: Offsets, wanted: bytes) -> Offsets:
        """Exactly these bytes; where they end."""
        there, end = self._finds(at, wanted)
        _expect(there)
        return end

    def _field(self, field: fields.Field, at: Offsets) -> Found:
        if not field.nullable:
            return self._value(field.kind, at)
        null = self._octets[at] == NIL
        if not null.any():
            return self._value(field.kind, at)
        column, ends = self._some(at, ~null, lambda part, begin: part._value(field.kind, begin))
        column.missing = null
        return column, np.where(null, at + 1, ends)

    def _partly(
        self, field: fields.Field, at: Offsets, after: Offsets, there: NDArray[np.bool_]
    ) -> Found:
        """A field whose values are at ``after`` in the samples that have it, and nowhere else."""
        if there.all():
            return self._field(field, after)
        column, ends = self._some(after, there, lambda part, begin: part._field(field, begin))
        column.absent = ~there
        column.missing = ~there if column.missing is None else column.missing | ~there
        return column, np.where(there, ends, at)

    def _some(
        self, at: Offsets, which: NDArray[np.bool_], read: Callable[[_Parser, Offsets], Found]
    ) -> Found:
        """The column of all samples where only some have a value."""
        there = np.flatnonzero(which)
        column: ShardColumn = Numbers(np.zeros(0))
        after = at.copy()
        if len(there):
            part = _Parser(self._octets, self._starts[there], self._ends[there])
            try:
                column, after[there] = read(part, at[there])
            except _Odd as odd:
                raise _Odd(there[odd.rows]) from None
        column.spread(there, len(at))
        if column.missing is not None:
            missing = np.zeros(len(at), np.bool_)
            missing[there] = column.missing
            column.missing = missing
        return column, after

    # ------------------------------------------------------------------ values

    def _value(self, kind: fields.Kind, at: Offsets) -> Found:
        match kind:
            case fields.Int():
                return self._ints(at, *kind.limits)
            case fields.Label():
                return self._ints(at, 0, len(kind.names) - 1)
            case fields.Float():
                return self._floats(kind, at)
            case fields.Bool():
                tags = self._octets[at]
                _expect((tags == 0xC2) | (tags == 0xC3))
                return Numbers(tags == 0xC3), at + 1
            case fields.Box():
                return self._boxes(at)
            case fields.String() | fields.Text():
                begin, end = self._span(at, 0xA0, _STR_FORMS)
                return Strings(self._octets, begin, end - begin), end
            case fields.Array() if np.dtype(kind.dtype).kind != "b":
                return self._arrays(kind, at)
            case _:
                return self._others(kind, at)

    def _numbers(self, at: Offsets, tags: Octets, form: str) -> NDArray[Any]:
        width = int(form[2:])
        return rows(self._octets, at + 1, width).view(form)[:, 0]

    def _ints(self, at: Offsets, low: int, high: int) -> Found:
        tags = self._octets[at]
        values = tags.view(np.int8).astype(np.int64)
        ends = at + 1
        known = (tags < 0x80) | (tags >= 0xE0)
        for tag, form in _INT_FORMS.items():
            if known.all():
                break
            here = np.flatnonzero(tags == tag)
            if not len(here):
                continue
            # What does not fit int64 wraps to a negative number, and those are left to the twin.
            found = self._numbers(at[here], tags, form).astype(np.int64)
            known[here] = (found >= 0) if tag == 0xCF else True
            values[here] = found
            ends[here] += int(form[2:])
        _expect(known & (values >= low) & (values <= min(high, 2**63 - 1)))
        return Numbers(values), ends

    def _floats(self, kind: fields.Float, at: Offsets) -> Found:
        tags = self._octets[at]
        values = np.zeros(len(at), np.float64)
        ends = at + 1
        known = np.zeros(len(at), np.bool_)
        for tag, form in _FLOAT_FORMS.items():
            here = np.flatnonzero(tags == tag)
            if len(here):
                values[here] = self._numbers(at[here], tags, form)
                ends[here] += int(form[2:])
                known[here] = True
        if kind.bits < 64:
            known &= (np.abs(values) <= np.finfo(kind.dtype).max) | ~np.isfinite(values)
        _expect(known)
        return Numbers(values), ends

    def _boxes(self, at: Offsets) -> Found:
        """Lists of four float64, as we write them."""
        width = len(_BOX_TAGS)
        here = rows(self._octets, at, width)
        tags = np.flatnonzero(_BOX_TAGS != 0x20)
        _expect((here[:, tags] == _BOX_TAGS[tags]).all(axis=1))
        sides = [here[:, 2 + 9 * n : 10 + 9 * n] for n in range(4)]
        packed = np.ascontiguousarray(np.concatenate(sides, axis=1))
        values = packed.view(">f8").astype(np.float64)
        _expect(np.abs(values).max(axis=1) < np.inf)  # NaN is not less either
        return Numbers(values), at + width

    def _span(
        self, at: Offsets, short: int | None, forms: dict[int, int]
    ) -> tuple[Offsets, Offsets]:
        """Where the payload of a string or byte string starts and ends, within its sample."""
        tags = self._octets[at]
        begin, length = at + 1, np.zeros(len(at), np.int64)
        known = np.zeros(len(at), np.bool_)
        if short is not None:
            known = tags & 0xE0 == short
            length[known] = tags[known] & 0x1F
        for tag, width in forms.items():
            here = np.flatnonzero(tags == tag)
            if len(here):
                length[here] = self._numbers(at[here], tags, f">u{width}")
                begin[here] += width
                known[here] = True
        end = begin + length
        _expect(known & (end <= self._ends))
        return begin, end

    def _arrays(self, kind: fields.Array, at: Offsets) -> Found:
        """Arrays in the compact form, of the dtype of the schema, all of as many dimensions."""
        begin, end = self._span(at, None, _BIN_FORMS)
        code = np.dtype(kind.dtype).str.encode("ascii")
        ndim = len(kind.dims) if kind.dims else int(self._octets[begin[0] + 1 + len(code)])
        head = struct.pack("B", len(code)) + code + struct.pack("B", min(ndim, 255))
        width = len(head) + 8 * ndim
        _expect(np.full(len(at), ndim <= 32) & (begin + width <= end))
        header = rows(self._octets, begin, width)
        _expect((header[:, : len(head)] == np.frombuffer(head, np.uint8)).all(axis=1))
        shapes = np.ascontiguousarray(header[:, len(head) :]).view("<i8").astype(np.int64)
        shapes = shapes.reshape(len(at), ndim)
        # Sizes from an enemy: products in floats first, which cannot wrap.
        fits = (shapes >= 0).all(axis=1)
        fits &= np.maximum(shapes, 1).prod(axis=1, dtype=np.float64) <= _MOST_EXTENT
        for axis, dim in enumerate(kind.dims):
            if dim.size is not None:
                fits &= shapes[:, axis] == dim.size
        _expect(fits)
        lengths = end - begin - width
        dtype = np.dtype(kind.dtype)
        _expect(shapes.prod(axis=1, dtype=np.int64) * dtype.itemsize == lengths)
        return Arrays(self._octets, begin + width, lengths, dtype, shapes), end

    def _others(self, kind: fields.Kind, at: Offsets) -> Found:
        """Values of any other kind: only where they end is found now."""
        tags = self._octets[at]
        if _all_in(tags, _BIN_FORMS):
            end = self._span(at, None, _BIN_FORMS)[1]
        elif _all_in(tags, _STR_FORMS, 0xA0):
            end = self._span(at, 0xA0, _STR_FORMS)[1]
        else:
            end = self._stepped_over(at)
        return Others(self._octets, at, end - at, codec.reader(kind)), end

    def _stepped_over(self, at: Offsets) -> Offsets:
        """The ends of values of any type, one by one: nesting has no columns."""
        view = self._octets.data
        ends = np.zeros(len(at), np.int64)
        for row, (start, limit) in enumerate(zip(at.tolist(), self._ends.tolist(), strict=True)):
            try:
                ends[row] = start + skip(view[start:limit], 0)
            except (Unfit, IndexError, struct.error):
                ends[row] = -1
        _expect(ends >= 0)
        return ends


def _all_in(tags: Octets, forms: dict[int, int], short: int | None = None) -> bool:
    fits = np.isin(tags, list(forms))
    if short is not None:
        fits |= tags & 0xE0 == short
    return bool(fits.all())
