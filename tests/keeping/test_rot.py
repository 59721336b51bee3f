"""Bits that a disk lost without a trace, after the shard was verified: met only by decoding."""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import atd
from atd.dataset.shelf import shelf_of
from atd.errors import DigestMismatch, ShardError, Unreachable
from atd.files import COUNTS, FileIdentity
from atd.protocol.cbor import RAW, Cid
from atd.records import CutParameters, Layout
from atd.schema import fields
from atd.schema.fields import Field, Schema
from atd.shards.cut import pack
from atd.shards.media import encode_png
from keeping.conftest import shard
from serving import Client
from world import Account, Site, World, body
from world.datasets import publish

REF = "@alice.test/flowers"


@pytest.fixture
def data(tmp_path: Path) -> bytes:
    return shard(tmp_path / "made", (7, 8, 9))


def place_of(data: bytes, sample: int) -> int:
    """Where the number of a sample lies: the byte after its name."""
    at = -1
    for _ in range(sample + 1):
        at = data.index(b"number", at + 1)
    return at + len(b"number")


def lose_a_bit(path: Path, at: int) -> None:
    """Flip the highest bit of one byte, which makes a small number something else altogether."""
    before = path.stat()
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 0x80]))
    path.chmod(0o400)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def rot(client: Client, data: bytes, sample: int) -> Path:
    """As a failing disk does it: neither the times nor the seal tell of it."""
    digest = Cid.of(data, RAW)
    store = client.services.store
    path = store.path(digest)
    assert path is not None
    lose_a_bit(path, place_of(data, sample))
    # A disk that fails changes no time; who writes cannot but change the inode's.
    store._seals.set(store._layout.seal(digest), FileIdentity.of(path.stat()))
    assert store.path(digest) == path
    return path


async def opened(client: Client, **options: Any) -> atd.Dataset[atd.Row]:
    return await asyncio.to_thread(lambda: atd.load(REF, connection=client.connection, **options))


async def numbers(samples: Any) -> list[int]:
    return [sample.number for sample in await asyncio.to_thread(lambda: list(samples))]


READS: dict[str, Any] = {
    "one by one": lambda ds: [sample.number for sample in ds],
    "at random": lambda ds: [ds[i].number for i in (2, 1, 0)][::-1],
    "batches": lambda ds: [n for batch in ds.batched(2) for n in batch["number"].tolist()],
    "shuffled": lambda ds: sorted(sample.number for sample in ds.shuffled(seed=1)),
    "patiently": lambda ds: [sample.number for sample in ds.on_error("skip")],
    "arrow": lambda ds: ds.to_arrow()["number"].to_pylist(),
}


@pytest.mark.parametrize("way", READS)
async def test_a_lost_bit_is_found_by_hashing_and_the_shard_fetched_anew(
    client: Client, alice: Account, data: bytes, way: str
) -> None:
    publish(alice, splits={"train": [data]})
    assert await numbers(await opened(client)) == [7, 8, 9]
    path = rot(client, data, 1)
    ds = await opened(client)
    assert await asyncio.to_thread(READS[way], ds) == [7, 8, 9]
    assert path.read_bytes() == data
    assert client.services.store.usage().damaged == 1


async def test_a_bit_lost_while_the_shard_is_mapped_is_found_too(
    client: Client, alice: Account, data: bytes
) -> None:
    publish(alice, splits={"train": [data]})
    ds = await opened(client)
    await asyncio.to_thread(shelf_of(ds.flow.source).shard, 0)  # open, and nothing decoded yet
    path = client.services.store.path(Cid.of(data, RAW))
    assert path is not None
    lose_a_bit(path, place_of(data, 2))
    assert await numbers(ds) == [7, 8, 9]
    assert path.read_bytes() == data


async def test_a_source_that_lies_meanwhile_is_passed_over_for_the_next(
    client: Client, world: World, alice: Account, data: bytes
) -> None:
    site = Site()
    site.put("/train-00000.tar", data)
    world.serve("https://files.example.com", site)
    publish(alice, splits={"train": [data]}, bases=("https://files.example.com/",))
    assert await numbers(await opened(client)) == [7, 8, 9]
    rot(client, data, 0)
    world.lie(body(lambda sent: sent[:-1] + b"!"), path="sync.getBlob")
    assert await numbers(await opened(client)) == [7, 8, 9]


