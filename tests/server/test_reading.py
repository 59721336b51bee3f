"""A data set read while its shards come in, by the library, from a daemon of this process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import atd
from atd import api
from atd.dataset.ahead import SHARDS
from atd.dataset.shelf import FETCH_THREADS, shelf_of
from atd.errors import DigestMismatch, ShardError, Unreachable
from atd.protocol.cbor import RAW, Cid
from atd.records import CutParameters
from atd.shards.cut import pack
from atd.shards.layout import default_layout
from serving import Client, Serve
from world import Account, Answer, Call, World, body, status
from world.datasets import SCHEMA, Published, publish

REF = "@alice.test/numbers"
COUNT = 8

Truth = Callable[[], Awaitable[Answer]]


def packed(folder: Path, first: int) -> bytes:
    """A shard of the three samples from ``first`` on."""
    folder.mkdir()
    items = ((f"{n:04}", lambda n=n: {"number": n}) for n in range(first, first + 3))
    (info,) = pack(
        items, SCHEMA, default_layout(SCHEMA), CutParameters(order="keep"), folder, "train"
    )
    return (folder / info.name).read_bytes()


@pytest.fixture
def shards(tmp_path: Path) -> list[bytes]:
    return [packed(tmp_path / f"{n}", 3 * n) for n in range(COUNT)]


@pytest.fixture
def numbers(alice: Account, shards: list[bytes]) -> Published:
    return publish(alice, "numbers", splits={"train": shards})


class Gate:
    """Holds answers with blobs back until they are let through."""

    def __init__(self) -> None:
        self.waiting: set[str] = set()
        self.open = asyncio.Event()
        self._free: set[str] = set()

    def let(self, data: bytes) -> None:
        """Let this blob through at once."""
        self._free.add(str(Cid.of(data, RAW)))

    async def __call__(self, call: Call, truth: Truth) -> Answer:
        cid = call.url.rpartition("cid=")[2]
        if cid not in self._free:
            self.waiting.add(cid)
            await self.open.wait()
        return await truth()


def load(client: Client, **options: Any) -> atd.Dataset[Any]:
    return atd.load(REF, connection=client.connection, **options)


async def test_reading_begins_with_the_first_shard_and_fetches_few_ahead(
    client: Client, world: World, numbers: Published, shards: list[bytes]
) -> None:
    gate = Gate()
    gate.let(shards[0])
    world.lie(gate, path="sync.getBlob")
    ds = await asyncio.to_thread(load, client)
    reader = iter(ds)
    got = [(await asyncio.to_thread(next, reader)).number for _ in range(3)]
    assert got == [0, 1, 2]
    assert len(gate.waiting) <= FETCH_THREADS
    rest = asyncio.create_task(asyncio.to_thread(lambda: [one.number for one in reader]))
    gate.open.set()
    assert await rest == list(range(3, 3 * COUNT))


async def test_no_more_shards_are_asked_for_ahead_than_are_meant_to_be(
    client: Client, world: World, numbers: Published
) -> None:
    gate = Gate()
    world.lie(gate, path="sync.getBlob")
    ds = await asyncio.to_thread(load, client)
    shelf = shelf_of(ds.flow.source)
    for _ in range(3):
        shelf.expect(range(COUNT), SHARDS)
    assert sum(1 for number in range(COUNT) if number in shelf._coming) == SHARDS
    gate.open.set()
    assert (await asyncio.to_thread(shelf.shard, COUNT - 1)).sample(0) == {"number": 21}


async def test_progress_is_told_while_it_is_read(
    client: Client, numbers: Published, shards: list[bytes]
) -> None:
    told: list[Mapping[str, Any]] = []
    ds = await asyncio.to_thread(load, client, on_progress=told.append)
    assert await asyncio.to_thread(lambda: len(list(ds))) == 3 * COUNT
    assert {one["name"] for one in told} == {f"train-{n:05}.tar" for n in range(COUNT)}
    assert {one["shardsTotal"] for one in told} == {COUNT}
    assert max(one["shards"] for one in told) == COUNT
    done = [one for one in told if one["done"] == one["total"]]
    assert sum({one["name"]: one["total"] for one in done}.values()) == sum(map(len, shards))


async def test_what_is_in_the_store_is_read_with_the_network_switched_off(
    client: Client, world: World, numbers: Published
) -> None:
    await client.result(api.PULL, ref=REF)
    world.calls.clear()
    ds = await asyncio.to_thread(load, client.offline())
    assert await asyncio.to_thread(lambda: [one.number for one in ds]) == list(range(3 * COUNT))
    assert world.calls == []


async def test_a_shard_dropped_between_its_naming_and_its_opening_is_asked_for_again(
    client: Client, numbers: Published
) -> None:
    ds = await asyncio.to_thread(load, client)
    source = ds.flow.source
    await asyncio.to_thread(source.path, 0)
    client.services.store.remove(source.shards[0].digest)
    assert (await asyncio.to_thread(lambda: next(iter(ds)))).number == 0


async def test_a_shard_that_a_reader_has_open_outlives_every_pruning(
    client: Client, numbers: Published
) -> None:
    ds = await asyncio.to_thread(load, client)
    reader = iter(ds)
    await asyncio.to_thread(next, reader)
    await asyncio.to_thread(lambda: [shelf_of(ds.flow.source).shard(n) for n in range(COUNT)])
    done = await client.call(api.PRUNE_CACHE, {"size": 0})
    assert (done["removed"], done["inUse"]) == (0, COUNT)
    assert await asyncio.to_thread(lambda: len(list(reader))) == 3 * COUNT - 1


async def test_a_shard_altered_on_disk_is_fetched_again_while_it_is_opened(
    client: Client, numbers: Published, shards: list[bytes]
) -> None:
    await client.result(api.PULL, ref=REF)
    path = client.services.store.path(Cid.of(shards[1], RAW))
    assert path is not None
    path.chmod(0o600)
    path.write_bytes(bytes(len(shards[1])))
    ds = await asyncio.to_thread(load, client)
    assert await asyncio.to_thread(lambda: [one.number for one in ds]) == list(range(3 * COUNT))
    assert path.read_bytes() == shards[1]


async def test_when_a_shard_cannot_be_had_the_reader_is_told_which(
    client: Client, world: World, numbers: Published
) -> None:
    ds = await asyncio.to_thread(load, client)
    world.lie(body(lambda sent: sent[:-1] + b"!"), path="sync.getBlob")
    with pytest.raises(DigestMismatch, match=r"train-00000\.tar: shard .* not be fetched: blob"):
        await asyncio.to_thread(lambda: next(iter(ds)))
    world.honest()
    # An error is told once; whoever asks again gets what is there by then.
    assert (await asyncio.to_thread(lambda: next(iter(ds)))).number == 0


async def test_a_silent_server_is_told_apart_from_a_wrong_shard(
    client: Client, world: World, numbers: Published
) -> None:
    ds = await asyncio.to_thread(load, client)
    world.lie(status(429, retry_after="86400"), path="sync.getBlob")
    with pytest.raises(Unreachable, match=r"train-00000\.tar"):
        await asyncio.to_thread(lambda: next(iter(ds)))


async def test_a_publisher_who_signs_what_is_no_shard_is_not_asked_for_it_twice(
    client: Client, world: World, alice: Account
) -> None:
    publish(alice, "numbers", splits={"train": [b"no archive at all" * 64]})
    ds = await asyncio.to_thread(load, client)
    with pytest.raises(ShardError, match=r"train-00000\.tar"):
        await asyncio.to_thread(lambda: next(iter(ds)))
    assert len([call for call in world.calls if "getBlob" in call.url]) == 1


async def test_a_data_set_larger_than_the_quota_is_read_within_it(
    serve: Serve, numbers: Published, shards: list[bytes]
) -> None:
    """What was read is let go by the reader, and so can be by the cache."""
    quota = 4 * len(shards[0])
    async with serve("home", ATD_CACHE_QUOTA=str(quota)) as client:
        client.services.cache.quota = quota
        ds = await asyncio.to_thread(load, client)
        shelf = shelf_of(ds.flow.source)
        for number in range(COUNT):
            shelf.expect([number])
            found = await asyncio.to_thread(shelf.shard, number)
            assert found.sample(0) == {"number": 3 * number}
        del found
        done = await client.call(api.PRUNE_CACHE, {"size": 0})
        # The last chunk and the one before it, and half of the quota.
        assert 0 < done["inUse"] <= 3
        assert await asyncio.to_thread(lambda: [one.number for one in ds]) == list(range(3 * COUNT))
