"""Disks that are full, homes that cannot be written, files that are damaged.

Full disks are small ones in memory, which only root can mount: without it those tests are skipped.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from atd.errors import DigestMismatch, StorageFault
from cli.conftest import MakePerson, Town
from cli.stage import Person, write

Mount = Callable[..., Path]

DATABASES = ["index.sqlite", "journal.sqlite"]


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    """Mount a disk of a size in KiB at a folder; taken away at the end.

    Ask for it before ``somebody``, whose daemons can only be stopped while their home is there.
    """
    mounted: list[Path] = []

    def make(size: int, folder: Path | None = None, *options: str) -> Path:
        place = tmp_path / f"disk{len(mounted)}" if folder is None else folder
        place.mkdir(parents=True, exist_ok=True)
        words = ",".join([f"size={size}k", "mode=700", *options])
        made = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", words, "tmpfs", str(place)],
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode:
            pytest.skip(f"cannot mount a small disk: {made.stderr.strip()}")
        mounted.append(place)
        return place

    yield make
    for place in reversed(mounted):
        # Lazily: alice's daemon may look into her staging folder just now.
        subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.fixture
def large(town: Town) -> str:
    """A data set of alice's that fills a small disk."""
    source = town.folder / "large.npz"
    if not source.exists():
        made = np.random.default_rng(5).integers(0, 255, (4000, 1000), np.uint8)
        np.savez(source, noise=made)
        arguments = ("--name", "large", "--yes", "--shard-size", "1000000")
        town.alice.run("publish", str(source), *arguments).done()
    return "@alice.test/large"


def stored(person: Person) -> list[str]:
    return [name for name in person.files("cache", "shards") if name.endswith(".tar")]


def fill(disk: Path) -> Path:
    """Take what is left of a disk, to its last page."""
    path = disk / "full"
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    return path


# ------------------------------------------------------------------ full disks


def test_a_disk_that_is_too_small_for_a_data_set(
    town: Town, mount: Mount, somebody: MakePerson, large: str
) -> None:
    person = somebody(mount(2_000), **town.variables)
    person.run("ls", "@alice.test").done()
    result = person.run("pull", large)
    result.refused(StorageFault, str(person.home), advice="free space")
    assert stored(person) == []
    assert person.run("verify", "@alice.test/plants").done(), "the rest goes on"
    subprocess.run(["mount", "-o", "remount,size=64m", str(person.home)], check=True)
    assert "in the store, verified" in person.run("pull", large).done().out
    assert person.run("verify", large).done()


def test_a_disk_that_is_full_is_freed_by_removing(
    town: Town, mount: Mount, somebody: MakePerson, large: str
) -> None:
    person = somebody(mount(40_000), **town.variables)
    person.run("pull", large).done()
    files = stored(person)
    full = fill(person.home)
    words = ("rm", large, "--split", "train", "--yes")
    person.run(*words, "--shard", "0").done()
    person.run("cache", "prune", "--to", "2MB").done()
    assert len(stored(person)) < len(files) - 1
    full.unlink()
    person.run("cache", "verify").done()
    person.run(*words).done()
    assert stored(person) == []


@pytest.mark.parametrize("size", [16, 160, 320])
def test_a_disk_that_is_full_before_anything_began(
    town: Town, mount: Mount, somebody: MakePerson, size: int
) -> None:
    person = somebody(mount(size), **town.variables)
    for words in (["ls", "@alice.test"], ["pull", "@alice.test/plants"]):
        person.run(*words).refused(StorageFault, str(person.home), advice="ATD_HOME")
    assert stored(person) == []


def test_a_disk_that_fills_up_while_it_packs_to_publish(
    town: Town, mount: Mount, large: str
) -> None:
    source = str(town.folder / "large.npz")
    staging = mount(1_000, town.alice.home / "cache" / "staging")
    result = town.alice.run("publish", source, "--name", "overflow", "--yes")
    result.refused(StorageFault, str(staging), "No space left on device", advice="free space")
    assert not [path for path in staging.rglob("*") if path.is_file()]
    subprocess.run(["mount", "-o", "remount,size=64m", str(staging)], check=True)
    assert (
        "published" in town.alice.run("publish", source, "--name", "overflow", "--yes").done().out
    )


def test_a_disk_that_fills_up_while_it_packs_a_folder(
    town: Town, mount: Mount, somebody: MakePerson, large: str
) -> None:
    disk = mount(1_000)
    result = somebody().run("pack", str(town.folder / "large.npz"), "-o", str(disk / "out"))
    result.refused(StorageFault, str(disk), "No space left on device")
    assert not [path for path in disk.rglob("*") if path.is_file()]


