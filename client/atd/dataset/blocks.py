"""Many samples at once: from positions to columns of values, to samples, to batches.

What belongs here: `Block`, the samples at some positions of a flow, and how a reading's steps take
them from the columns of the shards (`atd.shards.columns`) instead of reading each by itself. The
slow twin of everything here is `atd.dataset.cursor.read_raw` followed by the flow's reading and
`atd.shards.batch.collate`; where a block cannot be had by columns (the members layout, a sample
that is out of the ordinary, a class that must see each of its instances made), `Uncommon` is
raised, and the caller takes that way, which also gives the precise error.
"""

from __future__ import annotations

import dataclasses
import inspect
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise, repeat
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from atd.dataset.flow import Flow
from atd.dataset.order import Indices
from atd.dataset.shelf import Shelf
from atd.errors import SchemaMismatch
from atd.schema import fields
from atd.schema.convert import Step, Unreadable
from atd.schema.resolve import Reading
from atd.schema.row import Row
from atd.shards.batch import Batch, Labels, stacked
from atd.shards.column_kinds import Arrays, Column, Numbers, Rows, Strings
from atd.shards.gather import LARGE_ROW, Pool, rows, rows_across, rows_into, rows_to
from atd.shards.reader import ShardFile
from atd.shards.texts import INLINE, MAX_MAP, listed, worth_arrow
from atd.shards.unfit import Unfit

_NUMBERS: Final = (fields.Bool, fields.Int, fields.Float, fields.Box)


class Uncommon(Exception):
    """These samples have to be read one by one."""


@dataclass(frozen=True)
class Piece:
    """The part of a block that one shard has.

    Args:
        shard: its number.
        samples: which of its samples.
        places: where in the block they belong.
    """

    shard: int
    samples: Rows
    places: Rows


def pieces_of(shards: Indices, samples: Indices) -> list[Piece]:
    """The pieces of a block of samples ``samples[i]`` of shards ``shards[i]``."""
    steps = np.diff(shards)
    changes = np.flatnonzero(steps) + 1
    if not len(changes) or (steps[changes - 1] > 0).all():
        bounds = [0, *changes.tolist(), len(shards)]
        return [
            Piece(int(shards[begin]), _run(samples[begin:end]), slice(begin, end))
            for begin, end in pairwise(bounds)
        ]
    # numpy sorts 16 bits by radix, several times faster.
    small = shards.astype(np.uint16) if int(shards.max()) < 1 << 16 else shards
    order = np.argsort(small, kind="stable")
    bounds = [0, *(np.flatnonzero(np.diff(shards[order])) + 1).tolist(), len(shards)]
    return [
        Piece(int(shards[order[begin]]), samples[order[begin:end]], order[begin:end])
        for begin, end in pairwise(bounds)
    ]


def _run(samples: Indices) -> Rows:
    """Neighbouring samples as a slice, others as they are."""
    first, count = int(samples[0]), len(samples)
    if int(samples[-1]) - first == count - 1 and (np.diff(samples) == 1).all():
        return slice(first, first + count)
    return samples


