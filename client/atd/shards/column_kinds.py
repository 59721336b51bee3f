"""What a column of a packed shard is: numbers, texts, arrays, boxes, or values read when asked.

Belongs here: from the places that `atd.shards.columns` found to values, many at once or one. A
column knows nothing of keys and errors: where a value turns out to be none (text that is not
UTF-8, JSON that does not parse), `Unfit` or UnicodeDecodeError is raised, and whoever asked reads
the sample with the strict reader to say what is wrong with it.

``rows`` are places within the column: a slice, or an index array.
"""

from __future__ import annotations

import math
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import cached_property
from itertools import repeat
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from atd.shards.gather import LARGE_ROW, Octets, Offsets, rows, rows_into, spaced, strided
from atd.shards.texts import MAX_MAP, listed, string_views, texts_by_hand, worth_arrow, wrapped
from atd.shards.unfit import Unfit

Rows: TypeAlias = slice | NDArray[np.int64]

SMALL_ARRAY: Final = 4096
"""Bytes up to which arrays of a block are copied together; larger ones are views of the map."""


class Column(ABC):
    """One field of the samples that fit the columns.

    Attributes:
        missing: where the value is null, or there is none (bool); None if there is one always.
        absent: where there is not even null; None if there is something always.
    """

    missing: NDArray[np.bool_] | None = None
    absent: NDArray[np.bool_] | None = None

    @abstractmethod
    def one(self, row: int) -> Any:
        """The value of one sample, as `atd.shards.reader.ShardFile.sample` gives it."""

    @abstractmethod
    def values(self, at: Rows) -> list[Any]:
        """The values of many samples."""

    def get(self, row: int) -> Any:
        """`one`, or None where there is no value."""
        if self.missing is not None and self.missing[row]:
            return None
        return self.one(row)

    def each(self, at: Rows) -> Iterator[Any]:
        """What `take` gives, one after the other."""
        return iter(self.take(at))

    def take(self, at: Rows) -> list[Any]:
        """`values`, with None where there is no value."""
        if self.missing is None or not self.missing[at].any():
            return self.values(at)
        places = places_of(at)
        there = ~self.missing[places]
        found = iter(self.values(places[there]))
        return [next(found) if is_there else None for is_there in there.tolist()]


def places_of(at: Rows) -> NDArray[np.int64]:
    """The rows as an index array."""
    return np.arange(at.start, at.stop, dtype=np.int64) if isinstance(at, slice) else at


class ShardColumn(Column):
    """A column as it was found in a shard."""

    @abstractmethod
    def spread(self, at: Offsets, count: int) -> None:
        """Make this the column of ``count`` samples, of which it has those at ``at``."""


def _spread(values: NDArray[Any], at: Offsets, count: int) -> NDArray[Any]:
    out = np.zeros((count, *values.shape[1:]), values.dtype)
    out[at] = values
    return out


class Numbers(ShardColumn):
    """Integers (int64), floats (float64), truth values, or boxes (n, 4) of float64."""

    def __init__(self, data: NDArray[Any]) -> None:
        self.data = data

    def one(self, row: int) -> Any:
        return tuple(self.data[row].tolist()) if self.data.ndim > 1 else self.data.item(row)

    def values(self, at: Rows) -> list[Any]:
        found: list[Any] = self.data[at].tolist()
        return list(map(tuple, found)) if self.data.ndim > 1 else found

    def spread(self, at: Offsets, count: int) -> None:
        self.data = _spread(self.data, at, count)


class Spans(ShardColumn):
    """Values that lie at ``offsets`` and are ``lengths`` bytes long."""

    def __init__(self, octets: Octets, offsets: Offsets, lengths: Offsets) -> None:
        self.octets = octets
        self.view = octets.data
        self.offsets = offsets
        self.lengths = lengths

    def spread(self, at: Offsets, count: int) -> None:
        self.offsets = _spread(self.offsets, at, count)
        self.lengths = _spread(self.lengths, at, count)

    def _span(self, row: int) -> memoryview:
        start = self.offsets.item(row)
        return self.view[start : start + self.lengths.item(row)]


class Strings(Spans):
    """Text in UTF-8, checked when it is decoded."""

    def __init__(self, octets: Octets, offsets: Offsets, lengths: Offsets) -> None:
        super().__init__(octets, offsets, lengths)

    def one(self, row: int) -> str:
        return str(self._span(row), "utf-8")

    def values(self, at: Rows) -> list[Any]:
        offsets = self.offsets[at]
        if len(self.octets) > MAX_MAP or not worth_arrow(len(offsets)):
            return texts_by_hand(self.octets, offsets, self.lengths[at])
        return listed(self.views[at], self._buffers)

    @cached_property
    def _buffers(self) -> list[Any]:
        return wrapped([self.octets])

    @cached_property
    def views(self) -> NDArray[Any]:
        """An Arrow view of each, as one element of 16 bytes; see `atd.shards.texts`."""
        return string_views(self.octets, self.offsets, self.lengths).view("V16")[:, 0]


