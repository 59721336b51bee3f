"""Finding and showing data sets: what is proved, and what is not and why."""

from __future__ import annotations

import pytest

from atd import api
from atd.errors import (
    HandleAbsent,
    IdentityMismatch,
    InvalidSyntax,
    LexiconError,
    LocalError,
    Offline,
    PreviousKey,
    RecordAbsent,
    Unreachable,
)
from serving import Client, Serve
from world import Account, World, status
from world.datasets import Published, publish

REF = "@alice.test/flowers"
DATASET = "network.atd.dataset"


# ---- listDatasets


async def test_a_publisher_is_listed_with_proofs(
    client: Client, alice: Account, flowers: Published
) -> None:
    answer = await client.call(api.LIST_DATASETS, actor="@alice.test")
    assert answer["did"] == alice.did
    assert answer["handle"] == "alice.test"
    assert answer["pds"] == "https://pds1.example.com"
    assert answer["problems"] == []
    (found,) = answer["datasets"]
    assert found["uri"] == str(flowers.head.uri)
    assert found["cid"] == str(flowers.head.cid)
    assert found["latest"]["uri"] == str(flowers.release.uri)
    assert (found["latest"]["samples"], found["latest"]["shards"]) == (9, 3)
    assert found["proof"]["state"] == "proved"
    assert found["proof"]["handleProved"]
    assert found["proof"]["commit"] == str(alice.head.commit.cid)


async def test_what_cannot_be_read_is_not_listed_but_named(
    client: Client, alice: Account, flowers: Published
) -> None:
    alice.put(DATASET, "broken", {"$type": DATASET, "createdAt": "yesterday"})
    answer = await client.call(api.LIST_DATASETS, actor="alice.test")
    assert [found["name"] for found in answer["datasets"]] == ["flowers"]
    (problem,) = answer["problems"]
    assert problem["uri"].endswith("/broken")
    assert problem["error"] == "LexiconError"
    assert "latest" in problem["reason"] or "createdAt" in problem["reason"]


async def test_everything_that_is_known_is_listed_without_an_actor(
    client: Client, world: World, flowers: Published
) -> None:
    bob = world.account("bob.test", "pds2")
    publish(bob, "leaves")
    assert (await client.call(api.LIST_DATASETS))["datasets"] == []
    for actor in ("alice.test", "bob.test"):
        await client.call(api.LIST_DATASETS, actor=actor)
    found = (await client.call(api.LIST_DATASETS))["datasets"]
    assert sorted(one["name"] for one in found) == ["flowers", "leaves"]


async def test_an_unknown_handle_is_absent(client: Client) -> None:
    with pytest.raises(HandleAbsent, match=r"nobody\.test") as caught:
        await client.call(api.LIST_DATASETS, actor="nobody.test")
    assert "spelling" in caught.value.next_step


async def test_a_handle_that_is_not_claimed_back_is_refused(
    client: Client, world: World, alice: Account
) -> None:
    world.name("mallory.test", alice.did)
    with pytest.raises(IdentityMismatch, match="does not claim it back"):
        await client.call(api.LIST_DATASETS, actor="mallory.test")


async def test_a_server_that_is_down_is_unreachable_unless_the_index_will_do(
    client: Client, world: World, flowers: Published
) -> None:
    before = await client.call(api.LIST_DATASETS, actor="alice.test")
    world.pass_time(3600)
    world.lie(status(500), host="pds1.example.com")
    with pytest.raises(Unreachable, match="500"):
        await client.call(api.LIST_DATASETS, actor="alice.test", refresh=True)
    after = await client.call(api.LIST_DATASETS, actor="alice.test")
    assert [one["name"] for one in after["datasets"]] == ["flowers"]
    assert after["checkedAt"] == before["checkedAt"], "and it says how old that is"
    assert after["problems"], "and that the last attempt failed"


async def test_a_fresh_index_answers_without_asking(
    client: Client, world: World, flowers: Published
) -> None:
    await client.call(api.LIST_DATASETS, actor="alice.test")
    world.calls.clear()
    await client.call(api.LIST_DATASETS, actor="alice.test")
    assert world.calls == []
    await client.call(api.LIST_DATASETS, actor="alice.test", refresh=True)
    assert world.calls != []


