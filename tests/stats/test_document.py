"""The document: the same bytes for the same data, small enough, and read as a stranger's."""

from __future__ import annotations

import base64
import copy
import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st

import atd
from atd.errors import InvalidSyntax, LexiconError, TooLarge
from atd.publishing import pack_folder
from atd.publishing.previewing import chosen, write_preview
from atd.schema import fields
from atd.schema.fields import Field, Schema
from atd.statistics.document import BUDGET, FILE_NAME, MAX_BYTES, Preview
from atd.statistics.making import preview_of
from atd.statistics.samples import MAX_ITEMS, MAX_TEXT, THUMBNAIL, example
from atd.statistics.values import SplitStatistics
from stats.rows import SCHEMA, packed, picture, row, sound

ROWS = [row(at) for at in range(30)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("packed")
    return preview_of(packed(folder, ROWS, SCHEMA), folder).to_bytes()


def test_the_same_data_give_the_same_bytes(tmp_path: Path, whole: bytes) -> None:
    folders = [tmp_path / name for name in ("first", "second")]
    made = [preview_of(packed(folder, ROWS, SCHEMA), folder).to_bytes() for folder in folders]
    assert made == [whole, whole]


def test_processes_give_the_same_bytes(tmp_path: Path, whole: bytes) -> None:
    manifest = packed(tmp_path, ROWS, SCHEMA, max_samples=9)
    written = []
    for workers in (1, 2):
        assert write_preview(manifest, tmp_path, "full", workers=workers) == ()
        written.append((tmp_path / FILE_NAME).read_bytes())
    assert written[0] == written[1]
    assert (
        Preview.from_bytes(written[0]).splits[0].fields
        == Preview.from_bytes(whole).splits[0].fields
    )


def test_reading_gives_what_was_written(whole: bytes) -> None:
    assert Preview.from_bytes(whole).to_bytes() == whole


def test_packing_writes_it_beside_the_manifest(tmp_path: Path) -> None:
    pack_folder({"n": np.arange(9)}, tmp_path)
    assert Preview.from_bytes((tmp_path / FILE_NAME).read_bytes()).splits[0].examples
    pack_folder({"n": np.arange(9)}, tmp_path, preview="statistics")
    found = Preview.from_bytes((tmp_path / FILE_NAME).read_bytes()).splits[0]
    assert (found.examples, found.field("n").count) == ((), 9)
    pack_folder({"n": np.arange(9)}, tmp_path, preview="none")
    assert not (tmp_path / FILE_NAME).exists()


def test_what_is_chosen_where_nothing_is_said() -> None:
    assert [chosen(None), chosen(None, reachable=False), chosen(None, append=True)] == [
        "full",
        "none",
        "none",
    ]
    assert chosen("statistics", reachable=False) == "statistics"
    with pytest.raises(InvalidSyntax, match="full, statistics or none"):
        chosen("some")
    with pytest.raises(InvalidSyntax, match="appended"):
        chosen("full", append=True)


# ------------------------------------------------------------------ samples


def test_thumbnails_are_small_and_carry_nothing_of_the_file() -> None:
    secret = b"40.7128N 74.0060W"
    exif = PIL.Image.Exif()
    exif[0x010E] = secret.decode()
    data = picture(640, 200, "RGB", "JPEG", exif=exif, comment=secret, icc_profile=secret)
    assert data.count(secret) >= 3
    made = example({"photo": _image(data)}, Schema((Field("photo", fields.Image()),)))["photo"]
    thumbnail = base64.b64decode(made["thumbnail"])
    assert secret not in thumbnail
    opened = PIL.Image.open(io.BytesIO(thumbnail))
    assert opened.size == (THUMBNAIL, 30)
    assert not opened.getexif()
    assert not {"exif", "icc_profile", "comment"} & set(opened.info)
    assert (made["width"], made["height"], made["mode"]) == (640, 200, "RGB")


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "1", "I;16"])
def test_pictures_of_every_mode_have_a_thumbnail(mode: str) -> None:
    data = picture(5, 300, mode)
    made = example({"photo": _image(data)}, Schema((Field("photo", fields.Image()),)))["photo"]
    opened = PIL.Image.open(io.BytesIO(base64.b64decode(made["thumbnail"])))
    assert (opened.mode, opened.height) == ("RGB", THUMBNAIL)


