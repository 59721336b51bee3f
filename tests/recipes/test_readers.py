"""Readers: what comes out of prepared files, and headers that lie."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image as Picture

from atd.errors import InvalidSyntax, ShardError
from atd.recipes.model import Reader
from atd.recipes.parts import Part
from atd.recipes.readers import read_idx
from recipes.making import idx, write


def part(path: Path, kind: str, **options: Any) -> Part:
    return Part("train", path, Reader(kind, "a", **options))


@pytest.mark.parametrize(
    ("code", "dtype"), [(8, "u1"), (9, "i1"), (11, "i2"), (12, "i4"), (13, "f4"), (14, "f8")]
)
def test_idx_arrays_of_every_type_come_in_the_order_of_this_machine(
    code: int, dtype: str, tmp_path: Path
) -> None:
    values = np.arange(-6, 6).astype(dtype).reshape(3, 2, 2)
    header = bytes([0, 0, code, 3]) + struct.pack(">3I", 3, 2, 2)
    (tmp_path / "a").write_bytes(header + values.astype(f">{dtype}").tobytes())
    found = read_idx(tmp_path / "a")
    np.testing.assert_array_equal(found, values)
    assert found.dtype == np.dtype(dtype)
    assert found.dtype.isnative


HUGE = bytes([0, 0, 14, 4]) + struct.pack(">4I", *[0xFFFFFFFF] * 4)
GOOD = idx(np.zeros((3, 4), np.uint8))


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        b"\0\0",
        b"PK\3\4" + GOOD,
        HUGE,
        GOOD[:-1],
        GOOD + b"x",
        GOOD[:6],
        b"\0\0\x08\0",
        b"\0\0\x07\1",
    ],
)
def test_an_idx_header_that_lies_is_refused_before_anything_is_made(
    wrong: bytes, tmp_path: Path
) -> None:
    (tmp_path / "a").write_bytes(wrong)
    with pytest.raises(ShardError, match="a"):
        read_idx(tmp_path / "a")


def test_rows_of_tables(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", 'x;"y"\n1;"a;b"\n\n2;c\n')
    rows = [{"x": "1", "y": "a;b"}, {"x": "2", "y": "c"}]
    assert part(path, "csv", delimiter=";").data() == rows
    named = part(write(tmp_path / "b.csv", "1,2\n"), "csv", columns=("p", "q"))
    assert named.data() == [{"p": "1", "q": "2"}]


@pytest.mark.parametrize("wrong", ["a,b\n1\n", 'a\n"x\n', "a,a\n1,2\n", "a\n1,2,3\n"])
def test_a_table_that_is_none_is_refused(wrong: str, tmp_path: Path) -> None:
    with pytest.raises(ShardError):
        part(write(tmp_path / "a", wrong), "csv").data()


def test_a_row_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    """One line of gigabytes, or a row that goes on over millions of lines in quotes."""
    for name, text in (("line", "a\n" + "1," * (5 << 20)), ("row", '"a\n",' * (2 << 20))):
        path = tmp_path / name
        path.write_text(text)
        with pytest.raises(ShardError, match="a row longer than 8,388,608 characters"):
            part(path, "csv", columns=("a",)).data()


def test_json_lines_and_lines(tmp_path: Path) -> None:
    path = write(tmp_path / "a", '{"a": 1}\r\n\n[2]\n')
    assert part(path, "jsonl").data() == [{"a": 1}, [2]]
    assert part(path, "lines").data() == ['{"a": 1}', "", "[2]"]
    for text, where in (("{}\nnot\n", "line 2"), ("[" * 100_000, "line 1")):
        with pytest.raises(ShardError, match=where):
            part(write(tmp_path / "b", text), "jsonl").data()
    (tmp_path / "c").write_bytes(b"good\n\xff\n")
    with pytest.raises(ShardError, match="line 2"):
        part(tmp_path / "c", "lines").data()


def test_parquet_rows_of_a_file_and_of_a_folder(tmp_path: Path) -> None:
    for number in range(2):
        pq.write_table(pa.table({"n": [number, number + 10]}), tmp_path / f"{number}.parquet")
    assert part(tmp_path / "0.parquet", "parquet").data() == [{"n": 0}, {"n": 10}]
    assert [row["n"] for row in part(tmp_path, "parquet")] == [0, 10, 1, 11]
    with pytest.raises(ShardError):
        part(write(tmp_path / "x", "no"), "parquet").data()


def test_images_are_labelled_by_their_folder_and_links_are_passed_over(tmp_path: Path) -> None:
    data = io.BytesIO()
    Picture.new("RGB", (2, 3)).save(data, "PNG")
    for name in ("cat/1.png", "dog/2.PNG", "top.png"):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.getvalue())
    write(tmp_path / "images" / "cat" / "readme.txt", "no image")
    (tmp_path / "images" / "cat" / "link.png").symlink_to("/etc/passwd")
    samples = part(tmp_path / "images", "images").data()
    assert [(one["key"], one["label"]) for one in samples] == [
        ("cat/1", "cat"),
        ("dog/2", "dog"),
        ("top", None),
    ]
    assert samples[0]["image"].size == (2, 3)


def test_a_path_is_only_a_path(tmp_path: Path) -> None:
    assert part(tmp_path, "path").data() == tmp_path
    with pytest.raises(InvalidSyntax):
        iter(part(tmp_path, "path"))