async def test_what_cannot_be_had_anew_is_said_and_never_skipped(
    client: Client, world: World, alice: Account, data: bytes
) -> None:
    publish(alice, splits={"train": [data]})
    await numbers(await opened(client))
    rot(client, data, 1)
    world.lie(body(lambda sent: sent[:-1] + b"!"), path="sync.getBlob")
    ds = await opened(client)
    for read in (ds, ds.on_error("skip")):
        with pytest.raises((DigestMismatch, Unreachable), match=r"train-00000\.tar"):
            await numbers(read)


async def test_a_shard_that_was_signed_like_that_is_the_publishers_and_hashed_once(
    client: Client, alice: Account, data: bytes
) -> None:
    bad = bytearray(data)
    for sample in (0, 1):
        bad[place_of(data, sample)] ^= 0x80
    publish(alice, splits={"train": [bytes(bad)]})
    ds = await opened(client)
    await asyncio.to_thread(lambda: ds[2])
    before = COUNTS.hashed_bytes
    with pytest.raises(ShardError, match=r"train-00000\.tar: sample 0007"):
        await numbers(ds)
    with pytest.raises(ShardError, match=r"train-00000\.tar: sample 0008"):
        await asyncio.to_thread(lambda: ds[1])
    assert await numbers(ds.on_error("skip")) == [9]
    assert COUNTS.hashed_bytes == before + len(bad)
    assert client.services.store.usage().damaged == 0


async def test_a_folder_that_lost_a_bit_says_that_it_is_not_what_was_packed(
    tmp_path: Path,
) -> None:
    source = tmp_path / "numbers.csv"
    source.write_text("number\n" + "".join(f"{n}\n" for n in range(9)))
    atd.pack(str(source), tmp_path / "packed")
    ds = atd.load(str(tmp_path / "packed"))
    await asyncio.to_thread(shelf_of(ds.flow.source).shard, 0)
    (path,) = (tmp_path / "packed").glob("*.tar")
    lose_a_bit(path, place_of(path.read_bytes(), 3))
    with pytest.raises(DigestMismatch, match=path.name):
        list(ds)


# ---- pictures, which are decoded when they are asked for


def packed_pictures(folder: Path) -> bytes:
    """A shard of three samples, each a picture of its own."""
    schema = Schema((Field("image", fields.Image()),))
    noise = np.random.default_rng(3)
    items = []
    for n in range(3):
        png = encode_png(noise.integers(0, 255, (8, 8, 3), dtype=np.uint8))
        items.append((f"{n:04d}", lambda png=png: {"image": png}))
    folder.mkdir()
    (made,) = pack(items, schema, Layout(), CutParameters(order="keep"), folder, "made")
    return (folder / made.name).read_bytes()


@pytest.mark.parametrize("signed", [False, True])
async def test_a_picture_that_lost_a_bit_is_had_anew_unless_it_was_signed_so(
    client: Client, alice: Account, tmp_path: Path, signed: bool
) -> None:
    data = packed_pictures(tmp_path / "made")
    at = [one.end() + 10 for one in re.finditer(b"IDAT", data)][1]
    bad = data[:at] + bytes([data[at] ^ 0x80]) + data[at + 1 :]
    schema = Schema((Field("image", fields.Image()),))
    publish(alice, splits={"train": [bad if signed else data]}, schema=schema)
    ds = await opened(client)
    pictures = await asyncio.to_thread(lambda: [sample.image for sample in ds])
    if not signed:
        path = client.services.store.path(Cid.of(data, RAW))
        assert path is not None
        lose_a_bit(path, at)
    before = COUNTS.hashed_bytes
    if signed:
        for _ in range(2):
            with pytest.raises(ShardError, match=r"train-00000\.tar: sample 0001: field image"):
                await asyncio.to_thread(pictures[1].decode)
        assert COUNTS.hashed_bytes == before + len(data)
    else:
        assert (await asyncio.to_thread(pictures[1].decode)).shape == (8, 8, 3)
        assert client.services.store.usage().damaged == 1
    assert (await asyncio.to_thread(pictures[2].decode)).shape == (8, 8, 3)
