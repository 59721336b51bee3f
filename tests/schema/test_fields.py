"""The field language: limits, forms in a record, shapes; and schemas from strangers."""

from __future__ import annotations

import hashlib
import json
import keyword
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atd import lexicon_files
from atd.errors import LexiconError, LocalError
from atd.schema import fields, limits
from atd.schema.fields import (
    Array,
    Audio,
    Bool,
    Box,
    Bytes,
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
    Video,
)

NAMES = st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,8}", fullmatch=True).filter(
    lambda name: name != "mro" and not name.startswith("__") and not keyword.iskeyword(name)
)
WORDS = st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=20)
SIZES = st.none() | st.integers(1, 1000)
MEDIA = st.lists(st.sampled_from(["image/png", "audio/wav", "video/mp4"]), unique=True).map(tuple)
DIMS = st.lists(SIZES, max_size=3).map(lambda sizes: tuple(Dim(size=size) for size in sizes))
LEAVES: st.SearchStrategy[Kind] = st.one_of(
    st.sampled_from([Bool(), String(), Bytes(), Timestamp(), Json(), Text(), Text("pt-BR")]),
    st.builds(Int, st.sampled_from([8, 16, 32, 64]), st.booleans()),
    st.builds(Float, st.sampled_from([16, 32, 64])),
    st.builds(Array, st.sampled_from(sorted(limits.DTYPES)), DIMS),
    st.lists(WORDS, min_size=1, max_size=4, unique=True).map(Label),
    st.builds(Image, MEDIA, st.none() | st.just("RGB"), st.none() | st.just((3, 4))),
    st.builds(Audio, MEDIA) | st.builds(Video, MEDIA),
    st.builds(Box, st.sampled_from(["xyxy", "xywh", "cxcywh"])),
)


def _struct(kinds: st.SearchStrategy[Kind]) -> st.SearchStrategy[tuple[Field, ...]]:
    field = st.builds(
        Field, NAMES, kinds, st.booleans(), st.booleans(), st.none() | WORDS, st.none() | WORDS
    )
    return st.lists(field, min_size=1, max_size=4, unique_by=lambda f: f.name).map(tuple)


KINDS = st.recursive(
    LEAVES, lambda inner: st.builds(List, inner) | _struct(inner).map(Struct), max_leaves=6
)
SCHEMAS = _struct(KINDS).map(Schema)


@given(SCHEMAS)
@settings(max_examples=200, deadline=None)
def test_a_schema_survives_its_record(schema: Schema) -> None:
    value = json.loads(json.dumps(schema.to_value()))
    again = Schema.from_value(value)
    assert again == schema
    assert again.shape_digest() == schema.shape_digest()


def test_the_shape_is_names_kinds_and_what_may_be_missing() -> None:
    def digest(**changes: Any) -> str:
        given = {"name": "x", "kind": Label("a", "b"), **changes}
        return Schema((Field(**given), Field("y", Int()))).shape_digest()

    plain = digest()
    assert plain == digest(description="words", unit="m", aliases=("z",))
    different = [
        digest(name="z"),
        digest(kind=Label("b", "a")),
        digest(optional=True),
        digest(nullable=True),
        Schema((Field("y", Int()), Field("x", Label("a", "b")))).shape_digest(),
    ]
    assert len({plain, *different}) == 6


def test_the_shape_digest_is_what_it_always_was() -> None:
    schema = Schema((Field("image", Image()), Field("label", Label("é", "b"), nullable=True)))
    hashed = (
        r'[{"kind":{"$type":"network.atd.schema#image"},"name":"image"},'
        r'{"kind":{"$type":"network.atd.schema#label","classes":[{"name":"\u00e9"},{"name":"b"}]},'
        r'"name":"label","nullable":true}]'
    )
    assert schema.shape_digest() == hashlib.sha256(hashed.encode()).hexdigest()
    assert schema.shape_digest().startswith("daac5950de37b477")


@pytest.mark.parametrize(
    "name",
    ["", "1a", "a b", "a-b", "é", "class", "None", "__init__", "__x", "mro", "a" * 65, "a\n"],
)
def test_names_that_could_not_be_attributes(name: str) -> None:
    with pytest.raises(LocalError):
        Field(name, Int())
    with pytest.raises(LocalError):
        Field("x", Int(), aliases=(name,))
    with pytest.raises(LocalError):
        Dim(name)


