"""Packing a source into a folder of shards."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from atd.errors import BadSource, LocalError, SchemaMismatch, StorageFault
from atd.manifest import Manifest, hash_shard
from atd.publishing.packing import pack
from atd.publishing.sources.opening import open_source
from atd.records import CutParameters
from publish import pictures

SMALL = CutParameters(target_bytes=20_000, max_bytes=40_000)


def flowers(folder: Path, count: int = 30) -> Path:
    for number in range(count):
        pictures.put(folder / ("rose", "tulip")[number % 2] / f"{number}.png", seed=number)
    return folder


def test_the_manifest_lists_what_is_there(tmp_path: Path) -> None:
    told: list[tuple[str, int, int | None]] = []
    source = open_source(flowers(tmp_path / "in"))
    manifest = pack(source, tmp_path / "out", SMALL, lambda *now: told.append(now), name="flowers")
    assert manifest == Manifest.load(tmp_path / "out")
    assert manifest.samples == 30
    assert len(manifest.shards) > 1
    for shard in manifest.shards:
        hash_shard(tmp_path / "out" / shard.name, shard.digest, shard.size)
    assert told[-1] == ("packing samples", 30, 30)


def test_the_same_samples_give_the_same_files(tmp_path: Path) -> None:
    folder = flowers(tmp_path / "in")
    first = pack(open_source(folder), tmp_path / "a", SMALL)
    assert pack(open_source(folder), tmp_path / "b", SMALL) == first


def test_one_more_image_changes_one_shard(tmp_path: Path) -> None:
    folder = flowers(tmp_path / "in", 60)
    before = {shard.digest for shard in pack(open_source(folder), tmp_path / "a", SMALL).shards}
    pictures.put(folder / "rose" / "another.png", seed=99)
    after = {shard.digest for shard in pack(open_source(folder), tmp_path / "b", SMALL).shards}
    assert len(after - before) <= 2
    assert len(before) > 5


def test_packing_again_takes_the_place_of_the_old(tmp_path: Path) -> None:
    pack(open_source(flowers(tmp_path / "in", 40)), tmp_path / "out", SMALL)
    manifest = pack(open_source([{"n": 1}]), tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(
        ["atd.json", *(shard.name for shard in manifest.shards)]
    )


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("dear reader")
    with pytest.raises(BadSource, match=r"holds other things than shards, such as thesis.tex"):
        pack(open_source([{"n": 1}]), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_sample_that_the_inferred_schema_did_not_foresee(tmp_path: Path) -> None:
    rows = ({"n": n if n < 1500 else "many"} for n in range(2000))
    with pytest.raises(SchemaMismatch, match="the schema was inferred from other samples"):
        pack(open_source(rows), tmp_path / "out")
    assert not (tmp_path / "out" / "atd.json").exists()


def test_a_packed_folder_is_copied_as_it_is(tmp_path: Path) -> None:
    first = pack(open_source({"x": np.arange(50)}), tmp_path / "a", name="numbers")
    source = open_source(tmp_path / "a")
    assert source.count == 50
    assert pack(source, tmp_path / "b") == first
    for shard in first.shards:
        there = (tmp_path / "b" / shard.name).stat()
        assert there.st_ino != (tmp_path / "a" / shard.name).stat().st_ino
    with pytest.raises(LocalError, match="packed already"):
        pack(source, tmp_path / "a")


def test_a_packed_folder_that_lost_a_shard_is_refused(tmp_path: Path) -> None:
    (shard,) = pack(open_source([{"n": 1}]), tmp_path / "a").shards
    (tmp_path / "a" / shard.name).write_bytes(b"short")
    with pytest.raises(BadSource, match=f"expected the shard {shard.name} of .* found 5 bytes"):
        open_source(tmp_path / "a")


def test_another_schema_does_not_fit_what_is_packed(tmp_path: Path) -> None:
    pack(open_source([{"n": 1}]), tmp_path / "a")
    with pytest.raises(SchemaMismatch, match="packed with another schema"):
        open_source(tmp_path / "a", schema=open_source([{"n": "x"}]).schema)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageFault):
        pack(open_source([{"n": 1}]), tmp_path / "file" / "out")


def test_what_is_packed_cannot_be_stripped(tmp_path: Path) -> None:
    pack(open_source(flowers(tmp_path / "in")), tmp_path / "out")
    with pytest.raises(BadSource, match="packed already: their images cannot be stripped"):
        open_source(tmp_path / "out", strip_metadata=True)
