"""Appending at the daemon: what goes together, what does not, and killed between any two steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from atd.errors import Conflict, RecordAbsent
from atd.manifest import Manifest
from atd.publishing.packing import pack
from atd.publishing.sources.opening import open_source
from atd_daemon.publishing.asked import Begun, Commit, Published
from publishing.desk import (
    SMALL,
    YES,
    Checkpoints,
    Desk,
    Killed,
    calls,
    keys,
    numbers,
    opened,
    record,
    uploads,
)
from world import Account, World
from world.daemons import Reader

Named = list[tuple[str, dict[str, Any]]]


def named(count: int, start: int = 0) -> Named:
    noise = numbers(count, start=start)["noise"]
    return [(f"s{start + at}", {"noise": noise[at]}) for at in range(count)]


async def append(desk: Desk, what: Any, **asked: Any) -> tuple[Begun, Published]:
    """Begin, pack what is new, commit: what a client does."""
    begun = await desk.begin(append=True, shard_size=SMALL, **asked)
    assert begun.id is not None
    assert begun.staging is not None
    pack(open_source(what), begun.staging, begun.cuts, name="numbers")
    return begun, await desk.publishing.commit(begun.id, Commit.from_json(YES), desk.heard)


async def test_an_undisturbed_append(world: World, alice: Account, desk: Desk) -> None:
    first = await desk.publish(named(100))
    sent = len(uploads(world))
    _, second = await append(desk, named(20, 100))
    assert (second.version, second.samples) == ("1.1.0", 120)
    assert len(uploads(world)) - sent == second.new_shards == second.shards - first.shards
    assert record(alice, "release", "numbers:1.1.0")["previous"]["uri"].endswith("numbers:1.0.0")
    assert keys(alice, "schema") == ["numbers:1.0.0"]


async def test_old_entries_stay_as_they_stand_with_all_that_they_say(
    alice: Account, desk: Desk
) -> None:
    """Another program may have said more of a shard than we would: a mirror, say."""
    await desk.publish(named(100))
    release, head = record(alice, "release", "numbers:1.0.0"), record(alice, "dataset", "numbers")
    split = release["splits"][0]
    listed = record(alice, "shards", split["parts"][0]["uri"].rpartition("/")[2])
    mirrored = [
        {**one, "urls": [{"url": f"https://mirror.test/{one['name']}"}]} for one in listed["shards"]
    ]
    part = alice.put("network.atd.shards", "3zzzzzzzzzzz2", {**listed, "shards": mirrored})
    splits = [{**split, "parts": [part.to_value()]}]
    other = {**release, "version": "1.0.1", "splits": splits}
    latest = alice.put("network.atd.release", "numbers:1.0.1", other)
    alice.put(
        "network.atd.dataset",
        "numbers",
        {**head, "latest": latest.to_value()},
    )
    await append(desk, named(20, 100))
    (grown,) = record(alice, "release", "numbers:1.1.0")["splits"]
    entries = record(alice, "shards", grown["parts"][0]["uri"].rpartition("/")[2])["shards"]
    assert entries[: len(mirrored)] == mirrored
    assert not any("urls" in one for one in entries[len(mirrored) :])


async def test_an_addition_is_cut_as_the_release_was(desk: Desk) -> None:
    await desk.publish([(f"s{at}", {"n": at}) for at in range(300)], shard_size=SMALL)
    begun = await desk.begin(append=True)
    assert begun.cuts.target_bytes == SMALL


STEPS = [
    *("checked", "sent a shard", "placed a shard", "planned"),
    *("before batch 0", "after batch 0", "read back", "adopted"),
]
"""The checkpoints of an append of one shard."""


@pytest.mark.parametrize("step", range(1, len(STEPS) + 1))
async def test_killed_at_any_step_and_run_again(tmp_path: Path, step: int) -> None:
    world = World()
    alice = world.account()
    home = tmp_path / "home"
    with opened(world, home) as desk:
        await desk.login(alice)
        await desk.publish(named(100))
    sent = len(uploads(world))
    checkpoints = Checkpoints(kill_at=step)
    with opened(world, home, checkpoint=checkpoints) as desk, pytest.raises(Killed):
        await append(desk, named(20, 100))
    assert checkpoints.passed == STEPS[:step]
    with opened(world, home) as desk:
        begun, published = await append(desk, named(20, 100))
    assert begun.resumed
    assert begun.previous is not None
    assert begun.previous["version"] == "1.0.0", "so that it is numbered and packed as before"
    assert (published.version, published.samples) == ("1.1.0", 120)
    assert published.changes is not None
    assert published.changes["before"] == "1.0.0"
    assert keys(alice, "release") == ["numbers:1.0.0", "numbers:1.1.0"]
    assert len(alice.history) == 3  # the empty repository, and one commit for each release
    assert len(uploads(world)) - sent <= published.new_shards + 1  # the one in flight
    await everything_proves(world, tmp_path)


async def everything_proves(world: World, tmp_path: Path) -> None:
    reader = Reader.of(world, tmp_path / "bob")
    found = await reader.resolver.dataset("@alice.test/numbers")
    assert found.release.record.samples == 120
    for shard in found.shards:
        await reader.store.ensure(shard.want)
    reader.catalog.close()


@pytest.mark.parametrize("name", ["sent a shard", "planned", "before batch 0", "after batch 0"])
async def test_killed_and_then_something_else_is_appended(tmp_path: Path, name: str) -> None:
    world = World()
    alice = world.account()
    home = tmp_path / "home"
    with opened(world, home) as desk:
        await desk.login(alice)
        await desk.publish(named(100))

    def kill(step: str) -> None:
        if step == name:
            raise Killed(step)

    with opened(world, home, checkpoint=kill) as desk, pytest.raises(Killed):
        await append(desk, named(20, 100))
    with opened(world, home) as desk:
        if name == "after batch 0":
            # It is published already: what is new must be compared with that.
            with pytest.raises(Conflict, match=r"its latest release is 1\.1\.0"):
                await append(desk, named(30, 200))
        _, published = await append(desk, named(30, 200))
    there = 120 if name == "after batch 0" else 100
    assert published.samples == there + 30


async def test_a_release_that_came_meanwhile_is_not_followed_unseen(
    world: World, alice: Account, desk: Desk, tmp_path: Path
) -> None:
    await desk.publish(named(100))
    begun = await desk.begin(append=True)
    assert begun.id is not None
    assert begun.staging is not None
    pack(open_source(named(5, 100)), begun.staging, begun.cuts)
    with opened(world, tmp_path / "other") as other:
        await other.login(alice)
        await append(other, named(9, 100))
    with pytest.raises(Conflict, match="published by another process meanwhile"):
        await desk.publishing.commit(begun.id, Commit.from_json(YES), desk.heard)
    _, published = await append(desk, named(5, 109))
    assert (published.version, published.samples) == ("1.2.0", 114)


async def test_what_does_not_go_together_is_refused_whatever_the_caller_did(
    world: World, desk: Desk, alice: Account
) -> None:
    with pytest.raises(RecordAbsent, match="no release of numbers"):
        await append(desk, named(5))
    await desk.publish(named(100))
    records, sent = dict(alice.head.records), len(calls(world, "com.atproto.repo.uploadBlob"))
    for what, words in (
        ([("a", {"n": 1})], "do not fit the schema of the new ones: - field noise"),
        (named(100), "expected each shard once"),
    ):
        with pytest.raises(Conflict, match=words):
            await append(desk, what)
    with pytest.raises(Conflict, match="are not at"):
        await append(desk, named(5, 100), store="/nowhere/at/all")
    assert alice.head.records == records
    assert len(calls(world, "com.atproto.repo.uploadBlob")) == sent


async def test_a_layout_that_differs_is_refused(desk: Desk, tmp_path: Path) -> None:
    await desk.publish(named(50))
    begun = await desk.begin(append=True)
    assert begun.id is not None
    assert begun.staging is not None
    made = pack(open_source(named(5, 50)), begun.staging, begun.cuts)
    value = made.to_json()
    value["layout"]["fields"] = [{"field": "noise", "key": "other"}]
    Manifest.from_json(value).save(Path(begun.staging))
    with pytest.raises(Conflict, match="lie otherwise in their shards"):
        await desk.publishing.commit(begun.id, Commit.from_json(YES), desk.heard)


async def test_a_plain_publication_after_appends_is_as_if_there_were_none(
    desk: Desk, alice: Account
) -> None:
    await desk.publish(named(100))
    await append(desk, named(20, 100))
    await append(desk, named(20, 120))
    whole = await desk.publish(named(140))
    alone = await desk.publish(named(140), "alone")
    assert (whole.version, whole.shards, whole.size) == ("1.3.0", alone.shards, alone.size)
    again = await desk.publish(named(140))
    assert again.unchanged
