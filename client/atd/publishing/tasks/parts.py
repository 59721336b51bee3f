"""The task of packing one part of a split, and the driver that has all parts packed.

Belongs here: cutting a split into tasks, and putting their results together. What a worker does is
`pack_part`: it packs the samples of one part of the space of hashes, or finds that this was done
before.

Only samples with random access, ordered by hash, are packed so; the others are packed by one
process (`atd.publishing.packing`).
"""

from __future__ import annotations

import itertools
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from atd.engines.foreman import Foreman
from atd.manifest import ManifestShard
from atd.publishing.sources.source import Item
from atd.publishing.tasks import done
from atd.publishing.tasks.done import Made
from atd.records import CutParameters, Layout
from atd.schema.fields import Schema
from atd.shards import cut
from atd.shards.layout import SampleWriter
from atd.shards.parts import HASH_BITS, Part, depth_for, joined
from atd.shards.writer import repeated, stored_size

LOOKED_AT: Final = 32
"""Samples that are encoded to estimate how large all are, at most; and one in ``_ONE_IN``."""
_ONE_IN: Final = 8


@dataclass(frozen=True)
class Where:
    """What the tasks of one split have in common."""

    schema: Schema
    layout: Layout
    cuts: CutParameters
    folder: Path
    split: str

    def said(self, part: Part) -> list[object]:
        """Everything that the shards of a part depend on besides its samples, as JSON values."""
        values = (self.schema.to_value(), self.layout.to_value(), self.cuts.to_value())
        return [*values, self.split, part.depth, part.number]


@dataclass(frozen=True)
class PartTask:
    """Pack one part.

    Args:
        items: its samples: all that lie in ``part``, by hash.
        known: the fingerprint of all this; None where there can be none.
    """

    where: Where
    part: Part
    items: tuple[Item, ...]
    known: str | None

    @property
    def what(self) -> str:
        """The task in words."""
        parts = 1 << self.part.depth
        return f"part {self.part.number + 1} of {parts} of the split {self.where.split}"


def pack_part(task: PartTask) -> Made:
    """Pack a part, or find that it is packed: what a worker does.

    Raises:
        SchemaMismatch, BadSource, TooLarge, StorageFault: as `atd.shards.cut.pack`.
    """
    where = task.where
    if task.known is not None:
        found = done.recall(where.folder, task.known)
        if found is not None:
            return found
    shards = cut.pack(
        task.items,
        where.schema,
        where.layout,
        where.cuts,
        where.folder,
        where.split,
        part=task.part,
    )
    made = Made.of(shards)
    if task.known is not None:
        done.remember(where.folder, task.known, made)
    return made


def _pack_watched(told: Callable[[int], None], task: PartTask) -> Made:
    """`pack_part` in the driver's process: each sample is told of as it is loaded."""

    def watched(load: Callable[[], Any]) -> Callable[[], Any]:
        def loaded() -> Any:
            told(1)
            return load()

        return loaded

    return pack_part(replace(task, items=tuple((key, watched(load)) for key, load in task.items)))


class Guess(NamedTuple):
    """What packing some samples takes: bytes of their members, and seconds of one processor for
    loading and encoding them."""

    size: int
    seconds: float


class Packing(NamedTuple):
    """A split that is packed: its shards in order, and the names of files that are not needed."""

    shards: tuple[ManifestShard, ...]
    superseded: frozenset[str]


class Parts:
    """The samples of one split in hash order, and the tasks that pack them.

    Raises:
        BadSource: two samples have the same key.
        InvalidSyntax: a key cannot be written.
    """

    def __init__(self, where: Where, items: Iterable[Item]) -> None:
        self._where = where
        found = list(items)
        places = [cut.place_of(key) for key, _ in found]
        order = sorted(range(len(found)), key=places.__getitem__)
        self._items = [found[at] for at in order]
        self._places = [places[at] for at in order]
        for at, (one, following) in enumerate(itertools.pairwise(self._places)):
            if one == following:
                raise repeated(self._items[at][0])

    def __len__(self) -> int:
        return len(self._items)

    @property
    def items(self) -> Sequence[Item]:
        """Every sample."""
        return self._items

    def guess(self) -> Guess:
        """What packing takes, from some samples that are spread over the split.

        Raises:
            SchemaMismatch: one of them does not fit.
        """
        encode = SampleWriter(self._where.schema, self._where.layout)
        some = self._items[:: max(-(-len(self._items) // LOOKED_AT), _ONE_IN)]
        sizes, times = [0] * len(some), [time.thread_time()]
        for at, (key, load) in enumerate(some):
            sizes[at] = stored_size(encode(key, load()))
            times.append(time.thread_time())
        # The first also brings modules and tables, which the others find there.
        slow = (times[-1] - times[1]) / (len(some) - 1) if len(some) > 1 else 0.0
        mean = sum(sizes) / max(len(sizes), 1)
        return Guess(int(mean * len(self._items)), slow * len(self._items))

    def depth(self, size: int) -> int:
        """How deep to cut samples of ``size`` bytes; 0: they are one task's worth."""
        return depth_for(len(self._items), size, self._where.cuts)

    def pack(self, depth: int, foreman: Foreman, told: Callable[[int], None]) -> Packing:
        """Pack all samples by tasks.

        Args:
            told: told how many samples were packed: as each task ends, or one by one where this
                process packs them.
        """
        made: dict[Part, Made] = {}
        superseded: set[str] = set()
        pack = partial(_pack_watched, told) if foreman.here else pack_part
        for _, task, result in foreman.carry_out(pack, self.tasks(depth)):
            made[task.part] = result
            if result.again or not foreman.here:
                told(result.filled.samples)
        filled = {part.number: one.filled for part, one in made.items()}
        above = joined(filled, depth, self._where.cuts)
        for _, task, result in foreman.carry_out(pack_part, map(self._task, above)):
            for part in [one for one in made if one.within(task.part)]:
                superseded.update(shard.name for shard in made.pop(part).shards)
            made[task.part] = result
        ordered = sorted(made, key=lambda part: part.end)
        again = sum(one.again for one in made.values())
        if again:
            foreman.note(
                "packed already", f"{again} of {len(made)} parts of the split {self._where.split}"
            )
        return Packing(
            tuple(shard for part in ordered for shard in made[part].shards), frozenset(superseded)
        )

    def tasks(self, depth: int) -> Iterator[PartTask]:
        """A task for each part that has samples."""
        numbers = (place >> HASH_BITS - depth for place in self._places)
        for number, _ in itertools.groupby(numbers):
            yield self._task(Part(depth, number))

    def _task(self, part: Part) -> PartTask:
        begin = bisect_left(self._places, part.begin)
        items = tuple(self._items[begin : bisect_left(self._places, part.end)])
        known = done.fingerprint(self._where.said(part), items)
        return PartTask(self._where, part, items, known)
