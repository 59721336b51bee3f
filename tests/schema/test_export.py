"""Schemas as Python, JSON Schema and text; and that nothing of a schema becomes code."""

from __future__ import annotations

import ast
import json
import sys
from dataclasses import is_dataclass, replace
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings

from atd.schema import export
from atd.schema.classes import schema_of
from atd.schema.fields import (
    Array,
    Audio,
    Box,
    Dim,
    Field,
    Float,
    Image,
    Int,
    Json,
    Kind,
    Label,
    List,
    Schema,
    String,
    Struct,
    Text,
    Timestamp,
)
from schema.test_fields import SCHEMAS

EVIL = "'''\"\"\"\\\n); import os; os.abort() #"


def run(source: str) -> ModuleType:
    module = ModuleType("generated_by_a_test")
    sys.modules[module.__name__] = module
    exec(compile(source, module.__name__, "exec"), module.__dict__)
    return module


def as_published_again(schema: Schema) -> Schema:
    """Optional fields come back nullable too: that is what the exporter says."""

    def looser(fields: tuple[Field, ...]) -> tuple[Field, ...]:
        return tuple(
            replace(f, kind=inner(f.kind), nullable=f.nullable or f.optional) for f in fields
        )

    def inner(kind: Kind) -> Kind:
        if isinstance(kind, List):
            return List(inner(kind.item))
        return Struct(looser(kind.fields)) if isinstance(kind, Struct) else kind

    return Schema(looser(schema.fields))


@given(SCHEMAS)
@settings(max_examples=150, deadline=None)
def test_the_class_publishes_the_schema_that_it_was_made_from(schema: Schema) -> None:
    made = run(export.to_python(schema, "com.example.thing-1"))
    assert schema_of(made.ComExampleThing1) == as_published_again(schema)


NAMES = ["int", "str", "float", "bytes", "list", "tuple", "datetime", "Any", "Annotated", "Literal"]
MORE = ["NDArray", "np", "atd", "fields", "Flowers", "bool", "FlowersPoint"]


def test_fields_may_be_called_like_what_annotations_use() -> None:
    kinds: list[Kind] = [Int(), String(), Float(32), Box(), Timestamp(), Json(), Label("a")]
    kinds += [Array("uint8", (Dim("x", 3),)), Image(mode="RGB"), List(Int(8)), Text()]
    point = Struct((Field("int", Int(), optional=True), Field("str", List(Int()))))
    members = [
        Field(name, kinds[index % len(kinds)], optional=index % 2 == 0)
        for index, name in enumerate(NAMES + MORE)
    ]
    schema = Schema((*members, Field("point", point)))
    made = run(export.to_python(schema, "flowers"))
    samples = [cls for cls in vars(made).values() if is_dataclass(cls)]
    (top,) = [cls for cls in samples if "np" in cls.__dataclass_fields__]
    assert schema_of(top) == as_published_again(schema)


def test_nothing_that_a_schema_says_becomes_code() -> None:
    evil = EVIL.replace("\n", "")
    schema = Schema(
        (
            Field("label", Label(evil, "'", '"', "\\", "{x}", "\u2028", "\u202e")),
            Field("x", Array("uint8", (Dim("n"),)), description=EVIL, unit=evil),
        )
    )
    source = export.to_python(schema, EVIL)
    module = run(source)
    (cls,) = [item for item in vars(module).values() if is_dataclass(item)]
    assert schema_of(cls) == schema
    calls = {ast.unparse(n.func) for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Call)}
    assert calls == {"atd.About", "atd.Shape"}
    assert "\u202e" not in source


@pytest.mark.parametrize("name", ["", "123", "class", "...", "a b", "é", "None", EVIL, "x" * 500])
def test_any_name_gives_a_class(name: str) -> None:
    module = run(export.to_python(Schema((Field("a", Int()),)), name))
    (cls,) = [item for item in vars(module).values() if is_dataclass(item)]
    assert cls.__name__.isidentifier()


def test_the_source_reads_well() -> None:
    point = Struct((Field("x", Float()), Field("y", Float(32))))
    schema = Schema(
        (
            Field("image", Image()),
            Field("pixels", Array("uint8", (Dim("height"), Dim("width"), Dim(size=3)))),
            Field("label", Label("rose", "tulip")),
            Field("corners", List(point), nullable=True),
            Field("note", String(), optional=True, description="Free text."),
        )
    )
    assert export.to_python(schema, "alice-flowers") == SOURCE


SOURCE = """\
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray

import atd
from atd.schema import fields


@atd.sample
class AliceFlowersCorners:
    x: float
    y: Annotated[float, fields.Float(bits=32)]


@atd.sample
class AliceFlowers:
    image: atd.Image
    pixels: Annotated[NDArray[np.uint8], atd.Shape('height', 'width', 3)]
    label: Literal['rose', 'tulip']
    corners: list[AliceFlowersCorners] | None
    note: Annotated[str | None, atd.About(description='Free text.')] = None  # may be missing
"""


def test_the_table_reads_well_and_is_harmless() -> None:
    schema = Schema(
        (
            Field("label", Label(*"abcdef"), description="What\nelse"),
            Field("speed", Float(), optional=True, nullable=True, unit="m/s"),
            Field("parts", List(Struct((Field("x", Int(8), description="\u202eevil"),)))),
        )
    )
    assert export.to_text(schema) == (
        "label  label of 6 (a, b, c, d, e, …)                      What\n"
        "speed  float64                        optional, nullable  [m/s]\n"
        "parts  list of struct (x)\n"
        "  x    int8                                               \\u202eevil"
    )


def test_json_schema() -> None:
    schema = Schema(
        (
            Field("a", Array("float32", (Dim(size=2), Dim())), nullable=True),
            Field("label", Label("x", "y"), optional=True, description="Words."),
            Field("sound", Audio(("audio/wav",))),
            Field("z", Array("complex64", (Dim(size=1),))),
        )
    )
    numbers: dict[str, Any] = {"type": "array", "items": {"type": "number"}}
    pair = {**numbers, "minItems": 2, "maxItems": 2}
    array = {"type": "array", "items": numbers, "minItems": 2, "maxItems": 2}
    sound = {"type": "string", "contentEncoding": "base64", "contentMediaType": "audio/wav"}
    assert export.to_json_schema(schema, "flowers") == {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "flowers",
        "type": "object",
        "properties": {
            "a": {"anyOf": [array, {"type": "null"}]},
            "label": {"enum": ["x", "y"], "description": "Words."},
            "sound": sound,
            "z": {"type": "array", "items": pair, "minItems": 1, "maxItems": 1},
        },
        "required": ["a", "sound", "z"],
        "additionalProperties": False,
    }


@given(SCHEMAS)
@settings(max_examples=50, deadline=None)
def test_every_schema_has_a_json_schema_and_a_table(schema: Schema) -> None:
    json.dumps(export.to_json_schema(schema))
    assert export.to_text(schema).isprintable() or "\n" in export.to_text(schema)
