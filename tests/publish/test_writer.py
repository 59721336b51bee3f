"""``atd.writer``, and sources of other kinds, through a real daemon over a world."""

from __future__ import annotations

import asyncio
import io
import tarfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import atd
from atd.errors import BadSource, InvalidSyntax, LocalError, LoginRefused, SchemaMismatch
from serving import Client
from world import Account, World
from world.wire import Answer, Call, Site


@dataclass
class Sample:
    n: int


async def written(
    client: Client, write: Callable[[Any], None], schema: Any = None, name: str = "things"
) -> Any:
    """What a block publishes that calls ``write``, in another thread than the daemon's."""

    def block() -> Any:
        with atd.writer(name, schema, connection=client.connection) as w:
            write(w)
        return w.release

    return await asyncio.to_thread(block)


def nothing_published(alice: Account, client: Client, tmp_path: Path) -> bool:
    staging = [path for path in (tmp_path / "home").rglob("*.tar") if "staging" in str(path)]
    return not staging and not any("dataset" in key for key in alice.head.records)


async def test_what_was_written_is_published_when_the_block_ends(daemon: Client) -> None:
    def write(w: Any) -> None:
        for n in range(2500):
            w.write({"n": n}, key=f"k{n}")
        assert w.release is None

    released = await written(daemon, write)
    assert (released.version, released.samples) == ("1.0.0", 2500)
    again = await written(daemon, write)
    assert again.unchanged


async def test_a_class_says_what_samples_are(daemon: Client) -> None:
    released = await written(daemon, lambda w: [w.write(Sample(n)) for n in range(3)], Sample)
    assert released.samples == 3


async def test_an_exception_publishes_nothing(
    daemon: Client, alice: Account, tmp_path: Path
) -> None:
    def write(w: Any) -> None:
        for n in range(1500):
            w.write({"n": n})
        raise KeyError("the sensor is gone")

    with pytest.raises(KeyError, match="the sensor is gone"):
        await written(daemon, write)
    assert nothing_published(alice, daemon, tmp_path)
    assert (await written(daemon, lambda w: w.write({"n": 1}))).version == "1.0.0"


async def test_a_sample_that_does_not_fit_stops_the_writing(
    daemon: Client, alice: Account, tmp_path: Path
) -> None:
    count = 0

    def write(w: Any) -> None:
        nonlocal count
        for n in range(100_000):
            w.write({"n": n if n != 1200 else "many"})
            count += 1

    with pytest.raises(SchemaMismatch, match="inferred from other samples"):
        await written(daemon, write)
    assert count < 2000
    assert nothing_published(alice, daemon, tmp_path)


async def test_whatever_stops_a_publication_stops_the_writer(
    client: Client, daemon: Client
) -> None:
    with pytest.raises(BadSource, match="found none"):
        await written(daemon, lambda w: None)
    with pytest.raises(InvalidSyntax):
        await written(daemon, lambda w: [w.write({"n": 1}) for _ in range(200)], name="Bad Name")
    assert not [one for one in threading.enumerate() if one.name == "atd-writer"]


async def test_a_writer_without_an_account(client: Client) -> None:
    with pytest.raises(LoginRefused):
        await written(client, lambda w: w.write({"n": 1}))


def test_a_writer_outside_of_its_block() -> None:
    with pytest.raises(LocalError, match="inside of the block"):
        atd.writer("things").write({"n": 1})


# ------------------------------------------------------------------ sources of other kinds


def archive(path: Path, *names: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as file:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = 4
            file.addfile(info, io.BytesIO(b"text"))
    return path


async def test_archives_are_published_byte_for_byte(daemon: Client, tmp_path: Path) -> None:
    first = archive(tmp_path / "in" / "train-0.tar", "a.txt", "a.bin", "b.txt", "b.bin")
    given = {"name": "web", "connection": daemon.connection}
    released = await asyncio.to_thread(lambda: atd.publish(tmp_path / "in", **given))
    assert (released.shards, released.samples) == (1, 2)
    assert released.bytes == first.stat().st_size
    archive(tmp_path / "in" / "train-1.tar", "c.txt", "c.bin")
    more = await asyncio.to_thread(lambda: atd.publish(tmp_path / "in", **given))
    assert (more.new_shards, more.shards, more.samples) == (1, 2, 3)


async def test_a_bad_archive_publishes_nothing_unless_it_is_left_out(
    daemon: Client, alice: Account, tmp_path: Path
) -> None:
    archive(tmp_path / "in" / "train-0.tar", "a.txt", "b.txt")
    archive(tmp_path / "in" / "train-1.tar", "c.txt", "d.txt", "c.json")
    given = {"name": "web", "connection": daemon.connection}
    with pytest.raises(BadSource, match=r"train-1\.tar \(.*sample c"):
        await asyncio.to_thread(lambda: atd.publish(tmp_path / "in", **given))
    assert nothing_published(alice, daemon, tmp_path)
    released = await asyncio.to_thread(lambda: atd.publish(tmp_path / "in", skip_bad=True, **given))
    assert released.samples == 2
    assert "train-1.tar" in released.warnings[0]


class Disk(Site):
    """A web site that serves a folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    async def __call__(self, call: Call) -> Answer:
        path = self.folder / call.path.lstrip("/")
        self.files = {call.path: (path.read_bytes(), "application/x-tar")} if path.is_file() else {}
        return await super().__call__(call)


async def test_archives_that_are_served_stay_where_they_are(
    world: World, daemon: Client, tmp_path: Path
) -> None:
    folder = tmp_path / "www"
    archive(folder / "train-000000.tar", "a.txt", "b.txt")
    archive(folder / "val-000000.tar", "a.txt")
    world.serve("https://files.example.com", Disk(folder))
    given = {"store": "https://files.example.com/", "connection": daemon.connection}
    released = await asyncio.to_thread(lambda: atd.publish(folder, name="web", **given))
    assert (released.shards, released.samples, released.uploaded_bytes) == (2, 3, 0)

    def loaded() -> list[str]:
        data = atd.load("@alice.test/web", split="val", connection=daemon.connection)
        return [sample.txt for sample in data]

    assert await asyncio.to_thread(loaded) == ["text"]
