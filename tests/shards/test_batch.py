"""Batches: columns whose type depends on the schema, not on which samples met."""

from __future__ import annotations

import dataclasses
import pickle
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from atd.errors import LocalError
from atd.schema import fields
from atd.schema.fields import Field, Schema
from atd.schema.row import LabelIndex, Row
from atd.shards.batch import Batch, Labels, Ragged, collate
from atd.shards.media import Image, encode_png


def column(kind: fields.Kind, values: list[Any], **how: bool) -> Any:
    return collate([{"x": value} for value in values], Schema((Field("x", kind, **how),)))["x"]


@pytest.mark.parametrize(
    ("kind", "values", "dtype"),
    [
        (fields.Bool(), [True, False], "bool"),
        (fields.Int(8, signed=False), [1, 255], "uint8"),
        (fields.Int(), [-(2**63), 2**63 - 1], "int64"),
        (fields.Float(32), [0.5, float("nan")], "float32"),
    ],
)
def test_scalars_become_arrays(kind: fields.Kind, values: list[Any], dtype: str) -> None:
    made = column(kind, values)
    assert made.dtype == np.dtype(dtype)
    assert np.array_equal(made, np.array(values, dtype), equal_nan=dtype == "float32")


def test_labels_know_their_names() -> None:
    made = column(fields.Label("cat", "dog"), [1, LabelIndex(0, "cat"), 1])
    assert isinstance(made, Labels)
    assert made.tolist() == [1, 0, 1]
    assert made.dtype == np.int64
    assert made.text() == ["dog", "cat", "dog"]
    assert made[1:].text() == ["cat", "dog"]
    again = pickle.loads(pickle.dumps(made))
    assert (again.tolist(), again.names) == ([1, 0, 1], ("cat", "dog"))
    assert column(fields.Label("cat", "dog"), ["dog", "cat"]) == ["dog", "cat"]


def test_arrays_of_one_shape_are_stacked_and_others_are_ragged() -> None:
    stacked = column(fields.Array("float32", (2, 3)), [np.ones((2, 3), "f4")] * 4)
    assert stacked.shape == (4, 2, 3)
    parts = [np.full((n, 3), n, "f4") for n in (2, 0, 1)]
    ragged = column(fields.Array("float32", (None, 3)), parts)
    assert isinstance(ragged, Ragged)
    assert ragged.values.shape == (3, 3)
    assert ragged.offsets.tolist() == [0, 2, 2, 3]
    assert all(np.array_equal(a, b) for a, b in zip(ragged, parts, strict=True))
    assert np.array_equal(ragged[-1], parts[-1])
    assert [part.shape for part in ragged[1:]] == [(0, 3), (1, 3)]
    both = column(fields.Array("uint8"), [np.ones((2, 3), "u1"), np.ones((4, 1), "u1")])
    assert both.values.shape == (10,)
    assert both[1].shape == (4, 1)
    mixed = column(fields.Array("uint8"), [np.ones(2, "u1"), np.ones((4, 1), "u1")])
    assert isinstance(mixed, list)
    again = pickle.loads(pickle.dumps(both))
    assert np.array_equal(again[0], both[0])


def test_images_are_decoded() -> None:
    def image(height: int) -> Image:
        return Image(encode_png(np.full((height, 4, 3), height, np.uint8)))

    stacked = column(fields.Image(), [image(2), image(2)])
    assert (stacked.shape, stacked.dtype) == ((2, 2, 4, 3), np.uint8)
    ragged = column(fields.Image(), [image(2), image(5)])
    assert [part.shape for part in ragged] == [(2, 4, 3), (5, 4, 3)]
    assert column(fields.Image(), [b"raw", b"file"]) == [b"raw", b"file"]
    assert column(fields.Image(), [np.zeros((2, 2, 3), "u1")] * 3).shape == (3, 2, 2, 3)


def test_what_may_be_missing_is_a_list_even_where_nothing_is() -> None:
    assert column(fields.Float(), [1.0, 2.0], nullable=True) == [1.0, 2.0]
    assert column(fields.Float(), [1.0, None], nullable=True) == [1.0, None]
    schema = Schema((Field("x", fields.Int()), Field("y", fields.Int(), optional=True)))
    assert collate([{"x": 1}, {"x": 2, "y": 3}], schema).y == [None, 3]


def test_the_rest_is_lists_boxes_and_nested_batches() -> None:
    moment = datetime(2024, 1, 1, tzinfo=UTC)
    assert column(fields.Text(), ["a", "b"]) == ["a", "b"]
    assert column(fields.Timestamp(), [moment]) == [moment]
    assert column(fields.List(fields.Int()), [[1], [2, 3]]) == [[1], [2, 3]]
    assert column(fields.Box(), [(1.0, 2.0, 3.0, 4.0)] * 2).shape == (2, 4)
    inner = Schema((Field("n", fields.Int()), Field("s", fields.String())))
    nested = column(fields.Struct(inner.fields), [Row({"n": 1, "s": "a"}), {"n": 2, "s": "b"}])
    assert isinstance(nested, Batch)
    assert nested.n.tolist() == [1, 2]
    assert nested.s == ["a", "b"]


@dataclasses.dataclass
class Point:
    x: float
    items: str


def test_a_batch_of_a_class_has_the_names_of_the_class() -> None:
    schema = Schema((Field("x", fields.Float()), Field("items", fields.String())))
    batch = collate([Point(1.0, "a"), Point(2.0, "b")], schema)
    assert batch.x.tolist() == [1.0, 2.0]
    assert batch.items == ["a", "b"], "a field wins over the method of that name"
    assert list(batch) == ["x", "items"]
    assert len(batch) == 2
    assert "x" in batch
    assert dict(batch)["x"] is batch.x
    again = pickle.loads(pickle.dumps(batch))
    assert again.items == ["a", "b"]
    assert "Batch of 2 (x: float64 (2,)" in repr(batch)


def test_a_batch_is_read_only_and_says_what_it_has() -> None:
    batch = collate([{"x": 1}], Schema((Field("x", fields.Int()),)))
    with pytest.raises(AttributeError, match="no field 'y' in this batch; it has x"):
        _ = batch.y
    with pytest.raises(AttributeError, match="read-only"):
        batch.x = 3
    assert "_Batch__columns" not in dict(batch)


def test_what_is_no_sample_cannot_be_batched() -> None:
    schema = Schema((Field("x", fields.Int()),))
    with pytest.raises(LocalError, match="at least one sample"):
        collate([], schema)
    with pytest.raises(LocalError, match="found int"):
        collate([1], schema)
