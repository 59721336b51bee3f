"""A data set as Arrow: a stream of record batches, or a table.

What belongs here: which columns there are, and cutting samples into batches of bounded size. The
columns themselves are `atd.dataset.arrow_columns`. The doors to pandas, polars and Hugging Face's
datasets go through this one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import Any, Final, TypeAlias

import numpy as np
import pyarrow as pa

from atd.dataset.arrow_columns import Form, arrow_field, column, member, values_of
from atd.dataset.batches import Batches
from atd.dataset.cursor import Cursor
from atd.dataset.flow import Flow
from atd.errors import LocalError
from atd.schema import fields
from atd.schema.classes import schema_of
from atd.schema.kinds import Kind
from atd.schema.words import describe
from atd.shards.media import Image, Media

Table: TypeAlias = pa.Table
Reader: TypeAlias = pa.RecordBatchReader

BATCH: Final = 1_024
"""Samples in a record batch, at most."""
BATCH_BYTES: Final = 64 * 2**20
"""About how large a record batch becomes, at most, but for one sample: memory stays bounded."""


@dataclass(frozen=True)
class Plan:
    """The columns of what ``flow`` gives, and the samples themselves, which come once.

    Batches are taken over column by column where they hold what Arrow is to hold: not after a map,
    and not with images, which batches decode.
    """

    flow: Flow
    columns: tuple[tuple[str, Kind], ...]
    schema: pa.Schema
    samples: Iterator[Any]
    form: Form

    def batches(self, n: int) -> Iterator[pa.RecordBatch]:
        """The samples in record batches of at most ``n``."""
        if self.flow.mapped or any(_has_image(kind) for _, kind in self.columns):
            for group in self._groups(n):
                yield self._batch(group)
        else:
            for batch in Batches[Any](self.flow, min(n, _fitting(self.flow)), False, None):
                yield self._batch(batch)

    def _groups(self, n: int) -> Iterator[list[Any]]:
        group: list[Any] = []
        weight = 0
        for sample in self.samples:
            group.append(sample)
            weight += sum(_weight(member(sample, name)) for name, _ in self.columns)
            if len(group) == n or weight >= BATCH_BYTES:
                yield group
                group, weight = [], 0
        if group:
            yield group

    def _batch(self, group: Any) -> pa.RecordBatch:
        """The record batch of a list of samples, or of a batch."""
        arrays = []
        for name, kind in self.columns:
            try:
                arrays.append(column(kind, values_of(group, name), self.form))
            except (ValueError, TypeError, OverflowError) as error:
                raise LocalError(
                    f"{name}: expected {describe(kind)} in every sample: {error}",
                    next_step="let map return instances of one class of atd.sample",
                ) from error
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)


def plan(flow: Flow, form: Form) -> Plan:
    """What comes out of ``flow``: by the schema, or after a map by the first sample.

    Raises:
        LocalError: map returned what has no columns.
    """
    samples: Iterator[Any] = Cursor(flow, 0)
    members = flow.schema.fields
    if flow.mapped:
        first = next(samples, None)
        samples = samples if first is None else chain([first], samples)
        members = () if first is None else tuple(_members(first))
    schema = pa.schema(
        [arrow_field(field, form) for field in members],
        metadata={"atd:source": flow.source.what, "atd:version": flow.source.version},
    )
    columns = tuple((field.name, field.kind) for field in members)
    return Plan(flow, columns, schema, samples, form)


def reader(flow: Flow, n: int = BATCH) -> pa.RecordBatchReader:
    """The samples as a stream of record batches; nothing is read before the first is asked for.

    Args:
        n: samples in a batch; fewer where they are large.
    """
    if n < 1:
        raise LocalError(f"expected a batch of 1 sample or more, got {n}")
    whole = plan(flow, Form())
    return pa.RecordBatchReader.from_batches(whole.schema, whole.batches(n))


def table(flow: Flow, form: Form | None = None) -> pa.Table:
    """All samples in memory."""
    whole = plan(flow, form or Form())
    return pa.Table.from_batches(whole.batches(BATCH), whole.schema)


# ------------------------------------------------------------------ after map


def _members(first: Any) -> Iterable[fields.Field]:
    """The fields of mapped samples: a class says them, of a mapping they are guessed."""
    if dataclasses.is_dataclass(first) and not isinstance(first, type):
        return schema_of(type(first)).fields
    if not isinstance(first, Mapping):
        raise LocalError(
            f"expected samples with fields, but map returned {type(first).__name__}",
            next_step="let it return a mapping, or an instance of a class of atd.sample",
        )
    return [fields.Field(name, _guess(value), nullable=True) for name, value in first.items()]


def _guess(value: Any) -> Kind:
    """The kind of a value that nobody described; a document where there is no better one."""
    match value:
        case bool() | np.bool_():
            return fields.Bool()
        case np.integer():
            return fields.Int(value.itemsize * 8, signed=value.dtype.kind == "i")
        case np.floating():
            return fields.Float(value.itemsize * 8)
        case int():
            return fields.Int()
        case float():
            return fields.Float()
        case str():
            return fields.String()
        case bytes():
            return fields.Bytes()
        case datetime():
            return fields.Timestamp()
        case np.ndarray():
            return fields.Array(value.dtype.name, (fields.Dim(),) * value.ndim)
        case Image():
            return fields.Image()
        case Media():
            return fields.Audio()
    return fields.Json()


def _fitting(flow: Flow) -> int:
    """How many samples of the usual size there are in `BATCH_BYTES`; one at least."""
    size = sum(shard.size for shard in flow.source.shards) / max(1, sum(flow.source.counts))
    return max(1, int(BATCH_BYTES / max(1.0, size)))


def _has_image(kind: Kind) -> bool:
    """Whether a value of ``kind`` is an image or holds one."""
    match kind:
        case fields.List():
            return _has_image(kind.item)
        case fields.Struct():
            return any(_has_image(field.kind) for field in kind.fields)
    return isinstance(kind, fields.Image)


def _weight(value: Any) -> int:
    """About how many bytes ``value`` takes."""
    match value:
        case np.ndarray():
            return value.nbytes
        case str() | bytes() | Media():
            return len(value)
        case list() | tuple():
            return sum(map(_weight, value))
        case Mapping():
            return sum(map(_weight, value.values()))
    return 8
