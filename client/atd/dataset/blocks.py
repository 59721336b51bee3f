"""Many samples at once: from places in shards to columns of values.

What belongs here: `Block`, which takes the fields of some samples from the columns of their shards
(`atd.shards.columns`) instead of reading each sample by itself. The slow twin of everything here is
`atd.shards.reader.ShardFile.sample`; where a block cannot be had by columns (the members layout, a
sample that is out of the ordinary), `Uncommon` is raised, and the caller takes that way, which also
gives the precise error. What is made of the values is in `atd.dataset.samples` and
`atd.dataset.stacker`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import repeat
from typing import Any, Protocol, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from atd.dataset.places import Piece, Places, Scattered
from atd.dataset.shelf import Shelf
from atd.dataset.together import together
from atd.shards.column_kinds import Arrays, Column, Numbers, Rows, Strings, places_of
from atd.shards.gather import Octets, Pool
from atd.shards.joined import JoinedArrays
from atd.shards.unfit import Unfit


class Uncommon(Exception):
    """These samples have to be read one by one."""


Part: TypeAlias = tuple[Callable[[str], Column], Rows, Rows]
"""Columns by name, the rows of them that are asked for, and where in the block those belong."""


class Stackable(Protocol):
    """A column of arrays of one shape."""

    shape: tuple[int, ...] | None
    dtype: np.dtype[Any]
    width: int

    def stacked(self, at: Rows, take: Callable[[int], Octets]) -> Octets:
        """The elements of the rows (n, width), in memory of ``take`` if need be."""

    def stack(self, at: Rows, out: Octets) -> None:
        """Copy the elements of the rows into ``out`` (n, width)."""


class Block:
    """The samples at some places: columns of one or several shards, as one.

    Raises:
        Uncommon: a sample among them is not in the columns of its shard.
        AtdError: a shard cannot be had.
    """

    def __init__(self, shelf: Shelf, places: Places) -> None:
        self.count = len(places)
        self._shelf = shelf
        self._places = places
        self._parts: list[Part]
        joined = together(shelf, places) if isinstance(places, Scattered) and places.mixed else None
        if joined is None:
            self._parts = [self._part(piece) for piece in places.pieces()]
            return
        rows = joined[1]
        if int(rows.min()) < 0:
            raise Uncommon
        self._parts = [(joined[0].column, rows, slice(0, self.count))]

    def _part(self, piece: Piece) -> Part:
        columns = self._shelf.shard(piece.shard).columns
        if columns is None or not columns.by_name:
            raise Uncommon
        rows = piece.samples
        if columns.row is not None:
            rows = columns.row[rows]
            if int(rows.min()) < 0:
                raise Uncommon
        return columns.by_name.__getitem__, rows, piece.places

    def _columns(self, name: str) -> list[tuple[Column, Rows, Rows]]:
        """The columns of a field, with the rows of each and where they belong."""
        return [(by_name(name), rows, places) for by_name, rows, places in self._parts]

    def values(self, name: str) -> list[Any]:
        """A field of all samples as a list.

        Raises:
            Uncommon: one of the values is none.
        """
        try:
            if len(self._parts) == 1:
                column, rows, _ = self._columns(name)[0]
                return column.take(rows)
            if all(isinstance(places, slice) for _, _, places in self._parts):
                found: list[Any] = []
                for column, rows, _ in self._columns(name):
                    found += column.take(rows)
                return found
            # An array of objects puts them into their places in C.
            out = np.empty(self.count, np.object_)
            for column, rows, places in self._columns(name):
                out[places] = _boxed(column, column.take(rows))
            listed: list[Any] = out.tolist()
            return listed
        except (Unfit, UnicodeDecodeError):
            raise Uncommon from None

    def absent(self, name: str) -> list[bool] | None:
        """Which samples lack an optional field; None if all have it."""
        out = np.zeros(self.count, np.bool_)
        for column, rows, places in self._columns(name):
            if column.absent is not None:
                out[places] = column.absent[rows]
        found: list[bool] = out.tolist()
        return found if out.any() else None

    def each(self, name: str) -> Iterator[Any]:
        """What `values` gives, one after the other; arrays are read-only."""
        if len(self._parts) > 1:
            return iter(self.values(name))
        column, rows, _ = self._columns(name)[0]
        try:
            return column.each(rows)
        except (Unfit, UnicodeDecodeError):
            raise Uncommon from None

    def lazily(self, name: str) -> Iterator[Any]:
        """A field of each sample, made when it is asked for.

        The iterator raises ShardError where a value is none.
        """
        if len(self._parts) == 1 and not isinstance(self._places, Scattered):
            shard, rows = self._places.pieces()[0].shard, self._places.pieces()[0].samples
            return map(self._shelf.shard(shard).value, places_of(rows).tolist(), repeat(name))
        shards = {number: self._shelf.shard(number).value for number in self._places.shards()}
        return (shards[number](row, name) for number, row in self._places)

    def numbers(self, name: str, dtype: np.dtype[Any], copy: bool = True) -> NDArray[Any]:
        """A numeric field of all samples: (n,), or (n, 4) for boxes.

        Args:
            copy: a new array; otherwise it may be the memory of the column.
        """
        if len(self._parts) == 1:
            column, at, _ = self._columns(name)[0]
            data = _data(column)
            if not isinstance(at, slice):
                return data.take(at, axis=0).astype(dtype, copy=False)
            return data[at].astype(dtype, copy=copy)
        out: NDArray[Any] | None = None
        for column, at, places in self._columns(name):
            data = _data(column)
            if out is None:
                out = np.empty((self.count, *data.shape[1:]), dtype)
            out[places] = data[at]
        assert out is not None
        return out

    def arrays(self, name: str, pool: Pool) -> NDArray[Any] | None:
        """An array field of all samples, stacked: the caller's own memory. None where their shapes
        differ."""
        columns: list[tuple[Stackable, Rows, Rows]] = []
        for column, at, places in self._columns(name):
            held = _stackable(column)
            if held is None or (columns and held.shape != columns[0][0].shape):
                return None
            columns.append((held, at, places))
        first, at, _ = columns[0]
        assert first.shape is not None
        if len(columns) == 1:
            stacked = first.stacked(at, partial(pool.take, name=name))
            return stacked.view(first.dtype).reshape(self.count, *first.shape)
        out = pool.take(self.count * first.width, name).reshape(self.count, first.width)
        for held, at, places in columns:
            if isinstance(places, slice):
                held.stack(at, out[places])
            else:
                part = np.empty((len(places), first.width), np.uint8)
                held.stack(at, part)
                out[places] = part
        return out.view(first.dtype).reshape(self.count, *first.shape)

    def view(self, name: str) -> NDArray[Any] | None:
        """As `arrays`, but read-only, and no copy; None where the map does not have them so."""
        if len(self._parts) > 1:
            return None
        column, at, _ = self._columns(name)[0]
        if not isinstance(column, Arrays) or _stackable(column) is None:
            return None
        return column.as_view(at)


def _data(column: Column) -> NDArray[Any]:
    """The numbers of a field that is never null."""
    return cast("Numbers", column).data


def _stackable(column: Column) -> Stackable | None:
    """The column, if its arrays are all there, of one shape, and not empty."""
    fits = isinstance(column, Arrays | JoinedArrays) and column.missing is None
    held = cast("Stackable", column)
    return held if fits and held.shape is not None and held.width else None


def _boxed(column: Column, values: list[Any]) -> NDArray[np.object_]:
    """An array of these very objects: numpy would look into sequences."""
    out = np.empty(len(values), np.object_)
    if isinstance(column, Strings):
        out[:] = values
    else:
        for at, value in enumerate(values):
            out[at] = value
    return out
