"""Folders of sounds, tables beside media files, and going on past bad files."""

from __future__ import annotations

import io
import re
import struct
import wave
from pathlib import Path

import pytest

import atd
from atd.errors import BadSource
from atd.publishing.packing import pack
from atd.publishing.sources.opening import open_source
from atd.publishing.sources.source import Source
from atd.schema.fields import Audio, Float, Int, Label, String
from publish import pictures


def sound(frames: int = 80) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(struct.pack(f"<{frames}h", *range(frames)))
    return out.getvalue()


def put(path: Path, data: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def samples(source: Source, split: str = "train") -> list[dict[str, object]]:
    return [sample for _, sample in source.splits[split].samples(source.schema)]


# ------------------------------------------------------------------ sounds


def test_sounds_by_class_and_split(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for label in ("dog", "猫"):
            put(tmp_path / "in" / split / label / "1.wav", sound())
    source = open_source(tmp_path / "in")
    assert source.schema["audio"].kind == Audio(("audio/wav",))
    assert source.schema["label"].kind == Label(["dog", "猫"])
    assert list(source.splits) == ["train", "test"]
    pack(source, tmp_path / "out")
    first = atd.load(str(tmp_path / "out"), split="test")[0]
    assert first.audio.rate == 8000
    assert first.audio.bytes == sound()


@pytest.mark.parametrize("data", [b"", b"hello", pictures.encoded(), sound()[:60], sound()[:20]])
def test_what_is_no_whole_sound_is_named(tmp_path: Path, data: bytes) -> None:
    put(tmp_path / "dog" / "fine.wav", sound())
    put(tmp_path / "dog" / "bad.wav", data)
    with pytest.raises(BadSource, match=r"1 sound cannot be published: dog/bad\.wav"):
        open_source(tmp_path)
    source = open_source(tmp_path, skip_bad=True)
    assert source.count == 1
    assert "dog/bad.wav" in source.skipped[0]


# ------------------------------------------------------------------ tables beside them

CSV = "file_name,weight,name\na/1.png,2.5,Röschen\n2.png,3,b\n"
LINES = (
    '{"file_name": "a/1.png", "weight": 2.5, "name": "Röschen"}\n'
    '{"file_name": "2.png", "weight": 3, "name": "b"}\n'
)


def pictured(folder: Path) -> Path:
    pictures.put(folder / "a" / "1.png", seed=1)
    pictures.put(folder / "2.png", seed=2)
    return folder


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_a_table_wins_over_the_names_of_folders(tmp_path: Path, form: str) -> None:
    folder = pictured(tmp_path)
    if form == "parquet":
        pa = pytest.importorskip("pyarrow")
        pq = pytest.importorskip("pyarrow.parquet")
        names = {"file_name": ["a/1.png", "2.png"], "weight": [2.5, 3.0], "name": ["Röschen", "b"]}
        pq.write_table(pa.table(names), folder / "metadata.parquet")
    else:
        put(folder / f"metadata.{form}", CSV if form == "csv" else LINES)
    source = open_source(folder)
    assert source.schema.names == ("image", "weight", "name")
    assert source.schema["weight"].kind == Float()
    assert source.schema["name"].kind == String()
    found = {one["name"]: one for one in samples(source)}
    assert found["Röschen"]["image"] == (folder / "a" / "1.png").read_bytes()
    assert not source.warnings


def test_a_table_in_the_folder_of_each_split(tmp_path: Path) -> None:
    for split, weight in (("train", 1), ("test", 2)):
        pictures.put(tmp_path / split / "1.png")
        put(tmp_path / split / "metadata.csv", f"file_name,weight\n1.png,{weight}\n")
    source = open_source(tmp_path)
    assert source.schema["weight"].kind == Int()
    assert samples(source, "test")[0]["weight"] == 2


def test_sounds_have_tables_too(tmp_path: Path) -> None:
    put(tmp_path / "1.wav", sound())
    put(tmp_path / "metadata.csv", "file_name,text\n1.wav,hello there\n")
    assert open_source(tmp_path).schema.names == ("audio", "text")


def test_files_and_rows_without_each_other_are_all_named(tmp_path: Path) -> None:
    pictured(tmp_path)
    put(tmp_path / "metadata.csv", "file_name,n\n2.png,1\nlost.png,2\n")
    with pytest.raises(BadSource, match="2 images have no place") as caught:
        open_source(tmp_path)
    assert "lost.png (metadata.csv lists it" in caught.value.message
    assert "a/1.png (metadata.csv does not list it)" in caught.value.message
    source = open_source(tmp_path, skip_bad=True)
    assert source.count == 1
    assert len(source.skipped) == 2


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("file_name,n\n../2.png,1\n", "expected a file beside or below"),
        ("file_name,n\n/etc/passwd,1\n", "expected a file beside or below"),
        ("file_name,n\n2.png,1\n2.png,2\n", "listed twice"),
        ("file_name,n\n2.png\n", "expected 2 cells"),
        ("file_name,n\n,1\n2.png,2\n", "expected a file beside or below"),
    ],
)
def test_rows_that_lead_nowhere(tmp_path: Path, table: str, message: str) -> None:
    pictured(tmp_path)
    put(tmp_path / "metadata.csv", f"{table}a/1.png,7\n")
    with pytest.raises(BadSource, match=message):
        open_source(tmp_path)
    source = open_source(tmp_path, skip_bad=True)
    assert {sample["n"] for sample in samples(source)} <= {1, 2, 7}
    assert [one for one in source.skipped if re.search(message, one)]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("n\n1\n", "has no column file_name"),
        ("file_name,image\n2.png,1\n", "has a column image"),
    ],
)
def test_a_table_of_other_columns(tmp_path: Path, table: str, message: str) -> None:
    pictured(tmp_path)
    put(tmp_path / "metadata.csv", table)
    with pytest.raises(BadSource, match=message):
        open_source(tmp_path, skip_bad=True)


def test_two_sorts_of_tables(tmp_path: Path) -> None:
    put(pictured(tmp_path) / "metadata.csv", CSV)
    put(tmp_path / "metadata.jsonl", LINES)
    with pytest.raises(BadSource, match="which one counts"):
        open_source(tmp_path)


# ------------------------------------------------------------------ going on


def test_every_file_that_is_left_out_is_named(tmp_path: Path) -> None:
    pictures.put(tmp_path / "in" / "rose" / "fine.png")
    for number in range(30):
        put(tmp_path / "in" / "rose" / f"花{number}.png", b"no picture")
    put(tmp_path / "in" / "beside.png", pictures.encoded())
    source = open_source(tmp_path / "in", skip_bad=True)
    assert source.count == 1
    assert len(source.skipped) == 31
    assert all(any(f"花{n}.png" in one for one in source.skipped) for n in range(30))


def test_nothing_is_left_to_publish(tmp_path: Path) -> None:
    put(tmp_path / "rose" / "1.png", b"no picture")
    with pytest.raises(BadSource, match="no images that can be published"):
        open_source(tmp_path, skip_bad=True)


def test_a_file_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    pictures.put(tmp_path / "rose" / "fine.png")
    (tmp_path / "rose" / "dir.png").symlink_to("/proc/self/mem")
    with pytest.raises(BadSource, match=r"rose/dir\.png"):
        open_source(tmp_path)
