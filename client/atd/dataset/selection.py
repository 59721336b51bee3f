"""Which samples, in which order: selections that compose in the order they were written.

What belongs here: functions from positions to sample indices, and how they are put one after the
other. A `Selection` starts as a whole release in its own order; ``take``, ``skip``, a slice, a
shuffle or a rank's share is one more function in front of it. Each is evaluated only at the
positions asked for.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from atd.dataset.order import Indices, Ordered, Permutation, Shuffled, derive_key


class Step(Protocol):
    """A function from positions to the positions of the step below it."""

    @property
    def total(self) -> int:
        """How many positions it has."""

    @property
    def counts(self) -> tuple[int, ...]:
        """How many of them, neighbours, come from each shard; one number where they are mixed."""

    def pick(self, positions: Indices) -> Indices:
        """Where each of ``positions`` leads."""

    def describe(self) -> dict[str, object]:
        """What makes this step what it is, for a saved state: JSON values only."""


@dataclass(frozen=True)
class Span:
    """Every ``step``-th position from ``start`` on, ``total`` of them."""

    start: int
    total: int
    step: int
    counts: tuple[int, ...]

    def pick(self, positions: Indices) -> Indices:
        """Where each of ``positions`` leads."""
        return positions * self.step + self.start

    def describe(self) -> dict[str, object]:
        """What makes this step what it is."""
        return {"kind": "span", "start": self.start, "total": self.total, "step": self.step}


@dataclass(frozen=True)
class Share(Span):
    """One rank's positions. Not part of a saved state: every rank's order is the same one."""


@dataclass(frozen=True, eq=False)
class Listed:
    """Positions named one by one."""

    places: Indices

    @property
    def total(self) -> int:
        """How many positions it has."""
        return len(self.places)

    @property
    def counts(self) -> tuple[int, ...]:
        """They are mixed."""
        return (self.total,)

    def pick(self, positions: Indices) -> Indices:
        """Where each of ``positions`` leads."""
        return self.places[positions]

    def describe(self) -> dict[str, object]:
        """What makes this step what it is."""
        key = int(np.bitwise_xor.reduce(self.places * np.arange(1, self.total + 1)))
        return {"kind": "listed", "total": self.total, "key": key}


@dataclass(frozen=True)
class Stripe:
    """What one worker of one rank builds: its slices of every ``stride``-th global batch.

    Global batch ``g`` is the positions from ``g * size`` on. Positions beyond ``below``, the total
    of the step below, begin again at the start: that is how a last batch is padded. Not part of a
    saved state: it only stripes an order that all ranks and workers share.

    Args:
        size: samples in a global batch; a multiple of ``world``.
        rank, world: which slice of each.
        first, stride, batches: global batches ``first``, ``first + stride`` …, so many of them.
        below: positions of the step below.
    """

    size: int
    rank: int
    world: int
    first: int
    stride: int
    batches: int
    below: int

    @property
    def total(self) -> int:
        """How many positions it has."""
        return self.batches * (self.size // self.world)

    @property
    def counts(self) -> tuple[int, ...]:
        """They are mixed."""
        return (self.total,)

    def pick(self, positions: Indices) -> Indices:
        """Where each of ``positions`` leads."""
        share = self.size // self.world
        if self.world == self.stride == 1 and self.total <= self.below - self.first * share:
            # One reader of whole batches: neighbours stay neighbours.
            return positions + self.first * share if self.first else positions
        number, place = np.divmod(positions, share)
        batch = self.first + number * self.stride
        return (batch * self.size + self.rank * share + place) % self.below

    def describe(self) -> dict[str, object]:
        """What makes this step what it is."""
        return {"kind": "stripe"}


@dataclass(frozen=True)
class Part:
    """Positions drawn by a keyed permutation of all of them, kept in the order they had.

    Args:
        below: the counts of the step below.
        seed: which permutation.
        begin, end: which of the permuted positions: parts with disjoint ranges are disjoint.
    """

    below: tuple[int, ...]
    seed: int
    begin: int
    end: int

    @cached_property
    def _places(self) -> Indices:
        shuffle = Permutation(sum(self.below), derive_key(self.seed, _SPLIT))
        return np.sort(shuffle(np.arange(self.begin, self.end, dtype=np.int64)))

    @property
    def total(self) -> int:
        """How many positions it has."""
        return self.end - self.begin

    @cached_property
    def counts(self) -> tuple[int, ...]:
        """How many of them come from each shard."""
        ends = np.searchsorted(self._places, np.cumsum(self.below, dtype=np.int64))
        return tuple(np.diff(ends, prepend=0).tolist())

    def pick(self, positions: Indices) -> Indices:
        """Where each of ``positions`` leads."""
        return self._places[positions]

    def describe(self) -> dict[str, object]:
        """What makes this step what it is."""
        return {"kind": "part", "seed": self.seed, "begin": self.begin, "end": self.end}


class Turning(ABC):
    """A step whose order differs from epoch to epoch."""

    @property
    @abstractmethod
    def epoch(self) -> int | None:
        """Which epoch it stands in; None where nothing below it is shuffled."""

    @abstractmethod
    def at_epoch(self, epoch: int) -> Step:
        """The same step in another epoch."""


@dataclass(frozen=True, eq=False)
class Kept(Turning):
    """The survivors of a filter, in the order of the shuffle below, if there is one.

    Args:
        mask: for each position below the shuffle, whether its sample was kept; it is the same in
            every epoch.
        shuffle: the step just below, where that is a shuffle.
    """

    mask: NDArray[np.bool_]
    shuffle: Shuffled | None

    @cached_property
    def _places(self) -> Indices:
        if self.shuffle is None:
            return np.flatnonzero(self.mask)
        return np.flatnonzero(self.mask[self.shuffle.pick(np.arange(len(self.mask)))])

    @cached_property
    def total(self) -> int:
        """How many positions it has."""
        return int(np.count_nonzero(self.mask))

    @property
    def counts(self) -> tuple[int, ...]:
        """They are mixed."""
        return (self.total,)

    @property
    def epoch(self) -> int | None:
        """The epoch of the shuffle."""
        return None if self.shuffle is None else self.shuffle.epoch

    def at_epoch(self, epoch: int) -> Kept:
        """The same survivors as another epoch has them."""
        return Kept(self.mask, self.shuffle and replace(self.shuffle, epoch=epoch))

    def pick(self, positions: Indices) -> Indices:
        """Where each of ``positions`` leads."""
        return self._places[positions]

    def describe(self) -> dict[str, object]:
        """What makes this step what it is."""
        key = int(np.bitwise_xor.reduce(np.flatnonzero(self.mask) * _ODD, initial=0))
        return {"kind": "kept", "total": self.total, "key": key}


_SPLIT = 0x53504C49
"""Sets the permutation of a split apart from the ones that shuffle with the same seed."""

_ODD = 0x9E3779B1
"""Spreads positions over more bits before they are folded into one number."""


@dataclass(frozen=True)
class Selection:
    """Steps one after the other: the last one is asked first."""

    steps: tuple[Step, ...]

    @classmethod
    def whole(cls, counts: Sequence[int]) -> Selection:
        """A whole release, as it lists its samples; ``counts`` is the samples in each shard."""
        return cls((Ordered(tuple(counts)),))

    @property
    def total(self) -> int:
        """How many samples are selected."""
        return self.steps[-1].total

    @property
    def counts(self) -> tuple[int, ...]:
        """How many of them, neighbours, come from each shard; one number where they are mixed."""
        return self.steps[-1].counts

    def pick(self, positions: Indices) -> Indices:
        """The global sample index at each of ``positions`` (int64, in ``range(total)``)."""
        for step in reversed(self.steps):
            positions = step.pick(positions)
        return positions

    def span(self, start: int, stop: int, step: int = 1) -> Selection:
        """What ``range(start, stop, step)`` selects of this; the bounds lie within it."""
        total = len(range(start, stop, step))
        counts = _trim(self.steps[-1].counts, start, start + total) if step == 1 else (total,)
        return self._then(Span(start, total, step, counts))

    def share(self, rank: int, world: int) -> Selection:
        """Every ``world``-th position from ``rank`` on, as many for every rank."""
        total = self.total // world
        return self._then(Share(rank, total, world, (total,)))

    def listed(self, places: Indices) -> Selection:
        """The samples at ``places``, in that order."""
        return self._then(Listed(places))

    def ordered(self) -> Selection:
        """The same samples without the shuffle written last, if that is the last step."""
        if isinstance(self.steps[-1], Shuffled):
            return replace(self, steps=self.steps[:-1])
        return self

    def shuffled(
        self, *, seed: int, epoch: int, window: int | None, block: int | None
    ) -> Selection:
        """The same samples, shuffled; replaces a shuffle that is already the last step."""
        base = self.ordered()
        counts = base.steps[-1].counts
        return base._then(Shuffled(counts, seed=seed, epoch=epoch, window=window, block=block))

    def part(self, begin: int, end: int, seed: int) -> Selection:
        """The samples at places ``begin`` to ``end`` of a permutation, in the order they had.

        A shuffle written last stays last, so that a part is the same in every epoch.
        """
        base = self.ordered()
        part = base._then(Part(base.steps[-1].counts, seed, begin, end))
        last = self.steps[-1]
        if not isinstance(last, Shuffled):
            return part
        return part._then(replace(last, counts=part.steps[-1].counts))

    def kept(self, mask: NDArray[np.bool_]) -> Selection:
        """The samples that ``mask`` keeps, given for the positions of ``self.ordered()``."""
        last = self.steps[-1]
        return self._then(Kept(mask, last if isinstance(last, Shuffled) else None))

    def stripe(
        self, size: int, *, rank: int, world: int, first: int, stride: int, batches: int
    ) -> Selection:
        """The slices of global batches that one worker builds; see `Stripe`."""
        return self._then(Stripe(size, rank, world, first, stride, batches, self.total))

    @property
    def epoch(self) -> int | None:
        """The epoch of the shuffle written last; None where none is."""
        last = self.steps[-1]
        return last.epoch if isinstance(last, Shuffled | Turning) else None

    def at_epoch(self, epoch: int) -> Selection:
        """The same samples as another epoch has them.

        Only a shuffle that is written last turns: what was selected after a shuffle stays the same
        selection.
        """
        last = self.steps[-1]
        if isinstance(last, Kept) and last.shuffle is not None:
            below = replace(self, steps=self.steps[:-1]).at_epoch(epoch)
            return below._then(last.at_epoch(epoch))
        if isinstance(last, Shuffled):
            return replace(self, steps=(*self.steps[:-1], replace(last, epoch=epoch)))
        if isinstance(last, Turning):
            return replace(self, steps=(*self.steps[:-1], last.at_epoch(epoch)))
        return self

    def describe(self) -> list[dict[str, object]]:
        """What makes this selection what it is, for a saved state."""
        return [step.describe() for step in self.steps if not isinstance(step, Share)]

    def _then(self, step: Step) -> Selection:
        return replace(self, steps=(*self.steps, step))


def _trim(counts: tuple[int, ...], start: int, stop: int) -> tuple[int, ...]:
    """How many positions of ``start`` to ``stop`` fall to each shard of ``counts``."""
    kept, begin = [], 0
    for count in counts:
        kept.append(max(0, min(stop, begin + count) - max(start, begin)))
        begin += count
    return tuple(kept)
