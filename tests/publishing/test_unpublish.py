"""The undo: what goes, what stays, and what is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from atd.errors import Conflict, NeedsConsent, RecordAbsent, Unreachable
from publishing.desk import Checkpoints, Desk, Killed, calls, keys, numbers, opened, uploads
from world import Account, World, lies
from world.daemons import Reader

APPLY = "com.atproto.repo.applyWrites"


async def test_everything_of_it_goes_in_one_commit_and_is_proved_gone(
    world: World, alice: Account, desk: Desk, tmp_path: Path
) -> None:
    await desk.publish(numbers(100))
    await desk.publish(numbers(120))
    alice.put("app.bsky.feed.post", "3jzfcijpj2z2a", {"text": "mine"})
    before = len(alice.history)
    undone = await desk.unpublish()
    assert [*alice.head.records] == ["app.bsky.feed.post/3jzfcijpj2z2a"]
    assert len(alice.history) == before + 1
    assert len(undone.records) == 6  # a head, two releases, two shard lists, a schema
    assert desk.reader.listed() == []
    bob = Reader.of(world, tmp_path / "bob")
    with pytest.raises(RecordAbsent):
        await bob.resolver.dataset("@alice.test/numbers")


async def test_what_another_data_set_needs_stays(
    world: World, alice: Account, desk: Desk, tmp_path: Path
) -> None:
    await desk.publish(numbers(100))
    (part,) = keys(alice, "shards")
    ours = alice.value(alice.head.records["network.atd.release/numbers:1.0.0"])
    theirs = {**ours, "name": "others"}  # type: ignore[dict-item]
    release = alice.put("network.atd.release", "others:1.0.0", theirs)
    head = alice.value(alice.head.records["network.atd.dataset/numbers"])
    head = {**head, "name": "others", "latest": release.to_value()}  # type: ignore[dict-item]
    alice.put("network.atd.dataset", "others", head)
    await desk.unpublish()
    assert keys(alice, "dataset") == ["others"]
    assert keys(alice, "release") == ["others:1.0.0"]
    assert keys(alice, "schema") == ["numbers:1.0.0"]
    assert keys(alice, "shards") == [part]
    bob = Reader.of(world, tmp_path / "bob")
    found = await bob.resolver.dataset("@alice.test/others")
    await bob.store.ensure(found.shards[0].want)


async def test_a_name_can_be_published_again(world: World, alice: Account, desk: Desk) -> None:
    await desk.publish(numbers(100))
    first = len(uploads(world))
    await desk.unpublish()
    again = await desk.publish(numbers(100))
    assert again.version == "1.0.0"
    assert len(uploads(world)) == 2 * first  # the blobs went with the last reference


async def test_it_needs_consent(desk: Desk, alice: Account) -> None:
    await desk.publish(numbers(60))
    with pytest.raises(NeedsConsent, match="copies that others made stay"):
        await desk.publishing.unpublish("numbers", desk.heard)
    assert keys(alice, "dataset") == ["numbers"]


async def test_a_name_that_is_not_there(desk: Desk) -> None:
    with pytest.raises(RecordAbsent, match="there is no at://"):
        await desk.unpublish()


async def test_a_broken_data_set_can_be_unpublished_too(desk: Desk, alice: Account) -> None:
    alice.put("network.atd.dataset", "numbers", {"latest": "nonsense"})
    alice.put("network.atd.release", "numbers:1.0.0", {"splits": 3})
    await desk.unpublish()
    assert not alice.head.records


async def test_where_copies_stay_is_said(desk: Desk, alice: Account, tmp_path: Path) -> None:
    await desk.publish(numbers(60), store=str(tmp_path / "www"))
    (part,) = keys(alice, "shards")
    listed = alice.value(alice.head.records[f"network.atd.shards/{part}"])
    based = {**listed, "bases": [{"url": "https://files.example.com/x/"}]}  # type: ignore[dict-item]
    alice.put("network.atd.shards", part, based)
    release = alice.value(alice.head.records["network.atd.release/numbers:1.0.0"])
    assert isinstance(release, dict)
    undone = await desk.unpublish()
    assert undone.kept == ("https://files.example.com",)


@pytest.mark.parametrize("late", [False, True])
async def test_an_answer_that_got_lost(
    world: World, alice: Account, desk: Desk, late: bool
) -> None:
    await desk.publish(numbers(60))

    async def tell(call, truth):  # type: ignore[no-untyped-def]
        if late:
            await truth()
        return await lies.status(500)(call, truth)

    world.lie(tell, path=APPLY, times=1)
    await desk.unpublish()
    assert not alice.head.records


async def test_a_release_that_appears_meanwhile_stops_it(
    world: World, alice: Account, desk: Desk, tmp_path: Path
) -> None:
    await desk.publish(numbers(60))
    with opened(world, tmp_path / "other") as other:
        await other.login(alice)

        async def tell(call, truth):  # type: ignore[no-untyped-def]
            await other.publish(numbers(90))
            return await truth()

        world.lie(tell, path=APPLY, times=1)
        with pytest.raises(Conflict, match="changed by another program"):
            await desk.unpublish()
    assert keys(alice, "dataset") == ["numbers"]
    await desk.unpublish()
    assert not alice.head.records


async def test_many_records_go_head_first_and_a_rerun_finishes(
    world: World, alice: Account, tmp_path: Path
) -> None:
    checkpoints = Checkpoints()
    with opened(world, tmp_path / "home", checkpoint=checkpoints) as desk:
        await desk.login(alice)
        await desk.publish(numbers(60))
        part = alice.value(alice.head.records[f"network.atd.shards/{keys(alice, 'shards')[0]}"])
        assert isinstance(part, dict)
        made = [alice.put("network.atd.shards", alice.tid(), part) for _ in range(250)]
        old = alice.value(alice.head.records["network.atd.release/numbers:1.0.0"])
        refs = [one.to_value() for one in made]
        split = {**old["splits"][0], "parts": refs, "shards": 500}  # type: ignore[index,call-overload]
        alice.put("network.atd.release", "numbers:0.1.0", {**old, "splits": [split]})  # type: ignore[dict-item]
        checkpoints.kill_at = len(checkpoints.passed) + 2  # after the first batch
        with pytest.raises(Killed, match="after batch 0"):
            await desk.unpublish()
    assert keys(alice, "dataset") == []
    assert sorted(keys(alice, "release")) == ["numbers:0.1.0", "numbers:1.0.0"]
    with opened(world, tmp_path / "home") as desk:
        await desk.unpublish()
    assert not alice.head.records


async def test_the_server_stays_away(world: World, alice: Account, desk: Desk) -> None:
    await desk.publish(numbers(60))
    world.lie(lies.status(500), path=APPLY)
    with pytest.raises(Unreachable):
        await desk.unpublish()
    world.honest()
    await desk.unpublish()
    assert not alice.head.records
    assert calls(world, APPLY)
