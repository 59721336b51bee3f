"""What people do by hand to the folder of the store, and what is said of it."""

from __future__ import annotations

import asyncio
import shutil
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
SHARDS = [letter.encode() * 100 for letter in "abc"]


@pytest.fixture
async def flowers(client: Client, alice: Account) -> Published:
    """A data set that is kept here."""
    published = publish(alice, splits={"train": SHARDS})
    await pulled(client)
    return published


async def pulled(client: Client) -> dict[str, Any]:
    return await client.result(api.PULL, ref=REF)


def place_of(client: Client, digest: Cid) -> Path:
    return client.services.config.cache_dir / "shards" / digest.digest[:1].hex() / f"{digest}.tar"


def place(client: Client) -> Path:
    return place_of(client, Cid.of(SHARDS[0], RAW))


async def listed(client: Client) -> dict[str, Any]:
    (one,) = (await client.call(api.LIST_DATASETS))["datasets"]
    here: dict[str, Any] = one.get("here", {})
    return here


async def test_a_list_says_how_much_of_each_data_set_is_here(
    client: Client, alice: Account
) -> None:
    publish(alice, splits={"train": SHARDS})
    await client.call(api.LIST_DATASETS, actor="alice.test")
    assert await listed(client) == {}
    await client.result(api.PULL, ref=REF, shards=[0, 2])
    wanted = {"version": "1.0.0", "kept": True, "stored": 2, "shards": 3}
    assert await listed(client) == wanted
    (one,) = (await client.call(api.LIST_DATASETS, actor="alice.test"))["datasets"]
    assert one["here"] == wanted
    assert "here" not in (await client.call(api.SEARCH_DATASETS, q="flowers"))["datasets"][0]
    place(client).unlink()
    assert (await listed(client))["stored"] == 1
    publish(alice, version="1.1.0", splits={"train": [*SHARDS, b"d" * 100]})
    await client.call(api.LIST_DATASETS, actor="alice.test", refresh=True)
    assert await listed(client) == {**wanted, "stored": 1}
    await client.call(api.REMOVE, {"ref": REF})
    assert await listed(client) == {}


async def test_a_shard_that_was_moved_and_linked_to_is_fetched_again(
    client: Client, flowers: Published, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "large-disk.tar"
    shutil.move(place(client), elsewhere)
    place(client).symlink_to(elsewhere)
    (train,) = (await client.call(api.GET_KEPT, ref=REF))["splits"]
    assert train["stored"] == 2
    assert (await pulled(client))["fetched"] == 100
    assert place(client).read_bytes() == SHARDS[0]
    assert not place(client).is_symlink()
    assert (await client.call(api.PRUNE_CACHE, {}))["removed"] == 0
    assert elsewhere.read_bytes() == SHARDS[0], "it is not ours"


async def test_a_folder_in_the_place_of_a_shard_keeps_nobody_from_removing_the_rest(
    client: Client, flowers: Published
) -> None:
    place(client).unlink()
    place(client).mkdir()
    note = place(client) / "note.txt"
    note.write_text("mine")
    with pytest.raises(StorageFault, match="Is a directory"):
        await pulled(client)
    done = await client.call(api.REMOVE, {"ref": REF})
    assert (done["removed"], done["inUse"], done["kept"]) == (2, 0, False)
    assert note.read_text() == "mine"


async def test_what_cannot_be_looked_at_is_named_and_the_others_are_checked(
    client: Client, world: World, flowers: Published
) -> None:
    first, second, third = [one.digest for one in client.services.cache.holdings.all()]
    for digest in (first, third):
        path = place_of(client, digest)
        path.chmod(0o600)
        path.write_bytes(b"wrong")
    gate = Gate(world, f"cid={first}")
    checking = asyncio.create_task(client.events(api.VERIFY_CACHE))
    await gate.asked()  # the first is being fetched anew
    place_of(client, second).unlink()
    place_of(client, second).mkdir()
    gate.open()
    events = await checking
    steps = [event["step"] for event in events if "step" in event]
    assert [(step["digest"], step["repaired"]) for step in steps] == [
        (str(first), True),
        (str(second), False),
        (str(third), True),
    ]
    assert steps[1]["error"] == "StorageFault"
    assert events[-1]["result"]["damaged"] == 3
