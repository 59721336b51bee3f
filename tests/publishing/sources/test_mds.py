"""MDS folders as sources, written by hand after the format's own writer."""

from __future__ import annotations

import gzip
import hashlib
import json
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import atd
from atd.errors import BadSource
from atd.publishing.packing import pack
from atd.publishing.sources.opening import open_source
from atd.publishing.sources.source import Source
from atd.schema.fields import Array, Bytes, Float, Image, Int, Json, List, String
from publish import pictures

Row = dict[str, bytes]


def shard(rows: Sequence[Row], sizes: dict[str, int | None]) -> bytes:
    stored = []
    for row in rows:
        heads = [struct.pack("<I", len(row[name])) for name, size in sizes.items() if size is None]
        stored.append(b"".join((*heads, *(row[name] for name in sizes))))
    config = b'{"version": 2, "format": "mds"}'
    start = 4 * (len(rows) + 2) + len(config)
    places = [start]
    for one in stored:
        places.append(places[-1] + len(one))
    return struct.pack(f"<{len(places) + 1}I", len(rows), *places) + config + b"".join(stored)


def entry(name: str, data: bytes, rows: int, columns: dict[str, str], **more: Any) -> Any:
    fixed = {"int": 8, "uint8": 1, "float32": 4, "ndarray:float32:2,2": 16}
    return {
        "version": 2,
        "format": "mds",
        "column_names": [*columns],
        "column_encodings": [*columns.values()],
        "column_sizes": [fixed.get(one) for one in columns.values()],
        "compression": None,
        "hashes": ["sha256"],
        "samples": rows,
        "raw_data": {
            "basename": name,
            "bytes": len(data),
            "hashes": {"sha256": hashlib.sha256(data).hexdigest()},
        },
        "zip_data": None,
        "size_limit": 67108864,
        **more,
    }


def folder(path: Path, *shards: Sequence[Row], columns: dict[str, str]) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    listed = []
    for number, rows in enumerate(shards):
        sizes = dict(zip(columns, entry("", b"", 0, columns)["column_sizes"], strict=True))
        data = shard(rows, sizes)
        name = f"shard.{number:05}.mds"
        (path / name).write_bytes(data)
        listed.append(entry(name, data, len(rows), columns))
    (path / "index.json").write_text(json.dumps({"version": 2, "shards": listed}))
    return path


def numbered(*numbers: int) -> list[Row]:
    return [{"n": struct.pack("<q", n), "text": f"č{n}".encode()} for n in numbers]


NUMBERED = {"n": "int", "text": "str"}


def samples(source: Source, split: str = "train") -> list[dict[str, Any]]:
    return [sample for _, sample in source.splits[split].samples(source.schema)]


def test_the_encodings(tmp_path: Path) -> None:
    square = np.arange(4, dtype="<f4").reshape(2, 2)
    pixels = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    jpeg = pictures.encoded("JPEG")
    values: dict[str, tuple[str, bytes, Any]] = {
        "i": ("int", struct.pack("<q", -5), Int()),
        "u": ("uint8", b"\xff", Int(8, False)),
        "f": ("float32", struct.pack("<f", 0.5), Float(32)),
        "s": ("str", "žluť".encode(), String()),
        "b": ("bytes", b"\0\1", Bytes()),
        "j": ("json", b'{"a": [1]}', Json()),
        "fixed": ("ndarray:float32:2,2", square.tobytes(), Array("float32", (2, 2))),
        "free": ("ndarray", bytes([33, 1 << 2, 3]) + bytes(12), Array("int32", (3,))),
        "shaped": ("ndarray:int16", bytes([2 << 2, 1, 2]) + bytes(4), Array("int16", (1, 2))),
        "jpg": ("jpeg", jpeg, Image(("image/jpeg",))),
        "png": ("png", pictures.encoded(), Image(("image/png",))),
        "pil": ("pil", struct.pack("<3I", 2, 2, 3) + b"RGB" + pixels.tobytes(), None),
        "many": ("list[jpeg]", struct.pack("<3I", 0, 1, len(jpeg)) + jpeg, None),
        "digits": ("str_int", b"12", Int()),
    }
    columns = {name: encoding for name, (encoding, _, _) in values.items()}
    row = {name: data for name, (_, data, _) in values.items()}
    source = open_source(folder(tmp_path / "in", [row, row], columns=columns))
    kinds = {one.name: one.kind for one in source.schema}
    for name, (_, _, kind) in values.items():
        assert kind is None or kinds[name] == kind
    assert kinds["many"] == List(Image(("image/jpeg",)))
    pack(source, tmp_path / "out")
    first = atd.load(str(tmp_path / "out"))[0]
    assert (first.i, first.u, first.f, first.s, first.j) == (-5, 255, 0.5, "žluť", {"a": [1]})
    assert first.fixed.tolist() == square.tolist()
    assert first.pil.decode().tolist() == pixels.tolist()
    assert first.jpg.bytes == jpeg
    assert first.many[0].bytes == jpeg
    assert first.digits == 12


