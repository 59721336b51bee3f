"""The road from a file to its samples: what was proved once is known again by one stat."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from bisect import bisect_right
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import atd
from atd.dataset.ahead import beyond
from atd.dataset.shelf import shelf_of
from atd.errors import DigestMismatch, ShardError, StorageFault
from atd.settings import Settings
from leaves import pack_folder

WATCHED = Path(__file__).parents[1] / "watched.py"
SAMPLES = 60


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return pack_folder(tmp_path / "leaves", {"train": range(SAMPLES)}, most=5)


def read(folder: Path | str, home: Path) -> dict[str, Any]:
    """All samples, in a process of its own that is watched."""
    done = subprocess.run(
        [sys.executable, str(WATCHED), str(folder)],
        env={**os.environ, "ATD_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    assert told["numbers"] == list(range(SAMPLES))
    return told


def files_of(home: Path, folder: str) -> list[Path]:
    return sorted(path for path in (home / "cache" / folder).rglob("*") if path.is_file())


def indexes_of(home: Path, folder: Path) -> list[Path]:
    """The member indexes of a folder, once all are written: that goes on beside reading."""
    count = len(list(folder.glob("*.tar")))
    for _ in range(1000):
        found = files_of(home, "indexes")
        if len(found) == count and not any(path.name.startswith(".") for path in found):
            return found
        time.sleep(0.01)
    raise AssertionError(f"expected {count} member indexes, found {found}")


def test_a_new_process_hashes_nothing_and_looks_once_at_each_shard(
    folder: Path, home: Path
) -> None:
    first = read(folder, home)
    assert first["told_hashed"] == first["size"] <= first["read"]
    again = read(folder, home)
    assert again["shards"] == first["shards"] > 5
    assert again["told_hashed"] == 0
    assert again["stats"] == again["told_stats"] == again["shards"]
    # Sidecars and the book of seals, never a shard.
    kept = files_of(home, "indexes") + files_of(home, "seals")
    assert again["read"] < sum(path.stat().st_size for path in kept) + 64 * 1024 < again["size"]


def test_a_sidecar_is_left_for_each_shard_and_damage_to_it_changes_nothing(
    folder: Path, home: Path
) -> None:
    told = read(folder, home)
    sidecars = files_of(home, "indexes")
    assert len(sidecars) == told["shards"]
    for number, path in enumerate(sidecars):
        data = path.read_bytes()
        path.write_bytes(data[: len(data) * number // len(sidecars)])
    read(folder, home)
    assert [path.read_bytes()[:11] for path in files_of(home, "indexes")] == [b"atd-sidecar"] * len(
        sidecars
    )


@pytest.mark.parametrize("text", [b"", b"{", b"\0" * 5000, b"[]\n[1]\n[[], 2, 3]\n" * 9])
def test_a_damaged_book_of_seals_costs_hashing_and_nothing_else(
    folder: Path, home: Path, text: bytes
) -> None:
    read(folder, home)
    (book,) = files_of(home, "seals")
    book.write_bytes(text)
    again = read(folder, home)
    assert again["told_hashed"] == again["size"]
    assert read(folder, home)["told_hashed"] == 0


def test_half_a_line_in_the_book_spoils_no_other(folder: Path, home: Path) -> None:
    read(folder, home)
    (book,) = files_of(home, "seals")
    lines = book.read_bytes().splitlines(keepends=True)
    book.write_bytes(b"".join(lines[:-1]) + lines[-1][:-20])
    once = read(folder, home)
    assert 0 < once["told_hashed"] < once["size"]
    assert read(folder, home)["told_hashed"] == 0


def test_a_touched_shard_is_hashed_once_more_and_the_others_are_not(
    folder: Path, home: Path
) -> None:
    read(folder, home)
    victim = sorted(folder.glob("*.tar"))[2]
    os.utime(victim)
    assert read(folder, home)["told_hashed"] == victim.stat().st_size
    assert read(folder, home)["told_hashed"] == 0


def test_a_copy_of_the_folder_is_hashed_on_its_own(
    folder: Path, home: Path, tmp_path: Path
) -> None:
    read(folder, home)
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    told = read(copy, home)
    assert told["told_hashed"] == told["size"]
    assert len(files_of(home, "indexes")) == told["shards"]


def alter(path: Path, at: int) -> None:
    """Flip a bit, and put the times back that anybody can set."""
    before = path.stat()
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.fixture
def at_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ATD_HOME", str(home))
    return Settings.load().cache_dir


def test_a_shard_altered_after_it_was_verified_is_refused_by_name(
    folder: Path, at_home: Path
) -> None:
    assert [leaf.number for leaf in atd.load(str(folder))] == list(range(SAMPLES))
    victim = sorted(folder.glob("*.tar"))[1]
    alter(victim, 700)
    with pytest.raises(DigestMismatch, match=victim.name):
        list(atd.load(str(folder)))


def test_a_shard_that_went_away_is_named(folder: Path, at_home: Path) -> None:
    victim = sorted(folder.glob("*.tar"))[1]
    victim.unlink()
    with pytest.raises(StorageFault, match=victim.name):
        list(atd.load(str(folder)))


def test_who_has_a_shard_mapped_keeps_it_when_another_takes_its_place(
    folder: Path, at_home: Path, tmp_path: Path
) -> None:
    ds = atd.load(str(folder))
    before = ds[0].veins
    victim = shelf_of(ds.flow.source).shard(0).path
    other = tmp_path / "other"
    other.write_bytes(bytes(victim.stat().st_size))
    other.replace(victim)
    assert before.tolist() == [0, 0, 0]
    assert ds[1].number == 1
    with pytest.raises(DigestMismatch, match=victim.name):
        list(atd.load(str(folder)))


def test_a_shard_that_lost_a_bit_without_a_trace_is_not_taken_for_a_bad_publisher(
    folder: Path, at_home: Path
) -> None:
    """As a disk does it: the seal still holds, and the archive cannot be read."""
    list(atd.load(str(folder)))
    for path in indexes_of(at_home.parent, folder):
        path.unlink()
    victim = sorted(folder.glob("*.tar"))[0]
    alter(victim, 130)
    (book,) = files_of(at_home.parent, "seals")
    found = victim.stat()
    lines = [json.loads(line) for line in book.read_text().split("\n") if line]
    seals = [
        [name, digest, [*numbers[:4], found.st_ctime_ns] if name == victim.name else numbers]
        for name, digest, numbers in lines
    ]
    book.write_text("\n".join(map(json.dumps, seals)))
    with pytest.raises(DigestMismatch, match=victim.name):
        list(atd.load(str(folder)))


def test_an_unreadable_shard_that_is_what_was_signed_is_its_publishers_fault(
    tmp_path: Path, at_home: Path
) -> None:
    folder = pack_folder(tmp_path / "lie", {"train": range(5)}, most=5)
    manifest = json.loads((folder / "atd.json").read_text())
    manifest["splits"]["train"][0]["samples"] += 1
    (folder / "atd.json").write_text(json.dumps(manifest))
    with pytest.raises(ShardError, match="as was signed"):
        list(atd.load(str(folder)))


def test_a_home_that_cannot_be_written_is_no_obstacle(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("ATD_HOME", str(tmp_path / "file"))
    assert [leaf.number for leaf in atd.load(str(folder))] == list(range(SAMPLES))


# --- ahead ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("window", [None, 2, 4])
def test_what_is_asked_for_ahead_is_what_comes(
    folder: Path, at_home: Path, window: int | None
) -> None:
    ds = atd.load(str(folder)).shuffled(7, window=window)
    ends = shelf_of(ds.flow.source).ends
    numbers = [sample.number for sample in ds]
    for position in range(0, SAMPLES, 7):
        # The folder is in order, so a sample's number is its place.
        coming = (bisect_right(ends, number) for number in numbers[position:])
        assert beyond(ds.flow, position, np.array(ends)) == list(dict.fromkeys(coming))
    assert beyond(ds.flow, SAMPLES, np.array(ends)) == []


def test_a_shard_is_opened_once_though_many_ask_for_it(folder: Path, at_home: Path) -> None:
    ds = atd.load(str(folder))
    shelf = shelf_of(ds.flow.source)
    shelf.expect(range(len(ds.flow.source.shards)))
    found = [shelf.shard(number) for number in range(len(ds.flow.source.shards)) for _ in range(3)]
    assert len({id(one) for one in found}) == len(ds.flow.source.shards)
    assert shelf.complete
