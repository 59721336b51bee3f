"""The order of an epoch, as a pure function.

What belongs here: which sample stands at which position, and nothing else. No files, no state, no
generator. The order is a function of (seed, epoch, window, block, the samples in each shard), so
every rank and every worker computes the same one, and a position is all there is to resume from.

How a shuffled order is made. The shards are cut into *units* (whole shards, or blocks of ``block``
neighbouring samples). The units are permuted and taken ``window`` at a time; the samples of a
window are permuted among themselves. ``window=None`` is one window over everything: a full shuffle.
A window bounds how many shards are needed at once, which is what makes a shuffled stream possible.

Permutations are keyed bijections of our own, with golden vectors in the tests, because NumPy's
generators promise no stable stream across versions. Each is a Feistel network on the smallest
power-of-two domain that holds ``n``, walked until it lands inside (J. Black and P. Rogaway,
*Ciphers with Arbitrary Finite Domains*, CT-RSA 2002), with SplitMix64's finaliser as the round
function (G. Steele, D. Lea, C. Flood, OOPSLA 2014). A position costs the same whether it is the
first or the last, and no table of ``n`` entries is ever held.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from atd.errors import LocalError

Indices = NDArray[np.int64]

_ROUNDS: Final = 8
_MASK: Final = (1 << 64) - 1
_MANY: Final = 256
"""Positions from which tables of the round function are worth making."""

_STEPS: Final = 3
"""Ranges that one entry of a table may lead to, beside the first."""

_GOLDEN: Final = 0x9E3779B97F4A7C15
_MULTIPLY_1: Final = 0xBF58476D1CE4E5B9
_MULTIPLY_2: Final = 0x94D049BB133111EB

DEFAULT_WINDOW: Final = 8
"""Shards shuffled together by default: enough to mix well, few enough to stream."""


def derive_key(*parts: int) -> int:
    """One 64-bit key out of any integers, each of which matters."""
    key = 0
    for part in parts:
        key = _mix((key ^ (part & _MASK)) + _GOLDEN)
    return key


def _mix(value: int) -> int:
    """SplitMix64's finaliser on one integer (modulo 2**64)."""
    value &= _MASK
    value = ((value ^ (value >> 30)) * _MULTIPLY_1) & _MASK
    value = ((value ^ (value >> 27)) * _MULTIPLY_2) & _MASK
    return value ^ (value >> 31)