class Arrays(Spans):
    """Arrays of one dtype, native, and one number of dimensions.

    Args:
        offsets, lengths: of the elements, without the header.
        shapes: (n, ndim), checked to make up ``lengths``.
    """

    def __init__(
        self,
        octets: Octets,
        offsets: Offsets,
        lengths: Offsets,
        dtype: np.dtype[Any],
        shapes: Offsets,
    ) -> None:
        super().__init__(octets, offsets, lengths)
        self.dtype = dtype
        self.shapes = shapes
        same = len(shapes) > 0 and bool((shapes == shapes[0]).all())
        self.shape: tuple[int, ...] | None = tuple(shapes[0].tolist()) if same else None
        """The one shape that all have, or None."""
        self.width = 0 if self.shape is None else math.prod(self.shape) * dtype.itemsize

    def spread(self, at: Offsets, count: int) -> None:
        super().spread(at, count)
        self.shapes = _spread(self.shapes, at, count)

    def one(self, row: int) -> NDArray[Any]:
        shape = self.shape or tuple(self.shapes[row].tolist())
        if not self.lengths.item(row):
            return _empty(shape, self.dtype)
        return np.ndarray(shape, self.dtype, self.view, self.offsets.item(row))

    def as_view(self, at: Rows) -> NDArray[Any] | None:
        """The rows (n, *shape) as a read-only view of the map, where they lie at equal distances.

        Only of arrays of one shape, with elements in it. The elements may be unaligned.
        """
        even = self._even(at)
        if even is None or self.shape is None:
            return None
        return even.view(self.dtype).reshape(len(even), *self.shape)

    def stacked(self, at: Rows, take: Callable[[int], Octets]) -> Octets:
        """The elements of the rows, all of one shape (n, width): the caller's own.

        Args:
            take: gives memory of so many bytes, if new memory would not be as good.
        """
        if self.width < LARGE_ROW and not isinstance(at, slice):
            return rows(self.octets, self.offsets.take(at), self.width)
        out = take(self.width * len(places_of(at))).reshape(-1, self.width)
        self.stack(at, out)
        return out

    def stack(self, at: Rows, out: Octets) -> None:
        """Copy the elements of the rows into ``out`` (n, width), contiguous."""
        rows_into(self.octets, self.offsets[at], out, self._even(at))

    @cached_property
    def _step(self) -> int:
        """The one distance between all neighbours, or 0."""
        steps = np.diff(self.offsets)
        return int(steps[0]) if len(steps) and bool((steps == steps[0]).all()) else 0

    def _even(self, at: Rows) -> Octets | None:
        """The rows as a view of the map, if they lie at equal distances."""
        if not isinstance(at, slice) or at.start >= at.stop:
            return None
        if self._step >= self.width:
            return spaced(
                self.octets, self.offsets.item(at.start), self._step, at.stop - at.start, self.width
            )
        return strided(self.octets, self.offsets[at], self.width)

    def values(self, at: Rows) -> list[Any]:
        return list(self._each(at))

    def each(self, at: Rows) -> Iterator[Any]:
        # As they are made, each is gone before the next: its memory is used again.
        return self._each(at) if self.missing is None else super().each(at)

    def _each(self, at: Rows) -> Iterator[Any]:
        offsets = self.offsets[at]
        if not self.shape or not self.width:
            # Of several shapes, or of none: an array of arrays without dimensions gives scalars.
            return map(self.one, places_of(at).tolist())
        block = None
        if self.width <= SMALL_ARRAY:
            block = rows(self.octets, offsets, self.width)
        else:
            block = self._even(at)
        if block is None:
            # One C loop: no frame of Python for an array.
            shape, dtype, view = repeat(self.shape), repeat(self.dtype), repeat(self.view)
            make: Any = np.ndarray
            return map(make, shape, dtype, view, offsets.tolist())
        made = block.view(self.dtype).reshape(len(offsets), *self.shape)
        made.flags.writeable = False
        return iter(made)


def _empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    made = np.empty(shape, dtype)
    made.flags.writeable = False
    return made


class Others(Spans):
    """Values that are read when asked for: lists, structs, JSON, moments, media, bytes."""

    def __init__(
        self,
        octets: Octets,
        offsets: Offsets,
        lengths: Offsets,
        read: Callable[[memoryview, int], tuple[Any, int]],
    ) -> None:
        super().__init__(octets, offsets, lengths)
        self._read = read

    def one(self, row: int) -> Any:
        span = self._span(row)
        try:
            value, end = self._read(span, 0)
        except (IndexError, struct.error):
            raise Unfit("a whole value", f"{len(span)} bytes that end in its middle") from None
        if end != len(span):
            raise Unfit("a value as long as it seems", f"{len(span) - end} more bytes")
        return value

    def values(self, at: Rows) -> list[Any]:
        return [self.one(row) for row in places_of(at).tolist()]