class Block:
    """The samples at some positions: columns of several shards, as one.

    Raises:
        Uncommon: a sample among them is not in the columns of its shard.
        AtdError: a shard cannot be had.
    """

    def __init__(self, shelf: Shelf, pieces: list[Piece], count: int) -> None:
        self.count = count
        self._parts: list[tuple[ShardFile, Rows, Rows]] = []
        self._samples = [piece.samples for piece in pieces]
        for piece in pieces:
            shard = shelf.shard(piece.shard)
            columns = shard.columns
            if columns is None:
                raise Uncommon
            rows = piece.samples
            if columns.row is not None:
                found = columns.row[rows]
                if (found < 0).any():
                    raise Uncommon
                rows = found
            self._parts.append((shard, rows, piece.places))

    def columns(self, name: str) -> Iterator[tuple[Column, Rows, Rows]]:
        """The columns of a field, with the rows of each and where they belong."""
        for shard, at, places in self._parts:
            columns = shard.columns
            assert columns is not None
            yield columns.by_name[name], at, places

    def values(self, name: str) -> list[Any]:
        """A field of all samples as a list.

        Raises:
            Uncommon: one of the values is none.
        """
        try:
            if len(self._parts) == 1:
                column, rows, _ = next(self.columns(name))
                return column.take(rows)
            if (strings := self._strings(name)) is not None:
                return strings
            # An array of objects puts them into their places in C.
            out = np.empty(self.count, np.object_)
            for column, rows, places in self.columns(name):
                out[places] = _boxed(column, column.take(rows))
            return out.tolist()
        except (Unfit, UnicodeDecodeError):
            raise Uncommon from None

    def _strings(self, name: str) -> list[str] | None:
        """A text field of samples from several shards, through one Arrow array over all of them;
        None if it is none, or not worth it."""
        columns = list(self.columns(name))
        fit = (
            isinstance(c, Strings) and c.missing is None and len(c.octets) <= MAX_MAP
            for c, _, _ in columns
        )
        if not all(fit) or not worth_arrow(self.count):
            return None
        views = np.empty((self.count, 4), np.int32)
        whole = views.view("V16")[:, 0]
        for number, (column, rows_of, places) in enumerate(columns):
            held = cast("Strings", column)
            whole[places] = held.views[rows_of]
            if number:
                # Short ones are in the view itself, and have no buffer to name.
                at = np.arange(self.count)[places] if isinstance(places, slice) else places
                views[at[held.lengths[rows_of] > INLINE], 2] = number
        return listed(views, [column.octets for column, _, _ in columns])  # type: ignore[attr-defined]

    def each(self, name: str) -> Iterator[Any]:
        """What `values` gives, one after the other; arrays are read-only."""
        if len(self._parts) > 1:
            column = next(self.columns(name))[0]
            if isinstance(column, Arrays) and column.shape and column.missing is None:
                together = self.arrays(name, Pool())
                if together is not None:
                    together.flags.writeable = False
                    return iter(together)
            return iter(self.values(name))
        column, rows, _ = next(self.columns(name))
        try:
            return column.each(rows)
        except (Unfit, UnicodeDecodeError):
            raise Uncommon from None

    def lazily(self, name: str) -> Iterator[Any]:
        """A field of each sample, made when it is asked for.

        The iterator raises ShardError where a value is none.
        """
        if len(self._parts) == 1:
            shard, samples = self._parts[0][0], self._samples[0]
            return map(shard.value, _numbered(samples), repeat(name))
        owner = np.empty(self.count, np.int64)
        sample = np.empty(self.count, np.int64)
        for at, (part, samples) in enumerate(zip(self._parts, self._samples, strict=True)):
            owner[part[2]] = at
            sample[part[2]] = _numbered(samples)
        values = [part[0].value for part in self._parts]
        return (values[at](i, name) for at, i in zip(owner.tolist(), sample.tolist(), strict=True))

    def numbers(self, name: str, dtype: str) -> NDArray[Any]:
        """A numeric field of all samples: (n,), or (n, 4) for boxes; a new array."""
        if len(self._parts) == 1:
            column, at, _ = next(self.columns(name))
            return cast("Numbers", column).data[at].astype(dtype)
        out: NDArray[Any] | None = None
        for column, at, places in self.columns(name):
            data = cast("Numbers", column).data
            if out is None:
                out = np.empty((self.count, *data.shape[1:]), dtype)
            out[places] = data[at]
        assert out is not None
        return out

    def arrays(self, name: str, pool: Pool) -> NDArray[Any] | None:
        """An array field of all samples, stacked; None where their shapes differ."""
        shape, dtype, width = None, None, 0
        for column, _, _ in self.columns(name):
            held = cast("Arrays", column)
            differs = held.shape is None or not held.width or held.missing is not None
            if differs or shape not in (None, held.shape):
                return None
            shape, dtype, width = held.shape, held.dtype, held.width
        if shape is None or dtype is None:
            return None
        if width < LARGE_ROW:
            return self._small_arrays(name, width).view(dtype).reshape(self.count, *shape)
        out = pool.take(self.count * width).reshape(self.count, width)
        for column, at, places in self.columns(name):
            held = cast("Arrays", column)
            if isinstance(places, slice):
                rows_into(held.octets, held.offsets[at], out[places])
            else:
                rows_to(held.octets, held.offsets[at], out, places)
        return out.view(dtype).reshape(self.count, *shape)

    def _small_arrays(self, name: str, width: int) -> NDArray[np.uint8]:
        columns = [(cast("Arrays", c), at, places) for c, at, places in self.columns(name)]
        if len(columns) == 1:
            held, at, _ = columns[0]
            return rows(held.octets, held.offsets[at], width)
        parts = [(held.octets, held.offsets[at], places) for held, at, places in columns]
        return rows_across(parts, width, self.count)


