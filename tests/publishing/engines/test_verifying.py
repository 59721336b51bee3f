"""A folder of shards verified by tasks: every shard that is wrong is named, and no other."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from atd.cli.app import app
from atd.errors import BadSource, StorageFault
from atd.manifest import Manifest, ManifestShard, hash_shard
from atd.publishing import Verified, verify_folder
from atd.publishing.packing import pack
from atd.publishing.sources.opening import open_source
from atd.publishing.tasks import done
from atd.records import CutParameters
from atd.schema import fields
from atd.schema.fields import Field, Schema
from atd.shards.layout import default_layout
from atd.shards.writer import ShardWriter
from publish import pictures

CUTS = CutParameters(target_bytes=20_480, max_bytes=40_960)


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("verifying")
    for number in range(120):
        pictures.put(folder / "in" / "rose" / f"{number}.png", seed=number)
    pack(open_source(folder / "in"), folder / "out", CUTS)
    return folder / "out"


@pytest.fixture
def copy(packed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(packed, tmp_path / "copy"))


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[700] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_folder_that_is_right_holds(packed: Path, workers: int) -> None:
    told: list[dict[str, object]] = []
    manifest = Manifest.load(packed)
    found = verify_folder(packed, workers=workers, on_progress=told.append)
    assert found == Verified(len(manifest.shards), 120, manifest.size, ())
    assert found.holds
    assert told[-1]["progress"]["done"] == 120  # type: ignore[index]


@pytest.mark.parametrize("workers", [1, 2])
def test_every_shard_that_is_wrong_is_named_in_order(copy: Path, workers: int) -> None:
    shards = Manifest.load(copy).shards
    flip(copy / shards[4].name)
    (copy / shards[1].name).unlink()
    with (copy / shards[3].name).open("ab") as file:
        file.write(b"more")
    found = verify_folder(copy, workers=workers)
    assert [one.name for one in found.bad] == [shards[at].name for at in (1, 3, 4)]
    assert [one.error for one in found.bad] == ["DigestMismatch"] * 3
    assert "there is no such file" in found.bad[0].message
    assert "expected 20480 bytes, found more" in found.bad[1].message
    assert "expected the digest" in found.bad[2].message


def test_pipes_in_a_folder_of_somebody_else_are_not_waited_for(copy: Path) -> None:
    manifest = Manifest.load(copy)
    shard = manifest.shards[0]
    (copy / shard.name).unlink()
    os.mkfifo(copy / shard.name)
    with pytest.raises(StorageFault, match="cannot read the shard"):
        hash_shard(copy / shard.name, shard.digest, shard.size)
    results = copy / done.FOLDER
    results.mkdir()
    os.mkfifo(results / f"{'0' * 64}.json")
    assert done.recall(copy, "0" * 64) is None
    (copy / "atd.json").unlink()
    os.mkfifo(copy / "atd.json")
    with pytest.raises(BadSource, match="expected JSON"):
        verify_folder(copy)


def written(folder: Path, schema: Schema, samples: list[dict[str, object]]) -> ManifestShard:
    """A shard whose digest is right, whatever it holds."""
    with ShardWriter(folder / "made.tar", schema, default_layout(schema)) as shard:
        for row, sample in enumerate(samples):
            shard.add(f"row-{row}", sample)
    info = shard.close()
    return ManifestShard(info.name, info.digest, info.size, info.samples)


def test_samples_that_do_not_decode_are_found_behind_a_right_digest(tmp_path: Path) -> None:
    """Whoever made the folder may have lied about its schema, its counts or its images."""
    text = Schema((Field("x", fields.String()),))
    number = Schema((Field("x", fields.Int()),))
    image = Schema((Field("image", fields.Image()),))
    png = pictures.encoded()
    cases = [
        (text, number, [{"x": "seven"}], 1, "x"),
        (number, number, [{"x": 7}], 2, "expected 2 samples, found 1"),
        (image, image, [{"image": png}, {"image": png[:-60]}], 2, "sample row-1: image:"),
    ]
    for at, (made_by, said, samples, count, message) in enumerate(cases):
        folder = tmp_path / str(at)
        folder.mkdir()
        shard = replace(written(folder, made_by, samples), samples=count)
        layout = default_layout(said)
        Manifest(said, layout, CutParameters(), {"train": (shard,)}).save(folder)
        (bad,) = verify_folder(folder).bad
        assert bad.error == "ShardError"
        assert message in bad.message


def test_a_folder_without_a_manifest_is_no_folder_of_shards(tmp_path: Path) -> None:
    with pytest.raises(BadSource, match=r"cannot read .*atd.json"):
        verify_folder(tmp_path)


def test_the_command_verifies_a_folder_and_exits_with_the_first_error(copy: Path) -> None:
    run = CliRunner().invoke
    done = run(app, ["verify", str(copy)])
    assert done.exit_code == 0
    assert "120 samples" in done.stdout
    assert "all hold" in done.stdout
    bad = Manifest.load(copy).shards[2].name
    flip(copy / bad)
    done = run(app, ["verify", str(copy), "--workers", "2", "--json"])
    report = json.loads(done.stdout)
    assert report["holds"] is False
    assert [one["shard"] for one in report["bad"]] == [bad]
    done = run(app, ["verify", str(copy)])
    assert f"FAIL  {bad} (train)" in done.stdout
    assert type(done.exception).__name__ == "DigestMismatch"
    refused = run(app, ["verify", str(copy), "--fetch"])
    assert refused.exit_code == 2
    refused = run(app, ["verify", "@alice.example.com/flowers", "--engine", "local"])
    assert refused.exit_code == 2


def test_a_dry_run_refuses_an_engine_that_is_none(tmp_path: Path) -> None:
    words = ["publish", str(tmp_path), "--name", "flowers", "--dry-run", "--engine", "slurm"]
    refused = CliRunner().invoke(app, words)
    assert type(refused.exception).__name__ == "EngineFault"
    assert "no engine 'slurm'" in str(refused.exception)