def test_shards_and_splits(tmp_path: Path) -> None:
    folder(tmp_path / "train", numbered(1, 2), numbered(3), columns=NUMBERED)
    folder(tmp_path / "val", numbered(4), columns=NUMBERED)
    source = open_source(tmp_path)
    assert {name: one.count for name, one in source.splits.items()} == {"train": 3, "val": 1}
    assert [one["n"] for one in samples(source)] == [1, 2, 3]
    assert samples(source, "val")[0]["text"] == "č4"


def test_arrays_that_differ_are_ragged(tmp_path: Path) -> None:
    rows = [{"x": bytes([8, 1 << 2, n]) + bytes(n)} for n in (2, 3)]
    source = open_source(folder(tmp_path, rows, columns={"x": "ndarray"}))
    assert source.schema["x"].kind == Array("uint8", (None,))


def test_shards_packed_with_gzip(tmp_path: Path) -> None:
    folder(tmp_path, numbered(1, 2), columns=NUMBERED)
    index = json.loads((tmp_path / "index.json").read_text())
    raw = tmp_path / "shard.00000.mds"
    (tmp_path / "shard.00000.mds.gz").write_bytes(gzip.compress(raw.read_bytes()))
    raw.unlink()
    index["shards"][0] |= {"compression": "gz:5", "zip_data": {"basename": "shard.00000.mds.gz"}}
    (tmp_path / "index.json").write_text(json.dumps(index))
    assert open_source(tmp_path).count == 2
    bomb = gzip.compress(bytes(50_000_000))
    (tmp_path / "shard.00000.mds.gz").write_bytes(bomb)
    with pytest.raises(BadSource, match=r"shard\.00000\.mds\.gz"):
        open_source(tmp_path)


def test_a_compression_that_python_cannot_undo_is_named(tmp_path: Path) -> None:
    folder(tmp_path, numbered(1), columns=NUMBERED)
    index = json.loads((tmp_path / "index.json").read_text())
    (tmp_path / "shard.00000.mds").rename(tmp_path / "shard.00000.mds.zstd")
    index["shards"][0] |= {"compression": "zstd", "zip_data": {"basename": "shard.00000.mds.zstd"}}
    (tmp_path / "index.json").write_text(json.dumps(index))
    with pytest.raises(BadSource, match="compressed with 'zstd'"):
        open_source(tmp_path)


def test_pickled_columns_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadSource, match="'x' holds pickled objects"):
        open_source(folder(tmp_path, [{"x": b"cos\n"}], columns={"x": "pkl"}))


