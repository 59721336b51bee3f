"""The statistics of one finished shard, and of several together.

Belongs here: `shard_statistics`, from a file to what is known of its samples, and `merge`. Both are
functions of the samples alone: however they were cut into shards, in whatever order the shards come
and in whichever process each was read, merging gives the same bit for bit.

A packed shard is read by columns (`atd.shards.columns`), a few thousand rows at a time, and numbers
never become Python objects; other shards, and samples that fit no column, one after the other.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from atd.errors import ShardError
from atd.records import Layout
from atd.schema import fields
from atd.schema.fields import Schema
from atd.shards.column_kinds import Arrays, Column, Numbers
from atd.shards.columns import Columns
from atd.shards.reader import ShardFile
from atd.shards.unfit import Unfit
from atd.statistics.array_elements import add_rows
from atd.statistics.gather import FieldPartial, add_field, add_values, empty

_ROWS: Final = 1024
"""Samples whose values are held at a time."""
_BLOCK_BYTES: Final = 4 * 2**20


@dataclass
class Partial:
    """What is known of the samples of one or more shards of a split. It pickles."""

    samples: int = 0
    fields: dict[str, FieldPartial] = field(default_factory=dict)


def shard_statistics(path: Path | str, schema: Schema, layout: Layout) -> Partial:
    """What is known of the samples in the shard at ``path``.

    Raises:
        ShardError: a sample does not fit the schema.
        StorageFault: the file cannot be read.
    """
    shard = ShardFile(path, schema, layout)
    columns = shard.columns
    if columns is not None:
        try:
            return _by_columns(shard, columns)
        except (Unfit, UnicodeDecodeError):
            pass  # reading one by one says which sample it is, and what is wrong with it
    part = _nothing(schema, len(shard))
    _add_samples(part, schema, iter(shard))
    return part


def merge(parts: Iterable[Partial]) -> Partial:
    """What is known of the samples of all ``parts``, of one schema, in any order.

    Raises:
        ShardError: there is none.
    """
    whole: Partial | None = None
    for part in parts:
        if whole is None:
            whole = Partial(0, {name: FieldPartial(one.kind) for name, one in part.fields.items()})
        whole.samples += part.samples
        for name, one in part.fields.items():
            whole.fields[name].merge(one)
    if whole is None:
        raise ShardError("expected the statistics of one shard at least, found none")
    return whole


def _nothing(schema: Schema, samples: int) -> Partial:
    return Partial(samples, {one.name: empty(one.kind) for one in schema})


def _add_samples(part: Partial, schema: Schema, samples: Iterator[dict[str, Any]]) -> None:
    while rows := list(islice(samples, _ROWS)):
        for one in schema:
            add_field(part.fields[one.name], one, rows)


def _by_columns(shard: ShardFile, columns: Columns) -> Partial:
    part = _nothing(shard.schema, len(shard))
    count, odd = len(shard), np.zeros(0, np.int64)
    if columns.row is not None:
        odd = np.flatnonzero(columns.row < 0)
        count -= len(odd)
    for one in shard.schema if count else ():
        _add_column(part.fields[one.name], one.kind, columns.by_name[one.name], count)
    _add_samples(part, shard.schema, (shard.sample(int(at)) for at in odd))
    return part


def _add_column(part: FieldPartial, kind: fields.Kind, column: Column, count: int) -> None:
    """Add the ``count`` rows of a column."""
    rows = np.arange(count, dtype=np.int64)
    if column.missing is not None:
        absent = 0 if column.absent is None else int(column.absent[:count].sum())
        part.missing += absent
        part.null += int(column.missing[:count].sum()) - absent
        rows = rows[~column.missing[:count]]
    match kind, column:
        case fields.Json(), _:
            part.count += len(rows)
        case fields.Int(), Numbers():
            part.count += len(rows)
            part.of("value").add_integers(column.data[rows])
        case fields.Float(), Numbers():
            part.count += len(rows)
            part.of("value").add_floats(column.data[rows])
        case fields.Label() as label, Numbers():
            part.count += len(rows)
            found, often = np.unique(column.data[rows], return_counts=True)
            names = [label.names[index] for index in found.tolist()]
            part.tally_classes(dict(zip(names, often.tolist(), strict=True)), label.names)
        case fields.Array() as array, Arrays() if column.shape is not None and len(rows) == count:
            _add_array_column(part, array, column, count)
        case _:
            _add_rows(part, kind, column, rows)


def _add_rows(
    part: FieldPartial, kind: fields.Kind, column: Column, rows: NDArray[np.int64]
) -> None:
    for begin in range(0, len(rows), _ROWS):
        add_values(part, kind, column.values(rows[begin : begin + _ROWS]))


def _add_array_column(part: FieldPartial, kind: fields.Array, column: Arrays, count: int) -> None:
    """Add arrays of one shape, as many at a time as make a few megabytes."""
    shape = column.shape or ()
    part.count += count
    part.tally("shape", {"x".join(map(str, shape)): count})
    if kind.shape is None:
        part.of("elements").add_integers(np.full(count, math.prod(shape), np.int64))
    step = max(1, _BLOCK_BYTES // max(column.width, 1))
    for begin in range(0, count, step):
        block = slice(begin, min(begin + step, count))
        found = column.as_view(block) if column.width else None
        if found is None:
            found = np.stack([np.asarray(one) for one in column.values(block)])
        add_rows(part.of("value"), found.reshape(len(found), -1))
