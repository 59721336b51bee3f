"""Which samples, in which order: selections that compose in the order they were written.

What belongs here: functions from positions to sample indices, and how they are put one after the
other. A `Selection` starts as a whole release in its own order; ``take``, ``skip``, a slice, a
shuffle or a rank's share is one more function in front of it. Each is evaluated only at the
positions asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from atd.dataset.order import Indices, Ordered, Shuffled


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
