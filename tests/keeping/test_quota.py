"""The quota: what it has no room for, what is begun, and what goes while something else comes."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import pytest

from atd import api
from atd.errors import StorageFault
from atd.protocol.cbor import RAW, Cid
from serving import Client
from sync_gate import Gate
from world import Account, World
from world.datasets import Published, publish

REF = "@alice.test/flowers"
HERBS = "@alice.test/herbs"


def made(*letters: str) -> list[bytes]:
    return [letter.encode() * 100 for letter in letters]


@pytest.fixture
def flowers(alice: Account) -> Published:
    return publish(alice, splits={"train": made("a", "b", "c")})


@pytest.fixture
def herbs(alice: Account) -> Published:
    return publish(alice, "herbs", splits={"train": made("h", "i")})


async def pulled(client: Client, ref: str = REF, **given: Any) -> dict[str, Any]:
    return await client.result(api.PULL, ref=ref, **given)


def here(client: Client) -> set[Cid]:
    return set(client.services.store.digests())


def begun(client: Client, size: int, *, age_s: float) -> Path:
    """A download that was interrupted a while ago."""
    path = client.services.config.cache_dir / "shards" / "partial"
    path /= f"{Cid.of(os.urandom(8), RAW)}.{'0' * 16}"
    path.write_bytes(bytes(size))
    os.utime(path, (time.time() - age_s,) * 2)
    return path


# ---- no room


async def test_what_the_quota_has_no_room_for_is_refused_and_nothing_is_fetched(
    client: Client, world: World, flowers: Published
) -> None:
    client.services.cache.quota = 250
    with pytest.raises(StorageFault, match=r"300 bytes .* quota of 250 bytes has room for 250"):
        await pulled(client)
    assert not [call for call in world.calls if "getBlob" in call.url]
    assert not (await client.call(api.GET_KEPT, ref=REF))["kept"]
    assert (await pulled(client, shards=[0, 1]))["stored"] == 2


async def test_pinned_first_it_is_pulled_whatever_the_quota(
    client: Client, flowers: Published, herbs: Published
) -> None:
    client.services.cache.quota = 250
    await client.call(api.PIN, {"target": REF})
    assert (await pulled(client))["stored"] == 3
    with pytest.raises(StorageFault, match="has room for 0"):
        await pulled(client, HERBS)
    assert len(here(client)) == 3


async def test_what_is_all_here_is_kept_though_the_quota_is_smaller(
    client: Client, flowers: Published
) -> None:
    await pulled(client)
    client.services.cache.quota = 250
    assert (await pulled(client))["fetched"] == 0


async def test_the_longest_unused_make_room_for_what_is_pulled(
    client: Client, world: World, flowers: Published, herbs: Published
) -> None:
    client.services.cache.quota = 400
    await pulled(client)
    world.pass_time(100)
    assert (await pulled(client, HERBS))["stored"] == 2
    assert {Cid.of(data, RAW) for data in made("h", "i")} <= here(client)
    assert len(here(client)) == 4


async def test_a_pull_says_what_went_while_the_rest_came(
    client: Client, world: World, flowers: Published
) -> None:
    last = Cid.of(made("c")[0], RAW)
    gate = Gate(world, f"cid={last}")
    pull = asyncio.create_task(pulled(client))
    await gate.asked()
    while len(here(client)) < 2:
        await asyncio.sleep(0.01)
    await client.call(api.REMOVE, {"ref": REF, "splits": ["train"], "shards": [0, 1]})
    gate.open()
    done = await pull
    assert (done["shards"], done["stored"]) == (3, 1)
    assert here(client) == {last}
    assert (await pulled(client))["stored"] == 3


# ---- what is begun


async def test_what_is_begun_counts_and_goes_before_a_whole_shard(
    client: Client, flowers: Published
) -> None:
    await pulled(client)
    old = begun(client, 500, age_s=7200)
    client.services.cache.quota = 400
    left = client.services.cache.trim()
    assert (left.freed, left.over, left.removed) == (500, 0, 0)
    assert not old.exists()
    assert len(here(client)) == 3


async def test_what_was_begun_lately_stays_and_shards_make_room_for_it(
    client: Client, flowers: Published
) -> None:
    await pulled(client)
    new = begun(client, 150, age_s=60)
    client.services.cache.quota = 400
    left = client.services.cache.trim()
    assert (left.removed, left.unfinished, left.over) == (1, 150, 0)
    assert new.exists()
    dry = await client.call(api.PRUNE_CACHE, {"size": 0, "dryRun": True})
    done = await client.call(api.PRUNE_CACHE, {"size": 0})
    assert dry == done
    assert (done["removed"], done["freed"], done["unfinished"]) == (2, 350, 0)
    assert not new.exists()


async def test_pruning_leaves_what_is_being_downloaded(
    client: Client, world: World, flowers: Published
) -> None:
    gate = Gate(world, "getBlob")
    pull = asyncio.create_task(pulled(client, shards=[0]))
    await gate.asked()
    (lock,) = (client.services.config.cache_dir / "shards" / "partial").glob("*.lock")
    growing = lock.with_suffix(".0123456789abcdef")
    growing.write_bytes(bytes(70))
    done = await client.call(api.PRUNE_CACHE, {"size": 0})
    assert (done["unfinished"], done["over"]) == (70, 70)
    assert growing.exists()
    gate.open()
    assert (await pull)["stored"] == 1
