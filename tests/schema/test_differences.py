"""How one card, release or schema differs from the next, in words."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from atd.protocol.cbor import Cid
from atd.protocol.syntax import AtUri
from atd.records import Alias, Creator, Dataset, Layout, Release, Split, StrongRef
from atd.schema.differences import (
    MAX_DIFFERENCES,
    MAX_WORDS,
    card_differences,
    release_differences,
    schema_differences,
)
from atd.schema.fields import Array, Dim, Field, Image, Int, Label, List, Schema, String, Struct

WHEN = datetime(2026, 1, 1, tzinfo=UTC)
DID = "did:plc:7iza6de2dwap2sbkpav7c6c6"


def ref(collection: str, rkey: str, content: bytes = b"x") -> StrongRef:
    return StrongRef(AtUri.parse(f"at://{DID}/network.atd.{collection}/{rkey}"), Cid.of(content))


CARD = Dataset("flowers", ref("release", "flowers:1.0.0"), WHEN, tags=("a", "b"), license="MIT")
PART = ref("shards", "3lrnqk7qs232b")
RELEASE = Release(
    name="flowers",
    version="1.0.0",
    schema=ref("schema", "flowers:1.0.0"),
    layout=Layout(),
    splits=(Split("train", (PART,), 10, 1, 100), Split("test", (PART,), 5, 1, 50)),
    samples=15,
    size=150,
    created_at=WHEN,
)


def said(differences) -> list[tuple[str, str, str | None, str | None]]:
    return [(d.sign, d.what, d.before, d.after) for d in differences]


def test_nothing_differs_from_itself():
    schema = Schema((Field("image", Image()),))
    assert card_differences(CARD, CARD) == []
    assert release_differences(RELEASE, RELEASE) == []
    assert schema_differences(schema, schema) == []


def test_a_card_is_compared_field_by_field():
    new = replace(
        CARD,
        latest=ref("release", "flowers:1.1.0"),
        license="CC0-1.0",
        title="Flowers",
        tags=("b", "c"),
        creators=(Creator("Alice"),),
        deprecated="use others",
    )
    assert said(card_differences(CARD, new)) == [
        ("~", "latest", "1.0.0", "1.1.0"),
        ("+", "title", None, "Flowers"),
        ("~", "licence", "MIT", "CC0-1.0"),
        ("+", "deprecated", None, "use others"),
        ("+", "tag", None, "c"),
        ("-", "tag", "a", None),
        ("+", "creator", None, "Alice"),
    ]
    assert said(card_differences(new, CARD))[1] == ("-", "title", "Flowers", None)


def test_aliases_and_the_order_of_words_are_compared():
    named = replace(
        CARD,
        tags=("b", "a"),
        aliases=(
            Alias("stable", ref("release", "flowers:1.0.0")),
            Alias("next", ref("release", "flowers:1.1.0")),
        ),
    )
    assert said(card_differences(CARD, named)) == [
        ("~", "order of tags", None, None),
        ("+", "alias stable", None, "1.0.0"),
        ("+", "alias next", None, "1.1.0"),
    ]
    moved = replace(named, aliases=(Alias("stable", ref("release", "flowers:1.1.0")),))
    assert said(card_differences(named, moved)) == [
        ("~", "alias stable", "1.0.0", "1.1.0"),
        ("-", "alias next", "1.1.0", None),
    ]
    other = replace(named, aliases=(Alias("stable", ref("release", "flowers:1.0.0", b"other")),))
    (one, _) = card_differences(named, other)
    assert one.before != one.after


def test_a_head_that_points_to_other_content_of_the_same_version_says_so():
    new = replace(CARD, latest=ref("release", "flowers:1.0.0", b"other"))
    (only,) = card_differences(CARD, new)
    assert (only.before, only.after) == (str(CARD.latest.cid), str(new.latest.cid))


def test_long_texts_and_many_differences_are_cut():
    new = replace(CARD, description="x" * 5000, tags=tuple(f"t{n}" for n in range(1000)))
    found = card_differences(CARD, new)
    assert len(found) == MAX_DIFFERENCES
    assert all(len(one.after or "") <= MAX_WORDS for one in found)


def test_releases_are_compared_by_their_splits():
    splits = (Split("train", (PART,), 12, 1, 100), Split("dev", (PART,), 3, 1, 30))
    new = replace(RELEASE, version="1.1.0", splits=splits, samples=15, size=130)
    assert said(release_differences(RELEASE, new)) == [
        ("~", "version", "1.0.0", "1.1.0"),
        ("~", "samples of train", "10", "12"),
        ("-", "split test", None, None),
        ("+", "split dev", None, None),
    ]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (Field("x", Int()), None, [("-", "field x", "int64", None)]),
        (None, Field("x", Int(), optional=True), [("+", "field x", None, "int64, optional")]),
        (Field("x", Int()), Field("x", String()), [("~", "field x", "int64", "string")]),
        (
            Field("x", Int()),
            Field("x", Int(), optional=True),
            [("+", "field x optional", None, None)],
        ),
        (Field("x", Int(), unit="m"), Field("x", Int()), [("-", "field x unit", "m", None)]),
        (
            Field("x", Array("uint8", (Dim(size=3),))),
            Field("x", Array("uint8", (Dim(size=4),))),
            [("~", "field x", "uint8 array (3,)", "uint8 array (4,)")],
        ),
        (
            Field("x", Struct((Field("y", Int()),))),
            Field("x", Struct((Field("y", Int()), Field("z", Int())))),
            [("+", "field x.z", None, "int64")],
        ),
    ],
)
def test_fields_are_compared_one_by_one(old, new, expected):
    rest = Field("label", Label(("a", "b")))
    schemas = [Schema((*([one] if one else []), rest)) for one in (old, new)]
    assert said(schema_differences(*schemas)) == expected


def test_classes_are_compared_by_name():
    def schema(*names):
        return Schema((Field("x", Label(names)),))

    old = schema("a", "b", "c")
    assert said(schema_differences(old, schema("a", "b", "d"))) == [
        ("+", "field x class", None, "d"),
        ("-", "field x class", "c", None),
    ]
    assert said(schema_differences(old, schema("b", "a", "c"))) == [
        ("~", "field x order of classes", None, None)
    ]


def test_long_texts_are_told_from_where_they_differ():
    new = replace(CARD, description="a" * 5000 + "new")
    (only,) = card_differences(replace(CARD, description="a" * 5000 + "old"), new)
    assert only.before.endswith("aaaold")
    assert only.after.endswith("aaanew")
    inner = schema_differences(
        Schema((Field("x", List(Int(8))),)), Schema((Field("x", List(Int(16))),))
    )
    assert said(inner) == [("~", "field x", "list of int8", "list of int16")]