@pytest.mark.parametrize(
    ("dtype", "name"),
    [
        ("<f4", "float32"),
        (">i8", "int64"),
        ("|u1", "uint8"),
        ("=c16", "complex128"),
        ("?", "bool"),
        ("|b1", "bool"),
        ("uint16", "uint16"),
    ],
)
def test_dtypes_are_normalised(dtype: str, name: str) -> None:
    assert Array(dtype).dtype == name


@pytest.mark.parametrize(
    "dtype",
    [
        "object",
        "O",
        "|O",
        "<U8",
        "S4",
        "V8",
        "float128",
        "<f16",
        "i3",
        "datetime64[ns]",
        "int",
        "float",
        "",
        "f4,f4",
    ],
)
def test_dtypes_that_are_no_numbers_of_a_fixed_width(dtype: str) -> None:
    with pytest.raises(LocalError, match="element type of a fixed width"):
        Array(dtype)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Int(7),
        lambda: Int(True),  # type: ignore[arg-type]
        lambda: Float(8),
        lambda: Dim(size=0),
        lambda: Dim(size=2**53),
        lambda: Dim(size=True),
        lambda: Array("uint8", (2**30, 2**30)),
        lambda: Array("uint8", (Dim("a"), Dim("a"))),
        lambda: Array("uint8", (1,) * 33),  # type: ignore[arg-type]
        lambda: Label(),
        lambda: Label("a", "a"),
        lambda: Label(""),
        lambda: Label("a\x1b[31m"),
        lambda: Label("\ud800"),
        lambda: Label("x" * 513),
        lambda: Label(str(number) for number in range(40_000)),
        lambda: Image(("IMAGE/PNG",)),
        lambda: Image(("image/png\r\n",)),
        lambda: Image(mode="R G B"),
        lambda: Image(size=(0, 1)),
        lambda: Text("English language"),
        lambda: Box("abcd"),
        lambda: Struct(()),
        lambda: Struct((Field("a", Int()), Field("a", Int()))),
        lambda: Schema(()),
        lambda: Schema((Field("a", Int()), Field("b", Int(), aliases=("a",)))),
        lambda: Field("a", Int(), description="\x00"),
        lambda: Field("a", Int(), unit="m\n"),
        lambda: Field("a", Int(), aliases=("a",)),
        lambda: Schema(tuple(Field(f"f{number}", Int()) for number in range(1001))),
    ],
)
def test_what_is_beyond_the_limits_cannot_be_made(make: Any) -> None:
    with pytest.raises(LocalError):
        make()


def _nested(levels: int) -> Kind:
    kind: Kind = Int()
    for _ in range(levels):
        kind = List(kind)
    return kind


def test_depth_is_bounded() -> None:
    Schema((Field("a", _nested(15)),))
    with pytest.raises(LocalError, match="at most 16 levels of nesting"):
        Schema((Field("a", _nested(16)),))


def test_a_schema_that_doubles_at_every_level_is_refused_quickly() -> None:
    kind: Kind = Int()
    for _ in range(15):
        kind = Struct((Field("a", kind), Field("b", kind)))
    with pytest.raises(LocalError, match="at most 1000"):
        Schema((Field("a", kind),))


def _field(kind: Any, **more: Any) -> list[Any]:
    return [{"name": "x", "kind": kind, **more}]


