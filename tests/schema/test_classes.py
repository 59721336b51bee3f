"""Classes of samples: what annotations publish, and what they cannot."""

from __future__ import annotations

import pickle
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Optional

import numpy as np
import PIL.Image
import pytest
from mypy import api as mypy
from numpy.typing import NDArray
from PIL import Image as picture_module

import atd
from atd.errors import SchemaMismatch
from atd.schema import fields
from atd.schema.classes import About, Shape, sample, schema_of
from atd.schema.fields import Array, Dim, Field, Kind, Label


@dataclass
class Point:
    x: float
    y: float = 0.0


@sample
class Everything:
    flag: bool
    number: int
    real: float
    name: str
    raw: bytes
    when: datetime
    document: dict[str, Any]
    mapping: Mapping[str, int]
    anything: Any
    klass: Literal["a", "b"]
    small: np.int16
    half: np.float16
    pixels: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    shaped: Annotated[NDArray[np.float32], Shape("height", 64, None)]
    picture: PIL.Image.Image
    encoded: atd.Image
    sound: Annotated[bytes, fields.Audio(("audio/wav",))]
    text: Annotated[str, fields.Text("en")]
    label: Annotated[str, Label("c", "d")]
    narrow: Annotated[int, fields.Int(8)]
    box: tuple[float, float, float, float]
    other_box: Annotated[list[float], fields.Box("xywh")]
    words: list[str]
    pair: tuple[int, ...]
    point: Point
    points: list[Point]
    maybe: int | None
    perhaps: Optional[str]  # noqa: UP045
    given: int = 3
    many: list[int] = field(default_factory=list)
    not_a_field: ClassVar[int] = 7


POINT = fields.Struct((Field("x", fields.Float()), Field("y", fields.Float(), optional=True)))
EXPECTED: dict[str, Kind] = {
    "flag": fields.Bool(),
    "number": fields.Int(),
    "real": fields.Float(),
    "name": fields.String(),
    "raw": fields.Bytes(),
    "when": fields.Timestamp(),
    "document": fields.Json(),
    "mapping": fields.Json(),
    "anything": fields.Json(),
    "klass": Label("a", "b"),
    "small": fields.Int(16),
    "half": fields.Float(16),
    "pixels": Array("uint8"),
    "mask": Array("bool"),
    "shaped": Array("float32", (Dim("height"), Dim(size=64), Dim())),
    "picture": fields.Image(),
    "encoded": fields.Image(),
    "sound": fields.Audio(("audio/wav",)),
    "text": fields.Text("en"),
    "label": Label("c", "d"),
    "narrow": fields.Int(8),
    "box": fields.Box(),
    "other_box": fields.Box("xywh"),
    "words": fields.List(fields.String()),
    "pair": fields.List(fields.Int()),
    "point": POINT,
    "points": fields.List(POINT),
    "maybe": fields.Int(),
    "perhaps": fields.String(),
    "given": fields.Int(),
    "many": fields.List(fields.Int()),
}


def test_what_each_annotation_publishes() -> None:
    schema = schema_of(Everything)
    assert {item.name: item.kind for item in schema} == EXPECTED
    assert [item.name for item in schema if item.nullable] == ["maybe", "perhaps"]
    assert [item.name for item in schema if item.optional] == ["given", "many"]


def test_words_about_a_field_travel() -> None:
    @sample
    class Measured:
        speed: Annotated[float | None, About("How fast.", "m/s", ("velocity",))]
        height: Annotated[float, About(unit="m")] = 0.0

    assert schema_of(Measured).fields == (
        Field("speed", fields.Float(), False, True, "How fast.", "m/s", ("velocity",)),
        Field("height", fields.Float(), optional=True, unit="m"),
    )


def test_a_plain_dataclass_serves_as_well() -> None:
    assert schema_of(Point).fields == POINT.fields


def test_a_sample_may_name_what_is_local_to_a_function() -> None:
    @sample
    class Inner:
        x: int

    @sample(kw_only=True)
    class Outer:
        late: int = 1
        inner: Inner

    assert schema_of(Outer)["inner"].kind == fields.Struct((Field("x", fields.Int()),))
    assert Outer(inner=Inner(3)) == Outer(inner=Inner(3), late=1)


@sample
class Early:
    later: Later


@sample
class Later:
    x: int


def test_a_sample_may_name_what_is_defined_further_down() -> None:
    assert schema_of(Early)["later"].kind == fields.Struct((Field("x", fields.Int()),))


