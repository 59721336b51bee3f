"""Sums of floats without rounding: whole numbers, so that the order of the summands is no matter.

Belongs here: the sum and the sum of squares of many floats, as integers of any length in units of
``2**-SCALE``. Every float is a whole number of such units, so nothing is ever lost, and parts that
were summed elsewhere are added as they are: one shard or a thousand, the same total bit for bit.
Rounding happens once, in `mean` and `deviation`.

Source: IEEE 754-2019, section 3.4 (binary64); the idea of a superaccumulator is of U. Kulisch,
"Very fast and exact accumulation of products", Computing 91 (2011).
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

SCALE: Final = 1126
"""The last bit of the significand of the smallest normalised float, as `numpy.frexp` gives it."""

_BITS: Final = 53
_LOW: Final = 27
_RUN: Final = 256
"""Products of 54 bits that an int64 can sum."""


def sums(values: NDArray[np.float64]) -> tuple[int, int]:
    """The sum of finite ``values`` times ``2**SCALE``, and that of their squares, ``2**(2*SCALE)``.

    Exact. ``values``: 1-d.
    """
    if not len(values):
        return 0, 0
    fractions, exponents = np.frexp(values)
    order = np.argsort(exponents.astype(np.int16), kind="stable")
    exponents = exponents[order].astype(np.int64)
    whole = np.ldexp(fractions[order], _BITS).astype(np.int64)
    starts = np.flatnonzero(np.diff(exponents, prepend=exponents[0] - 1))
    begins = np.unique(np.concatenate((starts, np.arange(0, len(whole), _RUN))))
    high, low = whole >> _LOW, whole & ((1 << _LOW) - 1)
    products = (whole, high * high, high * low, low * low)
    parts = [np.add.reduceat(product, begins).tolist() for product in products]
    total = squares = 0
    for at, one, upper, mixed, lower in zip(exponents[begins].tolist(), *parts, strict=True):
        shift = at - _BITS + SCALE
        total += one << shift
        square = (upper << 2 * _LOW) + (mixed << _LOW + 1) + lower
        squares += square << 2 * shift
    return total, squares


def sums_of_integers(values: NDArray[Any]) -> tuple[int, int]:
    """As `sums`, of an integer array of at most 64 bits."""
    if not len(values):
        return 0, 0
    most = max(abs(int(values.min())), abs(int(values.max())))
    if most * most * len(values) < 2**63:
        small = values.astype(np.int64)
        total, squares = int(small.sum()), int((small * small).sum())
        return total << SCALE, squares << 2 * SCALE
    if most <= 2**_BITS:
        return sums(values.astype(np.float64))
    return sums_of_pairs([(number, 1) for number in values.tolist()])


def sums_of_pairs(pairs: list[tuple[int, int]]) -> tuple[int, int]:
    """As `sums`, of integers of any size, each with how often it occurs."""
    total = sum(number * times for number, times in pairs)
    squares = sum(number * number * times for number, times in pairs)
    return total << SCALE, squares << 2 * SCALE


def mean(total: int, count: int) -> float:
    """The mean of ``count`` numbers, one at least, rounded once."""
    return float(Fraction(total, count << SCALE))


def deviation(total: int, squares: int, count: int) -> float:
    """The standard deviation of a population (divided by ``count``), to the last digit or two."""
    spread = count * squares - total * total  # times count**2 * 2**(2*SCALE), never negative
    # A root of at least 64 bits, whatever the scale.
    room = max(0, 128 - spread.bit_length())
    room += room % 2
    root = math.isqrt(spread << room)
    return float(Fraction(root, (count << SCALE) << room // 2))
