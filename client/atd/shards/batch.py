"""Batches: many samples as columns.

Belongs here: what a column of each kind is, and `collate`. numpy only.

======================  ============================================================================
a field of kind         in a batch
======================  ============================================================================
bool int float          a 1-d array of the dtype
label                   `Labels`: an integer array that knows the names; a list if given as names
array, decoded image    stacked if all have one shape, else `Ragged`, or a list if not even the
                        number of dimensions is the same
box                     an array (n, 4)
struct                  a nested `Batch`
string text timestamp   a list
json bytes list media   a list
======================  ============================================================================

A field that is nullable or optional is a list always, with None where nothing is: what a column is
depends on the schema, not on which samples happened to meet. Only the shapes of arrays decide
between stacked and `Ragged`, and only where the schema leaves them open.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from atd.errors import LocalError
from atd.schema import fields
from atd.schema.fields import Schema
from atd.shards import media

Column: TypeAlias = Any
"""An array, `Labels`, `Ragged`, a nested `Batch`, or a list."""


class Labels(np.ndarray[Any, np.dtype[np.int64]]):
    """Class indices, int64, one per sample; ``names`` are the classes in order."""

    names: tuple[str, ...] = ()

    @classmethod
    def of(cls, indices: Sequence[int], names: tuple[str, ...]) -> Labels:
        """The labels with these indices into ``names``."""
        return named(np.array(indices, dtype=np.int64), names)

    def __array_finalize__(self, source: object) -> None:
        self.names = getattr(source, "names", ())

    def text(self) -> list[str]:
        """The name of each label."""
        return [self.names[index] for index in self.tolist()]

    def __reduce__(self) -> tuple[Any, ...]:
        # As an array, whose memory a pipe may take as it is.
        return named, (self.view(np.ndarray), self.names)


def named(indices: NDArray[np.int64], names: tuple[str, ...]) -> Labels:
    """The labels with these indices into ``names``, in the same memory."""
    made = indices.view(Labels)
    made.names = names
    return made


class Ragged(Sequence[NDArray[Any]]):
    """Arrays of one dtype and number of dimensions, but of different shapes.

    Args:
        values: all elements one after the other; where only the first dimension differs, with the
            others kept: (total, …), else flat.
        offsets: n + 1 positions in ``values``; item ``i`` is ``values[offsets[i]:offsets[i + 1]]``.
        shapes: (n, ndim), the shape of each item.
    """

    __slots__ = ("offsets", "shapes", "values")

    def __init__(
        self, values: NDArray[Any], offsets: NDArray[np.int64], shapes: NDArray[np.int64]
    ) -> None:
        self.values = values
        self.offsets = offsets
        self.shapes = shapes

    @classmethod
    def of(cls, arrays: Sequence[NDArray[Any]]) -> Ragged:
        """The ragged column of ``arrays``, one at least, of equal dtype and ndim 1 or more."""
        shapes = np.array([array.shape for array in arrays], dtype=np.int64)
        keep = bool((shapes[:, 1:] == shapes[0, 1:]).all())
        parts = list(arrays) if keep else [array.reshape(-1) for array in arrays]
        ends = np.cumsum([len(part) for part in parts], dtype=np.int64)
        return cls(np.concatenate(parts), np.concatenate((np.zeros(1, np.int64), ends)), shapes)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The element type."""
        return self.values.dtype

    def __len__(self) -> int:
        return len(self.shapes)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        at = range(len(self))[index]
        part = self.values[self.offsets[at] : self.offsets[at + 1]]
        return part.reshape(tuple(self.shapes[at].tolist()))

    def __repr__(self) -> str:
        return f"Ragged({len(self)} arrays {self.dtype.name}, {len(self.values)} rows in all)"