Damage = Callable[[bytes], bytes]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda data: data + b"x",
        lambda data: data[:-1] + b"x",
        lambda data: b"",
        lambda data: b"\xff" * len(data),
    ],
)
def test_a_damaged_shard_is_named_and_can_be_left_out(tmp_path: Path, damage: Damage) -> None:
    folder(tmp_path, numbered(1), numbered(2), columns=NUMBERED)
    bad = tmp_path / "shard.00001.mds"
    bad.write_bytes(damage(bad.read_bytes()))
    with pytest.raises(
        BadSource, match=r"1 shard or sample cannot be published: shard\.00001\.mds"
    ):
        open_source(tmp_path)
    source = open_source(tmp_path, skip_bad=True)
    assert [one["n"] for one in samples(source)] == [1]
    assert "shard.00001.mds" in source.skipped[0]


@pytest.mark.parametrize(
    ("columns", "value", "message"),
    [
        ({"x": "ndarray"}, bytes([8, 1 << 2, 9, 0]), "takes 9 bytes, not 1"),
        ({"x": "ndarray"}, b"\x07\x04\x01\0", "cannot be read"),
        ({"x": "ndarray"}, b"", "cannot be read"),
        ({"x": "str"}, b"\xff", "cannot be read"),
        ({"x": "json"}, b"{", "expected JSON"),
        ({"x": "jpeg"}, b"\xff\xd8\xff", "not a decodable picture"),
        ({"x": "pil"}, struct.pack("<3I", 2**31, 2**31, 3) + b"RGB", "a raw picture"),
        ({"x": "list[jpeg]"}, struct.pack("<2I", 0, 2**31), "a list of"),
        ({"x": "str_int"}, b"9" * 100, "more than 64 bits"),
    ],
)
def test_a_value_that_is_not_what_its_column_says(
    tmp_path: Path, columns: dict[str, str], value: bytes, message: str
) -> None:
    with pytest.raises(BadSource, match=r"shard\.00000\.mds \(sample 0: ") as caught:
        open_source(folder(tmp_path, [{"x": value}], columns=columns))
    assert message in caught.value.message


@pytest.mark.parametrize(
    "change",
    [
        {"raw_data": {"basename": "../secret.mds", "bytes": 100, "hashes": {}}},
        {"raw_data": {"basename": "lost.mds", "bytes": 100, "hashes": {}}},
        {"format": "csv"},
        {"version": 3},
        {"samples": -1},
        {"samples": 2**40},
        {"column_names": ["n"]},
        {"column_sizes": [-8, None]},
        {"column_encodings": ["int", "list[pkl]"]},
        {"column_encodings": None},
        {"raw_data": None},
    ],
)
def test_an_index_that_says_nonsense(tmp_path: Path, change: dict[str, Any]) -> None:
    folder(tmp_path, numbered(1), columns=NUMBERED)
    index = json.loads((tmp_path / "index.json").read_text())
    index["shards"][0] |= change
    (tmp_path / "index.json").write_text(json.dumps(index))
    with pytest.raises(BadSource):
        open_source(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", '{"version": 2}', '{"version": 2, "shards": []}'])
def test_what_is_no_index(tmp_path: Path, text: str) -> None:
    folder(tmp_path, numbered(1), columns=NUMBERED)
    (tmp_path / "index.json").write_text(text)
    with pytest.raises(BadSource):
        open_source(tmp_path)
    (tmp_path / "index.json").unlink()
    with pytest.raises(BadSource, match=r"no index\.json"):
        open_source(tmp_path)


def test_shards_of_other_columns_are_named(tmp_path: Path) -> None:
    folder(tmp_path, numbered(1), numbered(2), columns=NUMBERED)
    index = json.loads((tmp_path / "index.json").read_text())
    index["shards"][1]["column_names"] = ["n", "other"]
    (tmp_path / "index.json").write_text(json.dumps(index))
    with pytest.raises(
        BadSource,
        match=r"shard\.00001\.mds \(it has the columns n int, other str, not n int, text str",
    ):
        open_source(tmp_path)