async def test_offline_the_index_answers_and_strangers_are_not_known(
    client: Client, world: World, flowers: Published
) -> None:
    await client.call(api.LIST_DATASETS, actor="alice.test")
    world.account("bob.test")
    world.pass_time(7 * 24 * 3600)
    world.calls.clear()
    alone = client.offline()
    answer = await alone.call(api.LIST_DATASETS, actor="alice.test", refresh=True)
    assert [one["name"] for one in answer["datasets"]] == ["flowers"]
    with pytest.raises(Offline):
        await alone.call(api.LIST_DATASETS, actor="bob.test")
    assert world.calls == []
    assert await client.call(api.LIST_DATASETS, actor="bob.test"), "others are not offline"


# ---- searchDatasets


async def test_search_finds_words_and_pages(
    client: Client, alice: Account, flowers: Published
) -> None:
    for number in range(3):
        publish(alice, f"meadow-{number}")
    await client.call(api.LIST_DATASETS, actor="alice.test")
    first = await client.call(api.SEARCH_DATASETS, q="meadow", limit=2)
    assert len(first["datasets"]) == 2
    rest = await client.call(api.SEARCH_DATASETS, q="meadow", limit=2, cursor=first["cursor"])
    names = {one["name"] for one in first["datasets"] + rest["datasets"]}
    assert names == {"flowers", "meadow-0", "meadow-1", "meadow-2"}
    assert (await client.call(api.SEARCH_DATASETS, q="nothing"))["datasets"] == []


@pytest.mark.parametrize("text", ['"', "a AND", "NEAR(", "*", "a:b", "é' OR 1=1 --", "\u0000"])
async def test_no_search_text_is_an_error(client: Client, flowers: Published, text: str) -> None:
    await client.call(api.SEARCH_DATASETS, q=text)


# ---- getDataset


async def test_show_has_card_schema_releases_shards_and_proof(
    client: Client, flowers: Published
) -> None:
    answer = await client.call(api.GET_DATASET, ref=REF)
    assert answer["dataset"]["title"] == "Flowers of the meadow"
    assert answer["card"]["$type"] == DATASET
    assert answer["release"]["version"] == "1.0.0"
    assert [one["version"] for one in answer["releases"]] == ["1.0.0"]
    assert answer["schema"]["fields"][0]["name"] == "number"
    assert "number: int" in answer["schema"]["python"]
    assert {one["name"]: len(one["shards"]) for one in answer["splits"]} == {"train": 2, "test": 1}
    shard = answer["splits"][0]["shards"][0]
    assert not shard["stored"]
    assert shard["sources"] == [f"blob of {answer['dataset']['did']} at https://pds1.example.com"]
    assert answer["proof"]["state"] == "proved"
    assert answer["problems"] == []


async def test_show_says_which_shards_are_stored(client: Client, flowers: Published) -> None:
    await client.result(api.PULL, ref=REF, splits=["test"])
    answer = await client.call(api.GET_DATASET, ref=REF)
    stored = {one["name"]: [s["stored"] for s in one["shards"]] for one in answer["splits"]}
    assert stored == {"train": [False, False], "test": [True]}


async def test_an_older_version_is_shown_when_it_is_asked_for(
    client: Client, alice: Account, flowers: Published
) -> None:
    publish(alice, version="1.1.0", splits={"train": [b"new" * 30]})
    new = await client.call(api.GET_DATASET, ref=REF)
    assert new["release"]["version"] == "1.1.0"
    assert new["release"] == new["dataset"]["latest"]
    old = await client.call(api.GET_DATASET, ref=f"{REF}@1.0.0")
    assert old["release"]["version"] == "1.0.0"
    assert old["dataset"]["latest"]["version"] == "1.1.0"
    assert [one["version"] for one in old["releases"]] == ["1.1.0", "1.0.0"]


async def test_no_such_data_set_is_a_proved_absence(client: Client, flowers: Published) -> None:
    with pytest.raises(RecordAbsent, match=r"there is no .*/weeds \(signed at rev"):
        await client.call(api.GET_DATASET, ref="@alice.test/weeds")
    with pytest.raises(RecordAbsent):
        await client.call(api.GET_DATASET, ref=f"{REF}@9.9.9")


