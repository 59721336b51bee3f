"""Batches made of columns of values, without the samples between.

What belongs here: `Stacker`, and how its columns are cut into batches. The slow twin is
`atd.shards.batch.collate` of samples.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeAlias

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

_INDEX: Final = np.dtype(np.int64)

_LISTED: Final = (
    fields.String,
    fields.Text,
    fields.Timestamp,
    fields.Json,
    fields.Bytes,
    fields.List,
)
"""Kinds of which a batch has a list."""

_Way: TypeAlias = Callable[[Block], Any]
"""From a block to the column of a field."""


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
        self._pool = pool
        self._copy = copy
        steps = {step.name: step for step in reading.steps}
        written = {field.name: field.kind for field in flow.source.schema}
        kinds = [written[steps[field.name].source] for field in made]
        self._columns = [
            (field.name, self._way(field, steps[field.name], kind, reading.reader is None))
            for field, kind in zip(made, kinds, strict=True)
        ]
        self.lazy = any(isinstance(kind, LAZY) for kind in kinds)

    def __call__(self, block: Block) -> dict[str, Any]:
        """The columns of all samples in the block."""
        return {name: column(block) for name, column in self._columns}

    def _way(self, field: fields.Field, step: Step, kind: fields.Kind, rows: bool) -> _Way:
        """How the column of a field is taken from a block."""
        listed = partial(self._listed, field, step, isinstance(kind, LAZY))
        if field.nullable or field.optional:
            return partial(self._some_there, step.source, listed, rows)
        # A row's label is its index with a name; in a batch the column knows the names.
        bare = rows or step.convert is None
        if bare and isinstance(kind, fields.Label) and isinstance(field.kind, fields.Label):
            return partial(self._labels, step.source, field.kind.names)
        if step.convert is not None:
            return listed
        if isinstance(kind, fields.Array) and np.dtype(kind.dtype).kind != "b":
            return partial(self._arrays, step.source, listed)
        if isinstance(kind, _NUMBERS) and type(field.kind) is type(kind):
            return partial(self._numbers, step.source, _dtype(field.kind))
        return listed

    def _numbers(self, source: str, dtype: np.dtype[Any], block: Block) -> NDArray[Any]:
        found = block.numbers(source, dtype, self._copy)
        found.flags.writeable = self._copy
        return found

    def _labels(self, source: str, names: tuple[str, ...], block: Block) -> NDArray[Any]:
        return named(self._numbers(source, _INDEX, block), names)

    def _arrays(self, source: str, listed: _Way, block: Block) -> Any:
        """Arrays stacked, or else what a list of them becomes."""
        found = None if self._copy else block.view(source)
        if found is None:
            found = block.arrays(source, self._pool)
            if found is None:
                return listed(block)
            found.flags.writeable = self._copy
        return found

    def _some_there(self, source: str, listed: _Way, rows: bool, block: Block) -> Any:
        absent = block.absent(source)
        if absent is None:
            return listed(block)
        if not rows:
            # What is absent takes its default in an instance of a class.
            raise Uncommon
        return _Partly(listed(block), absent)

    def _listed(self, field: fields.Field, step: Step, lazy: bool, block: Block) -> Any:
        values = block.lazily(step.source) if lazy else iter(block.values(step.source))
        if step.convert is not None:
            values = map(converting(step), values)
        found = list(values)
        is_list = field.nullable or field.optional or isinstance(field.kind, _LISTED)
        return found if is_list else _Values(field, found)


@dataclass(frozen=True)
class _Values:
    """A column that is stacked batch by batch: what it becomes depends on who is in the batch."""

    field: fields.Field
    values: list[Any]


@dataclass(frozen=True)
class _Partly:
    """A column that some samples lack; a batch in which all do has none."""

    values: list[Any]
    absent: list[bool]


def _dtype(kind: fields.Kind) -> np.dtype[Any]:
    match kind:
        case fields.Int() | fields.Float():
            return np.dtype(kind.dtype)
        case fields.Bool():
            return np.dtype(np.bool_)
        case _:
            return np.dtype(np.float64)


def cut(columns: dict[str, Any], begin: int, end: int) -> Batch:
    """The batch of samples ``begin`` to ``end`` of a block's columns."""
    cuts = {name: _cut(column, begin, end) for name, column in columns.items()}
    if any(column is None for column in cuts.values()):
        cuts = {name: column for name, column in cuts.items() if column is not None}
    return Batch(cuts, end - begin)


def _cut(column: Any, begin: int, end: int) -> Any:
    """A part of a column; None of one that is not there."""
    if type(column) is _Values:
        return stacked(column.field, column.values[begin:end])
    if type(column) is _Partly:
        return None if all(column.absent[begin:end]) else column.values[begin:end]
    return column[begin:end]
