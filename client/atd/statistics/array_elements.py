"""The elements of arrays as numbers: all of them for the extremes, some of them for the rest.

A shard may hold a hundred million elements, and its statistics must cost little beside packing it.
So the least and the greatest are those of all elements, while the other numbers come from elements
at places that depend on nothing but the array's own size: all of them where it has few, else
`FEW` of them (`MANY` of one byte, which are counted instead of sorted) spread by the golden ratio,
which falls in step with no width of a picture.

Source for the places: Kronecker's sequence; see H. Niederreiter, "Random Number Generation and
Quasi-Monte Carlo Methods" (SIAM, 1992), chapter 3.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from atd.statistics.numbers import Numbers

FEW: Final = 64
MANY: Final = 4096
_BLOCK_BYTES: Final = 4 * 2**20
_GOLDEN: Final = (5**0.5 - 1) / 2


@lru_cache(maxsize=64)
def places(size: int, most: int) -> NDArray[np.int64]:
    """Which of ``size`` elements are looked at: at most ``most``, in order."""
    if size <= most:
        return np.arange(size, dtype=np.int64)
    spread = (np.arange(1, most + 1) * _GOLDEN) % 1.0
    return np.unique((spread * size).astype(np.int64))


def add_arrays(numbers: Numbers, arrays: list[NDArray[Any]]) -> None:
    """Add arrays of one dtype, of any shapes."""
    rows: list[NDArray[Any]] = []
    held = 0
    for array in arrays:
        # Neighbours of one size are taken together, up to a few megabytes.
        if rows and (rows[0].size != array.size or held + array.nbytes > _BLOCK_BYTES):
            add_rows(numbers, rows[0][None] if len(rows) == 1 else np.stack(rows))
            rows, held = [], 0
        rows.append(np.asarray(array).reshape(-1))
        held += array.nbytes
    if rows:
        add_rows(numbers, rows[0][None] if len(rows) == 1 else np.stack(rows))


def add_rows(numbers: Numbers, rows: NDArray[Any]) -> None:
    """Add arrays of one size as (arrays, elements)."""
    if not rows.size or rows.dtype.kind not in "biuf":
        return
    if rows.dtype.kind == "b":
        rows = rows.view(np.uint8)
    if rows.dtype.kind == "f":
        _add_floats(numbers, rows)
        return
    numbers.add_range(int(rows.min()), int(rows.max()), rows.size)
    if rows.dtype.itemsize == 1:
        seen = rows[:, places(rows.shape[1], MANY)].reshape(-1)
        counts = np.bincount(seen.view(np.uint8), minlength=256)
        values = np.arange(256, dtype=np.uint8).view(rows.dtype).astype(np.int64)
        there = np.flatnonzero(counts)
        numbers.add_counted(values[there], counts[there])
        return
    seen = rows[:, places(rows.shape[1], FEW)].reshape(-1)
    before = numbers.elements
    numbers.add_integers(seen)
    numbers.elements = before


def _add_floats(numbers: Numbers, rows: NDArray[Any]) -> None:
    low, high = float(rows.min()), float(rows.max())
    if np.isfinite(low) and np.isfinite(high):
        numbers.add_range(low + 0.0, high + 0.0, rows.size)
        strange = 0, 0
    else:
        strange = int(np.isnan(rows).sum()), int(np.isinf(rows).sum())
        finite = rows[np.isfinite(rows)]
        if len(finite):
            numbers.add_range(float(finite.min()) + 0.0, float(finite.max()) + 0.0, len(finite))
        numbers.elements += rows.size - len(finite)
    before = numbers.elements, numbers.nan, numbers.infinite
    numbers.add_floats(rows[:, places(rows.shape[1], FEW)].reshape(-1))
    numbers.elements, numbers.nan, numbers.infinite = (
        before[0],
        before[1] + strange[0],
        before[2] + strange[1],
    )
