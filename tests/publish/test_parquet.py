"""Parquet files as sources."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from atd.errors import BadSource
from atd.publishing.sources.opening import open_source
from atd.schema.fields import Bytes, Field, Float, Image, Int, List, String, Struct, Timestamp
from publish import pictures

pa = pytest.importorskip("pyarrow", reason="the extra 'parquet' is not installed")
pq = pytest.importorskip("pyarrow.parquet")


def test_arrow_types_become_kinds(tmp_path: Path) -> None:
    path = tmp_path / "data.parquet"
    moment = datetime(2024, 1, 5, tzinfo=UTC)
    table = pa.table(
        {
            "n": pa.array([1, 2], pa.int16()),
            "x": pa.array([1.5, None], pa.float32()),
            "name of it": pa.array(["a", "b"]).dictionary_encode(),
            "data": [b"1", b"2"],
            "at": pa.array([moment, moment], pa.timestamp("us", tz="UTC")),
            "items": pa.array([[1, 2], []], pa.list_(pa.int64())),
            "point": pa.array([{"x": 1, "y": 2.5}] * 2),
            "image": [{"bytes": pictures.encoded(), "path": "1.png"}] * 2,
        }
    )
    pq.write_table(table, path)
    source = open_source(path)
    assert {field.name: field.kind for field in source.schema} == {
        "n": Int(16),
        "x": Float(32),
        "name_of_it": String(),
        "data": Bytes(),
        "at": Timestamp(),
        "items": List(Int()),
        "point": Struct((Field("x", Int(), nullable=True), Field("y", Float(), nullable=True))),
        "image": Image(),
    }
    assert source.schema["x"].nullable
    assert not source.schema["n"].nullable
    (first, second) = source.splits["train"].samples(source.schema)
    assert first[0] == "000000000"
    assert first[1]["image"] == pictures.encoded()
    assert first[1]["name_of_it"] == "a"
    assert second[1]["x"] is None
    assert source.count == 2


def test_files_named_as_splits_are_splits(tmp_path: Path) -> None:
    for name, rows in (("train-00000-of-00002", 3), ("train-00001-of-00002", 2), ("test", 1)):
        pq.write_table(pa.table({"n": list(range(rows))}), tmp_path / f"{name}.parquet")
    source = open_source(tmp_path)
    assert {name: one.count for name, one in source.splits.items()} == {"train": 5, "test": 1}
    keys = [key for key, _ in source.splits["train"].samples(source.schema)]
    assert keys == [f"{row:09d}" for row in range(5)]


def test_what_is_no_parquet_file(tmp_path: Path) -> None:
    path = tmp_path / "data.parquet"
    path.write_bytes(b"PAR1 not really PAR1")
    with pytest.raises(BadSource, match="is not a Parquet file"):
        open_source(path)


def test_types_that_no_field_holds(tmp_path: Path) -> None:
    path = tmp_path / "data.parquet"
    pq.write_table(pa.table({"at": pa.array([1], pa.timestamp("us"))}), path)
    with pytest.raises(BadSource, match="column at: no field holds the Arrow type"):
        open_source(path)


def test_without_pyarrow_it_is_said_how_to_install_it(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "from atd.errors import BadSource\n"
        "from atd.publishing.sources.opening import open_source\n"
        "try: open_source(sys.argv[1])\n"
        "except BadSource as error: print(error, error.next_step)"
    )
    path = tmp_path / "data.parquet"
    path.write_bytes(b"PAR1")
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True
    )
    assert "needs pyarrow" in done.stdout
    assert "pip install 'atd-catalog[parquet]'" in done.stdout