def _kind(tag: str, **more: Any) -> dict[str, Any]:
    return {"$type": f"network.atd.schema#{tag}", **more}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({}, r"^fields: expected a list, found dict"),
        ([], r"^fields: expected at least one field"),
        ([7], r"^fields\[0\]: expected an object, found int"),
        ([{"name": "x"}], r"^fields\[0\]\.kind: expected an object, found NoneType"),
        (_field({}), r"^fields\[0\]\.kind\.\$type: expected a string, found nothing"),
        (_field({"$type": "int"}), r"kind: expected a kind that this version knows, found 'int'"),
        (_field(_kind("quaternion")), r"expected a kind that this version knows"),
        (_field({"$type": "network.atd.schema#"}), r"expected a kind that this version knows"),
        (_field(_kind("int", bits="64")), r"kind\.bits: expected an integer, found str"),
        (_field(_kind("int", bits=12)), r"^fields\[0\]\.kind: expected bits of an int"),
        (_field(_kind("int", signed=1)), r"kind\.signed: expected a boolean"),
        (_field(_kind("array")), r"kind\.dtype: expected a string, found nothing"),
        (_field(_kind("array", dtype="object")), r"kind: expected an element type"),
        (_field(_kind("array", dtype="uint8", dims=[3])), r"dims\[0\]: expected an object"),
        (
            _field(_kind("array", dtype="uint8", dims=[{"size": -1}])),
            r"dims\[0\]: expected the size",
        ),
        (_field(_kind("array", dtype="uint8", dims=7)), r"kind\.dims: expected a list"),
        (_field(_kind("label")), r"number of classes"),
        (
            _field(_kind("label", classes=[{"name": "a"}] * 2)),
            r"kind: two class names are the same",
        ),
        (_field(_kind("struct", fields=[])), r"kind: expected at least one field"),
        (_field(_kind("list")), r"kind\.item: expected an object"),
        (_field(_kind("image", size={})), r"expected the width from 1"),
        (_field(_kind("image", mediaTypes=[1])), r"mediaTypes\[0\]: expected a string"),
        (_field(_kind("int"), name="import"), r"^fields\[0\]: import cannot name a field"),
        (_field(_kind("int"), optional="yes"), r"^fields\[0\]\.optional: expected a boolean"),
        (_field(_kind("int"), aliases=["a b"]), r"^fields\[0\]: expected the name of a field"),
        (_field(_kind("int")) * 2, r"^fields: two field names are the same: 'x'"),
    ],
)
def test_a_schema_from_a_stranger_says_where_it_is_wrong(value: Any, message: str) -> None:
    with pytest.raises(LexiconError, match=message):
        Schema.from_value(value)


def test_a_stranger_cannot_nest_until_the_stack_ends() -> None:
    kind: dict[str, Any] = _kind("int")
    for _ in range(5000):
        kind = _kind("list", item=kind)
    with pytest.raises(LexiconError, match="nested at most 16 deep"):
        Schema.from_value(_field(kind))


def test_the_kinds_are_those_of_the_lexicon() -> None:
    field = lexicon_files.catalog().definition("network.atd.schema#field")
    item = lexicon_files.catalog().definition("network.atd.schema#list")["properties"]["item"]
    listed = field["properties"]["kind"]["refs"]
    assert sorted(listed) == sorted(f"network.atd.schema#{tag}" for tag in fields.KINDS)
    assert item["refs"] == listed


def test_the_lexicon_knows_the_same_limits() -> None:
    catalog = lexicon_files.catalog()
    main = catalog.definition("network.atd.schema")["record"]["properties"]
    array = catalog.definition("network.atd.schema#array")["properties"]
    label = catalog.definition("network.atd.schema#label")["properties"]
    assert main["fields"]["maxLength"] == limits.MAX_FIELDS
    assert array["dtype"]["knownValues"] == list(limits.DTYPES)
    assert array["dims"]["maxLength"] == limits.MAX_DIMS
    assert label["classes"]["maxLength"] == limits.MAX_CLASSES


def test_a_schema_is_a_collection_of_fields() -> None:
    schema = Schema((Field("a", Int()), Field("b", Float())))
    assert schema.names == ("a", "b")
    assert schema["b"].kind == Float()
    assert "a" in schema
    assert "c" not in schema
    assert [field.name for field in schema] == ["a", "b"]
    assert len(schema) == 2
    with pytest.raises(KeyError, match="there are: a, b"):
        schema["c"]


def test_the_shape_of_an_array_is_known_if_every_size_is() -> None:
    assert Array("uint8", (3, 4)).shape == (3, 4)  # type: ignore[arg-type]
    assert Array("uint8", (3, None)).shape is None  # type: ignore[arg-type]
    assert Array("uint8").shape is None


def test_fields_are_light() -> None:
    code = "import sys, atd.schema.fields; print('numpy' in sys.modules, 'PIL' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