def test_damaged_files_are_facts_alone() -> None:
    schema = Schema((Field("photo", fields.Image()), Field("sound", fields.Audio())))
    damaged = {"photo": _image(picture(64, 64)[:60]), "sound": _sound(b"RIFF1234WAVE")}
    made = example(damaged, schema)
    assert "thumbnail" not in made["photo"]
    assert made["sound"] == {"bytes": 12, "mediaType": "audio/wav"}
    heard = example({"sound": _sound(sound(800))}, schema)["sound"]
    assert (heard["seconds"], heard["rate"], heard["channels"]) == (0.1, 8000, 1)


def test_long_values_are_cut() -> None:
    schema = Schema(
        (
            Field("text", fields.Text()),
            Field("many", fields.List(fields.Int())),
            Field("array", fields.Array("float32", (100,))),
            Field("real", fields.Float()),
            Field("doc", fields.Json()),
        )
    )
    made = example(
        {
            "text": "x" * 9000,
            "many": list(range(99)),
            "array": np.full(100, np.nan, np.float32),
            "real": -math.inf,
            "doc": {"long": "y" * 9000},
        },
        schema,
    )
    assert made["text"] == {"text": "x" * MAX_TEXT, "length": 9000}
    assert made["many"] == {"items": list(range(MAX_ITEMS)), "length": 99}
    assert made["array"] == {"dtype": "float32", "shape": [100], "values": ["NaN"] * MAX_ITEMS}
    assert made["real"] == "-Infinity"
    assert made["doc"]["length"] == 9011
    json.dumps(made, allow_nan=False)


def _image(data: bytes) -> Any:
    return atd.Image(data)


def _sound(data: bytes) -> Any:
    return atd.Audio(data)


# ------------------------------------------------------------------ room


