"""What is said of the fields of shards, against numpy and pandas over the same samples."""

from __future__ import annotations

import io
import math
import pickle
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from atd.publishing.packing import pack
from atd.publishing.sources.opening import open_source
from atd.statistics.array_elements import FEW, add_arrays, places
from atd.statistics.making import preview_of
from atd.statistics.numbers import Numbers
from atd.statistics.shard import merge, shard_statistics
from atd.statistics.summary import number_summary
from atd.statistics.values import FieldStatistics, SplitStatistics
from stats.rows import SCHEMA, packed, picture, row

COUNT = 120
EVERY_CUT = [{"max_samples": 7}, {"max_samples": 50, "order": "keep"}, {}]


def split_of(folder: Path, samples: Any, **cuts: Any) -> SplitStatistics:
    manifest = packed(folder, samples, SCHEMA, **cuts)
    return preview_of(manifest, folder).splits[0]


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return [row(at) for at in range(COUNT)]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]]) -> SplitStatistics:
    return split_of(tmp_path_factory.mktemp("packed"), rows)


@pytest.fixture(scope="module")
def frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame(rows)


def test_presence_agrees_with_pandas(found: SplitStatistics, rows: list[dict[str, Any]]) -> None:
    for one in found.fields:
        assert one.missing == sum(one.name not in sample for sample in rows), one.name
        null = sum(one.name in sample and sample[one.name] is None for sample in rows)
        assert one.null == null, one.name
        assert one.count + one.null + one.missing == COUNT


@pytest.mark.parametrize("name", ["whole", "year", "half"])
def test_numbers_agree_with_pandas(found: SplitStatistics, frame: pd.DataFrame, name: str) -> None:
    column, summary = frame[name].dropna(), found.field(name).numbers["value"]
    assert summary.count == len(column)
    assert (summary.low, summary.high) == (column.min(), column.max())
    assert summary.mean == pytest.approx(column.astype(float).mean(), rel=1e-9)
    assert summary.std == pytest.approx(column.astype(float).std(ddof=0), rel=1e-9)


def test_nulls_and_nans_are_told_apart(found: SplitStatistics, rows: list[dict[str, Any]]) -> None:
    values = [sample["real"] for sample in rows if sample["real"] is not None]
    summary = found.field("real").numbers["value"]
    assert summary.nan == sum(map(math.isnan, values)) > 0
    assert summary.mean == pytest.approx(float(np.nanmean(values)))
    assert summary.elements == len(values)


@pytest.mark.parametrize("name", ["caption", "words", "name"])
def test_lengths_count_characters_and_items(
    found: SplitStatistics, frame: pd.DataFrame, name: str
) -> None:
    lengths = frame[name].map(len)
    summary = found.field(name).numbers["length"]
    assert (summary.low, summary.high) == (lengths.min(), lengths.max())
    assert summary.mean == pytest.approx(lengths.mean())


@pytest.mark.parametrize("name", ["truth", "city"])
def test_counts_agree_with_pandas(found: SplitStatistics, frame: pd.DataFrame, name: str) -> None:
    counts = found.field(name).counts["value"]
    assert dict(counts.values) == frame[name].value_counts().to_dict()
    assert [often for _, often in counts.values] == sorted(dict(counts.values).values())[::-1]


def test_labels_are_counted_by_name(found: SplitStatistics) -> None:
    assert found.field("label").counts["value"].values == (("rose", 60), ("tulip", 60))


def test_values_that_do_not_repeat_are_never_listed(found: SplitStatistics) -> None:
    assert found.field("name").counts == {}
    assert found.field("caption").counts == {}


def test_arrays_nested_fields_and_moments(
    found: SplitStatistics, rows: list[dict[str, Any]]
) -> None:
    pixels = np.stack([sample["pixels"] for sample in rows])
    summary = found.field("pixels").numbers["value"]
    assert (summary.low, summary.high) == (pixels.min(), pixels.max())
    assert summary.mean == pytest.approx(pixels.mean())
    assert summary.std == pytest.approx(pixels.std())
    assert found.field("pixels").counts["shape"].values == (("4x5", COUNT),)
    signals = np.concatenate([sample["signal"] for sample in rows])
    assert found.field("signal").numbers["value"].mean == pytest.approx(signals.mean(), rel=1e-5)
    assert found.field("signal").numbers["elements"].high == 6
    inner = {one.name: one for one in found.field("place").fields}
    assert inner["x"].numbers["value"].high == (COUNT - 1) / 2
    words = found.field("words").fields[0]
    assert (words.name, words.count) == ("[]", sum(len(sample["words"]) for sample in rows))
    assert words.counts["value"].values[0] == ("w0", 90)
    assert found.field("at").numbers["value"].low == rows[0]["at"].timestamp()
    assert found.field("box").numbers["x0"].high == COUNT - 1
    assert found.field("raw").numbers["bytes"].high == 8


