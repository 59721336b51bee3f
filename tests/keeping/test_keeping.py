"""What is kept, what of it is here, what goes and what stays; every answer against its lexicon."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import atd
from atd import api
from atd.errors import InvalidSyntax, LocalError, Offline
from atd.files import open_shared
from atd.keeping import pull_outdated
from atd.protocol.cbor import RAW, Cid
from keeping.conftest import shard
from serving import Client, Serve
from world import Account, World, status
from world.datasets import Published, publish
from world.wire import Answer, Call

REF = "@alice.test/flowers"


def cid(data: bytes) -> Cid:
    return Cid.of(data, RAW)


def made(*letters: str) -> list[bytes]:
    """Shards of different contents; their bytes need be no tar."""
    return [letter.encode() * 100 for letter in letters]


@pytest.fixture
def flowers(alice: Account) -> Published:
    return publish(alice, splits={"train": made("a", "b", "c"), "test": made("t")})


def again(alice: Account, train: Sequence[bytes], version: str = "1.1.0", **more: Any) -> Published:
    """The next release."""
    splits = {"train": train, "test": made("t"), **more}
    return publish(alice, version=version, splits=splits)


async def pulled(client: Client, ref: str = REF, **given: Any) -> dict[str, Any]:
    return await client.result(api.PULL, ref=ref, **given)


async def stored(client: Client, ref: str = REF) -> dict[str, tuple[int, int]]:
    answer = await client.call(api.GET_KEPT, ref=ref)
    return {one["name"]: (one["stored"], one["shards"]) for one in answer["splits"]}


async def outdated(client: Client, **params: Any) -> list[dict[str, Any]]:
    answer = await client.call(api.LIST_OUTDATED, **params)
    return list(answer["datasets"])


async def removed(client: Client, ref: str = REF, **given: Any) -> dict[str, Any]:
    return await client.call(api.REMOVE, {"ref": ref, **given})


def here(client: Client) -> set[Cid]:
    return set(client.services.store.digests())


# ---- looking


async def test_it_says_how_much_of_each_split_is_here(client: Client, flowers: Published) -> None:
    assert await stored(client) == {"train": (0, 3), "test": (0, 1)}
    assert not (await client.call(api.GET_KEPT, ref=REF))["kept"]
    assert (await pulled(client, splits=["train"], shards=[0, 2]))["shards"] == 2
    assert await stored(client) == {"train": (2, 3), "test": (0, 1)}
    answer = await client.call(api.GET_KEPT, ref=REF, split="train")
    assert answer["kept"]
    (train,) = answer["splits"]
    assert (train["size"], train["storedSize"], train["storedSamples"]) == (300, 200, 6)
    assert [(one["number"], one["stored"]) for one in train["files"]] == [
        (0, True),
        (1, False),
        (2, True),
    ]
    assert here(client) == {cid(data) for data in made("a", "c")}


async def test_what_is_kept_can_be_looked_at_with_nobody_to_ask(
    client: Client, world: World, flowers: Published
) -> None:
    await pulled(client)
    world.lie(status(500))
    calls = len(world.calls)
    assert await stored(client) == {"train": (3, 3), "test": (1, 1)}
    assert len(world.calls) == calls
    assert await stored(client.offline()) == {"train": (3, 3), "test": (1, 1)}


async def test_shards_that_are_not_there_cannot_be_asked_for(
    client: Client, flowers: Published
) -> None:
    with pytest.raises(LocalError, match="those of one split"):
        await pulled(client, shards=[0])
    with pytest.raises(LocalError, match="no shard 3 in train, which has 3: 0 to 2"):
        await pulled(client, splits=["train"], shards=[3])
    with pytest.raises(LocalError, match="no split valid"):
        await client.call(api.GET_KEPT, ref=REF, split="valid")
    with pytest.raises(InvalidSyntax):
        await pulled(client, splits=["train"], shards=[-1])
    with pytest.raises(LocalError, match="no split valid"):
        await removed(client, splits=["valid"])
    assert here(client) == set()


# ---- removing


async def test_what_is_removed_is_gone_and_was_said_before(
    client: Client, flowers: Published
) -> None:
    await pulled(client)
    told = await removed(client, splits=["train"], shards=[1], dryRun=True)
    assert (told["removed"], told["freed"], told["kept"]) == (1, 100, True)
    assert len(here(client)) == 4
    done = await removed(client, splits=["train"], shards=[1])
    assert {**told, "removed": 1} == done
    assert cid(made("b")[0]) not in here(client)
    assert await stored(client) == {"train": (2, 3), "test": (1, 1)}
    assert (await removed(client, splits=["train"], shards=[1]))["removed"] == 0
    whole = await removed(client)
    assert (whole["removed"], whole["freed"], whole["kept"]) == (3, 300, False)
    assert here(client) == set()
    with pytest.raises(LocalError, match="nothing of"):
        await removed(client)


async def test_a_shard_that_another_kept_data_set_has_stays(
    client: Client, alice: Account, flowers: Published
) -> None:
    publish(alice, "herbs", splits={"train": made("b", "h")})
    await pulled(client)
    await pulled(client, "@alice.test/herbs")
    done = await removed(client)
    assert done["removed"] == 3
    (shared,) = done["shared"]
    assert (shared["digest"], shared["with"]) == (str(cid(made("b")[0])), "@alice.test/herbs@1.0.0")
    assert here(client) == {cid(data) for data in made("b", "h")}
    assert (await removed(client, "@alice.test/herbs"))["removed"] == 2
    assert here(client) == set()


async def test_a_shard_that_came_for_another_stays_for_a_data_set_that_is_kept_in_part(
    client: Client, alice: Account, flowers: Published
) -> None:
    publish(alice, "herbs", splits={"train": made("b", "h")})
    await pulled(client, splits=["train"], shards=[0])
    await pulled(client, "@alice.test/herbs")
    assert await stored(client) == {"train": (2, 3), "test": (0, 1)}
    done = await removed(client, "@alice.test/herbs")
    assert (done["removed"], len(done["shared"]), done["kept"]) == (1, 1, False)
    assert await stored(client) == {"train": (2, 3), "test": (0, 1)}
    assert (await removed(client))["shared"] == []


async def test_a_shard_that_the_other_split_has_too_stays(client: Client, alice: Account) -> None:
    publish(alice, splits={"train": made("a", "b"), "test": made("b")})
    await pulled(client)
    done = await removed(client, splits=["train"])
    assert done["removed"] == 1
    assert [one["with"] for one in done["shared"]] == [f"{REF}@1.0.0:test"]
    assert here(client) == {cid(made("b")[0])}
    assert (await removed(client))["removed"] == 1


@pytest.mark.parametrize("changed", [True, False])
async def test_one_version_goes_and_what_the_kept_one_has_stays(
    client: Client, alice: Account, flowers: Published, changed: bool
) -> None:
    await pulled(client)
    again(alice, made("a", "B", "c"))
    await pulled(client, f"{REF}@1.1.0", changed=changed)
    done = await removed(client, f"{REF}@1.0.0")
    assert (done["removed"], done["kept"], len(done["shared"])) == (1, True, 3)
    assert here(client) == {cid(data) for data in made("a", "B", "c", "t")}


async def test_pinned_shards_stay_unless_they_are_forced(
    client: Client, flowers: Published
) -> None:
    await pulled(client)
    await client.call(api.PIN, {"target": REF})
    told = await removed(client, dryRun=True)
    assert (told["removed"], told["pinned"]) == (0, 4)
    done = await removed(client)
    assert (done["removed"], done["pinned"], done["kept"]) == (0, 4, True)
    forced = await removed(client, force=True)
    assert (forced["removed"], forced["pinned"], forced["kept"]) == (4, 0, False)
    assert client.services.cache.holdings.pins() == []


async def test_what_is_being_read_stays_and_so_does_the_data_set(
    client: Client, flowers: Published
) -> None:
    await pulled(client)
    path = client.services.store.path(cid(made("a")[0]))
    assert path is not None
    descriptor = open_shared(path)
    try:
        done = await removed(client, force=True)
        assert (done["removed"], done["inUse"], done["kept"]) == (3, 1, True)
    finally:
        os.close(descriptor)
    assert (await removed(client))["removed"] == 1


async def test_what_was_removed_behind_its_back_is_no_trouble(
    client: Client, flowers: Published
) -> None:
    await pulled(client)
    for digest in here(client):
        client.services.store.remove(digest)
    assert await stored(client) == {"train": (0, 3), "test": (0, 1)}
    done = await removed(client)
    assert (done["removed"], done["kept"]) == (0, False)


async def test_what_a_killed_daemon_forgot_of_a_pull_is_removed_all_the_same(
    client: Client, flowers: Published
) -> None:
    await pulled(client)
    with client.services.catalog._database.write() as db:
        db.execute("DELETE FROM belongings")  # uses are written a few at a time
    done = await removed(client)
    assert (done["removed"], done["kept"]) == (4, False)


# ---- newer releases


async def test_only_the_changed_shard_is_outdated_and_fetched(
    client: Client, world: World, alice: Account, flowers: Published
) -> None:
    await pulled(client)
    (one,) = await outdated(client)
    assert not one["outdated"]
    again(alice, made("a", "B", "c"))
    (one,) = await outdated(client)
    assert (one["version"], one["latest"], one["replaced"]) == ("1.0.0", "1.1.0", 1)
    assert [(s["split"], s["digest"]) for s in one["shards"]] == [("train", str(cid(made("B")[0])))]
    before = len(world.calls)
    done = await pulled(client, f"{REF}@1.1.0", changed=True)
    assert (done["shards"], done["fetched"]) == (1, 100)
    assert len([c for c in world.calls[before:] if "getBlob" in c.url]) == 1
    (one,) = await outdated(client)
    assert (one["version"], one["outdated"]) == ("1.1.0", False)
    assert await stored(client) == {"train": (3, 3), "test": (1, 1)}


@pytest.mark.parametrize(
    ("has", "new", "wanted"),
    [
        pytest.param([1], "aBc", "B", id="the one that is here was replaced"),
        pytest.param([0, 2], "aBc", "", id="one that is not here was replaced"),
        pytest.param([0], "aBCd", "", id="nothing of the replaced run is here"),
        pytest.param([1], "aBXc", "BX", id="it became two"),
        pytest.param([1], "aX", "X", id="two became one"),
        pytest.param([0, 1, 2], "abcd", "d", id="all were here and one was added"),
        pytest.param([0, 1], "abcd", "", id="not all were here and one was added"),
        pytest.param([0, 1, 2], "ac", "", id="one was dropped"),
        pytest.param([0, 1, 2], "cba", "", id="they changed places"),
        pytest.param([0, 1, 2], "xyz", "xyz", id="everything is new"),
        pytest.param([2], "xyz", "z", id="everything is new and one was here"),
    ],
)
async def test_what_takes_the_place_of_what_is_here(
    client: Client, alice: Account, flowers: Published, has: list[int], new: str, wanted: str
) -> None:
    await pulled(client, splits=["train"], shards=has)
    again(alice, made(*new))
    (one,) = await outdated(client)
    assert [s["digest"] for s in one["shards"]] == [str(cid(data)) for data in made(*wanted)]
    done = await pulled(client, f"{REF}@1.1.0", changed=True)
    assert done["fetched"] == 100 * len(wanted)
    assert not (await outdated(client))[0]["outdated"]


async def test_a_new_split_is_wanted_where_all_was_here(
    client: Client, serve: Serve, alice: Account, flowers: Published
) -> None:
    async with serve("other") as other:
        await pulled(client)
        await pulled(other, splits=["train"])
        again(alice, made("a", "b", "c"), valid=made("v"))
        assert [s["split"] for s in (await outdated(client))[0]["shards"]] == ["valid"]
        (one,) = await outdated(other)
        assert one["outdated"]
        assert one["shards"] == []


async def test_a_publisher_that_does_not_answer_is_named_and_the_others_are_checked(
    client: Client, world: World, alice: Account, flowers: Published
) -> None:
    bob = world.account("bob.test", pds="elsewhere")
    publish(bob, "weeds", splits={"train": made("w")})
    await pulled(client)
    await pulled(client, "@bob.test/weeds")
    again(alice, made("a", "B", "c"))
    world.lie(status(500), host="elsewhere.example.com")
    flowers_now, weeds = await outdated(client)
    assert flowers_now["outdated"]
    assert (weeds["outdated"], weeds["error"]) == (False, "Unreachable")
    assert [one["name"] for one in await outdated(client, ref="@bob.test/weeds")] == ["weeds"]


async def test_one_that_cannot_be_fetched_keeps_nobody_from_the_others(
    client: Client, world: World, alice: Account, flowers: Published
) -> None:
    bob = world.account("bob.test", pds="elsewhere")
    publish(bob, "bushes", splits={"train": made("w")})
    await pulled(client, "@bob.test/bushes")
    await pulled(client)
    publish(bob, "bushes", version="1.1.0", splits={"train": made("x")})
    again(alice, made("a", "B", "c"))
    world.lie(status(404), host="elsewhere.example.com", path="getBlob")
    bushes, flowers_now = await asyncio.to_thread(pull_outdated, connection=client.connection)
    assert (bushes["outdated"], bushes["error"]) == (True, "Absent")
    assert flowers_now["pulled"]["fetched"] == 100
    world.honest()
    done = await asyncio.to_thread(pull_outdated, connection=client.connection)
    assert [one["outdated"] for one in done] == [True, False]
    assert done[0]["pulled"]["fetched"] == 100


async def test_a_pull_that_was_interrupted_is_kept_and_gone_on_with(
    client: Client, world: World, alice: Account, flowers: Published
) -> None:
    world.lie(status(500), path="getBlob", after=2)
    with pytest.raises(atd.errors.Unreachable):
        await pulled(client)
    assert (await client.call(api.GET_KEPT, ref=REF))["kept"]
    world.honest()
    came = len(here(client))
    assert came < 4
    assert (await pulled(client))["fetched"] == 400 - 100 * came


# ---- forgetting


async def test_untracked_it_is_not_looked_after_and_its_files_stay(
    client: Client, flowers: Published
) -> None:
    await pulled(client, splits=["train"])
    done = await client.call(api.UNTRACK, {"ref": REF})
    assert (done["version"], done["shards"], done["size"]) == ("1.0.0", 3, 300)
    assert len(here(client)) == 3
    assert await outdated(client) == []
    with pytest.raises(LocalError, match="not kept here"):
        await client.call(api.UNTRACK, {"ref": REF})
    assert (await removed(client))["removed"] == 3


# ---- leftovers


def old(path: Path, data: bytes = b"x" * 10) -> Path:
    """A file that was written an hour ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    os.utime(path, (time.time() - 3600,) * 2)
    return path