def test_many_fields_stay_within_the_budget(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    names = [f"a_field_with_a_long_name_{at}" for at in range(700)]
    values = rng.normal(size=(30, len(names)))
    rows = [dict(zip(names, map(float, one), strict=True)) for one in values]
    made = preview_of(packed(tmp_path, rows), tmp_path)
    assert len(made.to_bytes()) <= BUDGET
    assert made.reduced > 0
    assert len(made.splits[0].fields) == len(names)
    assert made.splits[0].fields[0].numbers["value"].low == values[:, 0].min()


def test_many_splits_all_have_a_sample_before_one_has_two(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)

    def noise() -> bytes:
        out = io.BytesIO()
        pixels = rng.integers(0, 255, (96, 96, 3), dtype=np.uint8)
        PIL.Image.fromarray(pixels).save(out, "PNG")
        return out.getvalue()

    schema = Schema((Field("photo", fields.Image()),))
    splits = {f"s{at}": [{"photo": noise()} for _ in range(10)] for at in range(12)}
    made = preview_of(packed(tmp_path, splits, schema), tmp_path)
    counts = [len(split.examples) for split in made.splits]
    assert len(made.to_bytes()) <= BUDGET
    assert max(counts) - min(counts) <= 1 <= min(counts) < 10


def test_what_is_beyond_all_limits_is_not_written(tmp_path: Path) -> None:
    split = SplitStatistics("train", 1, 1, 1, examples=({"x": "y" * MAX_BYTES},))
    with pytest.raises(TooLarge):
        Preview("0" * 64, (split,)).save(tmp_path)
    assert not list(tmp_path.iterdir())


# ------------------------------------------------------------------ hostile


def _first_field(document: Any) -> Any:
    return document["splits"][0]["fields"][1]


WRONG: dict[str, Callable[[Any], Any]] = {
    "splits are no list": lambda d: d.update(splits={}),
    "a split without a name": lambda d: d["splits"][0].pop("name"),
    "a name of a million letters": lambda d: d["splits"][0].update(name="x" * 70),
    "a negative count": lambda d: _first_field(d).update(count=-1),
    "a count that is true": lambda d: _first_field(d).update(count=True),
    "a count that is a float": lambda d: _first_field(d).update(count=1.0),
    "a count beyond 2**53": lambda d: _first_field(d).update(count=2**53),
    "a number that is text": lambda d: _numbers(d).update(mean="1"),
    "a huge integer": lambda d: _numbers(d).update(min=10**30),
    "bins that fall": lambda d: _numbers(d)["histogram"].update(edges=[2, 1], counts=[1]),
    "more edges than bins": lambda d: _numbers(d)["histogram"].update(counts=[]),
    "too many bins": lambda d: _numbers(d)["histogram"].update(
        edges=list(range(101)), counts=[1] * 100
    ),
    "a quantile of three": lambda d: _numbers(d).update(quantiles=[[1, 2, 3]]),
    "fields that are text": lambda d: d["splits"][0].update(fields="all"),
    "a surrogate": lambda d: _first_field(d).update(name="\ud800"),
    "an example that is a list": lambda d: d["splits"][0].update(examples=[[1]]),
    "an example with a huge number": lambda d: d["splits"][0].update(examples=[{"x": 10**40}]),
    "a huge number deep inside an example": lambda d: d["splits"][0].update(
        examples=[{"x": [{"y": [1.5, True, None, -(10**40)]}]}]
    ),
    "a surrogate deep inside an example": lambda d: d["splits"][0].update(
        examples=[{"x": [["ä", {"y": "a\udc00"}]]}]
    ),
    "a long text in an example": lambda d: d["splits"][0].update(examples=[{"x": ["x" * 100_001]}]),
    "a long key in an example": lambda d: d["splits"][0].update(examples=[{"x": {"k" * 513: 1}}]),
    "a surrogate in an example": lambda d: d["splits"][0].update(examples=[{"\udfff": 1}]),
    "a version of the future": lambda d: d.update(version=2),
}


def _numbers(document: Any) -> Any:
    return _first_field(document)["numbers"]["value"]


@pytest.mark.parametrize("what", list(WRONG))
def test_what_is_wrong_is_refused_with_its_place(whole: bytes, what: str) -> None:
    document = copy.deepcopy(json.loads(whole))
    WRONG[what](document)
    with pytest.raises(LexiconError) as caught:
        Preview.from_bytes(json.dumps(document).encode(), "it")
    assert str(caught.value).startswith(("it", "expected it"))
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"\xff\xfe",
        b"[" * 500_000,
        b'{"format": "atd-preview", "version": 1, "version": 1}',
        b'{"format": "atd-preview", "version": 1, "data": NaN}',
        b'{"x": ' + b"9" * 10_000 + b"}",
        b" " * (MAX_BYTES + 1),
        b'{"format": "atd-preview", "version": 1, "data": "", "x": ' + b"[" * 80 + b"]" * 80 + b"}",
    ],
    ids=lambda data: repr(data[:20]),
)
def test_bytes_that_are_no_document_are_refused(data: bytes) -> None:
    with pytest.raises(LexiconError):
        Preview.from_bytes(data)


def test_keys_that_a_later_version_adds_are_passed_over(whole: bytes) -> None:
    document = json.loads(whole)
    document["later"] = document["splits"][0]["later"] = {"x": [1]}
    assert Preview.from_bytes(json.dumps(document).encode()).to_bytes() == whole


@given(st.data())
def test_whatever_is_changed_in_it_is_read_or_refused(data: st.DataObject) -> None:
    document = {
        "format": "atd-preview",
        "version": 1,
        "data": "0",
        "splits": [
            {
                "name": "train",
                "samples": 1,
                "shards": 1,
                "size": 1,
                "fields": [
                    {
                        "name": "n",
                        "kind": "int",
                        "count": 1,
                        "numbers": {"value": {"count": 1, "values": [[1, 1]]}},
                        "counts": {"value": {"values": [["a", 1]]}},
                    }
                ],
                "examples": [{"n": 1}],
            }
        ],
    }
    place: Any = document
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(place[key], dict | list) or not place[key] or data.draw(st.booleans()):
            break
        place = place[key]
    place[key] = data.draw(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: (
                st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
            ),
            max_leaves=5,
        )
    )
    try:
        found = Preview.from_bytes(json.dumps(document).encode())
    except LexiconError:
        return
    assert Preview.from_bytes(found.to_bytes()) == found
