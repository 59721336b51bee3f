"""Folders that ``save_to_disk`` writes, by hand and by ``datasets`` itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from atd.errors import BadSource
from atd.publishing.sources.opening import open_source
from atd.schema.fields import Image, Label
from publish import pictures

pa = pytest.importorskip("pyarrow", reason="the extra 'arrow' is not installed")

NOTED = {
    "info": {
        "features": {
            "y": {"names": ["no", "yes"], "_type": "ClassLabel"},
            "picture": {"_type": "Image"},
        }
    }
}


def saved(folder: Path, *parts: list[int], **state: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    names = []
    for number, ys in enumerate(parts):
        files = [{"bytes": pictures.encoded(seed=y), "path": "x.png"} for y in ys]
        table = pa.table({"y": ys, "picture": files})
        table = table.replace_schema_metadata({"huggingface": json.dumps(NOTED)})
        name = f"data-{number:05}-of-{len(parts):05}.arrow"
        path = str(folder / name)
        with pa.OSFile(path, "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        names.append({"filename": name})
    (folder / "dataset_info.json").write_text("{}")
    said = {"_data_files": names, "_split": None, **state}
    (folder / "state.json").write_text(json.dumps(said))
    return folder


def test_a_saved_data_set(tmp_path: Path) -> None:
    source = open_source(saved(tmp_path, [0, 1], [1]))
    assert source.schema["y"].kind == Label(["no", "yes"])
    assert source.schema["picture"].kind == Image()
    found = [sample for _, sample in source.splits["train"].samples(source.schema)]
    assert [one["y"] for one in found] == [0, 1, 1]
    assert found[0]["picture"] == pictures.encoded(seed=0)


def test_the_folders_of_a_dict_are_its_splits(tmp_path: Path) -> None:
    saved(tmp_path / "train", [0, 1])
    saved(tmp_path / "unsupervised", [1])
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["train", "unsupervised"]}')
    source = open_source(tmp_path)
    assert {k: one.count for k, one in source.splits.items()} == {"train": 2, "unsupervised": 1}


def test_a_file_that_is_missing_or_damaged_is_named(tmp_path: Path) -> None:
    saved(tmp_path, [0], [1])
    (tmp_path / "data-00001-of-00002.arrow").write_bytes(b"x" * 50)
    with pytest.raises(BadSource, match=r"data-00001-of-00002\.arrow is not an Arrow file"):
        open_source(tmp_path)
    (tmp_path / "data-00001-of-00002.arrow").unlink()
    with pytest.raises(BadSource, match=r"data-00001-of-00002\.arrow"):
        open_source(tmp_path)


@pytest.mark.parametrize(
    "state",
    [
        {"_data_files": [{"filename": "../outside.arrow"}]},
        {"_data_files": [{"filename": 3}]},
        {"_data_files": None},
        {"_data_files": []},
        {"_indices_data_files": [{"filename": "indices.arrow"}]},
    ],
)
def test_a_state_that_leads_elsewhere(tmp_path: Path, state: dict[str, Any]) -> None:
    with pytest.raises(BadSource):
        open_source(saved(tmp_path, [0], **state))


def test_what_datasets_itself_saves(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="the extra 'hf' is not installed")
    label = datasets.ClassLabel(names=["a", "b"])
    features = datasets.Features({"n": datasets.Value("int32"), "y": label})
    rows = datasets.Dataset.from_dict({"n": [1, 2, 3], "y": [0, 1, 0]}, features=features)
    datasets.DatasetDict({"train": rows, "test": rows.select([2])}).save_to_disk(tmp_path / "out")
    source = open_source(tmp_path / "out")
    assert {name: one.count for name, one in source.splits.items()} == {"train": 3, "test": 1}
    assert source.schema["y"].kind == Label(["a", "b"])
    ((_, sample),) = source.splits["test"].samples(source.schema)
    assert sample == {"n": 3, "y": 0}
