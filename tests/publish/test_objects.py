"""Python objects as sources, and the schemas inferred from them."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from atd.errors import BadSource
from atd.publishing.infer import infer
from atd.publishing.sources.opening import open_source
from atd.publishing.sources.source import Source
from atd.schema.fields import (
    Array,
    Bytes,
    Field,
    Float,
    Image,
    Int,
    Json,
    List,
    Schema,
    String,
    Struct,
    Timestamp,
)
from atd.shards import media
from publish import pictures


@dataclass
class Flower:
    name: str
    petals: int = 5


def samples(source: Source, split: str = "train") -> list[tuple[str, Any]]:
    return list(source.splits[split].samples(source.schema))


def kinds(*values: Any) -> dict[str, Any]:
    return {field.name: field.kind for field in infer([{"x": value} for value in values])}


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, 2], Int()),
        ([1, 2.5], Float()),
        ([2**63], Int(64, False)),
        ([np.int16(3)], Int(16)),
        ([np.float32(3)], Float(32)),
        (["a"], String()),
        ([b"a"], Bytes()),
        ([datetime.now(UTC)], Timestamp()),
        ([np.zeros((2, 3), np.uint8)], Array("uint8", (2, 3))),
        ([np.zeros((2, 3)), np.zeros((5, 3))], Array("float64", (None, 3))),
        ([np.zeros(2), np.zeros((5, 3))], Array("float64")),
        ([np.zeros(2, ">i4")], Array("int32", (2,))),
        ([[1], [], [2.5]], List(Float())),
        ([[]], List(Json())),
        ([[], [1]], List(Int())),
        ([[1, None]], Json()),
        ([[1, "a"]], List(Json())),
        ([1, "a"], Json()),
        ([{"a": 1}], Struct((Field("a", Int()),))),
        ([{"a": 1}, {"b": "x"}], Struct((Field("a", Int(), True), Field("b", String(), True)))),
        ([{"a b": 1}], Json()),
        ([{}], Json()),
        ([None], Json()),
        ([media.Image(pictures.encoded())], Image()),
        ([pictures.opened(pictures.encoded())], Image()),
        ([Flower("a")], Struct((Field("name", String()), Field("petals", Int())))),
    ],
)
def test_the_kind_of_values(values: list[Any], kind: Any) -> None:
    assert kinds(*values) == {"x": kind}


def test_missing_is_optional_and_none_is_nullable() -> None:
    schema = infer([{"a": 1, "b": None}, {"a": 2, "b": 1, "c": "x"}])
    flags = {field.name: (field.optional, field.nullable) for field in schema}
    assert flags == {"a": (False, False), "b": (False, True), "c": (True, False)}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([{"x": object()}], "no field holds a object"),
        ([{"x": b"a"}, {"x": 1}], "hold bytes here and int there"),
        ([{"x y": 1}], "name of a field"),
        ([{3: 1}], "name of a field"),
        ([1, 2], "expected a dict or a dataclass instance for each sample, found int"),
        ([], "found none"),
    ],
)
def test_what_fits_no_schema(values: list[Any], message: str) -> None:
    with pytest.raises(BadSource, match=message):
        open_source(values)


def test_dataclass_instances_bring_their_schema() -> None:
    source = open_source([Flower("rose"), Flower("tulip", 6)])
    assert source.schema["petals"].optional
    assert samples(source) == [
        ("000000000", Flower("rose")),
        ("000000001", Flower("tulip", 6)),
    ]


def test_named_tuples_are_samples() -> None:
    Point = namedtuple("Point", "x y")
    assert open_source([Point(1, 2)]).schema.names == ("x", "y")


def test_a_generator_is_read_once() -> None:
    def numbers() -> Iterator[dict[str, int]]:
        yield from ({"n": n} for n in range(2500))

    source = open_source(numbers())
    assert source.once
    assert source.count is None
    found = samples(source)
    assert [sample["n"] for _, sample in found] == list(range(2500))
    assert found[-1][0] == "000002499"
    with pytest.raises(BadSource, match="already used up"):
        samples(source)


def test_a_list_is_looked_at_all_over() -> None:
    source = open_source([{"n": 1}] * 5000 + [{"n": 0.5}] * 5000)
    assert source.schema["n"].kind == Float()
    assert not source.once


def test_keys_that_samples_bring() -> None:
    pairs = open_source([("a", {"n": 1}), ("b c", {"n": 2})])
    assert samples(pairs)[0][0] == "a"
    assert samples(pairs)[1][0].startswith("b_c-")
    web = open_source([{"__key__": "k1", "__url__": "x.tar", "n": 1}])
    assert samples(web) == [("k1", {"n": 1})]


def test_iterables_by_split() -> None:
    source = open_source({"test": [{"n": 1}], "train": iter([{"n": 2.5}, {"n": 3}])})
    assert list(source.splits) == ["train", "test"]
    assert source.schema["n"].kind == Float()
    assert len(samples(source)) == 2


@pytest.mark.parametrize("what", [3, object(), "nowhere", {"train": 3}, {}])
def test_what_is_no_source(what: object) -> None:
    with pytest.raises(BadSource):
        open_source(what)


def test_a_class_is_a_schema() -> None:
    source = open_source([{"name": "x", "petals": 3}], schema=Flower)
    assert not source.inferred
    assert source.following(Schema((Field("other", Int()),))).schema == source.schema


def test_images_in_samples_are_stripped_too() -> None:
    carried = pictures.encoded("JPEG", exif=pictures.exif())
    for image in (carried, media.Image(carried)):
        rows = [{"image": image, "n": 1}]
        schema = Schema((Field("image", Image()), Field("n", Int())))
        assert any("--strip-metadata" in one for one in open_source(rows, schema=schema).travels)
        for what in (rows, iter(rows)):
            source = open_source(what, schema=schema, strip_metadata=True)
            ((_, sample),) = samples(source)
            assert b"A Camera" not in sample["image"]
            assert sample["n"] == 1


def test_an_image_in_a_sample_that_cannot_be_stripped() -> None:
    schema = Schema((Field("image", Image()),))
    rows = [("k1", {"image": pictures.encoded("GIF")})]
    with pytest.raises(BadSource, match="sample k1: image: only JPEG"):
        samples(open_source(rows, schema=schema, strip_metadata=True))


def test_objects_with_keys_of_their_own_in_each_sample_are_json() -> None:
    """Such as ids. Of as many fields no schema is, and joining them one by one is quadratic."""
    samples = [{"by_id": {f"u{n}": [n]}, "list": [{"x": {f"v{n}": n}}]} for n in range(1200)]
    assert [field.kind for field in infer(samples)] == [Json(), Json()]
    few = infer(samples[:100])["by_id"].kind
    assert isinstance(few, Struct)
    assert len(few.fields) == 100
    with pytest.raises(BadSource, match=r"sample 1000: 'a': .* more than 1000 different keys"):
        infer({"a": {f"u{n}": b"x"}} for n in range(1200))
