"""Published schemas against the user's classes, decided before the first byte."""

from __future__ import annotations

import io
import pickle
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray

import atd
from atd.errors import SchemaMismatch
from atd.schema import fields
from atd.schema.classes import About, Shape, sample
from atd.schema.fields import Array, Bool, Dim, Field, Float, Int, Kind, Label, List, Schema, Struct
from atd.schema.resolve import resolve
from atd.schema.row import LabelIndex, Row
from atd.shards.media import Image, Media

NOW = datetime(2025, 1, 2, tzinfo=UTC)


def _png() -> bytes:
    out = io.BytesIO()
    PIL.Image.new("RGB", (4, 3), (1, 2, 3)).save(out, "PNG")
    return out.getvalue()


PNG = _png()
IMAGE = fields.Image()


@dataclass
class Point:
    x: float
    y: float = -1.0


POINT = Struct((Field("x", Int(8)), Field("y", Float(), optional=True), Field("z", Float())))
LABEL = Label("rose", "tulip")
WIDE = Label("tulip", "lily", "rose")


def reader(annotation: Any, **defaults: Any) -> type:
    return sample(type("Reader", (), {"__annotations__": {"field": annotation}, **defaults}))


def read(kind: Kind, annotation: Any, value: Any) -> Any:
    reading = resolve(Schema((Field("field", kind),)), reader(annotation))
    return reading({"field": value}).field


BOX = (1.0, 2.0, 3.0, 4.0)
FITS: list[tuple[Kind, Any, Any, Any]] = [
    (Bool(), bool, True, True),
    (Int(8), int, 3, 3),
    (Int(64, False), int, 2**64 - 1, 2**64 - 1),
    (Int(16), float, 3, 3.0),
    (Int(64), float, 2**53, 2.0**53),
    (Float(16), float, 0.5, 0.5),
    (Int(16), Annotated[int, Int(32)], 3, 3),
    (Int(16, False), Annotated[int, Int(32)], 3, 3),
    (Int(16), Annotated[float, Float(32)], 3, 3.0),
    (Int(16), np.int32, 3, np.int32(3)),
    (Float(32), np.float64, 0.5, np.float64(0.5)),
    (fields.String(), str, "a", "a"),
    (fields.Text("en"), str, "a", "a"),
    (fields.Text("en"), Annotated[str, fields.Text()], "a", "a"),
    (fields.String(), Annotated[str, fields.Text()], "a", "a"),
    (fields.Bytes(), bytes, b"a", b"a"),
    (fields.Timestamp(), datetime, NOW, NOW),
    (fields.Json(), dict, {"a": [1]}, {"a": [1]}),
    (fields.Json(), Any, [1], [1]),
    (LABEL, int, 1, 1),
    (LABEL, str, 1, "tulip"),
    (LABEL, Literal["rose", "tulip"], 0, "rose"),
    (LABEL, Literal["tulip", "lily", "rose"], 0, "rose"),
    (LABEL, Annotated[str, WIDE], 1, "tulip"),
    (LABEL, Annotated[int, WIDE], 0, 2),
    (LABEL, Annotated[int, LABEL], 1, 1),
    (IMAGE, bytes, Image(PNG), PNG),
    (IMAGE, atd.Image, Image(PNG), Image(PNG)),
    (fields.Audio(), bytes, Media(b"RIFF"), b"RIFF"),
    (fields.Video(), Annotated[bytes, fields.Video()], Media(b"x"), b"x"),
    (fields.Box(), tuple[float, float, float, float], BOX, BOX),
    (fields.Box("xywh"), Annotated[list[float], fields.Box("xywh")], BOX, list(BOX)),
    (List(Int()), list[int], [1, 2], [1, 2]),
    (List(Int(8)), list[float], [1, 2], [1.0, 2.0]),
    (List(Int()), tuple[int, ...], [1, 2], (1, 2)),
    (List(LABEL), list[str], [1, 0], ["tulip", "rose"]),
    (List(List(LABEL)), list[list[str]], [[1], []], [["tulip"], []]),
    (POINT, Point, {"x": 1, "y": 2.0}, Point(1.0, 2.0)),
    (POINT, Point, {"x": 1}, Point(1.0, -1.0)),
    (POINT, dict, {"x": 1}, {"x": 1}),
    (List(POINT), list[Point], [{"x": 1}], [Point(1.0)]),
    (POINT, Any, {"x": 1}, Row({"x": 1})),
]


