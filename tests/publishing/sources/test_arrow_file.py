"""Arrow IPC files, streams and Feather as sources."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from atd.errors import BadSource
from atd.publishing.packing import pack
from atd.publishing.sources.opening import open_source
from atd.schema.fields import Int, Label, String
from publish import pictures

pa = pytest.importorskip("pyarrow", reason="the extra 'arrow' is not installed")
feather = pytest.importorskip("pyarrow.feather")


def table(**columns: Any) -> Any:
    return pa.table(columns)


def stream(path: Path, rows: Any) -> Path:
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_table(rows)
    return path


def file(path: Path, rows: Any) -> Path:
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, rows.schema) as writer:
        writer.write_table(rows)
    return path


def test_files_streams_and_feather_are_read_alike(tmp_path: Path) -> None:
    rows = table(n=pa.array([1, 2], pa.int8()), name=["a", None])
    feather.write_feather(rows, tmp_path / "c.feather")
    paths = [
        file(tmp_path / "a.arrow", rows),
        stream(tmp_path / "b.arrow", rows),
        tmp_path / "c.feather",
    ]
    for path in paths:
        source = open_source(path)
        assert source.schema["n"].kind == Int(8)
        assert source.schema["name"].kind == String()
        assert source.schema["name"].nullable
        found = [sample for _, sample in source.splits["train"].samples(source.schema)]
        assert found == [{"n": 1, "name": "a"}, {"n": 2, "name": None}]
    digests = {pack(open_source(path), tmp_path / path.stem).shards[0].digest for path in paths}
    assert len(digests) == 1


def test_names_of_classes_that_datasets_noted_become_a_label(tmp_path: Path) -> None:
    noted = (
        b'{"info": {"features": {"y": {"names": ["no", "yes"], "_type": "ClassLabel"},'
        b' "z": {"names": 3, "_type": "ClassLabel"}, "n": 7}}}'
    )
    rows = table(y=[1, 0], z=[1, 2], n=[1, 1]).replace_schema_metadata({b"huggingface": noted})
    source = open_source(file(tmp_path / "x.arrow", rows))
    assert source.schema["y"].kind == Label(["no", "yes"])
    assert source.schema["z"].kind == Int()


@pytest.mark.parametrize("data", [b"", b"ARROW1", b"ARROW1\0\0" + b"x" * 100, b"\xff" * 64])
def test_what_is_no_arrow_file(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.arrow").write_bytes(data)
    with pytest.raises(BadSource, match=r"x\.arrow is not an Arrow file"):
        open_source(tmp_path)


def test_files_of_different_columns_are_named(tmp_path: Path) -> None:
    file(tmp_path / "a.arrow", table(n=[1]))
    file(tmp_path / "b.arrow", table(n=["x"]))
    with pytest.raises(BadSource, match=r"n int64 in .*a\.arrow; n string in .*b\.arrow"):
        open_source(tmp_path)


def test_a_table_without_rows(tmp_path: Path) -> None:
    with pytest.raises(BadSource, match="no rows"):
        open_source(file(tmp_path / "a.arrow", table(n=pa.array([], pa.int8()))))


def test_rows_with_pictures_that_do_not_decode_are_named(tmp_path: Path) -> None:
    whole = pictures.encoded()
    noted = b'{"info": {"features": {"image": {"_type": "Image"}}}}'
    files = [{"bytes": data, "path": "x.png"} for data in (whole, whole[:80], None, whole)]
    rows = table(n=[0, 1, 2, 3], image=files)
    rows = rows.replace_schema_metadata({b"huggingface": noted})
    path = file(tmp_path / "x.arrow", rows)
    with pytest.raises(BadSource, match="2 rows cannot be read") as caught:
        open_source(path)
    assert "row 1: image (not a decodable picture" in caught.value.message
    assert "row 2: image (expected the bytes of a file" in caught.value.message
    source = open_source(path, skip_bad=True)
    found = list(source.splits["train"].samples(source.schema))
    assert [(key, sample["n"]) for key, sample in found] == [("000000000", 0), ("000000003", 3)]
    assert source.count == 2
    assert len(source.skipped) == 2


def test_columns_of_one_name(tmp_path: Path) -> None:
    rows = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["n", "n"])
    with pytest.raises(BadSource, match="several columns n"):
        open_source(file(tmp_path / "x.arrow", rows))