def _numbered(samples: Rows) -> list[int]:
    if isinstance(samples, slice):
        return list(range(samples.start, samples.stop))
    found: list[int] = samples.tolist()
    return found


def _boxed(column: Column, values: list[Any]) -> NDArray[np.object_]:
    """An array of these very objects: numpy would look into sequences."""
    out = np.empty(len(values), np.object_)
    if isinstance(column, Strings):
        out[:] = values
    else:
        for at, value in enumerate(values):
            out[at] = value
    return out


# ------------------------------------------------------------------ samples


class Maker:
    """Samples of a reading out of columns of values.

    Attributes:
        eager: nothing but look-ups: no value is converted, none is decoded when asked for, and no
            code of the class runs when an instance is made.
    """

    def __init__(self, flow: Flow) -> None:
        reading: Reading[Any] = flow.reading
        steps = _positional(reading.reader, reading.steps)
        self.steps = reading.steps if steps is None else steps
        self._names = tuple(step.name for step in self.steps)
        self._build = _builder(reading, self._names, steps is not None)
        written = {field.name: field for field in flow.source.schema}
        kinds = [written[step.source].kind for step in self.steps]
        self.lazy = [isinstance(kind, _LAZY) for kind in kinds]
        plain = reading.reader is None or plain_class(reading.reader)
        self.eager = plain and not any(self.lazy) and not any(s.convert for s in self.steps)

    def driven(self, block: Block) -> tuple[Iterator[Any], Iterator[Any]]:
        """The samples, and the iterator that tells how many of them are left (`eager` only).

        The last column is taken from last, so that a sample is counted once it is made.
        """
        columns = [block.each(step.source) for step in self.steps]
        if not hasattr(columns[-1], "__length_hint__"):
            columns[-1] = iter(list(columns[-1]))
        return self._build(*columns), columns[-1]

    def samples(self, block: Block) -> Iterator[Any]:
        """The samples, each made when it is asked for."""
        columns = []
        for step, lazy in zip(self.steps, self.lazy, strict=True):
            values = block.lazily(step.source) if lazy else block.each(step.source)
            columns.append(values if step.convert is None else map(_converting(step), values))
        return self._build(*columns)


_LAZY: Final = (
    fields.List,
    fields.Struct,
    fields.Json,
    fields.Timestamp,
    fields.Bytes,
    fields.Media,
)


def _converting(step: Step) -> Callable[[Any], Any]:
    """The step's conversion of one value, with the error that a reading gives."""
    convert = step.convert
    assert convert is not None

    def one(value: Any) -> Any:
        if value is None:
            return None
        try:
            return convert(value)
        except Unreadable as error:
            problem = error.within(step.name)
            raise SchemaMismatch(f"a sample does not fit the class: {problem}") from None

    return one


def _builder(
    reading: Reading[Any], names: tuple[str, ...], positional: bool
) -> Callable[..., Iterator[Any]]:
    """From iterators of values to an iterator of samples, with as little Python as can be."""
    if positional:
        return partial(map, cast("Any", reading.reader))
    make: Any = (
        Row if reading.reader is None else lambda values: cast("Any", reading.reader)(**values)
    )

    def build(*columns: Iterator[Any]) -> Iterator[Any]:
        return map(make, map(dict, map(zip, repeat(names), zip(*columns, strict=False))))

    return build