async def test_a_head_whose_release_is_gone_is_shown_with_the_reason(
    client: Client, alice: Account, flowers: Published
) -> None:
    alice.delete("network.atd.release", "flowers:1.0.0")
    answer = await client.call(api.GET_DATASET, ref=REF)
    assert answer["dataset"]["latest"]["version"] == "1.0.0"
    assert "release" not in answer
    assert "splits" not in answer
    assert [one["error"] for one in answer["problems"]] == ["RecordAbsent"]
    with pytest.raises(RecordAbsent):
        await client.call(api.GET_RELEASE, ref=REF)
    listed = await client.call(api.LIST_DATASETS)
    assert listed["datasets"] == [], "what cannot be loaded is not listed"
    assert listed["problems"]


async def test_a_head_that_does_not_read_is_an_error(client: Client, alice: Account) -> None:
    alice.put(DATASET, "flowers", {"$type": DATASET})
    with pytest.raises(LexiconError, match="latest"):
        await client.call(api.GET_DATASET, ref=REF)


async def test_a_previous_key_is_refused_unless_it_is_allowed_and_then_said(
    client: Client, alice: Account, flowers: Published
) -> None:
    alice.rotate_key()
    with pytest.raises(PreviousKey):
        await client.call(api.GET_DATASET, ref=REF)
    answer = await client.call(api.GET_DATASET, ref=REF, allowPreviousKey=True)
    assert answer["proof"]["state"] == "previousKey"
    assert "previous key" in answer["proof"]["reason"]
    manifest = await client.call(api.GET_RELEASE, ref=REF, allowPreviousKey=True)
    assert manifest["proof"]["state"] == "previousKey"
    digest = manifest["splits"][0]["shards"][0]["digest"]
    assert await client.call(api.LOCATE_SHARD, {"digest": digest, "release": manifest["uri"]}), (
        "what was allowed can be loaded"
    )


async def test_hostile_text_stays_text_in_json(client: Client, alice: Account) -> None:
    evil = "<script>alert(1)</script>\x1b[31m\u202e"
    publish(alice, title=evil)
    assert (await client.call(api.GET_DATASET, ref=REF))["dataset"]["title"] == evil
    async with client.http() as http, http.get(api.GET_DATASET.path, params={"ref": REF}) as reply:
        assert reply.content_type == "application/json"
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert b"\x1b" not in await reply.read()


@pytest.mark.parametrize("ref", ["flowers", "./flowers", "https://x.example/a.tar", "@alice.test"])
async def test_what_is_no_data_set_is_refused(client: Client, ref: str) -> None:
    with pytest.raises(InvalidSyntax):
        await client.call(api.GET_DATASET, ref=ref)


# ---- getRelease


async def test_a_loader_gets_schema_layout_and_shards(
    client: Client, alice: Account, flowers: Published
) -> None:
    answer = await client.call(api.GET_RELEASE, ref=f"{REF}:train")
    assert answer["uri"] == str(flowers.release.uri)
    assert answer["cid"] == str(flowers.release.cid)
    assert answer["layout"] == {"$type": "network.atd.release#packed"}
    assert [one["name"] for one in answer["splits"]] == ["train"]
    shards = answer["splits"][0]["shards"]
    assert {shard["digest"] for shard in shards} <= {str(cid) for cid in flowers.shards}
    by_did = await client.call(api.GET_RELEASE, ref=f"{alice.did}/flowers", split="test")
    assert [one["name"] for one in by_did["splits"]] == ["test"]


async def test_no_such_split_names_the_ones_there_are(client: Client, flowers: Published) -> None:
    with pytest.raises(LocalError, match="has no split validation") as caught:
        await client.call(api.GET_RELEASE, ref=REF, split="validation")
    assert "train, test" in caught.value.next_step


async def test_a_new_release_is_seen_at_once(
    client: Client, alice: Account, flowers: Published
) -> None:
    assert (await client.call(api.GET_RELEASE, ref=REF))["version"] == "1.0.0"
    publish(alice, version="2.0.0")
    assert (await client.call(api.GET_RELEASE, ref=REF))["version"] == "2.0.0"


async def test_two_daemons_share_nothing_but_the_network(
    client: Client, serve: Serve, flowers: Published
) -> None:
    await client.call(api.LIST_DATASETS, actor="alice.test")
    async with serve("other") as other:
        assert (await other.call(api.LIST_DATASETS))["datasets"] == []
        assert (await other.call(api.GET_DATASET, ref=REF))["dataset"]["name"] == "flowers"
