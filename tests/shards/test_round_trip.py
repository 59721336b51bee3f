"""What is written is what is read: every kind, both layouts, and what does not fit is refused."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from hypothesis import HealthCheck, given, settings
from PIL import Image as Pillow

from atd.errors import InvalidSyntax, LocalError, SchemaMismatch, ShardError
from atd.records import Layout
from atd.schema import fields
from atd.schema.fields import Field, Schema
from atd.shards.layout import default_layout
from atd.shards.media import Image
from atd.shards.reader import ShardFile
from atd.shards.unfit import Unfit
from atd.shards.writer import ShardWriter
from shards.strategies import PNG, same_sample, schemas_and_samples


def write(path: Path, schema: Schema, layout: Layout, samples: list[Any]) -> ShardFile:
    with ShardWriter(path, schema, layout) as writer:
        for number, sample in enumerate(samples):
            writer.add(f"k{number}", sample)
    return ShardFile(path, schema, layout)


def one(tmp_path: Path, kind: fields.Kind, value: object, **how: bool) -> Any:
    """``value`` written as a field of ``kind`` and read again."""
    schema = Schema((Field("x", kind, **how),))
    return write(tmp_path / "one.tar", schema, default_layout(schema), [{"x": value}]).sample(0)[
        "x"
    ]


@pytest.mark.parametrize("kind", ["packed", "members"])
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(pair=schemas_and_samples())
def test_every_kind_comes_back(tmp_path: Path, kind: str, pair: Any) -> None:
    schema, samples = pair
    layout = default_layout(schema, kind)
    try:
        shard = write(tmp_path / "shard.tar", schema, layout, samples)
    except SchemaMismatch:
        # What members cannot say: null in a field that may also be missing, and nothing at all.
        assert kind == "members"
        hard = any(field.nullable and field.optional for field in schema)
        assert hard or any(all(v is None for v in sample.values()) for sample in samples)
        return
    assert len(shard) == len(samples)
    for number, given_sample in enumerate(samples):
        assert shard.key(number) == f"k{number}"
        assert same_sample(schema.fields, shard.sample(number), given_sample)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pair=schemas_and_samples(size=1))
def test_a_projection_is_the_part_of_the_whole(tmp_path: Path, pair: Any) -> None:
    schema, samples = pair
    shard = write(tmp_path / "shard.tar", schema, default_layout(schema), samples)
    for name in schema.names:
        part = shard.sample(0, {name})
        wanted = {key: value for key, value in samples[0].items() if key == name}
        assert same_sample([schema[name]], part, wanted)


def test_fixed_arrays_come_first_in_the_map() -> None:
    schema = Schema(
        (
            Field("text", fields.Text()),
            Field("ragged", fields.Array("uint8", (None, 3))),
            Field("vec", fields.Array("float32", (4,))),
            Field("maybe", fields.Array("float32", (4,)), nullable=True),
        )
    )
    assert list(default_layout(schema).members) == ["vec", "text", "ragged", "maybe"]


def test_arrays_are_read_only_views_of_the_map(tmp_path: Path) -> None:
    array = one(tmp_path, fields.Array("float32", (1000,)), np.arange(1000, dtype="f4"))
    assert not array.flags.writeable
    assert not array.flags.owndata
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1


@dataclasses.dataclass
class Inner:
    size: int
    tags: list[str]


@dataclasses.dataclass
class Outer:
    name: str
    inner: Inner
    vec: np.ndarray[Any, Any]


def test_dataclasses_nest(tmp_path: Path) -> None:
    schema = Schema(
        (
            Field("name", fields.String()),
            Field(
                "inner",
                fields.Struct(
                    (Field("size", fields.Int()), Field("tags", fields.List(fields.String())))
                ),
            ),
            Field("vec", fields.Array("float32")),
        )
    )
    sample = Outer("a", Inner(3, ["x"]), np.ones((2, 2), "f4"))
    shard = write(tmp_path / "shard.tar", schema, default_layout(schema), [sample])
    assert shard.sample(0)["inner"] == {"size": 3, "tags": ["x"]}


CET_NOON = datetime.fromisoformat("2024-05-01T12:00:00+02:00")
UTC_TEN = datetime(2024, 5, 1, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (fields.Int(8), np.int64(-128), -128),
        (fields.Int(64, signed=False), np.uint64(2**64 - 1), 2**64 - 1),
        (fields.Bool(), np.bool_(True), True),
        (fields.Float(), 3, 3.0),
        (fields.Float(32), 0.1, float(np.float32(0.1))),
        (fields.Float(16), np.float16(1.5), 1.5),
        (fields.String(), np.str_("x"), "x"),
        (fields.Bytes(), bytearray(b"ab"), b"ab"),
        (fields.Bytes(), memoryview(b"ab"), b"ab"),
        (fields.Label("cat", "dog"), "dog", 1),
        (fields.Label("cat", "dog"), np.int8(1), 1),
        (fields.Timestamp(), CET_NOON, UTC_TEN),
        (fields.Timestamp(), "2024-05-01t12:00:00+02:00", UTC_TEN),
        (fields.Timestamp(), np.datetime64("2024-05-01T10:00:00"), UTC_TEN),
        (fields.Json(), {"b": np.float32(1), "a": (1, None)}, {"a": [1, None], "b": 1.0}),
        (fields.Json(), None, None),
        (fields.List(fields.Int()), np.arange(3), [0, 1, 2]),
        (fields.Box(), np.array([1, 2, 3, 4]), (1.0, 2.0, 3.0, 4.0)),
    ],
)
def test_python_and_numpy_values_are_taken(
    tmp_path: Path, kind: fields.Kind, value: object, expected: object
) -> None:
    read = one(tmp_path, kind, value)
    assert read == expected
    assert type(read) is type(expected)


@pytest.mark.parametrize(
    ("kind", "value", "dtype"),
    [
        (fields.Array("uint8"), [[1, 2], [3, 255]], "uint8"),
        (fields.Array("float32", (2,)), [0.1, 1], "float32"),
        (fields.Array("int64"), np.arange(3, dtype="u1"), "int64"),
        (fields.Array("float32"), np.arange(3, dtype=">f4"), "float32"),
        (fields.Array("float64"), np.ones((2, 3), order="F")[:, ::2], "float64"),
        (fields.Array("bool"), [], "bool"),
        (fields.Array("float32"), 2.5, "float32"),
    ],
)
def test_arrays_are_taken_if_the_cast_loses_nothing(
    tmp_path: Path, kind: fields.Kind, value: Any, dtype: str
) -> None:
    read = one(tmp_path, kind, value)
    assert read.dtype == np.dtype(dtype)
    assert np.array_equal(read, np.asarray(value, dtype))


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        (fields.Int(8), 128, "integer from -128 to 127, found int 128"),
        (fields.Int(), True, "found bool True"),
        (fields.Int(), 1.0, "found float 1.0"),
        (fields.Int(8, signed=False), -1, "from 0 to 255"),
        (fields.Float(32), 1e39, "fits float32, found float 1e\\+39"),
        (fields.Float(), "1", "found str '1'"),
        (fields.Bool(), 1, "true or false"),
        (fields.String(), b"x", "expected text, found 1 bytes"),
        (fields.String(), "\ud800", "UTF-8"),
        (fields.Bytes(), "x", "expected bytes"),
        (fields.Timestamp(), datetime(2024, 5, 1), "offset from UTC"),
        (fields.Timestamp(), "yesterday", "RFC 3339"),
        (fields.Timestamp(), pandas.NaT, "type NaTType"),
        (fields.Timestamp(), np.datetime64("NaT"), "found null"),
        (fields.Json(), {1: 2}, "keys are strings"),
        (fields.Json(), float("nan"), "JSON value"),
        (fields.Json(), {"a": {1, 2}}, "type set"),
        (fields.Label("cat", "dog"), "cow", "'cat', 'dog', found str 'cow'"),
        (fields.Label("cat", "dog"), 2, "index from 0 to 1"),
        (fields.Array("uint8"), [256], "an array uint8, found an array int64"),
        (fields.Array("uint8"), [-1], "an array uint8"),
        (fields.Array("uint8"), np.array([1]), "found an array int64"),
        (fields.Array("float32"), np.array([1.0]), "found an array float64"),
        (fields.Array("float32", (3, None)), np.zeros((2, 5), "f4"), r"\(3, any\), found .*\(2, 5"),
        (fields.Array("float32", (3,)), np.zeros((3, 1), "f4"), r"\(3,\), found"),
        (fields.Array("uint8"), [[1], [1, 2]], "numpy cannot take"),
        (fields.Array("uint8"), "abc", "found str"),
        (fields.List(fields.Int()), [1, "2"], r"field x\[1\]: expected an integer"),
        (fields.List(fields.Int()), "12", "expected a list"),
        (fields.Box(), [1, 2, 3], "four finite numbers"),
        (fields.Box(), [1, 2, 3, float("inf")], "four finite numbers"),
        (fields.Image(), b"", "found 0 bytes"),
        (fields.Image(("image/jpeg",)), PNG, "image/jpeg, found image/png"),
        (fields.Image(size=(2, 2)), PNG, r"size \(2, 2\), found .*\(1, 1\)"),
        (fields.Image(), np.zeros((2, 2, 5), "u1"), "a picture is uint8"),
        (fields.Image(), Pillow.new("CMYK", (2, 2)), "CMYK"),
        (fields.Struct((Field("y", fields.Int()),)), {"y": "z"}, r"field x\.y: expected"),
        (fields.Struct((Field("y", fields.Int()),)), {}, r"field x\.y: .*found nothing"),
        (fields.Int(), None, "not null, found null"),
    ],
)
def test_what_does_not_fit_is_refused(
    tmp_path: Path, kind: fields.Kind, value: object, message: str
) -> None:
    with pytest.raises(SchemaMismatch, match=message) as caught:
        one(tmp_path, kind, value)
    assert str(caught.value).startswith("sample k0: field x")
    assert not list(tmp_path.iterdir()), "nothing is left behind"


def test_missing_and_unknown_fields_are_refused(tmp_path: Path) -> None:
    schema = Schema((Field("x", fields.Int()), Field("y", fields.Int(), optional=True)))
    writer = ShardWriter(tmp_path / "shard.tar", schema, default_layout(schema))
    with pytest.raises(SchemaMismatch, match=r"field x: .*found nothing"):
        writer.add("a", {"y": 1})
    with pytest.raises(SchemaMismatch, match="field z: expected no such field"):
        writer.add("a", {"x": 1, "z": 1})
    with pytest.raises(SchemaMismatch, match="a mapping or a dataclass instance"):
        writer.add("a", 5)


@pytest.mark.parametrize("key", ["", "a.b", "a/b", "ä", "a b", "x" * 81, "-a", "a\n", 5])
def test_keys_that_webdataset_would_cut_are_refused(tmp_path: Path, key: Any) -> None:
    schema = Schema((Field("x", fields.Int()),))
    writer = ShardWriter(tmp_path / "shard.tar", schema, default_layout(schema))
    with pytest.raises(InvalidSyntax, match="sample key"):
        writer.add(key, {"x": 1})


def test_pictures_are_encoded_without_loss(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    read = one(tmp_path, fields.Image(), pixels)
    assert (read.size, read.mode, read.media_type) == ((7, 5), "RGB", "image/png")
    assert np.array_equal(read.decode(), pixels)
    again = one(tmp_path, fields.Image(), Pillow.fromarray(pixels))
    assert again == read
    assert one(tmp_path, fields.Image(), Image(PNG)).bytes == PNG
    grey = np.full((2, 3), 300, np.uint16)
    assert one(tmp_path, fields.Image(), grey).decode().shape == (2, 3, 3)


def test_a_layout_that_does_not_fit_is_refused() -> None:
    schema = Schema((Field("x", fields.Int()), Field("y", fields.Int())))
    for members in ({"x": "npy", "y": "json"}, {"x": "txt", "y": "txt"}, {"x": "jpg", "y": "cls"}):
        with pytest.raises(LocalError, match="layout"):
            ShardWriter("/nowhere/x.tar", schema, Layout("members", members))


def test_packed_keys_may_differ_from_field_names(tmp_path: Path) -> None:
    schema = Schema((Field("x", fields.Int()), Field("y", fields.Int())))
    shard = write(
        tmp_path / "s.tar", schema, Layout("packed", {"y": "Y!", "x": "x"}), [{"x": 1, "y": 2}]
    )
    assert bytes(shard.members(0)["msgpack"]) == b"\x82\xa2Y!\x02\xa1x\x01"
    assert shard.sample(0) == {"x": 1, "y": 2}


def test_members_hold_what_webdataset_users_expect(tmp_path: Path) -> None:
    schema = Schema(
        (
            Field("image", fields.Image(("image/png",))),
            Field("label", fields.Label("cat", "dog")),
            Field("caption", fields.Text()),
            Field("width", fields.Int()),
            Field("score", fields.Float(), nullable=True),
            Field("mask", fields.Array("uint8")),
            Field("left", fields.Bytes()),
            Field("right", fields.Bytes()),
        )
    )
    sample = {
        "image": PNG, "label": "dog", "caption": "ä\n", "width": 3, "score": None,
        "mask": np.zeros((2, 2), "u1"), "left": b"l", "right": b"r",
    }  # fmt: skip
    shard = write(tmp_path / "s.tar", schema, default_layout(schema, "members"), [sample])
    found = {suffix: bytes(data) for suffix, data in shard.members(0).items()}
    mask = found.pop("npy")
    assert mask.startswith(b"\x93NUMPY\x01\x00")
    assert found == {
        "png": PNG,
        "cls": b"1",
        "txt": "ä\n".encode(),
        "json": b'{"score":null,"width":3}',
        "left.bin": b"l",
        "right.bin": b"r",
    }


def test_a_hidden_exception_never_leaves_the_package() -> None:
    assert not issubclass(Unfit, (SchemaMismatch, ShardError))
