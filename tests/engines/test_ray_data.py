"""`atd.ray.read`: the samples of `atd.load`, read by one task for each shard."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import atd
from atd.errors import DigestMismatch, LocalError
from atd.publishing.packing import pack
from atd.publishing.sources.opening import open_source
from atd.records import CutParameters

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.usefixtures("ray_cluster")

CUTS = CutParameters(target_bytes=20_480, max_bytes=40_960)


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Samples of several kinds, in several shards of two splits."""
    rng = np.random.default_rng(0)
    splits = {
        name: [
            {
                "pixels": rng.integers(0, 255, (16, 16), dtype=np.uint8),
                "ragged": rng.random(row % 5).astype(np.float32),
                "label": row % 3,
                "text": f"sample {row}",
                "maybe": None if row % 2 else row / 2,
            }
            for row in range(count)
        ]
        for name, count in (("train", 300), ("test", 90))
    }
    folder = tmp_path_factory.mktemp("packed") / "out"
    pack(open_source(splits), folder, CUTS)
    return folder


def same(row: dict[str, Any], sample: Any, names: tuple[str, ...]) -> None:
    assert tuple(row) == names
    for name in names:
        wanted = getattr(sample, name)
        if isinstance(wanted, np.ndarray):
            found = np.asarray(row[name], wanted.dtype)  # rows have lists where shapes differ
            assert np.array_equal(found, wanted)
        else:
            assert row[name] == wanted


def test_the_samples_are_those_of_load_in_their_order(packed: Path) -> None:
    plain = atd.load(str(packed), split="train")
    rows = atd.ray.read(str(packed), split="train").take_all()
    assert len(rows) == len(plain) == 300
    for row, sample in zip(rows, plain, strict=True):
        same(row, sample, plain.fields)


def test_there_is_one_read_task_for_each_shard(packed: Path) -> None:
    shards = atd.load(str(packed), split="train").flow.source.shards
    found = atd.ray.read(str(packed), split="train").materialize()
    assert not ray.data.DataContext.get_current().execution_options.preserve_order
    assert len(shards) > 3
    assert found.num_blocks() == len(shards)
    assert found.count() == 300
    assert [ray.get(block).num_rows for block in found.to_arrow_refs()] == list(
        atd.load(str(packed), split="train").flow.source.counts
    )


def test_the_schema_is_that_of_arrow(packed: Path) -> None:
    found = atd.ray.read(str(packed), split="test")
    wanted = atd.load(str(packed), split="test").to_arrow().schema
    assert found.schema().names == wanted.names
    types = dict(zip(found.schema().names, map(str, found.schema().types), strict=True))
    assert types["label"] == str(wanted.field("label").type)
    assert types["text"] == "string"


def test_columns_and_classes_narrow_what_is_read(packed: Path) -> None:
    @dataclasses.dataclass
    class Labelled:
        label: int

    both = [
        atd.ray.read(str(packed), columns=["label"]),
        atd.ray.read(str(packed), schema=Labelled),
    ]
    for found in both:
        assert found.schema().names == ["label"]
        assert found.count() == 390
        wanted = [sample.label for sample in atd.load(str(packed))]
        assert [row["label"] for row in found.take_all()] == wanted
    with pytest.raises(LocalError, match="expected fields out of"):
        atd.ray.read(str(packed), columns=["colour"])
    with pytest.raises(LocalError, match="got both"):
        atd.ray.read(str(packed), columns=["label"], schema=Labelled)


def test_batches_are_numpy_arrays(packed: Path) -> None:
    found = atd.ray.read(str(packed), split="train", columns=["pixels", "label"])
    batch = next(iter(found.iter_batches(batch_size=8, batch_format="numpy")))
    assert batch["pixels"].shape == (8, 16, 16)
    assert batch["pixels"].dtype == np.uint8


def test_a_shard_that_is_not_what_was_said_is_refused_where_it_is_read(
    packed: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    manifest = pack(open_source(packed), broken)
    path = broken / manifest.shards[2].name
    data = bytearray(path.read_bytes())
    data[700] ^= 1
    path.write_bytes(data)
    with pytest.raises(ray.exceptions.RayTaskError) as caught:
        atd.ray.read(str(broken)).take_all()
    assert isinstance(caught.value.cause, DigestMismatch) or "DigestMismatch" in str(caught.value)