def _mix_many(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """`_mix` of every element; unsigned overflow wraps, as it should."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(_MULTIPLY_1)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(_MULTIPLY_2)
    return values ^ (values >> np.uint64(31))


class Permutation:
    """A keyed bijection of ``range(n)``, evaluated where it is asked.

    Args:
        n: how many items are permuted; 0 is allowed.
        key: 64 bits; equal keys give equal permutations, on every machine and version.
    """

    __slots__ = ("_keys", "_left", "_right", "_tables", "n")

    def __init__(self, n: int, key: int) -> None:
        self.n = n
        bits = max(2, (max(n, 1) - 1).bit_length())
        self._left, self._right = bits // 2, bits - bits // 2
        self._keys = [np.uint64(derive_key(key, number)) for number in range(_ROUNDS)]
        self._tables: list[Indices] = []

    def __call__(self, positions: Indices) -> Indices:
        """Where each of ``positions`` (int64, each in ``range(n)``) goes."""
        looked_up = len(positions) >= _MANY or bool(self._tables)
        encrypt = self._encrypt_by_table if looked_up and self._right <= 16 else self._encrypt_many
        values = encrypt(positions)
        outside = np.flatnonzero(values >= self.n)
        while outside.size:
            again = encrypt(values[outside])
            values[outside] = again
            outside = outside[again >= self.n]
        return values

    def _encrypt_by_table(self, values: Indices) -> Indices:
        """`_encrypt` with the round function looked up: half of the bits has few values."""
        if not self._tables:
            sides = (self._right, self._left) * (_ROUNDS // 2)
            masks = (self._left, self._right) * (_ROUNDS // 2)
            self._tables = [
                (
                    _mix_many(np.arange(1 << side, dtype=np.uint64) + key)
                    & np.uint64((1 << mask) - 1)
                ).astype(np.int64)
                for key, side, mask in zip(self._keys, sides, masks, strict=True)
            ]
        left, right = values >> self._right, values & ((1 << self._right) - 1)
        for number, table in enumerate(self._tables):
            if number % 2:
                right ^= table.take(left)
            else:
                left ^= table.take(right)
        return (left << self._right) | right

    def _encrypt_many(self, values: Indices) -> Indices:
        return self._encrypt(values.astype(np.uint64)).astype(np.int64)

    def _encrypt(self, values: NDArray[np.uint64]) -> NDArray[np.uint64]:
        shift = np.uint64(self._right)
        left_mask = np.uint64((1 << self._left) - 1)
        right_mask = np.uint64((1 << self._right) - 1)
        left, right = values >> shift, values & right_mask
        for number, key in enumerate(self._keys):
            if number % 2:
                right = right ^ (_mix_many(left + key) & right_mask)
            else:
                left = left ^ (_mix_many(right + key) & left_mask)
        return (left << shift) | right


class Ranges:
    """Which of neighbouring ranges a number lies in: ``np.searchsorted(ends, …, side="right")``.

    A search jumps about, and a processor cannot guess where to. A table says from the first bits of
    a number in which range it is, or in the one before.

    Args:
        ends: where each range ends and the next begins, from 0 on (int64).
    """

    def __init__(self, ends: Indices) -> None:
        self._ends = ends
        total = int(ends[-1]) if len(ends) else 0
        self._shift = max(0, (total // (4 * max(1, len(ends)))).bit_length() - 1)
        starts = np.arange((total >> self._shift) + 1, dtype=np.int64) << self._shift
        self._first = np.searchsorted(ends, starts, side="right")
        last = np.searchsorted(ends, starts + (1 << self._shift) - 1, side="right")
        self._most = int((last - self._first).max())
        self._bounds = np.append(ends, np.iinfo(np.int64).max)

    def __call__(self, numbers: Indices) -> Indices:
        """The range of each of ``numbers``, which lie within all of them together."""
        if self._most > _STEPS:
            return np.searchsorted(self._ends, numbers, side="right")
        found = self._first.take(numbers >> self._shift)
        for _ in range(self._most):
            found += numbers >= self._bounds.take(found)
        return found


@dataclass(frozen=True)
class Ordered:
    """Samples as the release lists them."""

    counts: tuple[int, ...]

    @cached_property
    def total(self) -> int:
        """Samples in one epoch."""
        return sum(self.counts)

    def pick(self, positions: Indices) -> Indices:
        """The global sample index at each of ``positions`` (int64, within the epoch)."""
        return positions

    def describe(self) -> dict[str, object]:
        """What makes this order what it is, for a saved state."""
        return {"kind": "ordered"}


@dataclass(frozen=True)
class Shuffled:
    """Samples shuffled within windows of units; see the module for how.

    Args:
        counts: samples in each shard, in the release's order.
        seed, epoch: any integers; both enter every key.
        window: units in a window (None: all of them).
        block: samples in a unit (None: a unit is a whole shard).

    Raises:
        LocalError: ``window`` or ``block`` is not positive.
    """

    counts: tuple[int, ...]
    seed: int = 0
    epoch: int = 0
    window: int | None = DEFAULT_WINDOW
    block: int | None = None

    def __post_init__(self) -> None:
        for name, value in (("window", self.window), ("block", self.block)):
            if value is not None and value < 1:
                raise LocalError(f"{name} should be 1 or more, or None, but is {value}")

    @cached_property
    def total(self) -> int:
        """Samples in one epoch."""
        return sum(self.counts)

    @cached_property
    def _key(self) -> int:
        return derive_key(self.seed, self.epoch)

    @cached_property
    def _units(self) -> tuple[Indices, Indices]:
        """First sample and length of each unit, in the epoch's order of units."""
        starts, sizes = _cut(self.counts, self.block)
        shuffle = Permutation(len(starts), derive_key(self._key, 0))
        places = shuffle(np.arange(len(starts), dtype=np.int64))
        return starts[places], sizes[places]

    @cached_property
    def _unit_ends(self) -> Indices:
        """Positions at which the units end, were the samples of a window not permuted."""
        return np.cumsum(self._units[1], dtype=np.int64)

    @cached_property
    def _window_ends(self) -> Indices:
        """Positions at which the windows end."""
        ends = self._unit_ends
        if self.window is None or not len(ends):
            return ends[-1:]
        last = np.arange(self.window, len(ends) + self.window, self.window) - 1
        return ends[np.minimum(last, len(ends) - 1)]

    def pick(self, positions: Indices) -> Indices:
        """The global sample index at each of ``positions`` (int64, within the epoch)."""
        if not len(positions):
            return positions
        outer = np.array([positions.min(), positions.max()])
        first, last = np.searchsorted(self._window_ends, outer, side="right").tolist()
        if first == last:
            return self._locate(self._in_window(first, positions))
        places = np.empty_like(positions)
        windows = np.searchsorted(self._window_ends, positions, side="right")
        for number in range(first, last + 1):
            here = np.flatnonzero(windows == number)
            places[here] = self._in_window(number, positions[here])
        return self._locate(places)

    def _in_window(self, number: int, positions: Indices) -> Indices:
        """Where positions, all of one window, go within it."""
        end = int(self._window_ends[number])
        begin = int(self._window_ends[number - 1]) if number else 0
        shuffle = _permutation(end - begin, derive_key(self._key, 1, number))
        return shuffle(positions - begin if begin else positions) + begin

    def _locate(self, places: Indices) -> Indices:
        """From places in the order of units to global sample indices."""
        return places + self._moves.take(self._unit_of(places))

    @cached_property
    def _unit_of(self) -> Ranges:
        return Ranges(self._unit_ends)

    @cached_property
    def _moves(self) -> Indices:
        """How far each unit lies from where it would be without a shuffle."""
        starts, sizes = self._units
        return starts - (self._unit_ends - sizes)

    def describe(self) -> dict[str, object]:
        """What makes this order what it is, for a saved state."""
        return {
            "kind": "shuffled",
            "seed": self.seed,
            "epoch": self.epoch,
            "window": self.window,
            "block": self.block,
        }


@lru_cache(maxsize=8)
def _permutation(n: int, key: int) -> Permutation:
    """The permutation, with the tables that it made before."""
    return Permutation(n, key)


Order = Ordered | Shuffled


def _cut(counts: Sequence[int], block: int | None) -> tuple[Indices, Indices]:
    """First sample and length of each unit, in the release's order; empty shards give none."""
    sizes = np.asarray(counts, dtype=np.int64)
    firsts = np.cumsum(sizes) - sizes
    if block is None:
        kept = sizes > 0
        return firsts[kept], sizes[kept]
    blocks = -(-sizes // block)
    shard = np.repeat(np.arange(len(sizes)), blocks)
    within = np.arange(int(blocks.sum())) - np.repeat(np.cumsum(blocks) - blocks, blocks)
    starts = firsts[shard] + within * block
    lengths = np.minimum(block, sizes[shard] - within * block)
    return starts.astype(np.int64), lengths.astype(np.int64)
