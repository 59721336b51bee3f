"""Tables of other libraries, handed over from Python."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from atd.errors import BadSource
from atd.publishing.packing import pack
from atd.publishing.sources.opening import open_source
from atd.publishing.sources.source import Source
from atd.schema.fields import Float, Image, Int, Label, String
from publish import pictures

pa = pytest.importorskip("pyarrow", reason="the extra 'arrow' is not installed")


def samples(source: Source, split: str = "train") -> list[dict[str, object]]:
    return [sample for _, sample in source.splits[split].samples(source.schema)]


def test_a_data_frame_of_pandas(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas", reason="the extra 'pandas' is not installed")
    frame = pandas.DataFrame({"n": [1, 2], "name of it": ["a", None]}, index=["x", "y"])
    source = open_source(frame)
    assert source.what == "pandas DataFrame"
    assert source.schema["n"].kind == Int()
    assert source.schema["name_of_it"].nullable
    assert samples(source) == [{"n": 1, "name_of_it": "a"}, {"n": 2, "name_of_it": None}]
    assert pack(source, tmp_path / "out").samples == 2


def test_data_frames_by_split() -> None:
    pandas = pytest.importorskip("pandas", reason="the extra 'pandas' is not installed")
    frame = pandas.DataFrame({"n": [1.5]})
    source = open_source({"test": frame, "train": frame})
    assert list(source.splits) == ["train", "test"]
    assert source.schema["n"].kind == Float()


def test_a_column_of_several_types_is_refused() -> None:
    pandas = pytest.importorskip("pandas", reason="the extra 'pandas' is not installed")
    with pytest.raises(BadSource, match="pandas DataFrame cannot become an Arrow table"):
        open_source(pandas.DataFrame({"n": [1, "a"]}))


def test_a_data_frame_of_polars() -> None:
    polars = pytest.importorskip("polars", reason="the extra 'polars' is not installed")
    source = open_source(polars.DataFrame({"n": [1, 2], "s": ["a", "b"]}))
    assert source.schema["s"].kind == String()
    assert samples(source)[1] == {"n": 2, "s": "b"}


def test_an_arrow_table() -> None:
    assert samples(open_source(pa.table({"n": [1]}))) == [{"n": 1}]


def test_a_hugging_face_data_set_with_files(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="the extra 'hf' is not installed")
    path = pictures.put(tmp_path / "1.png", seed=4)
    label = datasets.ClassLabel(names=["a", "b"])
    features = datasets.Features({"image": datasets.Image(), "y": label})
    rows = datasets.Dataset.from_dict({"image": [str(path)] * 3, "y": [0, 1, 0]}, features=features)
    source = open_source(rows.select([1, 2]))
    assert source.schema["image"].kind == Image()
    assert source.schema["y"].kind == Label(["a", "b"])
    found = samples(source)
    assert [one["y"] for one in found] == [1, 0]
    assert found[0]["image"] == path.read_bytes()
    several = open_source(datasets.DatasetDict({"test": rows, "train": rows.select([0])}))
    assert {name: one.count for name, one in several.splits.items()} == {"train": 1, "test": 3}


def test_none_of_these_libraries_is_loaded_to_recognise_them() -> None:
    program = (
        "import sys\n"
        "from atd.publishing.sources.opening import open_source\n"
        "open_source([{'n': 1}])\n"
        "heavy = {'pandas', 'polars', 'datasets', 'torch', 'pyarrow', 'huggingface_hub'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "[]\n", done.stderr