@pytest.mark.parametrize(("kind", "annotation", "value", "expected"), FITS)
def test_what_is_read_as_what(kind: Kind, annotation: Any, value: Any, expected: Any) -> None:
    found = read(kind, annotation, value)
    assert found == expected
    assert type(found) is type(expected)


def test_arrays_are_promoted_where_nothing_can_be_lost() -> None:
    given = np.arange(6, dtype="uint8").reshape(2, 3)
    found = read(Array("uint8", (Dim(), Dim(size=3))), NDArray[np.float32], given)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, given)
    assert read(Array("uint8"), NDArray[np.uint8], given) is given
    assert read(Array("uint8"), np.ndarray, given) is given
    assert read(Array("uint8"), NDArray[Any], given) is given
    annotated = Annotated[Any, Array("uint16", (Dim(size=2), Dim()))]
    assert read(Array("uint8"), annotated, given).dtype == np.uint16


def test_an_image_is_decoded_for_who_wants_pixels() -> None:
    pixels = read(IMAGE, NDArray[np.uint8], Image(PNG))
    assert pixels.shape == (3, 4, 3)
    assert pixels[0, 0].tolist() == [1, 2, 3]
    sized = fields.Image(size=(4, 3))
    assert read(sized, Annotated[NDArray[np.uint8], Shape(3, 4, 3)], Image(PNG)).shape == (3, 4, 3)
    assert read(IMAGE, PIL.Image.Image, Image(PNG)).size == (4, 3)


THREE = Array("uint8", (Dim(size=3),))
PLANE = Array("uint8", (Dim(), Dim()))
UNFIT: list[tuple[Kind, Any, str]] = [
    (Bool(), int, "expected int, found bool"),
    (Int(), bool, "expected bool, found int64"),
    (Int(), str, "expected str, found int64"),
    (Float(), int, "expected int, found float64"),
    (Int(64), Annotated[int, Int(32)], "expected int32, found int64"),
    (Int(16), Annotated[int, Int(16, False)], "expected uint16, found int16"),
    (Int(64), np.float64, "expected float64, found int64"),
    (Int(64), Annotated[float, Float()], "expected float64, found int64"),
    (Float(), np.float32, "expected float32, found float64"),
    (Bool(), np.int8, "expected int8, found bool"),
    (fields.String(), bytes, "expected bytes, found string"),
    (fields.Bytes(), str, "expected str, found bytes"),
    (fields.Timestamp(), str, "expected str, found timestamp"),
    (fields.Json(), str, "expected str, found json"),
    (fields.String(), dict, "expected json or struct, found string"),
    (fields.String(), Literal["a"], r"expected label of 1 \(a\), found string"),
    (LABEL, Literal["rose"], "expected labels among 1 names, found also 'tulip'"),
    (WIDE, Annotated[int, LABEL], "found also 'lily'"),
    (LABEL, float, r"expected float, found label of 2 \(rose, tulip\)"),
    (Array("int64"), NDArray[np.int32], "int64 does not fit into int32"),
    (Array("int64"), NDArray[np.float64], "int64 does not fit into float64"),
    (Array("float64"), NDArray[np.float32], "float64 does not fit into float32"),
    (THREE, Annotated[NDArray[np.uint8], Shape(4)], r"shape \(4,\), found \(3,\)"),
    (PLANE, Annotated[NDArray[np.uint8], Shape(None)], r"shape \(\*,\), found \(\*, \*\)"),
    (List(Int()), NDArray[np.int64], "expected int64 array of any shape, found list of int64"),
    (IMAGE, NDArray[np.float32], "pixels are uint8"),
    (fields.Image(size=(4, 3)), Annotated[NDArray[np.uint8], Shape(4, 3, 3)], r"found \(3, 4, 3\)"),
    (fields.Bytes(), NDArray[np.uint8], "expected uint8 array of any shape, found bytes"),
    (fields.Bytes(), PIL.Image.Image, "expected image, found bytes"),
    (fields.Audio(), atd.Image, "expected image, found audio"),
    (fields.Audio(), Annotated[bytes, fields.Video()], "expected video, found audio"),
    (fields.Box("xywh"), Annotated[list[float], fields.Box()], r"expected box \(xyxy\), found"),
    (List(Int()), list[str], r"field\[\]: expected str, found int64"),
    (List(POINT), list[int], r"field\[\]: expected int, found struct"),
    (Int(), list[int], "expected list of int, found int64"),
    (Int(), Point, "expected struct Point, found int64"),
    (Struct((Field("y", LABEL),)), Point, r"field\.x: expected, .*; field\.y: expected float"),
    (List(Struct((Field("y", Float()),))), list[Point], r"field\[\]\.x: expected"),
]


