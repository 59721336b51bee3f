"""The columns of several shards as one, for samples that are picked here and there.

What belongs here: `join`, and what a column of several maps is. A block of a shuffle has a few
samples of each shard; asking every shard for its few costs more than the samples do. Joined, one
index gives the numbers of all, and another the views of all texts. Arrays stay where they are: what
is joined are their offsets, and the shard of each. The slow twin is `Joined`, which asks the column
of the shard for one value after the other; it is also the way for all that has no better one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import repeat
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from atd.shards.column_kinds import (
    SMALL_ARRAY,
    Arrays,
    Column,
    Numbers,
    Rows,
    Strings,
    places_of,
)
from atd.shards.gather import Octets, Offsets, rows_across
from atd.shards.region import side_by_side
from atd.shards.texts import INLINE, MAX_MAP, listed, texts_across, worth_arrow, wrapped


class Lots:
    """How many rows each of several parts has.

    Args:
        counts: rows in each part.
    """

    def __init__(self, counts: Sequence[int]) -> None:
        self.counts = counts
        self.begins = np.cumsum([0, *counts[:-1]], dtype=np.int64)
        self._region: tuple[Octets, list[int]] | None = None
        self._maps: Sequence[Octets] = ()

    @cached_property
    def owner(self) -> NDArray[Any]:
        """The part that each row is of; unsigned, of as few bits as will do."""
        numbers = np.arange(len(self.counts), dtype=np.min_scalar_type(len(self.counts)))
        return np.repeat(numbers, self.counts)

    def region(self, maps: Sequence[Octets]) -> tuple[Octets, list[int]] | None:
        """`side_by_side`, made once for the maps that all fields of these parts lie in."""
        if list(map(id, maps)) != list(map(id, self._maps)):
            self._maps, self._region = maps, side_by_side(maps)
        return self._region


class Joined(Column):
    """The rows of ``parts``, which are columns of one field, one after the other."""

    def __init__(self, parts: Sequence[Column], lots: Lots) -> None:
        self.parts = parts
        self.lots = lots
        self.missing = _mask([part.missing for part in parts], lots)
        self.absent = _mask([part.absent for part in parts], lots)

    def one(self, row: int) -> Any:
        part = self.lots.owner.item(row)
        return self.parts[part].one(row - self.lots.begins.item(part))

    def values(self, at: Rows) -> list[Any]:
        return list(map(self.one, places_of(at).tolist()))


def _mask(masks: Sequence[NDArray[np.bool_] | None], lots: Lots) -> NDArray[np.bool_] | None:
    if all(mask is None for mask in masks):
        return None
    pairs = zip(masks, lots.counts, strict=True)
    return np.concatenate([np.zeros(n, np.bool_) if mask is None else mask for mask, n in pairs])


class JoinedStrings(Joined):
    """Texts of several maps."""

    def __init__(self, parts: Sequence[Strings], lots: Lots) -> None:
        super().__init__(parts, lots)
        self._maps = [part.octets for part in parts]

    @cached_property
    def _buffers(self) -> list[Any]:
        return wrapped(self._maps)

    @cached_property
    def _offsets(self) -> Offsets:
        return np.concatenate([cast("Strings", part).offsets for part in self.parts])

    @cached_property
    def _lengths(self) -> Offsets:
        return np.concatenate([cast("Strings", part).lengths for part in self.parts])

    @cached_property
    def _views(self) -> Any:
        """The Arrow views of all, each with the number of its map."""
        made = np.concatenate([cast("Strings", part).views for part in self.parts])
        fields = made.view(np.int32).reshape(-1, 4)
        # Short ones are in the view itself, and have no buffer to name.
        long = fields[:, 0] > INLINE
        fields[long, 2] = self.lots.owner[long]
        return made

    def values(self, at: Rows) -> list[Any]:
        count = len(places_of(at))
        if max(map(len, self._maps)) > MAX_MAP or not worth_arrow(count):
            owners, offsets = self.lots.owner[at], self._offsets[at]
            return texts_across(self._maps, owners, offsets, self._lengths[at])
        return listed(self._views[at], self._buffers)


class JoinedArrays(Joined):
    """Arrays of one shape out of several maps."""

    def __init__(self, parts: Sequence[Arrays], lots: Lots) -> None:
        super().__init__(parts, lots)
        self.shape, self.dtype, self.width = parts[0].shape, parts[0].dtype, parts[0].width
        self._maps = [part.octets for part in parts]
        self._offsets = np.concatenate([part.offsets for part in parts])

    def stacked(self, at: Rows, take: Callable[[int], Octets]) -> Octets:
        """The elements of the rows (n, width), in memory of ``take`` if need be."""
        out = take(self.width * len(places_of(at))).reshape(-1, self.width)
        self.stack(at, out)
        return out

    def stack(self, at: Rows, out: Octets) -> None:
        """Copy the elements of the rows into ``out`` (n, width)."""
        rows_across(self._maps, self.lots.owner[at], self._offsets[at], out)

    def values(self, at: Rows) -> list[Any]:
        return list(self.each(at))

    def each(self, at: Rows) -> Iterator[Any]:
        if self.missing is not None:
            return super().each(at)
        if self.width <= SMALL_ARRAY:
            together = np.empty((len(places_of(at)), self.width), np.uint8)
            self.stack(at, together)
            made = together.view(self.dtype).reshape(len(together), *(self.shape or ()))
            made.flags.writeable = False
            return iter(made)
        views = [octets.data for octets in self._maps]
        maps = map(views.__getitem__, self.lots.owner[at].tolist())
        make: Any = np.ndarray
        return map(make, repeat(self.shape), repeat(self.dtype), maps, self._offsets[at].tolist())


def join(parts: Sequence[Column], lots: Lots) -> Column:
    """One column of all rows of ``parts``, which are columns of one field."""
    kinds = {type(part) for part in parts}
    plain = all(part.missing is None for part in parts)
    if kinds == {Numbers}:
        data = [cast("Numbers", part).data for part in parts]
        if len({(one.dtype, one.ndim) for one in data}) == 1:
            numbers = Numbers(np.concatenate(data))
            numbers.missing = _mask([part.missing for part in parts], lots)
            numbers.absent = _mask([part.absent for part in parts], lots)
            return numbers
    if kinds == {Strings}:
        return JoinedStrings(cast("Sequence[Strings]", parts), lots)
    if kinds == {Arrays} and plain:
        return _join_arrays(cast("Sequence[Arrays]", parts), lots)
    return Joined(parts, lots)


def _join_arrays(parts: Sequence[Arrays], lots: Lots) -> Column:
    if len({(part.dtype, part.shapes.shape[1]) for part in parts}) > 1:
        return Joined(parts, lots)
    region = lots.region([part.octets for part in parts])
    if region is not None:
        octets, begins = region
        return Arrays(
            octets,
            np.concatenate([p.offsets + begin for p, begin in zip(parts, begins, strict=True)]),
            np.concatenate([part.lengths for part in parts]),
            parts[0].dtype,
            np.concatenate([part.shapes for part in parts]),
        )
    # Arrays without elements have no place in a map.
    if len({part.shape for part in parts}) == 1 and parts[0].shape and parts[0].width:
        return JoinedArrays(parts, lots)
    return Joined(parts, lots)
