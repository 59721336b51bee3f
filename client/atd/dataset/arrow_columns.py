"""Columns of samples as Arrow arrays: what each kind is in Arrow, and how its values get there.

What belongs here: pure functions from a kind and a list of values to an array. Values are what a
`Reading` gives, rows or members of the user's class; None where nothing is. Arrow keeps no
difference between missing and null: both are null.

========================  =========================================================
kind                      Arrow
========================  =========================================================
bool, int, float          the type of that width
string, text, json        utf8; json as its text
timestamp                 timestamp in microseconds, UTC
bytes                     binary
label                     dictionary of utf8, or the index where `Form.labels` is ``index``
array of one shape        as `Form.arrays` says: fixed-shape tensor, fixed-size lists or lists
array of open sizes       list of lists, one level for each dimension
array of any dimensions   struct of ``shape`` and ``values``
complex numbers           one dimension more, of two numbers
image, audio, video       struct of ``bytes`` and ``path``; the path is null, there is no such file
box                       fixed-size list of 4
list, struct              list, struct
========================  =========================================================
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from atd.schema import fields
from atd.schema.kinds import Array, Kind
from atd.shards.batch import Batch
from atd.shards.media import Media, encode_png, is_pillow

MEDIA: Final = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_MOMENT: Final = pa.timestamp("us", tz="UTC")
_BOX: Final = pa.list_(pa.float64(), 4)


@dataclass(frozen=True)
class Form:
    """Where Arrow leaves a choice.

    Args:
        arrays: of one shape: canonical ``tensor``, nested ``fixed``-size lists, or nested
            ``lists``.
        labels: a ``dictionary`` of names, or the ``index`` (int64).
    """

    arrays: Literal["tensor", "fixed", "lists"] = "tensor"
    labels: Literal["dictionary", "index"] = "dictionary"


def arrow_type(kind: Kind, form: Form) -> pa.DataType:
    """The Arrow type of ``kind``."""
    match kind:
        case fields.Int() | fields.Float():
            return pa.from_numpy_dtype(np.dtype(kind.dtype))
        case fields.Bool():
            return pa.bool_()
        case fields.Timestamp():
            return _MOMENT
        case fields.Bytes():
            return pa.binary()
        case fields.Label() if form.labels == "dictionary":
            return pa.dictionary(pa.int32(), pa.string())
        case fields.Label():
            return pa.int64()
        case fields.Media():
            return MEDIA
        case fields.Box():
            return _BOX
        case fields.List():
            return pa.list_(arrow_type(kind.item, form))
        case fields.Struct():
            return pa.struct([arrow_field(field, form) for field in kind.fields])
        case Array():
            return _array_type(kind, form)
    return pa.string()


def arrow_field(field: fields.Field, form: Form) -> pa.Field:
    """A field with its type; what people wrote about it is in its metadata."""
    words = {"description": field.description, "unit": field.unit}
    said = {name: word for name, word in words.items() if word is not None}
    kind = arrow_type(field.kind, form)
    return pa.field(field.name, kind, field.nullable or field.optional, metadata=said or None)


def column(kind: Kind, values: Any, form: Form) -> pa.Array:
    """The array of ``values``, of the type that `arrow_type` says.

    Args:
        values: a list with None where nothing is, or the column of a batch.

    Raises:
        ValueError, TypeError, OverflowError: a value is not of the kind.
    """
    match kind:
        case fields.Bool() | fields.Int() | fields.Float():
            dtype = "bool" if isinstance(kind, fields.Bool) else kind.dtype
            return _numbers(values, np.dtype(dtype))
        case fields.Label():
            return _labels(kind, values, form)
        case fields.Media():
            return _media(values)
        case fields.Json():
            return pa.array([None if v is None else _text_of(v) for v in values], pa.string())
        case fields.List():
            return _lists(kind, values, form)
        case fields.Struct():
            return _structs(kind, values, form)
        case fields.Box():
            if not isinstance(values, np.ndarray):
                values = [(0.0,) * 4 if value is None else value for value in values]
            flat = np.asarray(values, dtype=np.float64)
            return pa.FixedSizeListArray.from_arrays(
                pa.array(flat.reshape(-1)), type=_BOX, mask=_mask(values)
            )
        case Array() if kind.shape is not None and form.arrays != "lists":
            return _same_shape(kind, values, form)
        case Array():
            return _any_shape(kind, values)
    return pa.array(values, arrow_type(kind, form))


# ------------------------------------------------------------------ scalars


def _mask(values: Any) -> pa.Array | None:
    """Which of ``values`` are null, as Arrow takes it; None where none is."""
    if not isinstance(values, list):
        return None
    null = np.array([value is None for value in values], dtype=np.bool_)
    return pa.array(null) if null.any() else None


def _numbers(values: Any, dtype: np.dtype[Any]) -> pa.Array:
    if isinstance(values, np.ndarray):
        return pa.array(np.asarray(values, dtype=dtype))
    null = np.array([value is None for value in values], dtype=np.bool_)
    if not null.any():
        return pa.array(np.array(values, dtype=dtype))
    filled = np.array([0 if value is None else value for value in values], dtype=dtype)
    return pa.array(filled, mask=null)


def _labels(kind: fields.Label, values: Any, form: Form) -> pa.Array:
    """Names or indices, as a class may say either."""
    indices = values
    if not isinstance(values, np.ndarray):
        places = {name: at for at, name in enumerate(kind.names)}
        indices = [places[v] if isinstance(v, str) else v for v in values]
    if form.labels == "index":
        return _numbers(indices, np.dtype(np.int64))
    codes = _numbers(indices, np.dtype(np.int32))
    return pa.DictionaryArray.from_arrays(codes, pa.array(kind.names, pa.string()))


def _media(values: Sequence[Any]) -> pa.Array:
    files = pa.array([_file(value) for value in values], pa.binary())
    paths = pa.nulls(len(values), pa.string())
    return pa.StructArray.from_arrays([files, paths], fields=list(MEDIA), mask=_mask(values))


def _file(value: Any) -> bytes | None:
    """The encoded file; a Pillow image is encoded anew, as PNG."""
    if isinstance(value, Media):
        return value.bytes
    if is_pillow(value):
        return encode_png(value)
    return None if value is None else bytes(value)


def _text_of(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


# ------------------------------------------------------------------ nested


def _lists(kind: fields.List, values: Sequence[Any], form: Form) -> pa.Array:
    lengths = [0 if value is None else len(value) for value in values]
    items = [item for value in values if value is not None for item in value]
    return pa.ListArray.from_arrays(
        _offsets(np.array(lengths, dtype=np.int64)),
        column(kind.item, items, form),
        type=arrow_type(kind, form),
        mask=_mask(values),
    )


def _structs(kind: fields.Struct, values: Any, form: Form) -> pa.Array:
    children = [column(field.kind, values_of(values, field.name), form) for field in kind.fields]
    members = [arrow_field(field, form) for field in kind.fields]
    return pa.StructArray.from_arrays(children, fields=members, mask=_mask(values))


def values_of(samples: Any, name: str) -> Any:
    """The column ``name`` of a batch, or of a list of samples; None for each that lacks it."""
    if isinstance(samples, Batch):
        return samples[name] if name in samples else [None] * len(samples)
    return [member(sample, name) for sample in samples]


def member(sample: Any, name: str) -> Any:
    """The value of a field of a row, a mapping or an instance; None where it is missing."""
    if isinstance(sample, Mapping):
        return sample.get(name)
    return getattr(sample, name, None)


def _offsets(lengths: NDArray[np.int64]) -> pa.Array:
    ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    if ends[-1] > np.iinfo(np.int32).max:
        raise ValueError("more than 2^31 items in the lists of one batch")
    return pa.array(ends.astype(np.int32))


# ------------------------------------------------------------------ arrays


def _element(kind: Array) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """The numbers that elements are made of, and the dimension that this adds."""
    dtype = np.dtype(kind.dtype)
    if dtype.kind != "c":
        return dtype, ()
    return np.dtype(f"f{dtype.itemsize // 2}"), (2,)


def _array_type(kind: Array, form: Form) -> pa.DataType:
    number, more = _element(kind)
    item = pa.from_numpy_dtype(number)
    if kind.shape is not None and form.arrays != "lists":
        shape = (*kind.shape, *more)
        if form.arrays == "tensor" and number.kind != "b":
            return pa.fixed_shape_tensor(item, shape)
        return _nested_fixed(item, shape)
    if not kind.dims:
        return pa.struct([("shape", pa.list_(pa.int64())), ("values", pa.list_(item))])
    for _ in range(len(kind.dims) + len(more)):
        item = pa.list_(item)
    return item


def _nested_fixed(item: pa.DataType, shape: Sequence[int]) -> pa.DataType:
    for size in reversed(shape):
        item = pa.list_(item, size)
    return item


def _flat(kind: Array, values: Any) -> list[NDArray[Any]]:
    """Every array as its numbers, in C order, with the shape kept; nulls left out."""
    number, more = _element(kind)
    found = []
    for value in values:
        if value is not None:
            array = np.asarray(value, dtype=kind.dtype, order="C")
            found.append(array.reshape(-1).view(number).reshape(array.shape + more))
    return found


def _stacked(kind: Array, values: Any) -> NDArray[Any]:
    """Arrays of one shape as one, with zeros where nothing is; the column of a batch as it is."""
    number, more = _element(kind)
    shape = (*(kind.shape or ()), *more)
    if isinstance(values, np.ndarray) and values.shape[1:] == kind.shape:
        dense = np.asarray(values, dtype=kind.dtype, order="C")
        return dense.reshape(-1).view(number).reshape(len(values), *shape)
    whole = np.zeros((len(values), *shape), dtype=number)
    present = [at for at, value in enumerate(values) if value is not None]
    for at, array in zip(present, _flat(kind, values), strict=True):
        if array.shape != shape:
            raise ValueError(f"an array of shape {list(array.shape)}, not {list(shape)}")
        whole[at] = array
    return whole


def _same_shape(kind: Array, values: Any, form: Form) -> pa.Array:
    made = arrow_type(kind, form)
    whole = _stacked(kind, values)
    shape = whole.shape[1:]
    flat, mask = pa.array(whole.reshape(-1)), _mask(values)
    if isinstance(made, pa.FixedShapeTensorType):
        size = math.prod(shape)
        storage = pa.FixedSizeListArray.from_arrays(flat, size, mask=mask)
        return pa.ExtensionArray.from_storage(made, storage)
    for size in reversed(shape[1:]):
        flat = pa.FixedSizeListArray.from_arrays(flat, size)
    return pa.FixedSizeListArray.from_arrays(flat, shape[0], mask=mask)


def _any_shape(kind: Array, values: Any) -> pa.Array:
    number, more = _element(kind)
    arrays = _flat(kind, values)
    empty = np.zeros(0, dtype=number)
    flat = pa.array(np.concatenate([empty, *(array.reshape(-1) for array in arrays)]))
    present = iter(arrays)
    shapes = [None if value is None else next(present).shape for value in values]
    if not kind.dims:
        return _with_shapes(flat, shapes, _mask(values))
    depth = len(kind.dims) + len(more)
    if any(shape is not None and len(shape) != depth for shape in shapes):
        raise ValueError(f"an array that has not {len(kind.dims)} dimensions")
    for level in range(depth - 1, 0, -1):
        lengths = [
            np.full(math.prod(shape[:level]), shape[level], dtype=np.int64)
            for shape in shapes
            if shape is not None
        ]
        flat = pa.ListArray.from_arrays(
            _offsets(np.concatenate([np.zeros(0, np.int64), *lengths])), flat
        )
    outer = np.array([0 if shape is None else shape[0] for shape in shapes], dtype=np.int64)
    return pa.ListArray.from_arrays(_offsets(outer), flat, mask=_mask(values))


def _with_shapes(flat: pa.Array, shapes: Sequence[Any], mask: pa.Array | None) -> pa.Array:
    """Arrays of any number of dimensions: the numbers, and the shape beside them."""
    sizes = np.array([0 if s is None else math.prod(s) for s in shapes], dtype=np.int64)
    listed = pa.array([[] if s is None else list(s) for s in shapes], pa.list_(pa.int64()))
    numbers = pa.ListArray.from_arrays(_offsets(sizes), flat)
    return pa.StructArray.from_arrays([listed, numbers], names=["shape", "values"], mask=mask)