@pytest.mark.parametrize(("kind", "annotation", "message"), UNFIT)
def test_what_cannot_be_read_as_what(kind: Kind, annotation: Any, message: str) -> None:
    with pytest.raises(SchemaMismatch, match=message):
        resolve(Schema((Field("field", kind),)), reader(annotation))


def test_every_problem_is_listed_at_once_and_says_what_there_is() -> None:
    @sample
    class Flower:
        image: str
        label: float
        missing: int
        number: int

    published = Schema(
        (Field("image", IMAGE), Field("label", LABEL), Field("number", Int(), optional=True))
    )
    with pytest.raises(SchemaMismatch) as caught:
        resolve(published, Flower)
    assert str(caught.value) == (
        "Flower cannot read what is published: image: expected str, found image; label: expected"
        " float, found label of 2 (rose, tulip); missing: expected, but not published; there are"
        " image, label, number; number: may be missing from a sample: give it a default"
    )
    assert "image, label, number" in caught.value.next_step


def test_missing_and_null_are_kept_apart() -> None:
    published = Schema((Field("field", Int(), nullable=True),))
    with pytest.raises(SchemaMismatch, match=r"field: may be null: annotate it as … \| None"):
        resolve(published, reader(int, field=3))
    assert resolve(published, reader(int | None))({"field": None}).field is None

    published = Schema((Field("field", LABEL, optional=True, nullable=True),))
    with pytest.raises(SchemaMismatch, match="field: may be missing from a sample"):
        resolve(published, reader(str | None))
    reading = resolve(published, reader(str | None, field="lily"))
    assert reading({}).field == "lily"
    assert reading({"field": None}).field is None
    assert reading({"field": 0}).field == "rose"


def test_what_is_not_published_takes_its_default_and_what_is_not_wanted_is_not_read() -> None:
    published = Schema((Field("a", Int()), Field("b", IMAGE)))
    reading = resolve(published, reader(int, field=3))
    assert reading.names == ()
    assert reading({}).field == 3


def test_fields_are_found_by_name_then_by_alias() -> None:
    @sample
    class Aliased:
        new: Annotated[int, About(aliases=("old", "older"))]

    def one(name: str, *aliases: str) -> Field:
        return Field(name, Int(), aliases=aliases)

    def source(*published: Field) -> tuple[str, ...]:
        return resolve(Schema(published), Aliased).names

    assert source(one("older"), one("new"), one("old")) == ("new",)
    assert source(one("older"), one("old"), one("x", "new")) == ("old",)
    assert source(one("older"), one("x", "new")) == ("older",)
    assert source(one("y"), one("x", "new")) == ("x",)
    assert resolve(Schema((one("x", "new"),)), Aliased)({"x": 3}) == Aliased(3)


