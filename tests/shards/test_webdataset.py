"""What other programs make of our shards: webdataset finds the samples, atdata's reader the arrays.

webdataset's own decoders are not used: by default they unpickle.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest

from atd.schema import fields
from atd.schema.fields import Field, Schema
from atd.shards.layout import default_layout
from atd.shards.reader import ShardFile
from atd.shards.writer import ShardWriter
from shards.strategies import PNG

wds = pytest.importorskip("webdataset")

SCHEMA = Schema(
    (
        Field("image", fields.Image(("image/png",))),
        Field("label", fields.Label("cat", "dog")),
        Field("vec", fields.Array("float32", (3,))),
        Field("width", fields.Int()),
    )
)


def sample(number: int) -> dict[str, Any]:
    vec = np.full(3, number, "f4")
    return {"image": PNG, "label": number % 2, "vec": vec, "width": number}


def write(path: Path, kind: str) -> None:
    with ShardWriter(path, SCHEMA, default_layout(SCHEMA, kind)) as writer:
        for number in range(20):
            writer.add(f"key-{number}", sample(number))


def raw(path: Path) -> list[dict[str, Any]]:
    found = wds.WebDataset(str(path), shardshuffle=False, empty_check=False)
    return [{k: v for k, v in s.items() if k not in ("__url__", "__local_path__")} for s in found]


def test_webdataset_reads_the_members_layout(tmp_path: Path) -> None:
    write(tmp_path / "s.tar", "members")
    samples = raw(tmp_path / "s.tar")
    assert [s["__key__"] for s in samples] == [f"key-{n}" for n in range(20)]
    assert samples[3]["png"] == PNG
    assert samples[3]["cls"] == b"1"
    assert samples[3]["json"] == b'{"width":3}'
    assert samples[3]["npy"].startswith(b"\x93NUMPY")


def test_webdataset_and_any_msgpack_library_read_the_packed_layout(tmp_path: Path) -> None:
    write(tmp_path / "s.tar", "packed")
    samples = raw(tmp_path / "s.tar")
    assert [set(s) for s in samples] == [{"__key__", "msgpack"}] * 20
    decoded = msgpack.unpackb(samples[3]["msgpack"])
    assert list(decoded) == ["vec", "image", "label", "width"]
    assert decoded | {"vec": None} == {"image": PNG, "label": 1, "vec": None, "width": 3}
    assert as_atdata_reads(decoded["vec"]).tolist() == [3, 3, 3]


def as_atdata_reads(data: bytes) -> np.ndarray[Any, Any]:
    """The array reader of atdata 0.3 and later."""
    dtype = np.dtype(data[1 : 1 + data[0]].decode())
    ndim = data[1 + data[0]]
    start = 2 + data[0]
    shape = struct.unpack_from(f"<{ndim}q", data, start)
    return np.frombuffer(data, dtype, offset=start + 8 * ndim).reshape(shape)


def test_we_read_what_webdataset_writes(tmp_path: Path) -> None:
    with wds.TarWriter(str(tmp_path / "w.tar")) as sink:
        for number in range(5):
            sink.write(
                {
                    "__key__": f"dir.v1/key{number}",
                    "png": PNG,
                    "cls": number % 2,
                    "npy": np.full(3, number, "f4"),
                    "json": {"width": number, "more": 1},
                }
            )
    shard = ShardFile(tmp_path / "w.tar", SCHEMA, default_layout(SCHEMA, "members"))
    assert [shard.key(i) for i in range(5)] == [f"dir.v1/key{n}" for n in range(5)]
    read = shard.sample(3)
    assert (read["label"], read["width"], read["vec"].tolist()) == (1, 3, [3, 3, 3])
    assert read["image"].bytes == PNG
