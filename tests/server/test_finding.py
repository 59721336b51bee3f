"""Searching, names alone and histories, as a client asks for them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from atd import api
from atd.errors import InvalidSyntax
from atd_daemon.server.moments import parse_since
from serving import Client
from world import Account, World
from world.datasets import Published, publish

DATASET = "network.atd.dataset"
RELEASE = "network.atd.release"


async def listed(client: Client, *actors: str) -> None:
    for actor in actors:
        await client.call(api.LIST_DATASETS, actor=actor, refresh=True)


def edit(account: Account, published: Published, **fields: Any) -> None:
    """Change the card."""
    value = account.value(published.head.cid)
    assert isinstance(value, dict)
    account.put(DATASET, "flowers", {**value, **fields})


# ---- search


async def test_filters_terms_and_facets_cross_the_socket(
    client: Client, world: World, alice: Account, flowers: Published
) -> None:
    edit(alice, flowers, license="MIT", tags=["plants"], updatedAt="2026-02-01T00:00:00Z")
    publish(world.account("bob.test", "pds2"), "leaves")
    await listed(client, "alice.test", "bob.test")

    async def found(**params: Any) -> list[str]:
        answer = await client.call(api.SEARCH_DATASETS, **params)
        return sorted(one["name"] for one in answer["datasets"])

    assert await found() == ["flowers", "leaves"]
    assert await found(q="license:mit") == ["flowers"]
    assert await found(licenses=["MIT", "CC0-1.0"], tags=["plants"]) == ["flowers"]
    assert await found(publishers=["@bob.test"]) == ["leaves"]
    assert await found(fields=["number"], kinds=["int64"]) == ["flowers", "leaves"]
    assert await found(since="2026-01") == ["flowers"]
    assert await found(minSamples=9, maxSamples=9) == ["flowers", "leaves"]
    assert await found(minSize=10**9) == []
    answer = await client.call(api.SEARCH_DATASETS, facets=True, sort="name", limit=1)
    assert answer["facets"]["counted"] == 2
    assert answer["facets"]["licenses"] == [{"value": "MIT", "count": 1}]
    assert [one["name"] for one in answer["datasets"]] == ["flowers"]
    following = await client.call(api.SEARCH_DATASETS, sort="name", cursor=answer["cursor"])
    assert [one["name"] for one in following["datasets"]] == ["leaves"]


async def test_a_list_is_given_in_pages(client: Client, alice: Account) -> None:
    for name in ("one", "two", "three"):
        publish(alice, name)
    await listed(client, "alice.test")
    for actor in ({}, {"actor": "alice.test"}):
        first = await client.call(api.LIST_DATASETS, limit=2, **actor)
        assert [one["name"] for one in first["datasets"]] == ["one", "three"]
        second = await client.call(api.LIST_DATASETS, limit=2, cursor=first["cursor"], **actor)
        assert [one["name"] for one in second["datasets"]] == ["two"]
        assert "cursor" not in second


# ---- names


async def test_the_only_data_set_of_a_name_is_meant_and_what_is_proved_is_said(
    client: Client, world: World, flowers: Published
) -> None:
    await listed(client, "alice.test")
    answer = await client.call(api.RESOLVE_NAME, name="flowers")
    assert answer["chosen"]["uri"] == str(flowers.head.uri)
    assert not answer["chosen"]["domainProved"]
    assert "nothing proves that its publisher owns the name" in answer["reason"]


async def test_a_name_that_nobody_has_means_nothing(client: Client) -> None:
    answer = await client.call(api.RESOLVE_NAME, name="ghost")
    assert "chosen" not in answer
    assert answer["candidates"] == []
    with pytest.raises(InvalidSyntax):
        await client.call(api.RESOLVE_NAME, name="Not A Name")


async def test_several_of_one_name_are_ambiguous(client: Client, world: World) -> None:
    for handle in ("alice.test", "bob.test"):
        publish(world.account(handle), "mnist")
    await listed(client, "alice.test", "bob.test")
    answer = await client.call(api.RESOLVE_NAME, name="mnist")
    assert "chosen" not in answer
    assert {one["handle"] for one in answer["candidates"]} == {"alice.test", "bob.test"}


async def test_the_one_whose_domain_is_in_the_name_is_meant_among_impostors(
    client: Client, world: World
) -> None:
    # Who has only a part of the domain, or one that looks like it, owns nothing of it.
    handles = ("lecun.test", "yann.lecun.test", "evillecun.test", "mallory.test")
    for handle in handles:
        publish(world.account(handle), "test.lecun.mnist")
    await listed(client, *handles[1:])
    before = await client.call(api.RESOLVE_NAME, name="test.lecun.mnist")
    assert "chosen" not in before
    await listed(client, "lecun.test")
    answer = await client.call(api.RESOLVE_NAME, name="test.lecun.mnist")
    assert answer["chosen"]["handle"] == "lecun.test"
    assert answer["chosen"]["domainProved"]
    assert "3 others" in answer["reason"]


async def test_two_that_both_own_the_domain_are_ambiguous(client: Client, world: World) -> None:
    for handle in ("lecun.test", "yann.lecun.test"):
        publish(world.account(handle), "test.lecun.yann.mnist")
    await listed(client, "lecun.test", "yann.lecun.test")
    answer = await client.call(api.RESOLVE_NAME, name="test.lecun.yann.mnist")
    assert "chosen" not in answer
    assert [one["domainProved"] for one in answer["candidates"]] == [True, True]


async def test_a_domain_that_is_no_longer_proved_counts_no_more(
    client: Client, world: World
) -> None:
    lecun, mallory = world.account("lecun.test"), world.account("mallory.test")
    for account in (lecun, mallory):
        publish(account, "test.lecun.mnist")
    await listed(client, "lecun.test", "mallory.test")
    lecun.claim()  # its document claims no handle any more
    await listed(client, str(lecun.did))
    answer = await client.call(api.RESOLVE_NAME, name="test.lecun.mnist")
    assert "chosen" not in answer


# ---- history


async def test_a_history_says_what_changed_when_and_by_which_commit(
    client: Client, world: World, alice: Account, flowers: Published
) -> None:
    await listed(client, "alice.test")
    world.pass_time(3600)
    edit(alice, flowers, title="Flowers", license="MIT", tags=["plants"])
    commit = str(alice.head.commit.cid)
    await listed(client, "alice.test")
    answer = await client.call(api.GET_HISTORY, ref="@alice.test/flowers")
    assert (answer["did"], answer["handle"], answer["name"]) == (
        *(alice.did, "alice.test", "flowers"),
    )
    newest, *older = answer["changes"]
    assert (newest["action"], newest["commit"], newest["key"]) == ("update", commit, "flowers")
    assert newest["previous"] == str(flowers.head.cid)
    assert [(d["sign"], d["what"], d.get("after")) for d in newest["differences"]] == [
        ("~", "title", "Flowers"),
        ("+", "licence", "MIT"),
        ("+", "tag", "plants"),
    ]
    assert newest["differences"][0]["before"] == "Flowers of the meadow"
    assert {one["collection"] for one in older} == {DATASET, RELEASE, "network.atd.schema"}
    assert all(one["action"] == "create" for one in older)
    assert newest["seenAt"] > older[0]["seenAt"]


async def test_a_new_version_is_compared_with_the_one_before(
    client: Client, world: World, alice: Account, flowers: Published
) -> None:
    await listed(client, "alice.test")
    publish(alice, version="1.1.0", splits={"train": [b"more"]})
    await listed(client, "alice.test")
    answer = await client.call(api.GET_HISTORY, ref="@alice.test/flowers")
    (release,) = [
        one
        for one in answer["changes"]
        if one["collection"] == RELEASE and one["key"].endswith("1.1.0")
    ]
    said = {
        (d["sign"], d["what"]): (d.get("before"), d.get("after")) for d in release["differences"]
    }
    assert said["~", "version"] == ("1.0.0", "1.1.0")
    assert said["~", "samples of train"] == ("6", "3")
    assert ("-", "split test") in said
    assert release["compatible"] is True, "the fields are the same, under another schema record"


async def test_the_log_is_everybodys_in_pages_and_alarms_stand_out(
    client: Client, world: World, alice: Account, flowers: Published
) -> None:
    bob = world.account("bob.test", "pds2")
    publish(bob, "leaves")
    await listed(client, "alice.test", "bob.test")
    world.pass_time(10 * 24 * 3600)
    value = alice.value(flowers.release.cid)
    assert isinstance(value, dict)
    alice.put(RELEASE, "flowers:1.0.0", {**value, "notes": "swapped"})
    await listed(client, "alice.test")
    whole = (await client.call(api.LIST_LOG))["changes"]
    assert [one["handle"] for one in whole].count("bob.test") == 3
    first = await client.call(api.LIST_LOG, limit=2)
    second = await client.call(api.LIST_LOG, limit=500, cursor=first["cursor"])
    assert [*first["changes"], *second["changes"]] == whole
    (alarm,) = (await client.call(api.LIST_LOG, alarms=True))["changes"]
    assert (alarm["alarm"], alarm["key"]) == ("moved", "flowers:1.0.0")
    assert len((await client.call(api.LIST_LOG, since="7d"))["changes"]) == 1
    assert len((await client.call(api.LIST_LOG, actor="@bob.test"))["changes"]) == 3
    assert len((await client.call(api.LIST_LOG, shards=True))["changes"]) > len(whole)
    for wrong in ("x", "-1", "9" * 30, "१"):
        with pytest.raises(InvalidSyntax, match="cursor"):
            await client.call(api.LIST_LOG, cursor=wrong)


async def test_offline_the_history_is_there(
    client: Client, world: World, flowers: Published
) -> None:
    await listed(client, "alice.test")
    world.calls.clear()
    alone = client.offline()
    assert (await alone.call(api.GET_HISTORY, ref="@alice.test/flowers"))["changes"]
    assert (await alone.call(api.LIST_LOG))["changes"]
    assert (await alone.call(api.RESOLVE_NAME, name="flowers"))["chosen"]
    assert world.calls == []


# ---- moments


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026", datetime(2026, 1, 1, tzinfo=UTC)),
        ("2026-02", datetime(2026, 2, 1, tzinfo=UTC)),
        ("2026-02-03", datetime(2026, 2, 3, tzinfo=UTC)),
        ("2026-02-03T04:05:06Z", datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)),
        ("2026-02-03T04:05:06+02:00", datetime(2026, 2, 3, 2, 5, 6, tzinfo=UTC)),
        ("2026-02-03T04:05:06", datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)),
        ("12h", datetime(1970, 1, 19, 12, tzinfo=UTC)),
        ("7d", datetime(1970, 1, 13, tzinfo=UTC)),
        ("1w", datetime(1970, 1, 13, tzinfo=UTC)),
    ],
)
def test_ways_to_say_since_when(text: str, moment: datetime) -> None:
    assert parse_since(text, 19 * 86400.0) == moment


@pytest.mark.parametrize(
    "text", ["", "soon", "2026-13", "2026-02-30", "0000", "99999999d", "7", "-7d"]
)
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(InvalidSyntax, match="expected a moment"):
        parse_since(text, 19 * 86400.0)
