"""What may leave the store and what may not; what was damaged comes back, or is named."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from atd import api
from atd.errors import Busy, DigestMismatch, InvalidSyntax, LocalError, RecordAbsent
from atd.files import COUNTS, open_shared
from atd.protocol.cbor import RAW, Cid
from atd_daemon.store import ShardWant
from serving import Client, Serve
from world import Account, Site, World, body, status
from world.datasets import Published, publish

REF = "@alice.test/flowers"
SIZES = [300, 600, 250]  # train, train, test


def cid(data: bytes) -> Cid:
    return Cid.of(data, RAW)


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """As a loader has it open."""
    descriptor = open_shared(path)
    try:
        yield
    finally:
        os.close(descriptor)


def alter(path: Path) -> None:
    path.chmod(0o600)
    data = bytearray(path.read_bytes())
    data[5] ^= 1
    path.write_bytes(data)


def here(client: Client) -> set[Cid]:
    return set(client.services.store.digests())


async def pulled(client: Client, ref: str = REF) -> None:
    await client.result(api.PULL, ref=ref)


async def located(client: Client, digest: Cid) -> Path:
    return Path((await client.call(api.LOCATE_SHARD, {"digest": str(digest)}))["path"])


# ---- a verified shard is not hashed again


async def test_a_warm_shard_is_located_by_one_stat_and_no_hashing(
    client: Client, flowers: Published
) -> None:
    await pulled(client)
    for digest in flowers.shards:
        before = (COUNTS.stats, COUNTS.hashed_bytes)
        await located(client, digest)
        assert (COUNTS.stats, COUNTS.hashed_bytes) == (before[0] + 1, before[1])


async def test_a_new_daemon_hashes_nothing_either(
    serve: Serve, world: World, flowers: Published
) -> None:
    async with serve("home") as client:
        await pulled(client)
    before = COUNTS.hashed_bytes
    async with serve("home") as client:
        stats = COUNTS.stats
        for digest in flowers.shards:
            await located(client, digest)
        assert COUNTS.stats - stats == len(flowers.shards)
    assert COUNTS.hashed_bytes == before


# ---- looking


async def test_the_list_says_what_is_here_of_which_release(
    client: Client, world: World, flowers: Published
) -> None:
    empty = await client.call(api.LIST_CACHE)
    assert (empty["size"], empty["releases"]) == (0, [])
    await client.result(api.PULL, ref=REF, splits=["train"])
    world.pass_time(60)
    await located(client, cid(b"one" * 100))
    answer = await client.call(api.LIST_CACHE, files=True)
    assert (answer["shards"], answer["size"], answer["damaged"]) == (2, 900, 0)
    (release,) = answer["releases"]
    assert release["uri"] == str(flowers.release.uri)
    assert (release["handle"], release["name"]) == ("alice.test", "flowers")
    assert (release["shards"], release["shardsTotal"], release["size"]) == (2, 3, 900)
    assert not release["pinned"]
    # The one that was used last comes last.
    assert [(one["size"], one["names"]) for one in answer["files"]] == [
        (600, ["train-00001.tar"]),
        (300, ["train-00000.tar"]),
    ]


async def test_files_that_came_or_went_behind_its_back_are_noticed(
    client: Client, flowers: Published
) -> None:
    await pulled(client)
    (client.services.store.path(cid(b"one" * 100)) or Path()).unlink()
    client.services.cache.holdings.drop([cid(b"two" * 200)])
    assert (await client.call(api.LIST_CACHE))["size"] == 850
    assert (await client.call(api.PRUNE_CACHE, {"size": 0}))["removed"] == 2


# ---- letting go


async def test_the_longest_unused_go_first_and_their_sidecars_with_them(
    client: Client, world: World, flowers: Published
) -> None:
    await pulled(client)
    one, two, three = flowers.shards
    for digest in (two, one, three):
        world.pass_time(10)
        await located(client, digest)
    folder = client.services.config.cache_dir / "indexes"
    sidecars = {d: folder / d.digest[:1].hex() / f"{d}.v1.idx" for d in flowers.shards}
    for path in sidecars.values():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    dry = await client.call(api.PRUNE_CACHE, {"size": 600, "dryRun": True})
    assert (dry["removed"], dry["freed"], len(here(client))) == (1, 600, 3)
    done = await client.call(api.PRUNE_CACHE, {"size": 600})
    assert (done["removed"], done["freed"], done["size"], done["over"]) == (1, 600, 550, 0)
    assert here(client) == {one, three}
    assert [path.exists() for path in sidecars.values()] == [True, False, True]


async def test_what_is_pinned_or_being_read_stays_whatever_the_quota(
    client: Client, world: World, flowers: Published, alice: Account
) -> None:
    other = publish(alice, "trees", splits={"train": [b"oak" * 100, b"elm" * 100]})
    await pulled(client)
    await pulled(client, "@alice.test/trees")
    assert (await client.call(api.PIN, {"target": "@alice.test/trees"}))["targets"] == [
        str(other.release.uri)
    ]
    read = next(iter(flowers.shards))
    with reading(await located(client, read)):
        done = await client.call(api.PRUNE_CACHE, {"size": 0})
        assert (done["removed"], done["pinned"], done["inUse"]) == (2, 2, 1)
        assert done["over"] == done["size"] == 900
        assert here(client) == {read, *other.shards}
    assert (await client.call(api.PRUNE_CACHE, {"size": 0}))["removed"] == 1
    assert here(client) == set(other.shards)


async def test_a_quota_is_kept_while_shards_come_in(
    client: Client, world: World, alice: Account
) -> None:
    shards = [bytes([n]) * 1000 for n in range(12)]
    publish(alice, "many", splits={"train": shards})
    client.services.cache.quota = 3000
    for number in range(12):
        await client.result(api.PULL, ref="@alice.test/many", shards=[number])
    usage = client.services.store.usage()
    assert usage.shard_bytes <= 3000
    # What is asked for is there all the same, and what a reader has just been given stays.
    paths = [await located(client, cid(data)) for data in shards[:3]]
    assert all(path.exists() for path in paths)


async def test_a_shard_whose_record_names_no_place_is_pinned_by_itself(
    client: Client, flowers: Published
) -> None:
    await pulled(client)
    digest = cid(b"one" * 100)
    await client.services.cache.have(ShardWant(digest, 300))
    assert (await client.call(api.PRUNE_CACHE, {"size": 0}))["pinned"] == 1
    assert here(client) == {digest}


# ---- pins


async def test_a_pin_is_of_a_release_and_of_what_comes_later_too(
    serve: Serve, world: World, flowers: Published
) -> None:
    async with serve("home") as client:
        await client.call(api.PIN, {"target": REF})
        listed = await client.call(api.LIST_CACHE)
        assert [(one["shards"], one["pinned"]) for one in listed["releases"]] == [(0, True)]
        await pulled(client)
    async with serve("home") as client:
        assert (await client.call(api.LIST_CACHE))["pinned"] == sum(SIZES)
        assert (await client.call(api.PRUNE_CACHE, {"size": 0}))["removed"] == 0
        await client.call(api.UNPIN, {"target": f"{REF}@1.0.0"})
        assert (await client.call(api.PRUNE_CACHE, {"size": 0}))["removed"] == 3


async def test_one_shard_can_be_pinned_by_its_digest(client: Client, flowers: Published) -> None:
    await pulled(client)
    digest = str(cid(b"two" * 200))
    await client.call(api.PIN, {"target": digest})
    assert (await client.call(api.PRUNE_CACHE, {"size": 0}))["size"] == 600
    assert (await client.call(api.UNPIN, {"target": digest}))["targets"] == [digest]
    with pytest.raises(LocalError, match="is not pinned"):
        await client.call(api.UNPIN, {"target": digest})


async def test_what_is_not_published_cannot_be_pinned(client: Client, flowers: Published) -> None:
    with pytest.raises(RecordAbsent):
        await client.call(api.PIN, {"target": "@alice.test/weeds"})
    with pytest.raises(InvalidSyntax):
        await client.call(api.PIN, {"target": str(flowers.release.cid)})


# ---- removing


async def test_a_data_set_is_removed_offline_and_only_that(
    client: Client, world: World, alice: Account, flowers: Published
) -> None:
    other = publish(alice, "trees", splits={"train": [b"oak" * 100]})
    await pulled(client)
    await pulled(client, "@alice.test/trees")
    world.calls.clear()
    alone = client.offline()
    done = await alone.call(api.REMOVE_CACHED, {"target": REF})
    assert (done["removed"], done["freed"]) == (3, sum(SIZES))
    assert here(client) == set(other.shards)
    with pytest.raises(LocalError, match="nothing of"):
        await alone.call(api.REMOVE_CACHED, {"target": REF})
    assert world.calls == []


async def test_what_is_being_read_is_not_removed(client: Client, flowers: Published) -> None:
    await pulled(client)
    digest = cid(b"one" * 100)
    with reading(await located(client, digest)):
        done = await client.call(api.REMOVE_CACHED, {"target": str(digest)})
        assert (done["removed"], done["inUse"]) == (0, 1)
        with pytest.raises(Busy):
            client.services.store.remove(digest)
    assert (await client.call(api.REMOVE_CACHED, {"target": str(digest)}))["removed"] == 1


# ---- damage


async def test_a_damaged_shard_is_found_set_aside_and_fetched_anew(
    client: Client, flowers: Published
) -> None:
    await pulled(client)
    digest = cid(b"two" * 200)
    path = await located(client, digest)
    with path.open("rb") as mapped:
        alter(path)
        wrong = path.read_bytes()
        events = await client.events(api.VERIFY_CACHE)
        assert mapped.read() == wrong  # whoever has it keeps what he has
    (step,) = [event["step"] for event in events if "step" in event]
    assert (step["name"], step["digest"]) == ("train-00001.tar", str(digest))
    assert step["repaired"]
    assert events[-1]["result"] == {"shards": 3, "size": 1150, "damaged": 1, "repaired": 1}
    assert path.read_bytes() == b"two" * 200
    assert (await client.call(api.LIST_CACHE))["damaged"] == 1
    assert (await client.call(api.PRUNE_CACHE, {}))["freed"] == 600
    assert (await client.call(api.LIST_CACHE))["damaged"] == 0


async def test_a_damaged_shard_that_cannot_be_had_is_named(
    client: Client, world: World, flowers: Published
) -> None:
    await pulled(client)
    alter(await located(client, cid(b"two" * 200)))
    world.lie(status(404), path="sync.getBlob")
    events = await client.events(api.VERIFY_CACHE)
    (step,) = [event["step"] for event in events if "step" in event]
    assert (step["name"], step["repaired"], step["error"]) == ("train-00001.tar", False, "Absent")
    assert "404" in step["detail"]
    assert events[-1]["result"]["repaired"] == 0
    assert here(client) == {cid(b"one" * 100), cid(b"three" * 50)}


async def test_without_fetching_damage_is_only_said(
    client: Client, world: World, flowers: Published
) -> None:
    await pulled(client)
    alter(await located(client, cid(b"two" * 200)))
    world.calls.clear()
    result = await client.result(api.VERIFY_CACHE, fetch=False)
    assert (result["damaged"], result["repaired"]) == (1, 0)
    assert world.calls == []


async def test_an_altered_shard_is_fetched_from_the_next_source_when_one_lies(
    client: Client, world: World, alice: Account
) -> None:
    data = b"leaf" * 100
    site = Site()
    site.put("/train-00000.tar", data)
    world.serve("https://files.example.com", site)
    publish(alice, "leaves", splits={"train": [data]}, bases=("https://files.example.com/",))
    await pulled(client, "@alice.test/leaves")
    path = await located(client, cid(data))
    alter(path)
    world.lie(body(lambda sent: sent[:-1] + b"!"), path="sync.getBlob")
    assert await located(client, cid(data)) == path
    assert path.read_bytes() == data
    asked = [call.url for call in world.calls[-2:]]
    assert "getBlob" in asked[0]
    assert asked[1] == "https://files.example.com/train-00000.tar"


async def test_when_every_source_lies_the_error_names_the_shard_and_each_of_them(
    client: Client, world: World, flowers: Published
) -> None:
    await pulled(client)
    digest = cid(b"two" * 200)
    alter(await located(client, digest))
    world.lie(body(lambda sent: sent[:-1] + b"!"), path="sync.getBlob")
    with pytest.raises(DigestMismatch, match=f"{digest} could not be fetched: blob of"):
        await located(client, digest)


async def test_a_suspect_shard_is_hashed_though_it_looks_as_ever(
    client: Client, flowers: Published
) -> None:
    await pulled(client)
    digest = cid(b"one" * 100)
    await located(client, digest)
    before = COUNTS.hashed_bytes
    question = {"digest": str(digest), "suspect": True}
    await client.call(api.LOCATE_SHARD, question)
    assert COUNTS.hashed_bytes == before + 300


# ---- streams


async def test_fetching_says_how_far_it_is(client: Client, flowers: Published) -> None:
    digest = cid(b"two" * 200)
    await client.call(api.GET_RELEASE, ref=REF)
    events = await client.events(api.FETCH_SHARD, digest=str(digest))
    assert Path(events[-1]["result"]["path"]).read_bytes() == b"two" * 200
    assert [e["progress"]["total"] for e in events[:-1]] in ([], [600])


async def test_a_cache_that_nobody_asked_forgets_nothing_when_it_is_closed(
    serve: Serve, world: World, flowers: Published
) -> None:
    async with serve("home") as client:
        await pulled(client)
        world.pass_time(100)
        await located(client, cid(b"one" * 100))
    async with serve("home") as client:
        files = (await client.call(api.LIST_CACHE, files=True))["files"]
        assert files[-1]["digest"] == str(cid(b"one" * 100))
        assert files[-1]["names"] == ["train-00000.tar"]