def test_what_the_schema_left_open_is_looked_at_in_every_sample() -> None:
    reading = resolve(
        Schema((Field("field", Array("uint8")),)),
        reader(Annotated[NDArray[np.uint16], Shape(2, None)]),
    )
    assert reading({"field": np.zeros((2, 5), "uint8")}).field.shape == (2, 5)
    with pytest.raises(SchemaMismatch, match=r"an array of shape \(2, \*\), found \(3, 5\)"):
        reading({"field": np.zeros((3, 5), "uint8")})


def test_an_integer_that_no_float_holds_is_an_error_and_not_another_number() -> None:
    with pytest.raises(SchemaMismatch, match=r"field\[1\]: expected an integer that a float"):
        read(List(Int(64)), list[float], [1, 2**53 + 1])
    nested = Struct((Field("x", Int(64)),))
    with pytest.raises(SchemaMismatch, match=r"field\[0\]\.x: expected an integer"):
        read(List(nested), list[Point], [{"x": 2**63 - 1}])


def test_rows_have_names_for_labels_and_attributes_for_structs() -> None:
    published = Schema((Field("label", LABEL), Field("point", POINT), Field("many", List(POINT))))
    reading = resolve(published, None)
    row = reading({"label": 1, "point": {"x": 1}, "many": [{"x": 2}]})
    assert isinstance(row, Row)
    assert row.label == 1
    assert row.label.name == "tulip"
    assert isinstance(row.label, LabelIndex)
    assert row.point.x == 1
    assert row.many[0].x == 2
    assert reading.names == ("label", "point", "many")


@sample
class Flower:
    image: NDArray[np.uint8]
    label: str


def test_a_reading_pickles() -> None:
    published = Schema((Field("image", IMAGE), Field("label", LABEL)))
    for wanted in (Flower, None):
        reading = pickle.loads(pickle.dumps(resolve(published, wanted)))
        made = reading({"image": Image(PNG), "label": 1})
        assert made.label == ("tulip" if wanted else 1)
    assert repr(resolve(published, Flower)) == "Reading(image, label -> Flower)"


def test_names_from_strangers_are_escaped_in_messages() -> None:
    with pytest.raises(SchemaMismatch) as caught:
        resolve(Schema((Field("field", Label("\u202eevil", "b")),)), reader(float))
    assert "\u202e" not in str(caught.value)


OUTCOMES: list[tuple[Kind, Any, Kind]] = [
    (LABEL, int, LABEL),
    (LABEL, str, LABEL),
    (LABEL, Annotated[int, WIDE], WIDE),
    (Int(8), int, Int(8)),
    (Int(8), float, Float()),
    (Int(8), np.int32, Int(32)),
    (Int(8), Annotated[int, Int(16)], Int(16)),
    (IMAGE, bytes, fields.Bytes()),
    (IMAGE, atd.Image, IMAGE),
    (IMAGE, NDArray[np.uint8], Array("uint8", (Dim(), Dim(), Dim(size=3)))),
    (PLANE, NDArray[np.float32], Array("float32", (Dim(), Dim()))),
    (PLANE, np.ndarray, PLANE),
    (List(LABEL), list[str], List(LABEL)),
    (fields.Json(), Any, fields.Json()),
    (
        Struct((Field("x", Int(8)), Field("z", IMAGE))),
        Point,
        Struct((Field("x", Float()), Field("y", Float(), optional=True, nullable=True))),
    ),
]


@pytest.mark.parametrize(("kind", "annotation", "expected"), OUTCOMES)
def test_what_a_sample_is_once_it_was_read(kind: Kind, annotation: Any, expected: Kind) -> None:
    reading = resolve(Schema((Field("field", kind),)), reader(annotation))
    assert reading.schema == Schema((Field("field", expected),))


def test_what_a_sample_is_follows_what_is_published() -> None:
    published = Schema((Field("old", LABEL, optional=True, nullable=True, unit="m"),))

    @sample
    class Aliased:
        new: Annotated[str | None, About(aliases=("old",))] = None
        other: np.ndarray | None = None

    assert resolve(published, Aliased).schema == Schema(
        (
            Field("new", LABEL, optional=True, nullable=True, unit="m"),
            Field("other", fields.Json(), optional=True, nullable=True),
        )
    )
    assert resolve(published, None).schema == published