def test_media_by_their_headers(found: SplitStatistics) -> None:
    photo, sound = found.field("photo"), found.field("sound")
    assert dict(photo.counts["mode"].values) == {"L": 60, "RGB": 60}
    assert photo.counts["format"].values == (("image/png", COUNT),)
    assert (photo.numbers["width"].low, photo.numbers["width"].high) == (8, 10)
    assert sound.numbers["seconds"].values == ((0.1, 60), (0.2, 60))
    assert dict(sound.counts["rate"].values) == {8000: COUNT}


@pytest.mark.parametrize("cuts", EVERY_CUT, ids=str)
def test_how_samples_were_cut_into_shards_does_not_show(
    tmp_path: Path, rows: list[dict[str, Any]], found: SplitStatistics, cuts: dict[str, Any]
) -> None:
    again = split_of(tmp_path, rows, **cuts)
    assert again.fields == found.fields
    assert (again.shards > 1) == bool(cuts)


def test_shards_merge_in_any_order_and_across_processes(
    tmp_path: Path, rows: list[dict[str, Any]]
) -> None:
    manifest = packed(tmp_path, rows, SCHEMA, max_samples=9)
    schema, layout = manifest.schema, manifest.layout
    parts = [
        pickle.loads(pickle.dumps(shard_statistics(tmp_path / one.name, schema, layout)))
        for one in manifest.shards
    ]
    computed = [("train", part) for part in reversed(parts)]
    made = preview_of(manifest, tmp_path, computed=computed)
    assert made.to_bytes() == preview_of(manifest, tmp_path).to_bytes()
    assert merge(parts).samples == COUNT


def test_an_archive_of_members_is_read_too(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "train-0.tar", "w") as tar:
        for at in range(12):
            for suffix, data in (
                ("png", picture(3, 4 + at % 2)),
                ("cls", str(at % 3).encode()),
                ("txt", b"x" * at),
            ):
                member = tarfile.TarInfo(f"{at:03d}.{suffix}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    source = open_source(str(tmp_path / "train-*.tar"))
    manifest = pack(source, tmp_path / "packed")
    assert manifest.layout.kind == "members"
    split = preview_of(manifest, tmp_path / "packed").splits[0]
    by_name: dict[str, FieldStatistics] = {one.name: one for one in split.fields}
    assert by_name["png"].numbers["height"].values == ((4, 6), (5, 6))
    assert by_name["cls"].numbers["value"].values == ((0, 4), (1, 4), (2, 4))
    assert by_name["txt"].numbers["length"].high == 11


def test_large_arrays_are_sampled_but_their_extremes_are_exact() -> None:
    rng = np.random.default_rng(5)
    arrays = [rng.normal(size=(50, 60)).astype(np.float32) for _ in range(9)]
    arrays[3][7, 7] = 1000.0
    numbers = Numbers()
    add_arrays(numbers, arrays)
    found = number_summary(numbers)
    assert (found.high, found.low) == (1000.0, min(float(one.min()) for one in arrays))
    assert (found.elements, found.count) == (9 * 3000, 9 * FEW)
    assert found.values is None
    assert found.mean == pytest.approx(0, abs=0.2)
    assert len(places(3000, FEW)) == FEW


@pytest.mark.parametrize("strange", [math.nan, math.inf, -math.inf])
def test_arrays_with_what_is_not_finite(strange: float) -> None:
    array = np.array([1.0, strange, 3.0], np.float32)
    numbers = Numbers()
    add_arrays(numbers, [array, np.full(3, strange, np.float32), np.zeros((0,), np.float32)])
    found = number_summary(numbers)
    assert (found.low, found.high, found.count, found.elements) == (1.0, 3.0, 2, 6)
    assert found.nan + found.infinite == 4


def test_arrays_do_not_depend_on_their_neighbours() -> None:
    rng = np.random.default_rng(6)
    arrays = [rng.integers(-5, 5, rng.integers(0, 20)).astype(np.int32) for _ in range(40)]
    whole, parts = Numbers(), Numbers()
    add_arrays(whole, arrays)
    for array in arrays[::-1]:
        part = Numbers()
        add_arrays(part, [array])
        parts.merge(part)
    assert number_summary(whole) == number_summary(parts)
    counted = Counter(number for array in arrays for number in array.tolist())
    assert number_summary(whole).values == tuple(sorted(counted.items()))