async def collected(client: Client, **given: Any) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for one in (await client.call(api.COLLECT, given))["leftovers"]:
        found.setdefault(one["kind"], []).append(one["path"])
    return found


async def test_leftovers_are_found_and_removed_and_nothing_else_is(
    client: Client, flowers: Published
) -> None:
    await pulled(client)
    assert await collected(client) == {}
    cache = client.services.config.cache_dir
    begun, gone = cid(b"begun"), cid(b"gone")
    first = gone.digest[:1].hex()
    lost = {
        "unfinished": [
            old(cache / "shards" / "partial" / f"{begun}.{'0' * 16}"),
            old(cache / "shards" / "partial" / f"{begun}.{'0' * 16}.json"),
            old(cache / "shards" / "partial" / f"{begun}.adopted"),
        ],
        "damaged": [old(cache / "shards" / "quarantine" / f"{gone}.{1:020}")],
        "sidecar": [
            old(cache / "shards" / first / f"{gone}.seal"),
            old(cache / "indexes" / first / f"{gone}.v1.idx"),
        ],
        "temporary": [
            old(cache / "shards" / first / f"{gone}.seal.4711"),
            old(cache / "indexes" / first / f".{gone}.v1.idx-1-00000000.tmp"),
        ],
        "staging": [old(cache / "staging" / "long-over" / "train.tar").parent],
    }
    stays = [
        old(cache / "shards" / first / "notes.txt"),
        old(cache / "indexes" / first / f"{cid(made('a')[0])}.v1.idx"),
    ]
    wanted = {kind: sorted(map(str, paths)) for kind, paths in lost.items()}
    told = await collected(client, dryRun=True)
    assert {kind: sorted(paths) for kind, paths in told.items()} == wanted
    assert all(path.exists() for paths in lost.values() for path in paths)
    done = await collected(client)
    assert {kind: sorted(paths) for kind, paths in done.items()} == wanted
    assert not [path for paths in lost.values() for path in paths if path.exists()]
    assert all(path.exists() for path in stays)
    assert len(here(client)) == 4
    assert await collected(client) == {}


