"""Where an iteration stands, and the reading of samples at given positions.

What belongs here: from positions of a selection to samples, shard by shard, and the state that
lets an iteration go on elsewhere. The state names the release, the order and the pipeline: one of
another release or pipeline is refused, because the same position would mean another sample.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final, Generic, TypeVar

import numpy as np

from atd.dataset.flow import Flow
from atd.dataset.order import Indices
from atd.dataset.shelf import Shelf
from atd.dataset.stages import DROPPED, through
from atd.errors import LocalError

T = TypeVar("T")

FORMAT: Final = 1
CHUNK: Final = 512
"""Positions looked up at once; shards of the next chunk are fetched while this one is read."""


class Cursor(Generic[T]):
    """An iteration under way. ``consumed`` is the position after the last sample it gave."""

    def __init__(self, flow: Flow, start: int) -> None:
        self.consumed = start
        self._flow = flow
        self._samples = self._run(start)

    def __iter__(self) -> Cursor[T]:
        return self

    def __next__(self) -> T:
        position, sample = next(self._samples)
        self.consumed = position + 1
        return sample

    def state_dict(self) -> dict[str, Any]:
        """Where this iteration stands; see `Dataset.load_state_dict`."""
        return state_of(self._flow, self.consumed)

    def _run(self, start: int) -> Iterator[tuple[int, T]]:
        positions = np.arange(start, self._flow.selection.total, dtype=np.int64)
        yield from read_at(self._flow, positions)
        self.consumed = self._flow.selection.total


def read_at(flow: Flow, positions: Indices) -> Iterator[tuple[int, Any]]:
    """Each of ``positions`` (of the selection) with its sample; filtered ones are left out."""
    for position, _, _, sample in read_raw(flow, positions):
        made = through(flow.stages, flow.reading(sample))
        if made is not DROPPED:
            yield position, made


def read_raw(flow: Flow, positions: Indices) -> Iterator[tuple[int, str, int, dict[str, Any]]]:
    """Position, key, shard number and decoded fields of each sample, in the order asked."""
    ends = np.cumsum(flow.source.counts, dtype=np.int64)
    names = flow.reading.names
    with Shelf(flow.source) as shelf:
        ahead = _located(flow, positions[:CHUNK], ends)
        for begin in range(0, len(positions), CHUNK):
            shards, rows = ahead
            here = positions[begin : begin + CHUNK]
            ahead = _located(flow, positions[begin + CHUNK : begin + 2 * CHUNK], ends)
            shelf.expect(dict.fromkeys(shards.tolist()) | dict.fromkeys(ahead[0].tolist()))
            for position, number, row in zip(
                here.tolist(), shards.tolist(), rows.tolist(), strict=True
            ):
                shard = shelf.shard(number)
                yield position, shard.key(row), number, shard.sample(row, names)


def _located(flow: Flow, positions: Indices, ends: Indices) -> tuple[Indices, Indices]:
    """The shard of each position, and the row in it."""
    indices = flow.selection.pick(positions)
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
