"""How schemas change: what holds both, what stays, and how large a step is."""

from __future__ import annotations

import pytest

from atd.schema.evolve import Change, change, settle
from atd.schema.fields import (
    Array,
    Field,
    Float,
    Image,
    Int,
    Kind,
    Label,
    List,
    Schema,
    String,
    Struct,
)


def of(*fields: Field) -> Schema:
    return Schema(fields)


def x(kind: Kind, **flags: bool) -> Schema:
    return of(Field("x", kind, **flags))


NUMBER = Field("n", Int())


@pytest.mark.parametrize(
    ("old", "new", "size"),
    [
        (x(Int()), x(Int()), Change.NONE),
        (x(Int()), of(Field("x", Int(), description="words", unit="m")), Change.NONE),
        (x(Int()), of(Field("x", Int()), Field("y", Int(), optional=True)), Change.MINOR),
        (x(Int()), of(Field("x", Int()), Field("y", Int())), Change.MINOR),
        (x(Int(), nullable=True), x(Int()), Change.MINOR),
        (x(Int(), optional=True), x(Int()), Change.MINOR),
        (x(Int()), x(Int(), nullable=True), Change.MAJOR),
        (x(Int()), x(Int(), optional=True), Change.MAJOR),
        (x(Int()), x(Float()), Change.MAJOR),
        (x(Int()), of(Field("y", Int())), Change.MAJOR),
        (x(Label("a", "b")), x(Label("a", "b", "c")), Change.MINOR),
        (x(Label("a", "b")), x(Label("b", "a")), Change.MAJOR),
        (x(Label("a", "b")), x(Label("a")), Change.MAJOR),
        (x(Image(("image/png",), size=(2, 2))), x(Image(("image/png",))), Change.MINOR),
        (x(Image(("image/png",))), x(Image(("image/jpeg",))), Change.MAJOR),
        (x(Image()), x(Image(("image/png",))), Change.MAJOR),
        (x(List(Int())), x(List(Float())), Change.MAJOR),
        (x(Struct((NUMBER,))), x(Struct((NUMBER, Field("m", Int())))), Change.MINOR),
        (x(Array("uint8", (2,))), x(Array("uint8", (3,))), Change.MAJOR),
    ],
)
def test_how_large_a_step_is(old: Schema, new: Schema, size: Change) -> None:
    assert change(old, new) is size


@pytest.mark.parametrize(
    ("inferred", "previous", "settled"),
    [
        (x(Int()), x(Float(), nullable=True), x(Float(), nullable=True)),
        (x(Float()), x(Int()), x(Float())),
        (x(String()), x(Int()), x(String())),
        (x(Label("a", "b")), x(Label("b")), x(Label("b", "a"))),
        (x(Label("a")), x(Label("b", "a")), x(Label("b", "a"))),
        (
            x(Image(("image/png",), "L", (2, 2))),
            x(Image(("image/jpeg",), "L", (3, 3))),
            x(Image(("image/jpeg", "image/png"), "L")),
        ),
        (x(Array("uint8", (2, 3))), x(Array("uint8", (2, 4))), x(Array("uint8", (2, None)))),
        (of(NUMBER, Field("x", Int())), x(Int()), of(Field("x", Int()), NUMBER)),
        (x(Int()), of(NUMBER, Field("x", Int())), x(Int())),
        (
            x(Int()),
            of(Field("x", Int(), unit="m"), Field("y", Int(), optional=True)),
            of(Field("x", Int(), unit="m"), Field("y", Int(), optional=True)),
        ),
    ],
)
def test_an_inferred_schema_stays_near_the_last(
    inferred: Schema, previous: Schema, settled: Schema
) -> None:
    assert settle(inferred, previous) == settled
