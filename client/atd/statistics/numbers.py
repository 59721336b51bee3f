"""Many numbers as a few: counts, extremes, exact sums, and two kinds of buckets that can be merged.

Belongs here: `Numbers`, what is known of the numbers of one field in one or more shards. It is made
up of things that do not depend on the order or the grouping of the numbers:

- how many, how many are NaN or infinite, the least and the greatest;
- their sum and the sum of their squares, exact (`atd.statistics.exact`);
- the values themselves with their counts, as long as there are at most `MOST_VALUES`;
- a *grid*: equal cells as wide as a power of two, the narrowest of which fewer than `CELLS` cover
  the range. When the range grows two cells become one, so a finer grid always fits a coarser one;
- *magnitudes*: cells that grow with the number, 32 to each power of two, which tell small numbers
  apart however great the greatest are. This is the sketch of Masson, Rim and Lee, "DDSketch: a fast
  and fully-mergeable quantile sketch with relative-error guarantees" (PVLDB 12, 2019), with cells
  that are linear between powers of two: 3 % wide, found by shifting bits, with no logarithm that
  two machines could round differently.

Memory is bounded: 1,024 cells of the grid, and at most 2**17 magnitudes.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from atd.statistics import exact

MOST_VALUES: Final = 64
CELLS: Final = 1024
Weights: TypeAlias = NDArray[np.int64] | None

_UNIT: Final = 1074
"""Every float is a whole number of 2**-1074."""
_MAGNITUDE_SHIFT: Final = 47
_GLANCE: Final = 4 * MOST_VALUES


@dataclass
class Numbers:
    """What is known of some numbers; `merge` adds what is known of others.

    Attributes:
        count: finite numbers that the sums and buckets are of.
        elements: numbers in all, where not each was looked at for those; else as many as there are.
        low, high: of all finite ones; None where there are none.
        total, squares: see `atd.statistics.exact.sums`.
        values: how often each occurs; None if they are too many.
        shift: a cell of the grid is ``2**shift`` wide; ``grid``: how many are in each.
        magnitudes: how many are in each cell that grows with the number.
    """

    count: int = 0
    elements: int = 0
    nan: int = 0
    infinite: int = 0
    low: float | int | None = None
    high: float | int | None = None
    total: int = 0
    squares: int = 0
    values: Counter[float | int] | None = field(default_factory=Counter)
    shift: int = -_UNIT
    grid: Counter[int] = field(default_factory=Counter)
    magnitudes: Counter[int] = field(default_factory=Counter)

    def add_floats(self, values: NDArray[Any]) -> None:
        """Add floats (1-d), each of which counts."""
        found = values.astype(np.float64)
        finite = np.isfinite(found)
        self.elements += len(found)
        if not finite.all():
            self.nan += int(np.isnan(found).sum())
            self.infinite += int(np.isinf(found).sum())
            found = found[finite]
        if not len(found):
            return
        found += 0.0  # minus nought is nought
        self._bounds(float(found.min()), float(found.max()))
        self._sum(len(found), exact.sums(found))
        self._keep(found, None)
        self._sketch(found, None)

    def add_integers(self, values: NDArray[Any]) -> None:
        """Add integers (1-d, at most 64 bits), each of which counts."""
        if not len(values):
            return
        self.elements += len(values)
        self._bounds(int(values.min()), int(values.max()))
        self._sum(len(values), exact.sums_of_integers(values))
        self._keep(values, None)
        self._sketch(values.astype(np.float64), None)

    def add_counted(self, values: NDArray[np.int64], times: NDArray[np.int64]) -> None:
        """Add distinct integers with how often each occurs; ``elements`` is the caller's."""
        if not len(values):
            return
        pairs = list(zip(values.tolist(), times.tolist(), strict=True))
        self._sum(int(times.sum()), exact.sums_of_pairs(pairs))
        self._bounds(min(values.tolist()), max(values.tolist()))
        self._keep(values, times)
        self._sketch(values.astype(np.float64), times)

    def add_range(self, low: float | int, high: float | int, elements: int) -> None:
        """``elements`` finite numbers lie between these, both of which occur; no more is known."""
        self.elements += elements
        self._bounds(low, high)

    def merge(self, other: Numbers) -> None:
        """Add what ``other`` knows."""
        self.count += other.count
        self.elements += other.elements
        self.nan += other.nan
        self.infinite += other.infinite
        if other.low is not None and other.high is not None:
            self._bounds(other.low, other.high)
        self.total += other.total
        self.squares += other.squares
        if self.values is not None and other.values is not None:
            self.values.update(other.values)
        else:
            self.values = None
        self._few()
        self.magnitudes.update(other.magnitudes)
        self._regrid(other.shift, other.grid)

    # --- inside ----------------------------------------------------------------------------------

    def _bounds(self, low: float | int, high: float | int) -> None:
        self.low = low if self.low is None else min(self.low, low)
        self.high = high if self.high is None else max(self.high, high)

    def _sum(self, count: int, found: tuple[int, int]) -> None:
        self.count += count
        self.total += found[0]
        self.squares += found[1]

    def _keep(self, values: NDArray[Any], times: Weights) -> None:
        """Count the values themselves, unless they are too many."""
        if self.values is None or len(np.unique(values[:_GLANCE])) > MOST_VALUES:
            self.values = None
            return
        for value, often in _counted(values, times):
            self.values[value] += often
        self._few()

    def _few(self) -> None:
        if self.values is not None and len(self.values) > MOST_VALUES:
            self.values = None

    def _sketch(self, values: NDArray[np.float64], times: Weights) -> None:
        self.magnitudes.update(dict(_counted(_magnitudes(values), times)))
        shift = shift_for(float(values.min()), float(values.max()))
        self._regrid(shift, dict(_counted(_cells(values, shift), times)))

    def _regrid(self, shift: int, grid: dict[int, int]) -> None:
        """Add the cells of another grid, both made as coarse as their union needs."""
        if not grid:
            return
        if not self.grid:
            self.shift, self.grid = shift, Counter(grid)
            return
        common = max(self.shift, shift)
        cells = [at >> common - self.shift for at in (min(self.grid), max(self.grid))]
        cells += [at >> common - shift for at in (min(grid), max(grid))]
        while not _covered(min(cells), max(cells)):
            common, cells = common + 1, [at >> 1 for at in cells]
        self.grid = _coarser(self.grid, common - self.shift)
        self.grid.update(_coarser(grid, common - shift))
        self.shift = common


