"""The doors to polars, Hugging Face's datasets and grain, with the libraries themselves."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import atd
from kinds import everything, pack_everything


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pack_everything(tmp_path_factory.mktemp("kinds") / "packed")


# ------------------------------------------------------------------ polars


def test_polars_has_every_kind_and_value(folder: Path) -> None:
    polars = pytest.importorskip("polars")
    frame = atd.load(str(folder)).to_polars()
    assert frame.schema["grid"] == polars.Array(polars.Float32, (2, 3))
    assert frame.schema["rows"] == polars.List(polars.List(polars.UInt8))
    assert frame.schema["kind"] == polars.Categorical()
    for n, row in enumerate(frame.iter_rows(named=True)):
        want = everything(n)
        assert np.array_equal(row["grid"], want.grid)
        assert row["kind"] == want.kind
        assert row["when"] == want.when
        assert row["image"] == {"bytes": want.image.bytes, "path": None}
        assert row["maybe"] == want.maybe
        assert row["spot"]["place"] == n


def test_polars_of_nothing_keeps_its_columns(folder: Path) -> None:
    pytest.importorskip("polars")
    frame = atd.load(str(folder)).take(0).to_polars()
    assert frame.shape == (0, len(atd.load(str(folder)).fields))


# ------------------------------------------------------------------ datasets


def test_datasets_has_every_kind_and_value(folder: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    found = atd.load(str(folder)).to_hf(tmp_path / "hf")
    assert found.features["kind"] == datasets.ClassLabel(names=["oak", "elm"])
    assert found.features["image"] == datasets.Image()
    assert found.features["grid"] == datasets.Array2D(shape=(2, 3), dtype="float32")
    assert found.num_rows == 10
    for n, row in enumerate(found):
        want = everything(n)
        assert row["kind"] == n % 2
        assert row["image"].size == want.image.size
        assert np.array_equal(row["grid"], want.grid)
        assert row["rows"] == want.rows.tolist()
        assert row["when"] == want.when
        assert row["sound"]["bytes"] == want.sound
        assert row["spots"] == [{"place": n, "point": [n, n + 1]}] * (n % 3)
        assert row["maybe"] == want.maybe
        assert row["note"] == want.note
    assert found.with_format("numpy")[:3]["grid"].shape == (3, 2, 3)


def test_what_was_given_to_datasets_is_a_file_that_other_processes_can_map(
    folder: Path, tmp_path: Path
) -> None:
    pytest.importorskip("datasets")
    ds = atd.load(str(folder)).shuffled(seed=1)
    first = ds.to_hf(tmp_path)
    again = ds.to_hf(tmp_path)  # replaces the file that the first one has mapped
    assert pickle.loads(pickle.dumps(first))["small"] == again["small"]
    assert again["small"][:] == [sample.small for sample in ds]
    ds.map(doubled).to_hf(tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def doubled(sample: Any) -> dict[str, int]:
    return {"small": sample.small * 2}


def test_a_failure_leaves_no_half_written_file(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    with pytest.raises(atd.errors.LocalError, match="x: expected"):
        atd.load(str(folder)).map(changing).to_hf(tmp_path)
    assert list(tmp_path.iterdir()) == []


def changing(sample: Any) -> dict[str, Any]:
    return {"x": 1 if sample.small < 0 else "one"}


# ------------------------------------------------------------------ grain


def test_a_data_set_is_a_random_access_source_of_grain(folder: Path) -> None:
    grain = pytest.importorskip("grain")
    ds = atd.load(str(folder))
    source = grain.MapDataset.source(ds)
    assert len(source) == 10
    small = [row.small for row in source.shuffle(seed=4)]
    assert sorted(small) == [sample.small for sample in ds]
    batches = list(source.map(lambda row: row.grid).batch(5))
    assert [batch.shape for batch in batches] == [(5, 2, 3), (5, 2, 3)]


def test_grain_reads_in_processes_of_its_own(folder: Path) -> None:
    grain = pytest.importorskip("grain")
    ds = atd.load(str(folder))
    loader = grain.DataLoader(
        data_source=ds,
        sampler=grain.samplers.IndexSampler(10, shuffle=False, num_epochs=1),
        worker_count=2,
    )
    assert [row.small for row in loader] == [sample.small for sample in ds]


def test_an_iterator_of_grain_resumes(folder: Path) -> None:
    grain = pytest.importorskip("grain")
    source = grain.MapDataset.source(atd.load(str(folder))).shuffle(seed=2)
    here = grain.ReadOptions(num_threads=0)
    whole = [row.small for row in source.to_iter_dataset(here)]
    iterator = iter(source.to_iter_dataset(here))
    before = [next(iterator).small for _ in range(4)]
    again = iter(source.to_iter_dataset(here))
    again.set_state(iterator.get_state())
    assert before + [row.small for row in again] == whole
