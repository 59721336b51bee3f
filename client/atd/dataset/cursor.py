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
from atd.dataset.blocks import Block, Maker, Uncommon, pieces_of
from atd.dataset.flow import Flow
from atd.dataset.order import Indices
from atd.dataset.shelf import shelf_of
from atd.dataset.stages import DROPPED, through
from atd.errors import LocalError

T = TypeVar("T")

FORMAT: Final = 1
CHUNK: Final = 512
"""Positions looked up at once where samples are read one by one."""

_CHUNK_BYTES: Final = 16 << 20
"""Bytes of samples looked up at once, up to 4,096; what is fetched ahead is twice that."""

_BLOCK_BYTES: Final = 1 << 20
_FIRST: Final = 64
_MIXED: Final = 16
"""Fewer samples than this from a shard before another comes: shards are mixed."""


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
        for reach in reaches(flow, start, flow.selection.total):
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
        for position, sample in enumerate(reach.samples(maker), reach.start + 1):
            made = through(self._flow.stages, sample)
            if made is not DROPPED:
                self._end = position
                yield made
        self._end = reach.stop


class Reach:
    """Neighbouring positions of a flow, and their samples by columns or one by one."""

    def __init__(self, flow: Flow, start: int, shards: Indices, rows: Indices) -> None:
        self.flow = flow
        self.start = start
        self.stop = start + len(rows)
        self.shards = shards
        self.rows = rows

    def block(self) -> Block:
        """All samples at once.

        Raises:
            Uncommon: they cannot be had so.
        """
        shelf = shelf_of(self.flow.source)
        return Block(shelf, pieces_of(self.shards, self.rows), len(self.rows))

    def samples(self, maker: Maker) -> Iterator[Any]:
        """Each sample as the flow reads it, before its stages."""
        try:
            return maker.samples(self.block())
        except Uncommon:
            return map(self.flow.reading, self.decoded())

    def decoded(self) -> Iterator[dict[str, Any]]:
        """Each sample as the strict reader has it."""
        shelf, names = shelf_of(self.flow.source), self.flow.reading.names
        for number, row in zip(self.shards.tolist(), self.rows.tolist(), strict=True):
            yield shelf.shard(number).sample(row, names)

    def part(self, begin: int, end: int) -> Reach:
        """The positions ``begin`` to ``end``, counted from the first of these."""
        return Reach(self.flow, self.start + begin, self.shards[begin:end], self.rows[begin:end])


def reaches(
    flow: Flow, start: int, stop: int, most: int | None = None, first: int = _FIRST
) -> Iterator[Reach]:
    """The positions of a flow in pieces that are good to read at once.

    The first is small, for an early first sample. The shards of the next are asked for meanwhile.

    Args:
        most: positions in each; where it is None, as many as are good to read at once, and a piece
            ends where an ordered flow comes to another shard, which may have to be fetched first.
        first: positions in the first.
    """
    size = most or most_in_block(flow)
    chunk = size * max(1, most_in_block(flow, _CHUNK_BYTES) // size)
    edges = [start, *range(start + first, stop, chunk), stop] if start < stop else []
    chunks = (np.arange(low, high, dtype=np.int64) for low, high in pairwise(edges))
    for positions, shards, rows in _looking_ahead(flow, chunks):
        whole = Reach(flow, int(positions[0]), shards, rows)
        joints = _joints(shards) if most is None else []
        for low, high in pairwise([0, *joints, len(shards)]):
            for at in range(low, high, size):
                yield whole.part(at, min(at + size, high))


def _looking_ahead(
    flow: Flow, chunks: Iterable[Indices]
) -> Iterator[tuple[Indices, Indices, Indices]]:
    """Each chunk of positions with their shards and the rows in them. While one is read, the shards
    of the next are fetched."""
    ends = np.cumsum(flow.source.counts, dtype=np.int64)
    shelf = shelf_of(flow.source)
    ahead: tuple[Indices, Indices, Indices] | None = None
    for positions in chunks:
        here = ahead
        ahead = positions, *_located(flow, positions, ends)
        shelf.expect(np.flatnonzero(np.bincount(ahead[1])).tolist())
        if not shelf.complete:
            shelf.expect(beyond(flow, int(positions[-1]) + 1, ends), SHARDS)
        if here is not None:
            yield here
    if ahead is not None:
        yield ahead


def _chunks(positions: Indices, size: int) -> Iterator[Indices]:
    return (positions[low : low + size] for low in range(0, len(positions), size))


def _joints(shards: Indices) -> list[int]:
    """Where another shard begins, in an ordered flow; nowhere, in a shuffled one."""
    changes = np.flatnonzero(np.diff(shards)) + 1
    ordered = len(changes) * _MIXED < len(shards) and bool((np.diff(shards) >= 0).all())
    return changes.tolist() if ordered else []


def most_in_block(flow: Flow, size_in_bytes: int = _BLOCK_BYTES) -> int:
    """Samples in a block that is good to read at once: about as many as a cache holds."""
    source = flow.source
    size = sum(shard.size for shard in source.shards) // max(1, sum(source.counts))
    return max(16, min(4096, size_in_bytes // max(1, size)))


def read_at(flow: Flow, positions: Indices) -> Iterator[tuple[int, Any]]:
    """Each of ``positions`` (of the selection) with its sample; filtered ones are left out."""
    maker = Maker(flow)
    for here, shards, rows in _looking_ahead(flow, _chunks(positions, most_in_block(flow))):
        samples = Reach(flow, 0, shards, rows).samples(maker)
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
    for here, shards, rows in _looking_ahead(flow, _chunks(positions, CHUNK)):
        for position, number, row in zip(
            here.tolist(), shards.tolist(), rows.tolist(), strict=True
        ):
            shard = shelf.shard(number)
            yield position, shard.key(row), number, shard.sample(row, names)


def _located(flow: Flow, positions: Indices, ends: Indices) -> tuple[Indices, Indices]:
    """The shard of each position, and the row in it."""
    indices = flow.selection.pick(positions)
    if indices is positions and len(indices):
        # Neighbours, as the release lists them: whole runs of a shard.
        first, last = np.searchsorted(ends, indices[[0, -1]], side="right").tolist()
        numbers = np.arange(first, last + 1)
        inner = ends[first:last] - indices[0]
        runs = np.diff(np.concatenate([[0], inner, [len(indices)]]))
        shards = np.repeat(numbers, runs)
        begins = np.repeat(ends[numbers] - np.array(flow.source.counts)[numbers], runs)
        return shards, indices - begins
    shards = np.searchsorted(ends, indices, side="right")
    begins = np.concatenate([np.zeros(1, dtype=np.int64), ends])
    return shards, indices - begins[shards]


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
