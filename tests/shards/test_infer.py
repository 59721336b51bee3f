"""Shards that came without a schema: read as they are, or refused with a `ShardError`."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from atd.errors import ShardError
from atd.schema import fields
from atd.shards import arrays, tar
from atd.shards.infer import infer_shards
from atd.shards.reader import ShardFile
from shards.strategies import PNG
from support import vectors


def archive(path: Path, *files: tuple[str, bytes]) -> Path:
    out = io.BytesIO()
    writer = tar.TarWriter(out)
    for name, payload in files:
        writer.add(name, payload)
    writer.finish()
    path.write_bytes(out.getvalue())
    return path


def everything(*paths: Path) -> list[dict[str, Any]]:
    found = infer_shards(paths)
    shards = [ShardFile(path, found.schema, found.layout) for path in paths]
    assert tuple(map(len, shards)) == found.counts
    return [sample for shard in shards for sample in shard]


@pytest.mark.parametrize("name", ["basic", "image", "dictsample", "formats", "legacy_basic"])
def test_shards_of_atdata_are_read_without_a_schema(name: str) -> None:
    assert everything(vectors(f"atdata/{name}.tar"))


def test_the_shards_of_one_set_have_one_schema() -> None:
    samples = everything(*(vectors(f"atdata/sharded-00000{n}.tar") for n in range(3)))
    assert [sample["label"] for sample in samples] == list(range(6))
    assert samples[5]["image"].shape == (8, 8, 3)


def test_members_get_their_kinds_from_their_suffixes(tmp_path: Path) -> None:
    array = arrays.to_npy(np.ones((2, 0), "f4"))
    path = archive(
        tmp_path / "s.tar",
        ("a.jpg", PNG), ("a.cls", b"3"), ("a.txt", b"hi"), ("a.npy", array), ("a.x-y", b"?"),
        ("b.jpg", PNG), ("b.cls", b"4"), ("b.npy", array), ("b.x_y", b"!"), ("b.class", b"c"),
    )  # fmt: skip
    first, second = everything(path)
    assert (first["cls"], first["txt"], first["x_y"]) == (3, "hi", b"?")
    assert (second["x_y_2"], second["npy"].shape) == (b"!", (2, 0))
    assert second["class_"] == b"c"
    kinds = {field.name: field for field in infer_shards([path]).schema}
    assert isinstance(kinds["jpg"].kind, fields.Image)
    assert kinds["txt"].optional
    assert not kinds["cls"].optional


SAMPLE = msgpack.packb(
    {"x": arrays.to_compact(np.arange(6, dtype="f4").reshape(2, 3)), "n": 1, "s": "ä", "l": [1]}
)


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.integers(0, len(SAMPLE) * 8 - 1), max_size=3), st.integers(0, len(SAMPLE)))
def test_damaged_samples_are_read_or_refused(tmp_path: Path, bits: list[int], cut: int) -> None:
    damaged = bytearray(SAMPLE)
    for bit in bits:
        damaged[bit // 8] ^= 1 << bit % 8
    path = archive(
        tmp_path / "s.tar",
        ("a.msgpack", bytes(damaged)), ("b.msgpack", SAMPLE), ("c.msgpack", SAMPLE[:cut]),
    )  # fmt: skip
    with contextlib.suppress(ShardError):
        everything(path)