def test_samples_compare_by_value_and_pickle() -> None:
    def make(corner: int = 0) -> Pixels:
        array = np.zeros((2, 2), "uint8")
        array[0, 0] = corner
        return Pixels(array, [array])

    assert make() == make()
    assert make() != make(1)
    assert make() != 3
    assert pickle.loads(pickle.dumps(make())) == make()
    with pytest.raises(TypeError, match="unhashable"):
        hash(make())


@sample
class Pixels:
    image: NDArray[np.uint8]
    more: list[NDArray[np.uint8]]


class Plain:
    x: int


BAD: list[tuple[Any, str]] = [
    (int | str, "a union of several types"),
    (list, r"say of what: list\[T\]"),
    (tuple[int, str], "a tuple of a fixed length"),
    (Literal[1, 2], "a Literal of anything but strings"),
    (set[int], "no kind for the annotation"),
    (complex, "no kind for the annotation"),
    (Plain, "no kind for the annotation"),
    (picture_module, "PIL.Image is a module, not a type"),
    (NDArray[np.str_], "elements are of a fixed width"),
    (NDArray[np.object_], "elements are of a fixed width"),
    (NDArray[np.datetime64], "elements are of a fixed width"),
    (Annotated[int, Shape(3)], "a shape belongs to an array"),
]


@pytest.mark.parametrize(("annotation", "message"), BAD, ids=[message for _, message in BAD])
def test_what_means_nothing_is_refused_where_the_class_is_made(
    annotation: Any, message: str
) -> None:
    with pytest.raises(SchemaMismatch, match=message):
        sample(type("Bad", (), {"__annotations__": {"field": annotation}}))


def test_every_problem_of_a_class_is_listed() -> None:
    bad = {"one": set[int], "good": int, "two": complex}
    with pytest.raises(SchemaMismatch, match=r"^Bad is no class of samples: one: .*; two: "):
        sample(type("Bad", (), {"__annotations__": bad}))


def test_what_can_only_be_read_cannot_be_published() -> None:
    @sample
    class ReadOnly:
        any_array: np.ndarray
        any_float: NDArray[np.floating]

    with pytest.raises(SchemaMismatch, match=r"any_array: say the element type.*any_float: say"):
        schema_of(ReadOnly)


def test_what_is_beyond_the_limits_cannot_be_published() -> None:
    @sample
    class Odd:
        shaped: Annotated[NDArray[np.uint8], Shape("a", "a")]

    with pytest.raises(SchemaMismatch, match="shaped: two dimension names are the same"):
        schema_of(Odd)
    with pytest.raises(SchemaMismatch, match="Empty is no class of samples: it has no fields"):
        sample(type("Empty", (), {}))
    with pytest.raises(SchemaMismatch, match="größe: expected the name of a field"):
        sample(type("Odd", (), {"__annotations__": {"größe": int}}))


@sample
class Node:
    children: list[Node]


def test_a_class_that_contains_itself_is_refused() -> None:
    with pytest.raises(SchemaMismatch, match="Node contains itself"):
        schema_of(Node)


@pytest.mark.parametrize("thing", [int, Plain, 3, None, {"x": int}])
def test_what_is_no_class_of_samples(thing: Any) -> None:
    with pytest.raises(SchemaMismatch, match="expected a class of samples") as caught:
        schema_of(thing)
    assert "@atd.sample" in caught.value.next_step


def test_a_name_that_does_not_exist() -> None:
    made = sample(type("Bad", (), {"__annotations__": {"x": "Nowhere"}}))
    with pytest.raises(SchemaMismatch, match="'Nowhere' is not defined"):
        schema_of(made)


def test_type_checkers_see_the_fields(tmp_path: Path) -> None:
    source = """
        import numpy as np
        from numpy.typing import NDArray
        import atd

        @atd.sample
        class Flower:
            image: NDArray[np.uint8]
            label: str = "rose"

        @atd.sample(kw_only=True, frozen=True)
        class Named:
            late: int = 1
            name: str

        good = Flower(np.zeros((2, 2), np.uint8), label="tulip")
        reveal_type(good.label)
        Flower("no", 3)
        Named("no")
    """
    file = tmp_path / "flowers.py"
    file.write_text(textwrap.dedent(source))
    out, _, _ = mypy.run(["--strict", "--no-error-summary", f"--cache-dir={tmp_path}", str(file)])
    errors = [line for line in out.splitlines() if "error:" in line]
    assert 'Revealed type is "builtins.str"' in out or 'Revealed type is "str"' in out
    assert {line.split(":")[1] for line in errors} == {"18", "19"}, errors
