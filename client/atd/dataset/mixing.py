"""Several data sets as one: one after the other, or mixed by weights.

What belongs here: `concat` and `mix`, the source that joins shards of several, and the two
selections that say which part a position is of. Both are pure functions of positions like any
other selection, so what they make is a `Dataset` with a length, random access, ranks and exact
resume, and everything that composes with one composes with it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from typing import Any, Final, TypeVar, overload

import numpy as np

from atd.dataset.dataset import Dataset
from atd.dataset.order import Indices, Permutation, derive_key
from atd.dataset.selection import Selection, Turning
from atd.dataset.source import OpenShard, ShardSource
from atd.dataset.typed import TypedDataset
from atd.errors import LocalError, SchemaMismatch

T = TypeVar("T")
B = TypeVar("B")

ROUND: Final = 1000
"""Samples in a round of a mixture: each has exactly the weights, in a random order."""

_MIX: Final = 0x4D4958
"""Sets the rounds of a mixture apart from shuffles with the same seed."""

STOPS: Final = ("first", "all")


@overload
def concat(parts: Sequence[TypedDataset[T, B]]) -> TypedDataset[T, B]: ...
@overload
def concat(parts: Sequence[Dataset[T]]) -> Dataset[T]: ...
def concat(parts: Sequence[Dataset[T]]) -> Dataset[T]:
    """The samples of ``parts``, one data set after the other.

    Its length is the sum of theirs. Each part keeps its own order; a `shuffled` written afterwards
    mixes the shards of all of them. ``set_epoch`` turns the shuffle of every part. It resumes
    exactly, as any selection does, on the same parts in the same order.

    Raises:
        SchemaMismatch: the parts do not have the same fields, kinds and layout.
        LocalError: no parts, a part that is one rank's share, or one with `map` or `filter`, which
            belong after.
    """
    _check(parts, "concat")
    return _made(parts, Concatenated(_selections(parts), _offsets(parts)))


@overload
def mix(
    parts: Sequence[TypedDataset[T, B]],
    weights: Sequence[float] | None = None,
    seed: int = 0,
    *,
    stop: str = "first",
) -> TypedDataset[T, B]: ...
@overload
def mix(
    parts: Sequence[Dataset[T]],
    weights: Sequence[float] | None = None,
    seed: int = 0,
    *,
    stop: str = "first",
) -> Dataset[T]: ...
def mix(
    parts: Sequence[Dataset[T]],
    weights: Sequence[float] | None = None,
    seed: int = 0,
    *,
    stop: str = "first",
) -> Dataset[T]:
    """The samples of ``parts`` mixed, so that each has its share of every 1,000 samples.

    Which part comes next is a pure function of ``seed``, the epoch and the position; the samples of
    each part come in that part's own order. ``set_epoch`` turns the draws and the shuffle of every
    part. It resumes exactly, as any selection does.

    Args:
        parts: shuffle them first: a mixture only chooses between them.
        weights: how often each is drawn, in proportion; equally often where it is None. They are
            kept to a thousandth.
        seed: which draws.
        stop: ``first`` ends where the first part has no sample left for its next turn, so that none
            comes twice. ``all`` goes on until every sample came, and parts that are through begin
            again, in the same order. Either way the length is known.

    Raises:
        SchemaMismatch: the parts do not have the same fields, kinds and layout.
        LocalError: weights that cannot be, an empty part, or what `concat` refuses.
    """
    _check(parts, "mix")
    if stop not in STOPS:
        raise LocalError(f"expected stop to be {' or '.join(STOPS)}, got {stop!r}")
    if any(len(part) == 0 for part in parts):
        raise LocalError("expected samples in every part of a mixture, found an empty one")
    quotas = _quotas([1.0] * len(parts) if weights is None else weights, len(parts))
    selections = _selections(parts)
    epoch = _common_epoch(selections) or 0
    return _made(parts, Mixed(selections, _offsets(parts), quotas, seed, epoch, stop))


@dataclass(frozen=True)
class JoinedSource(ShardSource):
    """The shards of several sources, one after the other."""

    parts: tuple[ShardSource, ...]

    @property
    def hold_bytes(self) -> int | None:
        """The least that any of the sources allows."""
        return min((p.hold_bytes for p in self.parts if p.hold_bytes is not None), default=None)

    def open(self, number: int, *, suspect: bool = False) -> OpenShard:
        """The file of shard ``number``, from the source that it is of."""
        for part in self.parts:
            if number < len(part.shards):
                return part.open(number, suspect=suspect)
            number -= len(part.shards)
        raise IndexError(f"shard {number} of {len(self.shards)}")


@dataclass(frozen=True, eq=False)
class Concatenated(Turning):
    """The positions of each part, one after the other.

    Args:
        parts: their selections, each counting samples from the beginning of its own source.
        offsets: the sample that each source begins at among all of them.
    """

    parts: tuple[Selection, ...]
    offsets: tuple[int, ...]

    @cached_property
    def total(self) -> int:
        """How many positions it has."""
        return sum(part.total for part in self.parts)

    @cached_property
    def counts(self) -> tuple[int, ...]:
        """How many of them come from each shard."""
        return tuple(count for part in self.parts for count in part.steps[-1].counts)

    @property
    def epoch(self) -> int | None:
        """The epoch of the parts, where they have the same one."""
        return _common_epoch(self.parts)

    def at_epoch(self, epoch: int) -> Concatenated:
        """Every part in another epoch."""
        return replace(self, parts=tuple(part.at_epoch(epoch) for part in self.parts))

    def pick(self, positions: Indices) -> Indices:
        """The sample at each of ``positions``, counted over all sources."""
        ends = np.cumsum([part.total for part in self.parts])
        which = np.searchsorted(ends, positions, side="right")
        begins = ends - [part.total for part in self.parts]
        return _picked(self.parts, self.offsets, which, positions - begins[which])

    def describe(self) -> dict[str, object]:
        """What makes this step what it is."""
        return {"kind": "concat", "parts": [part.describe() for part in self.parts]}


@dataclass(frozen=True, eq=False)
class Mixed(Turning):
    """Positions in rounds of `ROUND`, in each of which every part has its quota.

    Args:
        parts, offsets: as of `Concatenated`.
        quotas: how many positions of a round each part has; they add up to `ROUND`.
        seed, turn: which draws; ``turn`` is the epoch.
        stop: ``first`` or ``all``; see `mix`.
    """

    parts: tuple[Selection, ...]
    offsets: tuple[int, ...]
    quotas: tuple[int, ...]
    seed: int
    turn: int
    stop: str

    @cached_property
    def total(self) -> int:
        """How many positions it has.

        Whole rounds are counted, and the one round in which it ends is looked at.
        """
        sizes = np.array([part.total for part in self.parts])
        quotas = np.array(self.quotas)
        if self.stop == "first":
            rounds = int((sizes // quotas).min())
            draws = self._round(rounds)
            taken = np.array([np.cumsum(draws == part) for part in range(len(sizes))])
            short = (taken > (sizes - rounds * quotas)[:, np.newaxis]).any(axis=0)
            return rounds * ROUND + int(np.argmax(short))
        rounds = int(((sizes - 1) // quotas).max())
        draws = self._round(rounds)
        taken = np.array([np.cumsum(draws == part) for part in range(len(sizes))])
        done = (taken >= (sizes - rounds * quotas)[:, np.newaxis]).all(axis=0)
        return rounds * ROUND + int(np.argmax(done)) + 1

    @property
    def counts(self) -> tuple[int, ...]:
        """They are mixed."""
        return (self.total,)

    @property
    def epoch(self) -> int:
        """The epoch of the draws."""
        return self.turn

    def at_epoch(self, epoch: int) -> Mixed:
        """Other draws, and every part in another epoch."""
        return replace(self, parts=tuple(part.at_epoch(epoch) for part in self.parts), turn=epoch)

    def pick(self, positions: Indices) -> Indices:
        """The sample at each of ``positions``, counted over all sources."""
        rounds, within = np.divmod(positions, ROUND)
        which = np.empty(len(positions), dtype=np.int64)
        places = np.empty(len(positions), dtype=np.int64)
        for number in np.unique(rounds).tolist():
            draws = self._round(number)
            ranks = np.empty(ROUND, dtype=np.int64)
            for part, quota in enumerate(self.quotas):
                ranks[draws == part] = np.arange(number * quota, (number + 1) * quota)
            here = rounds == number
            which[here] = draws[within[here]]
            places[here] = ranks[within[here]]
        sizes = np.array([part.total for part in self.parts])
        return _picked(self.parts, self.offsets, which, places % sizes[which])

    def describe(self) -> dict[str, object]:
        """What makes this step what it is."""
        return {
            "kind": "mix",
            "quotas": list(self.quotas),
            "seed": self.seed,
            "epoch": self.turn,
            "stop": self.stop,
            "parts": [part.describe() for part in self.parts],
        }

    def _round(self, number: int) -> Indices:
        """The part that each position of a round is of."""
        shuffle = Permutation(ROUND, derive_key(self.seed, self.turn, _MIX, number))
        slots = shuffle(np.arange(ROUND, dtype=np.int64))
        return np.searchsorted(np.cumsum(self.quotas), slots, side="right")


# ---------------------------------------------------------------------- inside


def _picked(
    parts: Sequence[Selection], offsets: Sequence[int], which: Indices, places: Indices
) -> Indices:
    """The samples at ``places`` of the parts ``which``, counted over all sources."""
    found = np.empty(len(places), dtype=np.int64)
    for number, part in enumerate(parts):
        here = which == number
        if here.any():
            found[here] = part.pick(places[here]) + offsets[number]
    return found


def _common_epoch(parts: Sequence[Selection]) -> int | None:
    """The epoch of all parts that have one; None where they differ."""
    epochs = {part.epoch for part in parts} - {None}
    return epochs.pop() if len(epochs) == 1 else None


def _selections(parts: Sequence[Dataset[Any]]) -> tuple[Selection, ...]:
    return tuple(part.flow.selection for part in parts)


def _offsets(parts: Sequence[Dataset[Any]]) -> tuple[int, ...]:
    sizes = [sum(part.flow.source.counts) for part in parts]
    return tuple(accumulate(sizes[:-1], initial=0))


def _quotas(weights: Sequence[float], parts: int) -> tuple[int, ...]:
    """Thousandths by weight, the rest to those with the largest remainders."""
    told = ", ".join(map(str, weights))
    if len(weights) != parts or not all(math.isfinite(one) and one > 0 for one in weights):
        raise LocalError(f"expected {parts} positive weights, one for each part, got {told}")
    exact = [weight * ROUND / sum(weights) for weight in weights]
    quotas = [math.floor(one) for one in exact]
    by_rest = sorted(range(parts), key=lambda at: quotas[at] - exact[at])
    for at in by_rest[: ROUND - sum(quotas)]:
        quotas[at] += 1
    if min(quotas) == 0:
        raise LocalError(
            f"expected each weight to be a thousandth of their sum or more, got {told}",
            next_step="leave out the part that would hardly be drawn",
        )
    return tuple(quotas)


def _made(parts: Sequence[Dataset[T]], step: Concatenated | Mixed) -> Dataset[T]:
    """The data set whose selection begins with ``step``."""
    flow = parts[0].flow
    sources = tuple(part.flow.source for part in parts)
    versions = "\n".join(source.version for source in sources)
    splits = dict.fromkeys(split for source in sources for split in source.splits)
    source = JoinedSource(
        what=" and ".join(dict.fromkeys(source.what for source in sources)),
        version=f"joined-{hashlib.sha256(versions.encode()).hexdigest()}",
        schema=flow.source.schema,
        layout=flow.source.layout,
        shards=tuple(shard for source in sources for shard in source.shards),
        splits=tuple(splits),
        parts=sources,
    )
    made = TypedDataset if all(isinstance(part, TypedDataset) for part in parts) else Dataset
    return made(replace(flow, source=source, selection=Selection((step,))))


def _check(parts: Sequence[Dataset[Any]], method: str) -> None:
    """Whether ``parts`` can be one data set."""
    if not parts:
        raise LocalError(f"expected data sets to {method}, got none")
    for part in parts:
        if part.flow.world != 1:
            raise LocalError(f"{method}: write it before shard, so that every rank sees one order")
        if part.flow.stages:
            raise LocalError(
                f"{method}: write map and filter after it, for all parts",
                next_step=f"atd.{method}([a, b]).map(function)",
            )
    problems = [problem for part in parts[1:] for problem in _differences(parts[0], part)]
    if problems:
        raise SchemaMismatch(
            f"these data sets cannot be one: {'; '.join(problems)}",
            next_step="publish them with one schema, or iterate them side by side",
        )


def _differences(first: Dataset[Any], other: Dataset[Any]) -> list[str]:
    """What keeps ``other`` from being read as ``first`` is."""
    what = other.flow.source.what
    one, two = first.schema, other.schema
    problems = [f"{what} has no field {name}" for name in one.names if name not in two.names] + [
        f"only {what} has a field {name}" for name in two.names if name not in one.names
    ]
    for name in one.names:
        if name not in two.names:
            continue
        mine, theirs = one[name], two[name]
        if mine.kind != theirs.kind:
            problems.append(f"{name} is {mine.kind}, in {what} {theirs.kind}")
        if (mine.optional, mine.nullable) != (theirs.optional, theirs.nullable):
            problems.append(f"{name} may be missing or null in only one of them")
    if problems:
        return problems
    if one.names != two.names or first.flow.source.layout != other.flow.source.layout:
        problems.append(f"{what} lays its samples out in another way")
    mine_read, theirs_read = first.flow.reading, other.flow.reading
    if (mine_read.names, mine_read.reader) != (theirs_read.names, theirs_read.reader):
        problems.append(f"{what} is read as other fields or another class")
    return problems