def shift_for(low: float, high: float) -> int:
    """The exponent of the narrowest cells of which fewer than `CELLS` reach from low to high."""
    least, most = _units(low), _units(high)
    # Cells of the grid are exact as floats: their numbers have at most 53 bits.
    shift = max(0, max(abs(least), abs(most)).bit_length() - 52)
    shift = max(shift, (most - least).bit_length() - CELLS.bit_length())
    while not _covered(least >> shift, most >> shift):
        shift += 1
    return shift - _UNIT


def _covered(first: int, last: int) -> bool:
    return last - first < CELLS


def _units(number: float) -> int:
    numerator, denominator = number.as_integer_ratio()
    return numerator << (_UNIT + 1 - denominator.bit_length())


def _cells(values: NDArray[np.float64], shift: int) -> NDArray[np.int64]:
    """The number of the cell of each value, below which it is exactly rounded down."""
    scaled = np.ldexp(values, -shift)
    cells = np.floor(scaled)
    cells[(scaled == 0) & (values < 0)] = -1  # too small for a float, and yet below nought
    return cells.astype(np.int64)


def _coarser(grid: dict[int, int], by: int) -> Counter[int]:
    made: Counter[int] = Counter()
    for cell, often in grid.items():
        made[cell >> by] += often
    return made


def _magnitudes(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """The cell of each value: sign, exponent and five bits, in the order of the numbers."""
    cells = np.abs(values).view(np.int64) >> _MAGNITUDE_SHIFT
    return np.where(values < 0, -1 - cells, cells)


def magnitude_bounds(cell: int) -> tuple[float, float]:
    """Between which two numbers those in a cell of `Numbers.magnitudes` are."""
    bits = cell if cell >= 0 else -1 - cell
    ends = np.array([bits, bits + 1], np.int64) << _MAGNITUDE_SHIFT
    near, far = (min(end, math.inf) for end in ends.view(np.float64).tolist())
    return (near, far) if cell >= 0 else (-far, -near)


def _counted(values: NDArray[Any], times: Weights) -> Iterable[tuple[Any, int]]:
    if times is None:
        found, counts = np.unique(values, return_counts=True)
    else:
        found, places = np.unique(values, return_inverse=True)
        counts = np.zeros(len(found), np.int64)
        np.add.at(counts, places, times)
    return zip(found.tolist(), counts.tolist(), strict=True)
