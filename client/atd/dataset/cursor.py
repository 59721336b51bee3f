"""Where an iteration stands, and the reading of samples at given positions.

What belongs here: from positions of a selection to samples, shard by shard, and the state that
lets an iteration go on elsewhere. The state names the release, the order and the pipeline: one of
another release or pipeline is refused, because the same position would mean another sample.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, pairwise
from operator import length_hint
from typing import Any, Final, Generic, TypeVar

import numpy as np

from atd.dataset.ahead import SHARDS, beyond
from atd.dataset.blocks import Block, Uncommon
from atd.dataset.flow import Flow
from atd.dataset.order import Indices
from atd.dataset.places import Locator, Places
from atd.dataset.samples import Maker
from atd.dataset.shelf import shelf_of
from atd.dataset.stages import DROPPED, through
from atd.errors import LocalError

T = TypeVar("T")

FORMAT: Final = 1
CHUNK: Final = 512
"""Positions looked up at once where samples are read one by one."""

_AHEAD_BYTES: Final = 16 << 20
"""Bytes of samples whose shards are fetched ahead."""

_LOOKED_UP: Final = 16384
"""Positions whose samples are looked up at once."""

_BLOCK_BYTES: Final = 1 << 20
_BLOCK_MOST: Final = 4096
_FIRST: Final = 64


class Cursor(Generic[T]):
    """An iteration under way.

    Iterating it gives a bare iterator that shares its position: plain samples then come out of a C
    loop, without a frame of Python for each. ``next(cursor)`` gives the same samples.
    """

    def __init__(self, flow: Flow, start: int) -> None:
        self._flow = flow
        self._end = start
        self._left: Any = iter(())
        self._samples: Iterator[T] = chain.from_iterable(self._run(start))

    @property
    def consumed(self) -> int:
        """The position after the last sample it gave."""
        return self._end - length_hint(self._left)

    def __iter__(self) -> Iterator[T]:
        return self._samples

    def __next__(self) -> T:
        return next(self._samples)

    def state_dict(self) -> dict[str, Any]:
        """Where this iteration stands; see `Dataset.load_state_dict`."""
        return state_of(self._flow, self.consumed)

    def _run(self, start: int) -> Iterator[Iterator[T]]:
        """Iterators over the samples, one after the other."""
        flow = self._flow
        maker = Maker(flow)
        for reach in reaches(flow, start, flow.selection.total, good_to_read(flow)):
            if maker.eager and not flow.stages:
                try:
                    samples, left = maker.driven(reach.block())
                except Uncommon:
                    pass
                else:
                    self._end, self._left = reach.stop, left
                    yield samples
                    continue
            yield self._counted(reach, maker)
            if self._end != reach.stop:
                # It ended by an error: whoever caught that and asks on gets no later sample.
                return

    def _counted(self, reach: Reach, maker: Maker) -> Iterator[T]:
        """The samples of a reach, with its position kept after each."""
        self._end, self._left = reach.start, iter(())
        stages = self._flow.stages
        for position, sample in enumerate(reach.samples(maker), reach.start + 1):
            made = through(stages, sample) if stages else sample
            if made is not DROPPED:
                self._end = position
                yield made
        self._end = reach.stop


class Reach:
    """Neighbouring positions of a flow, and their samples by columns or one by one."""

    def __init__(self, flow: Flow, start: int, places: Places) -> None:
        self.flow = flow
        self.start = start
        self.stop = start + len(places)
        self.places = places

    def __len__(self) -> int:
        return self.stop - self.start

    def block(self) -> Block:
        """All samples at once.

        Raises:
            Uncommon: they cannot be had so.
        """
        return Block(shelf_of(self.flow.source), self.places)

    def samples(self, maker: Maker) -> Iterator[Any]:
        """Each sample as the flow reads it, before its stages."""
        try:
            return maker.samples(self.block())
        except Uncommon:
            return map(self.flow.reading, self.decoded())

    def decoded(self) -> Iterator[dict[str, Any]]:
        """Each sample as the strict reader has it."""
        shelf, names = shelf_of(self.flow.source), self.flow.reading.names
        for number, row in self.places:
            yield shelf.shard(number).sample(row, names)

    def part(self, begin: int, end: int) -> Reach:
        """The positions ``begin`` to ``end``, counted from the first of these."""
        return Reach(self.flow, self.start + begin, self.places.part(begin, end))


def reaches(
    flow: Flow, start: int, stop: int, most: int, unit: int = 1, apart: bool = True
) -> Iterator[Reach]:
    """The positions of a flow in pieces that are good to read at once.

    The first is small, for an early first sample. The shards of the next are asked for meanwhile.

    Args:
        most: positions in each; a multiple of ``unit``.
        unit: positions that stay together; only the last piece may end within.
        apart: let a piece of an ordered flow have samples of one shard, if its units allow: the
            next may have to be fetched first.
    """
    size = most * max(1, most_in_block(flow, _AHEAD_BYTES) // most)
    first = max(unit, min(_FIRST // unit * unit, most))
    many = size * max(1, _LOOKED_UP // size)
    edges = [start, *range(start + first, stop, many), stop] if start < stop else []
    groups = (np.arange(low, high, dtype=np.int64) for low, high in pairwise(edges))
    for positions, places in _looking_ahead(flow, groups, size):
        whole, total = Reach(flow, int(positions[0]), places), len(places)
        at = 0
        for joint in [*(places.joints() if apart else ()), total]:
            while at < joint:
                # Up to the joint as many units as are whole, or the one that it cuts.
                room = max(unit, (joint - at) // unit * unit) if joint < total else joint - at
                end = min(at + min(most, room), total)
                yield whole.part(at, end)
                at = end


def _looking_ahead(
    flow: Flow, groups: Iterable[Indices], size: int
) -> Iterator[tuple[Indices, Places]]:
    """At most ``size`` positions at a time with the places of their samples. While those are read,
    the shards of the next are fetched."""
    shelf, ends = shelf_of(flow.source), np.cumsum(flow.source.counts, dtype=np.int64)
    ahead: tuple[Indices, Places] | None = None
    for found in _located(flow, groups, size):
        here, ahead = ahead, found
        shelf.expect(found[1].shards())
        if not shelf.complete:
            shelf.expect(beyond(flow, int(found[0][-1]) + 1, ends), SHARDS)
        if here is not None:
            yield here
    if ahead is not None:
        yield ahead


def _located(flow: Flow, groups: Iterable[Indices], size: int) -> Iterator[tuple[Indices, Places]]:
    """As `_looking_ahead`. Those of a group are looked up together: a permutation has its price."""
    locate = Locator(flow.source.counts)
    for positions in groups:
        places = locate(flow.selection.pick(positions))
        for low in range(0, len(positions), size):
            here = positions[low : low + size]
            yield here, places.part(low, low + len(here))


def _chunks(positions: Indices) -> Iterator[Indices]:
    return (positions[low : low + _LOOKED_UP] for low in range(0, len(positions), _LOOKED_UP))


def most_in_block(flow: Flow, size_in_bytes: int = _BLOCK_BYTES) -> int:
    """Samples that so many bytes of shards hold, 16 at least."""
    source = flow.source
    size = sum(shard.size for shard in source.shards) // max(1, sum(source.counts))
    return max(16, size_in_bytes // max(1, size))


def good_to_read(flow: Flow, size_in_bytes: int = _BLOCK_BYTES) -> int:
    """Samples in a block that is good to read at once: about as many as a cache holds."""
    return min(_BLOCK_MOST, most_in_block(flow, size_in_bytes))


def read_at(flow: Flow, positions: Indices) -> Iterator[tuple[int, Any]]:
    """Each of ``positions`` (of the selection) with its sample; filtered ones are left out."""
    maker = Maker(flow)
    for here, places in _looking_ahead(flow, _chunks(positions), good_to_read(flow)):
        samples = Reach(flow, 0, places).samples(maker)
        for position, sample in zip(here.tolist(), samples, strict=True):
            made = through(flow.stages, sample)
            if made is not DROPPED:
                yield position, made


def sample_at(flow: Flow, position: int) -> Any:
    """The sample at one position of the selection, with its maps applied."""
    selection, reading = flow.selection, flow.reading
    index = position
    if len(selection.steps) > 1:
        index = int(selection.pick(np.array([position], dtype=np.int64))[0])
    shelf = shelf_of(flow.source)
    number = bisect_right(shelf.ends, index)
    row = index - (shelf.ends[number - 1] if number else 0)
    shard = shelf.shard(number)
    values = shard.quick(row, reading.names)
    if values is None:
        values = shard.sample(row, reading.names)
    return through(flow.stages, reading(values))


def read_raw(flow: Flow, positions: Indices) -> Iterator[tuple[int, str, int, dict[str, Any]]]:
    """Position, key, shard number and decoded fields of each sample, in the order asked."""
    names, shelf = flow.reading.names, shelf_of(flow.source)
    for here, places in _looking_ahead(flow, _chunks(positions), CHUNK):
        for position, (number, row) in zip(here.tolist(), places, strict=True):
            shard = shelf.shard(number)
            yield position, shard.key(row), number, shard.sample(row, names)


def state_of(flow: Flow, consumed: int) -> dict[str, Any]:
    """The state of an iteration of ``dataset`` that has ``consumed`` positions behind it.

    The saved position counts those of all ranks, so that it means the same for any number of them.
    """
    return {
        "format": FORMAT,
        "version": flow.source.version,
        "splits": list(flow.source.splits),
        "order": flow.selection.describe(),
        "pipeline": fingerprint(flow),
        "consumed": consumed * flow.world,
    }


def check_state(flow: Flow, state: Mapping[str, Any]) -> int:
    """The position that ``state`` says, if it is of this very data set.

    Raises:
        LocalError: it is not; says what differs.
    """
    own = state_of(flow, 0)
    for part, what in (
        ("format", "format"),
        ("version", "release"),
        ("splits", "splits"),
        ("order", "order"),
        ("pipeline", "pipeline"),
    ):
        if state.get(part) != own[part]:
            raise LocalError(
                f"this state is of another {what}: expected {own[part]}, got {state.get(part)}",
                next_step="load the same release and write the same pipeline, or start anew",
            )
    consumed, most = state.get("consumed"), flow.selection.total * flow.world
    if not isinstance(consumed, int) or not 0 <= consumed <= most or consumed % flow.world:
        raise LocalError(
            f"expected a position up to {most} in steps of {flow.world}, got {consumed!r}"
        )
    return consumed // flow.world


def fingerprint(flow: Flow) -> str:
    """A hash (hex, 16 characters) of what happens to a sample: its fields, class and stages."""
    reader = flow.reading.reader
    told = [
        list(flow.reading.names),
        None if reader is None else f"{reader.__module__}.{reader.__qualname__}",
        [stage.name for stage in flow.stages],
    ]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]
