"""Where samples lie: in which shards, and which of their samples.

What belongs here: from sample indices of a release to shards and the rows in them, in one of two
forms. Neighbours in the release's order are a few `Runs`, which no array has to spell out; anything
else is `Scattered`. Both are cut into `Piece`, the part that one shard has.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Final, NamedTuple, TypeAlias

import numpy as np

from atd.dataset.order import Indices, Ranges
from atd.shards.column_kinds import Rows

_MIXED: Final = 16
"""Fewer samples than this from a shard before another comes: shards are mixed."""


@dataclass(frozen=True)
class Piece:
    """The part of some samples that one shard has.

    Args:
        shard: its number.
        samples: which of its samples.
        places: where among all of them they belong.
    """

    shard: int
    samples: Rows
    places: Rows


class Run(NamedTuple):
    """Neighbouring samples of one shard: ``size`` from ``first`` on."""

    shard: int
    first: int
    size: int


class Runs:
    """Samples as the release lists them."""

    mixed = False

    def __init__(self, runs: Sequence[Run]) -> None:
        self._runs = runs
        self._total = sum([run.size for run in runs])

    def __len__(self) -> int:
        return self._total

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Shard and row of each sample."""
        for shard, first, count in self._runs:
            for row in range(first, first + count):
                yield shard, row

    def part(self, begin: int, end: int) -> Runs:
        """Those at ``begin`` to ``end``."""
        if len(self._runs) == 1:
            shard, first, _ = self._runs[0]
            return Runs((Run(shard, first + begin, end - begin),))
        found, at = [], 0
        for shard, first, count in self._runs:
            low, high = max(begin - at, 0), min(end - at, count)
            if low < high:
                found.append(Run(shard, first + low, high - low))
            at += count
        return Runs(found)

    def joints(self) -> list[int]:
        """Where another shard begins."""
        return list(accumulate(run.size for run in self._runs))[:-1]

    def shards(self) -> list[int]:
        """The shards, each once."""
        return [run.shard for run in self._runs]

    def pieces(self) -> list[Piece]:
        """The part of each shard."""
        found, at = [], 0
        for shard, first, count in self._runs:
            found.append(Piece(shard, slice(first, first + count), slice(at, at + count)))
            at += count
        return found


class Scattered:
    """Samples ``rows[i]`` of shards ``numbers[i]``.

    Attributes:
        mixed: a shard comes again after another one.
    """

    def __init__(self, numbers: Indices, rows: Indices, mixed: bool | None = None) -> None:
        self.numbers = numbers
        self.rows = rows
        self.mixed = bool((np.diff(numbers) < 0).any()) if mixed is None else mixed

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Shard and row of each sample."""
        return zip(self.numbers.tolist(), self.rows.tolist(), strict=True)

    def part(self, begin: int, end: int) -> Scattered:
        """Those at ``begin`` to ``end``."""
        # A part of what is mixed may by chance not be; it is read well enough either way.
        return Scattered(self.numbers[begin:end], self.rows[begin:end], self.mixed)

    def joints(self) -> list[int]:
        """Where another shard begins, if they come one after the other."""
        if self.mixed:
            return []
        changes = np.flatnonzero(np.diff(self.numbers)) + 1
        return changes.tolist() if len(changes) * _MIXED < len(self) else []

    def shards(self) -> list[int]:
        """The shards, each once."""
        return np.flatnonzero(np.bincount(self.numbers)).tolist()

    def pieces(self) -> list[Piece]:
        """The part of each shard."""
        if not self.mixed:
            bounds = [0, *(np.flatnonzero(np.diff(self.numbers)) + 1).tolist(), len(self)]
            return [
                Piece(int(self.numbers[begin]), _run(self.rows[begin:end]), slice(begin, end))
                for begin, end in pairwise(bounds)
            ]
        order, bounds = sorted_by(self.numbers)
        return [
            Piece(int(self.numbers[order[begin]]), self.rows[order[begin:end]], order[begin:end])
            for begin, end in pairwise(bounds)
        ]


Places: TypeAlias = Runs | Scattered


def sorted_by(numbers: Indices) -> tuple[Indices, list[int]]:
    """An order in which equal numbers, one at least, are neighbours, and the bounds of each lot."""
    # numpy sorts 16 bits by radix, several times faster.
    small = numbers.astype(np.uint16) if int(numbers.max()) < 1 << 16 else numbers
    order = np.argsort(small, kind="stable")
    return order, [0, *(np.flatnonzero(np.diff(numbers[order])) + 1).tolist(), len(numbers)]


def _run(samples: Indices) -> Rows:
    """Neighbouring samples as a slice, others as they are."""
    first, count = int(samples[0]), len(samples)
    if int(samples[-1]) - first == count - 1 and (np.diff(samples) == 1).all():
        return slice(first, first + count)
    return samples


class Locator:
    """From sample indices of a release to places.

    Args:
        counts: samples in each shard.
    """

    def __init__(self, counts: Sequence[int]) -> None:
        ends = np.cumsum(counts, dtype=np.int64)
        self._begins = ends - np.asarray(counts, dtype=np.int64)
        self._ends = ends

    def __call__(self, indices: Indices) -> Places:
        """The places of samples ``indices``, each within the release."""
        count = len(indices)
        if count and int(indices[-1]) - int(indices[0]) == count - 1:
            steps = np.diff(indices)
            if bool((steps == 1).all()):
                return self.run(int(indices[0]), count)
        numbers = self._ranges(indices)
        return Scattered(numbers, indices - self._begins[numbers])

    @cached_property
    def _ranges(self) -> Ranges:
        return Ranges(self._ends)

    def run(self, first: int, count: int) -> Runs:
        """The places of ``count`` samples from ``first`` on."""
        found, shard = [], int(np.searchsorted(self._ends, first, side="right"))
        while count:
            here = min(count, int(self._ends[shard]) - first)
            if here:
                found.append(Run(shard, first - int(self._begins[shard]), here))
            first, count, shard = first + here, count - here, shard + 1
        return Runs(found)
