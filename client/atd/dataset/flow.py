"""Which samples come, in which order, as what, and what happens to them.

What belongs here: `Flow` alone. Reading it is `atd.dataset.cursor`, batching it
`atd.dataset.batches`; the methods that users write are `atd.dataset.dataset`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from atd.dataset.selection import Selection
from atd.dataset.source import ShardSource
from atd.dataset.stages import Filter, Map, Stage
from atd.schema.fields import Schema
from atd.schema.resolve import Reading


@dataclass(frozen=True, eq=False)
class Flow:
    """An iteration, described. Immutable; it holds no file and no socket, and it pickles.

    Args:
        source: where the shards are.
        selection: which samples, in which order.
        reading: what a decoded sample becomes.
        stages: maps and filters, in the order written.
        world: how many equal readers share the order; 1 where the selection is nobody's share.
        patient: whether to go on after a bad sample.
    """

    source: ShardSource
    selection: Selection
    reading: Reading[Any]
    stages: tuple[Stage, ...] = ()
    world: int = 1
    patient: bool = False

    @property
    def filtered(self) -> bool:
        """Whether a filter makes the number of samples unknown."""
        return any(isinstance(stage, Filter) for stage in self.stages)

    @property
    def mapped(self) -> bool:
        """Whether samples are no longer what the schema says."""
        return any(isinstance(stage, Map) for stage in self.stages)

    @property
    def schema(self) -> Schema:
        """The fields of a sample as read, before any map: what batches are made by."""
        return self.reading.schema

    def __len__(self) -> int:
        """How many samples there are.

        Raises:
            TypeError: a filter makes that unknown.
        """
        if self.filtered:
            raise TypeError("the length is not known after filter; count with: sum(1 for _ in ds)")
        return self.selection.total

    def __str__(self) -> str:
        names = ", ".join(step.name for step in self.reading.steps)
        return f"{self.source.what}: {self.selection.total:,} samples of {names}"
