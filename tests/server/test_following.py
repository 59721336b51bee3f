"""``network.atd.sync.*``: following by the daemon's own interface."""

from __future__ import annotations

import asyncio
import time

import pytest

from atd import api
from atd.errors import HandleAbsent, InvalidSyntax, Unreachable
from serving import Client, Serve
from world import Account, World
from world.datasets import Published, publish

PATIENCE_S = 60.0


async def test_follow_tells_its_steps_and_who_is_followed(
    client: Client, alice: Account, flowers: Published
) -> None:
    events = await client.events(api.FOLLOW, actor="alice.test")
    steps = [event["step"]["name"] for event in events if "step" in event]
    assert steps == ["resolved"]
    result = events[-1]["result"]
    assert (result["new"], result["datasets"]) == (True, 1)
    assert result["publisher"]["did"] == alice.did
    assert result["publisher"]["handle"] == "alice.test"
    assert result["publisher"]["state"] == "synchronized"
    assert result["publisher"]["rev"] == alice.head.commit.rev
    again = await client.result(api.FOLLOW, actor=alice.did)
    assert not again["new"]


async def test_what_is_published_later_is_found_without_asking(
    client: Client, world: World, alice: Account
) -> None:
    await client.result(api.FOLLOW, actor="alice.test")
    publish(alice, "roses", title="Roses of the garden")
    deadline = time.monotonic() + PATIENCE_S
    while not (await client.call(api.SEARCH_DATASETS, q="roses"))["datasets"]:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    known = client.services.follower
    while not known.is_live(alice.did):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    world.pass_time(1000)
    asked = len(world.calls)
    listed = await client.call(api.LIST_DATASETS, actor="alice.test", refresh=False)
    assert [one["name"] for one in listed["datasets"]] == ["roses"]
    shown = await client.call(api.GET_DATASET, ref="@alice.test/roses", refresh=False)
    assert shown["dataset"]["title"] == "Roses of the garden"
    assert not [call.url for call in world.calls[asked:] if "getRepo?" in call.url]


async def test_the_list_says_how_far_each_is_and_what_was_refused(
    client: Client, alice: Account, flowers: Published
) -> None:
    assert await client.call(api.LIST_FOLLOWING) == {"publishers": [], "hosts": []}
    await client.result(api.FOLLOW, actor="alice.test")
    alice.pds.firehose.put("#nonsense", {"did": alice.did})
    deadline = time.monotonic() + PATIENCE_S
    while not (answer := await client.call(api.LIST_FOLLOWING))["hosts"][0]["rejects"]:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    (host,), (one,) = answer["hosts"], answer["publishers"]
    assert (host["origin"], host["relay"], host["publishers"]) == (alice.pds.url, False, 1)
    assert host["rejects"][0]["reason"] == "unknown_message"
    assert one["host"] == alice.pds.url
    assert one["complete"]
    assert one["records"] > 3


async def test_unfollow_says_what_is_kept(
    client: Client, alice: Account, flowers: Published
) -> None:
    await client.result(api.FOLLOW, actor="alice.test")
    kept = await client.call(api.UNFOLLOW, {"actor": "alice.test"})
    assert kept["followed"]
    assert kept["records"] > 3
    assert await client.call(api.UNFOLLOW, {"actor": "alice.test"}) == {
        "followed": False,
        "records": 0,
    }
    await client.result(api.FOLLOW, actor="alice.test", wait=False)
    forgotten = await client.call(api.UNFOLLOW, {"actor": alice.did, "forget": True})
    assert forgotten == {"did": alice.did, "followed": True, "records": 0}


async def test_what_cannot_be_followed_is_an_error(client: Client) -> None:
    with pytest.raises(HandleAbsent):
        await client.result(api.FOLLOW, actor="nobody.test")
    with pytest.raises(InvalidSyntax):
        await client.result(api.FOLLOW, actor="no handle")
    assert (await client.call(api.LIST_FOLLOWING))["publishers"] == []


async def test_discovering_gives_hints(client: Client, world: World, alice: Account) -> None:
    publish(alice)
    bob = world.account("bob.test")
    bob.put("com.example.note", "one", {"text": "hi"})
    found = await client.result(api.DISCOVER, origin=alice.pds.url)
    assert found["publishers"] == [{"did": alice.did, "followed": False}]
    assert (found["asked"], found["complete"]) == (2, True)
    with pytest.raises(InvalidSyntax):
        await client.result(api.DISCOVER, origin="pds1.example.com")
    with pytest.raises(Unreachable):
        await client.result(api.DISCOVER, origin="https://nowhere.example.com")


async def test_a_daemon_that_is_started_again_follows_again(
    serve: Serve, alice: Account, flowers: Published
) -> None:
    async with serve("bob") as bob:
        await bob.result(api.FOLLOW, actor="alice.test")
    async with serve("bob") as bob:
        (one,) = (await bob.call(api.LIST_FOLLOWING))["publishers"]
        assert (one["did"], one["state"]) == (alice.did, "synchronized")


async def test_an_offline_client_does_not_make_the_daemon_deaf(
    client: Client, alice: Account, flowers: Published
) -> None:
    await client.result(api.FOLLOW, actor="alice.test")
    assert (await client.offline().call(api.LIST_FOLLOWING))["publishers"]
    deadline = time.monotonic() + PATIENCE_S
    while not client.services.follower.is_live(alice.did):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
