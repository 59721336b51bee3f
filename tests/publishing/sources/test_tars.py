"""WebDataset archives published as they are."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import webdataset

import atd
from atd.errors import BadSource, SchemaMismatch
from atd.manifest import Manifest
from atd.publishing.packing import pack
from atd.publishing.sources.opening import open_source
from atd.schema.fields import Array, Bytes, Field, Image, Int, Json, Label, Schema, Text
from publish import pictures

Members = Iterable[tuple[str, bytes]]


def archive(path: Path, members: Members, format: int = tarfile.PAX_FORMAT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=format) as file:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            info.mtime = 1_700_000_000.5 if format == tarfile.PAX_FORMAT else 0  # type: ignore[assignment]
            file.addfile(info, io.BytesIO(data))
    return path


def members(start: int = 0, count: int = 3) -> Members:
    for number in range(start, start + count):
        array = io.BytesIO()
        np.save(array, np.full((2, 3), number, np.float32))
        yield f"{number:06}.png", pictures.encoded(seed=number)
        yield f"{number:06}.cls", str(number % 2).encode()
        yield f"{number:06}.json", json.dumps({"n": number}).encode()
        yield f"{number:06}.npy", array.getvalue()
        yield f"{number:06}.txt", f"číslo {number}".encode()
        yield f"{number:06}.xyz", b"\0\xff"


def test_archives_by_split_are_staged_byte_for_byte(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    one = archive(folder / "train-000000.tar", members())
    two = archive(folder / "train-000001.tar", members(3), tarfile.GNU_FORMAT)
    val = archive(folder / "val-000000.tar", members())
    source = open_source(folder)
    assert {field.name: field.kind for field in source.schema} == {
        "png": Image(),
        "cls": Int(),
        "json": Json(),
        "npy": Array("float32", (2, 3)),
        "txt": Text(),
        "xyz": Bytes(),
    }
    assert {name: split.count for name, split in source.splits.items()} == {"train": 6, "val": 3}
    manifest = pack(source, tmp_path / "out", name="digits")
    assert manifest == Manifest.load(tmp_path / "out")
    packed = [(tmp_path / "out" / shard.name).read_bytes() for shard in manifest.shards]
    assert packed == [path.read_bytes() for path in (one, two, val)]
    assert all(shard.name.startswith(("train-", "val-")) for shard in manifest.shards)
    data = atd.load(str(tmp_path / "out"), split="train")
    assert len(data) == 6
    assert data[4].json == {"n": 4}
    assert data[4].txt == "číslo 4"


def test_what_webdataset_writes_is_taken(tmp_path: Path) -> None:
    with webdataset.ShardWriter(str(tmp_path / "cifar-test-%04d.tar"), maxcount=2, verbose=0) as to:
        for number in range(4):
            to.write({"__key__": f"k{number}", "cls": number, "json": {"a": number}})
    source = open_source(str(tmp_path / "*.tar"))
    assert {name: split.count for name, split in source.splits.items()} == {"test": 4}
    assert open_source(tmp_path / "cifar-test-0000.tar").count == 2


def test_what_few_samples_have_is_optional(tmp_path: Path) -> None:
    rows = [(f"{n:05}.txt", b"x") for n in range(1000)]
    rows.insert(778, ("00777.json", b"{}"))
    source = open_source(archive(tmp_path / "a.tar", rows))
    assert source.schema["json"].optional
    assert not source.schema["txt"].optional


def test_names_of_classes_are_a_label(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.tar", [("1.cls", b"tulip"), ("2.cls", b"rose\n")])
    source = open_source(path)
    assert source.schema["cls"].kind == Label(["rose", "tulip"])
    pack(source, tmp_path / "out")
    assert [row.cls for row in atd.load(str(tmp_path / "out"))] == [1, 0]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("a.txt", b"1"), ("b.txt", b"2"), ("a.json", b"{}")], "sample a: expected its members"),
        ([("a.txt", b"1"), ("a.txt", b"2")], "sample a: two members a.txt"),
        ([("img.001.txt", b"1"), ("img.002.txt", b"2")], "its keys have dots: img.001.txt"),
        ([("a.txt", b"\xff")], "text in UTF-8"),
        ([("a.json", b"{")], "expected JSON"),
        ([("a.npy", b"\x93NUMPY no")], "cannot tell what a sample is"),
        ([("a.jpg", b"\xff\xd8\xff not a picture")], "sample a: field jpg: not a decodable"),
        ([("a.cls", b"1"), ("b.cls", b"")], "sample b: field cls"),
        ([("README", b"no samples")], "no samples"),
        ([], "no samples"),
    ],
)
def test_each_bad_archive_is_named(tmp_path: Path, rows: Any, message: str) -> None:
    folder = tmp_path / "in"
    archive(folder / "train-0.tar", [("x.txt", b"fine")])
    archive(folder / "train-1.tar", rows)
    with pytest.raises(BadSource, match="1 archive cannot be published in place") as caught:
        open_source(folder)
    assert message in caught.value.message
    assert "train-1.tar" in caught.value.message
    assert "train-0.tar" not in caught.value.message
    source = open_source(folder, skip_bad=True)
    assert source.count == 1
    (skipped,) = source.skipped
    assert "train-1.tar" in skipped
    assert pack(source, tmp_path / "out").samples == 1


def test_archives_that_are_none_are_all_named(tmp_path: Path) -> None:
    whole = archive(tmp_path / "ok.tar", members()).read_bytes()
    (tmp_path / "cut.tar").write_bytes(whole[: len(whole) // 2 + 100])
    (tmp_path / "empty.tar").write_bytes(b"")
    (tmp_path / "text.tar").write_bytes(b"hello " * 1000)
    with pytest.raises(BadSource, match="3 archives cannot be published") as caught:
        open_source(tmp_path)
    assert all(name in caught.value.message for name in ("cut.tar", "empty.tar", "text.tar"))


def test_a_link_in_an_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as file:
        info = tarfile.TarInfo("a.txt")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        file.addfile(info)
    with pytest.raises(BadSource, match="not a plain file"):
        open_source(path)


def test_a_key_is_in_one_archive_of_a_split(tmp_path: Path) -> None:
    archive(tmp_path / "train-0.tar", members())
    archive(tmp_path / "train-1.tar", members(2))
    with pytest.raises(BadSource, match=r"train-1\.tar \(its sample 000002 is in train-0\.tar too"):
        open_source(tmp_path)


def test_the_publishers_own_schema(tmp_path: Path) -> None:
    path = archive(tmp_path / "in" / "a.tar", members())
    wanted = Schema((Field("cls", Label(["even", "odd"])), Field("png", Image())))
    manifest = pack(open_source(path, schema=wanted), tmp_path / "out")
    assert manifest.schema == wanted
    assert atd.load(str(tmp_path / "out"))[1].cls == 1
    with pytest.raises(SchemaMismatch, match="no member holds label"):
        open_source(path, schema=Schema((Field("label", Int()),)))
    with pytest.raises(SchemaMismatch, match=r"a\.tar .*field cls"):
        open_source(path, schema=Schema((Field("cls", Label(["only"])),)))


def test_shards_that_are_served_keep_the_names_of_their_files(tmp_path: Path) -> None:
    archive(tmp_path / "train-000000.tar", members())
    packed = open_source(tmp_path).packed
    assert packed is not None
    assert [one.name for one in packed.served().manifest.shards] == ["train-000000.tar"]
    archive(tmp_path / "val" / "train-000000.tar", members(3))
    packed = open_source(tmp_path).packed
    assert packed is not None
    with pytest.raises(BadSource, match="cannot be told apart where they are served"):
        packed.served()


def test_an_archive_changed_since_it_was_opened_is_not_taken(tmp_path: Path) -> None:
    path = archive(tmp_path / "in" / "a.tar", members())
    source = open_source(path)
    archive(path, members(1))
    with pytest.raises(atd.errors.DigestMismatch):
        pack(source, tmp_path / "out")
    assert not (tmp_path / "out" / "atd.json").exists()


def test_pictures_in_archives_cannot_be_stripped(tmp_path: Path) -> None:
    with pytest.raises(BadSource, match="cannot be stripped"):
        open_source(archive(tmp_path / "a.tar", members()), strip_metadata=True)
