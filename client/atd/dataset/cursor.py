"""Where an iteration stands, and the reading of samples at given positions.

What belongs here: from positions of a selection to samples, shard by shard, and the state that
lets an iteration go on elsewhere. The state names the release, the order and the pipeline: one of
another release or pipeline is refused, because the same position would mean another sample.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import numpy as np

from atd.dataset.order import Indices
from atd.dataset.shelf import Shelf
from atd.dataset.stages import DROPPED, through
from atd.errors import LocalError

if TYPE_CHECKING:
    from atd.dataset.dataset import Dataset

T = TypeVar("T")

FORMAT: Final = 1
CHUNK: Final = 512
"""Positions looked up at once; shards of the next chunk are fetched while this one is read."""


class Cursor(Generic[T]):
    """An iteration under way. ``consumed`` is the position after the last sample it gave."""

    def __init__(self, dataset: Dataset[T], start: int) -> None:
        self.consumed = start
        self._dataset = dataset
        self._samples = self._run(start)

    def __iter__(self) -> Cursor[T]:
        return self

    def __next__(self) -> T:
        position, sample = next(self._samples)
        self.consumed = position + 1
        return sample

    def state_dict(self) -> dict[str, Any]:
        """Where this iteration stands; see `Dataset.load_state_dict`."""
        return state_of(self._dataset, self.consumed)

    def _run(self, start: int) -> Iterator[tuple[int, T]]:
        positions = np.arange(start, self._dataset.selection.total, dtype=np.int64)
        yield from read_at(self._dataset, positions)
        self.consumed = self._dataset.selection.total


def read_at(dataset: Dataset[T], positions: Indices) -> Iterator[tuple[int, T]]:
    """Each of ``positions`` (of the selection) with its sample; filtered ones are left out."""
    for position, _, _, sample in read_raw(dataset, positions):
        made = through(dataset.stages, dataset.reading(sample))
        if made is not DROPPED:
            yield position, made


def read_raw(
    dataset: Dataset[Any], positions: Indices
) -> Iterator[tuple[int, str, int, dict[str, Any]]]:
    """Position, key, shard number and decoded fields of each sample, in the order asked."""
    ends = np.cumsum(dataset.source.counts, dtype=np.int64)
    names = dataset.reading.names
    with Shelf(dataset.source) as shelf:
        ahead = _located(dataset, positions[:CHUNK], ends)
        for begin in range(0, len(positions), CHUNK):
            shards, rows = ahead
            here = positions[begin : begin + CHUNK]
            ahead = _located(dataset, positions[begin + CHUNK : begin + 2 * CHUNK], ends)
            shelf.expect(dict.fromkeys(shards.tolist()) | dict.fromkeys(ahead[0].tolist()))
            for position, number, row in zip(
                here.tolist(), shards.tolist(), rows.tolist(), strict=True
            ):
                shard = shelf.shard(number)
                yield position, shard.key(row), number, shard.sample(row, names)


def _located(dataset: Dataset[Any], positions: Indices, ends: Indices) -> tuple[Indices, Indices]:
    """The shard of each position, and the row in it."""
    indices = dataset.selection.pick(positions)
    shards = np.searchsorted(ends, indices, side="right")
    begins = np.concatenate([np.zeros(1, dtype=np.int64), ends])
    return shards, indices - begins[shards]


def state_of(dataset: Dataset[Any], consumed: int) -> dict[str, Any]:
    """The state of an iteration of ``dataset`` that has ``consumed`` positions behind it.

    The saved position counts those of all ranks, so that it means the same for any number of them.
    """
    return {
        "format": FORMAT,
        "version": dataset.source.version,
        "splits": list(dataset.source.splits),
        "order": dataset.selection.describe(),
        "pipeline": fingerprint(dataset),
        "consumed": consumed * dataset.world,
    }


def check_state(dataset: Dataset[Any], state: Mapping[str, Any]) -> int:
    """The position that ``state`` says, if it is of this very data set.

    Raises:
        LocalError: it is not; says what differs.
    """
    own = state_of(dataset, 0)
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
    consumed, most = state.get("consumed"), dataset.selection.total * dataset.world
    if not isinstance(consumed, int) or not 0 <= consumed <= most or consumed % dataset.world:
        raise LocalError(
            f"expected a position up to {most} in steps of {dataset.world}, got {consumed!r}"
        )
    return consumed // dataset.world


def fingerprint(dataset: Dataset[Any]) -> str:
    """A hash (hex, 16 characters) of what happens to a sample: its fields, class and stages."""
    reader = dataset.reading.reader
    told = [
        list(dataset.reading.names),
        None if reader is None else f"{reader.__module__}.{reader.__qualname__}",
        [stage.name for stage in dataset.stages],
    ]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]
