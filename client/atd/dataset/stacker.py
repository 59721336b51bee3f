"""Batches made of columns of values, without the samples between.

What belongs here: `Stacker`, and how its columns are cut into batches. The slow twin is
`atd.shards.batch.collate` of samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from atd.dataset.blocks import Block, Uncommon
from atd.dataset.flow import Flow
from atd.dataset.samples import LAZY, converting, plain_class
from atd.schema import fields
from atd.schema.convert import Step
from atd.schema.resolve import Reading
from atd.shards.batch import Batch, named, stacked
from atd.shards.gather import Pool

_NUMBERS: Final = (fields.Bool, fields.Int, fields.Float, fields.Box)

_LISTED: Final = (
    fields.String,
    fields.Text,
    fields.Timestamp,
    fields.Json,
    fields.Bytes,
    fields.List,
)
"""Kinds of which a batch has a list."""


class Stacker:
    """Batches of a reading out of blocks, as `collate` would make them of the samples.

    Args:
        pool: where large arrays are put.
        copy: give arrays that are the caller's own; otherwise all are read-only, and those of
            samples that lie at equal distances in one shard are views of the shard.

    Raises:
        Uncommon: such batches have to be made of samples.
    """

    def __init__(self, flow: Flow, pool: Pool, copy: bool = True) -> None:
        reading: Reading[Any] = flow.reading
        made = flow.schema
        if flow.stages or {step.name for step in reading.steps} != set(made.names):
            raise Uncommon
        if reading.reader is not None and not plain_class(reading.reader):
            raise Uncommon
        steps = {step.name: step for step in reading.steps}
        written = {field.name: field.kind for field in flow.source.schema}
        self._pool = pool
        self._copy = copy
        self._columns = [
            (field, steps[field.name], written[steps[field.name].source], reading.reader is None)
            for field in made
        ]
        self.lazy = any(isinstance(kind, LAZY) for _, _, kind, _ in self._columns)

    def __call__(self, block: Block) -> dict[str, Any]:
        """The columns of all samples in the block."""
        return {
            field.name: self._column(block, field, step, kind, rows)
            for field, step, kind, rows in self._columns
        }

    def _column(
        self, block: Block, field: fields.Field, step: Step, kind: fields.Kind, rows: bool
    ) -> Any:
        if not field.nullable and not field.optional:
            dense = self._dense(block, field, step, kind, rows)
            if dense is not None:
                dense.flags.writeable = self._copy
                return dense
        lazy = isinstance(kind, LAZY)
        values = block.lazily(step.source) if lazy else iter(block.values(step.source))
        if step.convert is not None:
            values = map(converting(step), values)
        found = list(values)
        is_list = field.nullable or field.optional or isinstance(field.kind, _LISTED)
        return found if is_list else _Values(field, found)

    def _dense(
        self, block: Block, field: fields.Field, step: Step, kind: fields.Kind, rows: bool
    ) -> NDArray[Any] | None:
        """The column where it is an array whoever is in the batch."""
        labels = isinstance(kind, fields.Label) and isinstance(field.kind, fields.Label)
        # A row's label is its index with a name; in a batch the column knows the names.
        if labels and (rows or step.convert is None):
            indices = block.numbers(step.source, "int64", self._copy)
            return named(indices, cast("fields.Label", field.kind).names)
        if step.convert is not None:
            return None
        if isinstance(kind, fields.Array) and np.dtype(kind.dtype).kind != "b":
            view = None if self._copy else block.view(step.source)
            return block.arrays(step.source, self._pool) if view is None else view
        if isinstance(kind, _NUMBERS) and type(field.kind) is type(kind):
            return block.numbers(step.source, _dtype(field.kind), self._copy)
        return None


@dataclass(frozen=True)
class _Values:
    """A column that is stacked batch by batch: what it becomes depends on who is in the batch."""

    field: fields.Field
    values: list[Any]


def _dtype(kind: fields.Kind) -> str:
    match kind:
        case fields.Int() | fields.Float():
            return kind.dtype
        case fields.Bool():
            return "bool"
        case _:
            return "float64"


def cut(columns: dict[str, Any], begin: int, end: int) -> Batch:
    """The batch of samples ``begin`` to ``end`` of a block's columns."""
    cuts = {
        name: stacked(column.field, column.values[begin:end])
        if type(column) is _Values
        else column[begin:end]
        for name, column in columns.items()
    }
    return Batch(cuts, end - begin)