def _positional(cls: type[Any] | None, steps: tuple[Step, ...]) -> tuple[Step, ...] | None:
    """The steps in the order of the class's parameters, if it can be called with just those."""
    if cls is None:
        return None
    try:
        parameters = list(inspect.signature(cls).parameters.values())
    except (TypeError, ValueError):
        return None
    by_name = {step.name: step for step in steps}
    first = parameters[: len(steps)]
    named = all(p.kind is p.POSITIONAL_OR_KEYWORD and p.name in by_name for p in first)
    if not named or len(first) != len(steps):
        return None
    return tuple(by_name[p.name] for p in first)


def plain_class(cls: type[Any]) -> bool:
    """Whether an instance is its fields and nothing more: no code of the user runs when it is made
    or asked. Only then may a batch be made without the instances."""
    parameters = vars(cls).get("__dataclass_params__")
    if parameters is None or not parameters.init or hasattr(cls, "__post_init__"):
        return False
    own: Any = cls
    if own.__new__ is not object.__new__ or own.__getattribute__ is not object.__getattribute__:
        return False
    if own.__setattr__ is not object.__setattr__ and not parameters.frozen:
        return False
    return not any(
        hasattr(type(held), "__set__") and not isinstance(held, types.MemberDescriptorType)
        for held in (inspect.getattr_static(cls, f.name, None) for f in dataclasses.fields(cls))
    )


# ------------------------------------------------------------------ batches


class Stacker:
    """Batches of a reading out of blocks, as `collate` would make them of the samples.

    Raises:
        Uncommon: such batches have to be made of samples.
    """

    def __init__(self, flow: Flow, pool: Pool) -> None:
        reading: Reading[Any] = flow.reading
        made = flow.schema
        if flow.stages or {step.name for step in reading.steps} != set(made.names):
            raise Uncommon
        if reading.reader is not None and not plain_class(reading.reader):
            raise Uncommon
        steps = {step.name: step for step in reading.steps}
        written = {field.name: field.kind for field in flow.source.schema}
        self._pool = pool
        self._columns = [
            (field, steps[field.name], written[steps[field.name].source], reading.reader is None)
            for field in made
        ]
        self.lazy = any(isinstance(kind, _LAZY) for _, _, kind, _ in self._columns)

    def __call__(self, block: Block) -> dict[str, Any]:
        """The columns of all samples in the block."""
        return {
            field.name: self._column(block, field, step, kind, rows)
            for field, step, kind, rows in self._columns
        }

    def _column(
        self, block: Block, field: fields.Field, step: Step, kind: fields.Kind, rows: bool
    ) -> Any:
        alone = not field.nullable and not field.optional
        if alone and step.convert is None:
            if isinstance(kind, fields.Label) and isinstance(field.kind, fields.Label):
                return _labels(block.numbers(step.source, "int64"), field.kind)
            if isinstance(kind, fields.Array) and np.dtype(kind.dtype).kind != "b":
                together = block.arrays(step.source, self._pool)
                if together is not None:
                    return together
            if isinstance(kind, _NUMBERS) and type(field.kind) is type(kind):
                return block.numbers(step.source, _dtype(field.kind))
        if alone and rows and isinstance(kind, fields.Label):
            # A row's label is its index with a name; in a batch the column knows the names.
            return _labels(block.numbers(step.source, "int64"), kind)
        lazy = isinstance(kind, _LAZY)
        values = block.lazily(step.source) if lazy else iter(block.values(step.source))
        if step.convert is not None:
            values = map(_converting(step), values)
        return _Values(field, list(values))


@dataclass(frozen=True)
class _Values:
    """A column that is stacked batch by batch: what it becomes depends on who is in the batch."""

    field: fields.Field
    values: list[Any]


def _labels(indices: NDArray[np.int64], kind: fields.Label) -> Labels:
    made = indices.view(Labels)
    made.names = kind.names
    return made


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
    return Batch({name: _cut(column, begin, end) for name, column in columns.items()}, end - begin)


def _cut(column: Any, begin: int, end: int) -> Any:
    if isinstance(column, _Values):
        return stacked(column.field, column.values[begin:end])
    return column[begin:end]