def test_a_limit_on_the_size_of_files(town: Town, somebody: MakePerson, large: str) -> None:
    def limited() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))

    out = town.folder / "limited"
    arguments = ("pack", str(town.folder / "large.npz"), "-o", str(out))
    somebody().run(*arguments, preexec_fn=limited).refused(StorageFault, str(out), "File too large")
    assert not [path for path in out.rglob("*") if path.is_file()]


# ------------------------------------------------------------------ homes


def test_a_home_that_lies_under_a_file(somebody: MakePerson, tmp_path: Path) -> None:
    person = somebody(write(tmp_path / "file", "") / "home")
    person.run("ls").refused(StorageFault, str(person.home), advice="ATD_HOME")
    person.run("daemon", "start").refused(StorageFault, str(person.home))
    person.run("config").done()


def test_a_home_on_a_disk_that_is_only_read(mount: Mount, somebody: MakePerson) -> None:
    disk = mount(100, None, "ro")
    for home in (disk, disk / "home"):
        somebody(home).run("accounts").refused(StorageFault, str(home))


def test_a_home_that_is_a_device(somebody: MakePerson) -> None:
    somebody(Path("/dev/null")).run("accounts").refused(StorageFault, "/dev/null")


# ------------------------------------------------------------------ damage


@pytest.mark.parametrize("name", DATABASES)
@pytest.mark.parametrize("how", ["garbage", "cut", "another program's"])
def test_a_database_that_is_damaged_is_never_used_and_never_deleted(
    town: Town, stranger: Person, name: str, how: str
) -> None:
    stranger.run("ls", "@alice.test").done()
    stranger.run("daemon", "stop").done()
    file = stranger.home / "state" / name
    whole = file.read_bytes()
    damaged = {
        "garbage": b"nothing of the kind " * 500,
        "cut": whole[: len(whole) // 2 // 4096 * 4096 + 100],
        "another program's": whole[:68] + b"\0\0\0\1" + whole[72:],
    }[how]
    file.write_bytes(damaged)
    result = stranger.run("ls", "@alice.test")
    result.refused(StorageFault, name)
    assert "ATD_HOME" not in result.advice or how == "another program's", result
    kept = [path.read_bytes() for path in file.parent.glob(f"{name}*")]
    assert any(damaged in one or one in damaged for one in kept if one), "it is still there"
    assert stranger.run("daemon", "status").code == 61, "no daemon works with that"


def test_after_an_index_was_damaged_the_same_command_fills_a_new_one(
    town: Town, stranger: Person
) -> None:
    stranger.run("ls", "@alice.test").done()
    stranger.run("daemon", "stop").done()
    write(stranger.home / "state" / "index.sqlite", "nothing of the kind")
    stranger.run("ls", "@alice.test").refused(
        StorageFault, "is kept as index.sqlite.damaged-1", advice="run the same command again"
    )
    assert "@alice.test/plants" in stranger.run("ls", "@alice.test").done().out


def test_accounts_that_cannot_be_read_are_not_forgotten(town: Town, stranger: Person) -> None:
    stranger.run("accounts").done()
    stranger.run("daemon", "stop").done()
    file = write(stranger.home / "state" / "accounts.json", '{"accounts": [')
    stranger.run("accounts").refused(StorageFault, "accounts.json")
    assert file.read_text() == '{"accounts": ['


def test_a_stored_shard_that_was_altered_is_noticed_and_fetched_again(
    town: Town, stranger: Person
) -> None:
    stranger.run("pull", "@alice.test/plants").done()
    shard = stranger.home / "cache" / "shards" / stored(stranger)[0]
    shard.chmod(0o644)
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    result = stranger.run("verify", "@alice.test/plants", "--json")
    assert (result.code, result.json["holds"]) == (DigestMismatch.exit_code, False)
    assert result.advice == "fetch it again with: atd pull @alice.test/plants"
    assert stored(stranger) == []
    stranger.run("pull", "@alice.test/plants").done()
    assert json.loads(stranger.run("verify", "@alice.test/plants", "--json").out)["holds"]


def test_something_else_where_the_socket_should_be(stranger: Person) -> None:
    path = stranger.home / "run" / "daemon.sock"
    path.parent.mkdir(parents=True)
    os.chmod(stranger.home, 0o700)
    os.chmod(path.parent, 0o700)
    write(path, "not a socket")
    stranger.run("accounts").refused(StorageFault, str(path), advice="move it away")
    assert path.read_text() == "not a socket"