class Batch:
    """Columns of ``len(batch)`` samples: ``batch.image`` and ``batch["image"]`` are the same.

    ``dict(batch)`` gives the columns by name. A field that is called like a method (``keys``,
    ``items`` …) is still ``batch.items``: fields win.
    """

    def __init__(self, columns: Mapping[str, Column], size: int) -> None:
        # Many are made a second, and a plain attribute would go through `__setattr__`.
        own = self.__dict__
        own.update(columns)
        own["_Batch__columns"] = dict(columns)
        own["_Batch__size"] = size

    __columns: dict[str, Column]
    __size: int

    def __getitem__(self, name: str) -> Column:
        return self.__columns[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.__columns)

    def __len__(self) -> int:
        return self.__size

    def __contains__(self, name: object) -> bool:
        return name in self.__columns

    def keys(self) -> list[str]:
        """The names of the columns."""
        return list(self.__columns)

    def values(self) -> list[Column]:
        """The columns."""
        return list(self.__columns.values())

    def items(self) -> list[tuple[str, Column]]:
        """Names and columns."""
        return list(self.__columns.items())

    def __getattr__(self, name: str) -> Column:
        known = ", ".join(self.__dict__.get("_Batch__columns", ()))
        raise AttributeError(f"no field {name!r} in this batch; it has {known}")

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("a batch is read-only; dict(batch) gives a copy to change")

    def __reduce__(self) -> tuple[Any, ...]:
        return Batch, (self.__columns, self.__size)

    def __repr__(self) -> str:
        inner = ", ".join(f"{name}: {_brief(column)}" for name, column in self.__columns.items())
        return f"Batch of {self.__size} ({inner})"


def collate(samples: Sequence[object], schema: Schema) -> Batch:
    """The columns of ``samples``.

    Args:
        samples: mappings (rows) or dataclass instances, one at least.
        schema: their fields, under the names that the samples use: for a class of the user's, the
            schema of that class. Fields that no sample has are left out.

    Raises:
        LocalError: no samples, or samples that are neither mappings nor dataclass instances.
    """
    if not samples:
        raise LocalError("expected at least one sample in a batch, found none")
    rows = [_row(sample) for sample in samples]
    columns: dict[str, Column] = {}
    for field in schema:
        if any(field.name in row for row in rows):
            columns[field.name] = stacked(field, [row.get(field.name) for row in rows])
    return Batch(columns, len(rows))


def _row(sample: object) -> Mapping[str, Any]:
    if isinstance(sample, Mapping):
        return sample
    if dataclasses.is_dataclass(sample):
        return {field.name: getattr(sample, field.name) for field in dataclasses.fields(sample)}
    raise LocalError(
        f"expected a row or a dataclass instance in a batch, found {type(sample).__name__}",
        next_step="batch before mapping to other types, or map to a dataclass",
    )


def stacked(field: fields.Field, values: list[Any]) -> Column:
    """The column of a field with these values, one at least."""
    if field.nullable or field.optional:
        return values
    return _stack(field.kind, values)


def _stack(kind: fields.Kind, values: list[Any]) -> Column:
    match kind:
        case fields.Bool():
            return np.array(values, dtype=np.bool_)
        case fields.Int() | fields.Float():
            return np.array(values, dtype=kind.dtype)
        case fields.Box():
            return np.array(values, dtype=np.float64).reshape(len(values), 4)
        case fields.Label():
            return values if isinstance(values[0], str) else Labels.of(values, kind.names)
        case fields.Struct():
            return collate(values, Schema(kind.fields))
        case fields.Image():
            return _pictures(values)
        case fields.Array():
            return column_of(values)
        case _:
            return values


def _pictures(values: list[Any]) -> Column:
    """Images are decoded; what the class made of them (arrays, bytes, Pillow) is kept."""
    if isinstance(values[0], media.Image):
        return column_of([image.decode() for image in values])
    return column_of(values) if isinstance(values[0], np.ndarray) else values


def column_of(values: list[NDArray[Any]]) -> Column:
    """The column of ``values``, one at least: stacked, else `Ragged`, else as they are."""
    first = values[0]
    if any(array.ndim != first.ndim or array.dtype != first.dtype for array in values):
        return values
    if all(array.shape == first.shape for array in values):
        return np.stack(values)
    return Ragged.of(values)


def _brief(column: Column) -> str:
    if isinstance(column, np.ndarray):
        return f"{column.dtype.name} {column.shape}"
    return f"list of {len(column)}" if isinstance(column, list) else repr(column)


__all__: Final = ["Batch", "Column", "Labels", "Ragged", "collate", "column_of", "stacked"]