async def test_what_somebody_works_on_is_no_leftover(
    client: Client, world: World, flowers: Published
) -> None:
    reached, gate = asyncio.Event(), asyncio.Event()

    async def late(_call: Call, honest: Callable[[], Awaitable[Answer]]) -> Answer:
        reached.set()
        await gate.wait()
        return await honest()

    world.lie(late, path="getBlob")
    work = asyncio.create_task(pulled(client))
    await reached.wait()
    assert await collected(client) == {}
    assert await stored(client) == {"train": (0, 3), "test": (0, 1)}
    gate.set()
    assert (await work)["fetched"] == 400


# ---- reading what is kept


async def test_what_is_here_of_a_split_can_be_loaded_alone(
    client: Client, alice: Account, tmp_path: Path
) -> None:
    shards = [shard(tmp_path / "made", (3 * n, 3 * n + 1, 3 * n + 2)) for n in range(3)]
    publish(alice, splits={"train": shards})
    await pulled(client, shards=[0, 2])
    offline = client.offline().connection

    def load(**options: Any) -> list[int]:
        ds = atd.load(REF, connection=offline, **options)
        return [sample.number for sample in ds]

    with pytest.raises(Offline):
        await asyncio.to_thread(load)
    assert await asyncio.to_thread(lambda: load(shards="kept")) == [0, 1, 2, 6, 7, 8]
    with pytest.raises(LocalError, match="kept"):
        await asyncio.to_thread(lambda: load(shards="some"))

    def states() -> tuple[Any, Any]:
        some = atd.load(REF, connection=offline, shards="kept")
        return some.state_dict(), atd.load(REF, connection=offline).state_dict()

    some, whole = await asyncio.to_thread(states)
    assert some["version"] != whole["version"]
    publish(alice, "herbs", splits={"train": shards[1:2]})
    with pytest.raises(LocalError, match=r"nothing of .*herbs@1\.0\.0 is here"):
        await asyncio.to_thread(
            lambda: atd.load("@alice.test/herbs", connection=client.connection, shards="kept")
        )
