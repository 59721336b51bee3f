"""Following an honest publisher: what it writes is in the index, what it deletes is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from atd.errors import HandleAbsent
from atd.names import DATASET, SCHEMA
from atd_daemon.sync.follow.repo import Need
from atd_daemon.sync.follow.states import State
from following import CHECK_EVERY_S, Following, until
from sync_gate import Gate, asked
from world import Account, World
from world.datasets import publish
from world.lies import status

NOTE = "com.example.note"


async def test_a_backfill_indexes_everything(daemon: Following, alice: Account) -> None:
    publish(alice)
    assert await daemon.follow(alice) is State.SYNCHRONIZED
    assert daemon.is_true(alice)
    (report,) = await daemon.follower.following()
    assert report.row.complete
    assert report.row.head is not None
    assert report.row.head.commit == alice.head.commit.cid
    assert report.records == len(daemon.indexed(alice.did)) > 3
    assert report.connected


async def test_what_is_written_deleted_and_changed_live_is_in_the_index(
    daemon: Following, alice: Account
) -> None:
    await daemon.follow(alice)
    publish(alice)
    await daemon.quiet()
    assert daemon.is_true(alice)
    assert [entry.name for entry in daemon.catalog.datasets(alice.did)] == ["flowers"]
    publish(alice, version="1.1.0", title="More flowers")
    await daemon.quiet()
    (entry,) = daemon.catalog.datasets(alice.did)
    assert (entry.version, entry.title) == ("1.1.0", "More flowers")
    alice.delete(DATASET, "flowers")
    await daemon.quiet()
    assert daemon.is_true(alice)
    assert not daemon.catalog.datasets(alice.did)
    assert await daemon.rejects(alice) == {}
    assert asked(daemon, "sync.getRepo") == 1, "all of it came by the stream"


async def test_a_commit_is_followed_even_if_it_is_none_of_ours(
    daemon: Following, alice: Account
) -> None:
    await daemon.follow(alice)
    for number in range(3):
        alice.put(NOTE, f"note-{number}", {"text": "hi"})
    publish(alice)
    await daemon.quiet()
    assert daemon.is_true(alice)
    assert await daemon.rejects(alice) == {}
    row = daemon.catalog.following.row(alice.did)
    assert row is not None
    assert row.head is not None
    assert row.head.rev == alice.head.commit.rev
    assert asked(daemon, "sync.getRepo") == 1


async def test_a_live_commit_keeps_a_complete_index_complete(
    daemon: Following, alice: Account
) -> None:
    await daemon.follow(alice)
    publish(alice)
    await daemon.quiet()
    known = daemon.catalog.publisher(alice.did)
    assert known is not None
    assert known.complete_rev == known.rev == alice.head.commit.rev


async def test_a_record_that_cannot_be_read_is_a_problem_and_not_listed(
    daemon: Following, alice: Account
) -> None:
    publish(alice)
    await daemon.follow(alice)
    alice.put(DATASET, "flowers", {"name": "flowers", "nonsense": True})
    await daemon.quiet()
    assert not daemon.catalog.datasets(alice.did)
    (problem,) = daemon.catalog.problems(alice.did)
    assert problem.reason == "LexiconError"
    assert daemon.state(alice) is State.SYNCHRONIZED
    publish(alice)
    await daemon.quiet()
    assert daemon.is_true(alice)
    assert not daemon.catalog.problems(alice.did)


async def test_one_connection_is_made_to_a_host_however_many_are_followed(
    daemon: Following, world: World
) -> None:
    people = [world.account(f"user{number}.test") for number in range(5)]
    for person in people:
        await daemon.follow(person)
    await daemon.quiet()
    assert world.pds("pds1").firehose.listeners == 1
    for person in people:
        publish(person, f"from-{person.handle.partition('.')[0]}")
    await daemon.quiet()
    assert len(daemon.catalog.datasets()) == 5


async def test_who_is_followed_twice_is_followed_once(daemon: Following, alice: Account) -> None:
    assert (await daemon.follower.follow("alice.test"))[1]
    assert not (await daemon.follower.follow(alice.did))[1]
    assert len(await daemon.follower.following()) == 1


async def test_nobody_is_followed_whose_handle_leads_nowhere(daemon: Following) -> None:
    with pytest.raises(HandleAbsent):
        await daemon.follower.follow("nobody.test")
    assert await daemon.follower.following() == []


async def test_unfollowing_keeps_what_was_proved_and_hears_no_more(
    daemon: Following, alice: Account
) -> None:
    publish(alice)
    await daemon.follow(alice)
    before = daemon.indexed(alice.did)
    assert await daemon.follower.unfollow("@alice.test") == alice.did
    await until(lambda: not alice.pds.firehose.listeners, "the connection is closed")
    publish(alice, "roses")
    await daemon.quiet()
    assert daemon.indexed(alice.did) == before
    assert daemon.catalog.following.hosts() == []
    assert await daemon.follower.unfollow("@alice.test") is None


async def test_forgetting_leaves_the_newest_revision_alone(
    daemon: Following, alice: Account
) -> None:
    publish(alice)
    await daemon.follow(alice)
    await daemon.follower.unfollow(alice.did, forget=True)
    assert daemon.indexed(alice.did) == {}
    assert not daemon.catalog.datasets()
    assert daemon.catalog.rev_floor(alice.did) == alice.head.commit.rev
    assert await daemon.follow(alice) is State.SYNCHRONIZED
    assert daemon.is_true(alice)


async def test_events_that_come_during_a_resync_wait_and_are_taken_in(
    daemon: Following, world: World, alice: Account
) -> None:
    publish(alice)
    gate = Gate(world)
    await daemon.follower.follow(alice.handle)
    await gate.asked()
    await until(lambda: alice.pds.firehose.listeners == 1, "it listens")
    publish(alice, "roses")
    alice.delete(DATASET, "flowers")
    repo = daemon.follower.board.repos[alice.did]
    await until(lambda: len(repo.held) > 1, "events are held")
    position = daemon.follower.streams[alice.pds.url].position()
    assert position is not None
    assert position.cursor < repo.held[0].message.seq
    gate.open()
    assert await daemon.follower.settled(alice.did) is State.SYNCHRONIZED
    await daemon.quiet()
    assert daemon.is_true(alice)
    assert asked(daemon, "sync.getRepo") == 1
    assert await daemon.rejects(alice) == {}
    assert daemon.follower.board.held_bytes == 0


async def test_a_restart_goes_on_from_the_cursor(
    world: World, alice: Account, tmp_path: Path
) -> None:
    async with Following.of(world, tmp_path) as daemon:
        await daemon.follow(alice)
        publish(alice)
        await daemon.quiet()
    publish(alice, "roses")
    alice.delete(SCHEMA, "flowers:1.0.0")
    repos = asked(daemon, "sync.getRepo")
    async with Following.of(world, tmp_path) as daemon:
        assert daemon.state(alice) is State.SYNCHRONIZED
        await until(lambda: alice.pds.firehose.listeners == 1, "it listens again")
        await daemon.quiet()
        assert daemon.is_true(alice)
        assert asked(daemon, "sync.getRepo") == repos, "replayed, not read again"
        assert await daemon.rejects(alice) == {}


async def test_a_connection_that_broke_is_replayed(daemon: Following, alice: Account) -> None:
    await daemon.follow(alice)
    alice.put(NOTE, "one", {"text": "so that there is a cursor"})
    await daemon.quiet()
    alice.pds.firehose.disconnect()
    await until(lambda: not alice.pds.firehose.listeners, "the connection is gone")
    publish(alice)
    await daemon.pass_time(5)
    assert daemon.is_true(alice)
    assert asked(daemon, "sync.getRepo") == 1


async def test_events_that_the_host_has_no_more_are_found_by_checking(
    world: World, alice: Account, tmp_path: Path
) -> None:
    async with Following.of(world, tmp_path) as daemon:
        await daemon.follow(alice)
        alice.put(NOTE, "one", {"text": "so that there is a cursor"})
        await daemon.quiet()
    publish(alice)
    alice.pds.firehose.forget(keep=1)
    alice.put(NOTE, "two", {"text": "hi"})
    async with Following.of(world, tmp_path) as daemon:
        await until(lambda: alice.pds.firehose.listeners == 1, "it listens again")
        await daemon.quiet()
        await daemon.pass_time(60)
        assert daemon.is_true(alice)


async def test_a_host_that_counts_anew_is_heard_from_its_new_start(
    daemon: Following, alice: Account
) -> None:
    await daemon.follow(alice)
    publish(alice)
    await daemon.quiet()
    firehose = alice.pds.firehose
    firehose.events.clear()
    firehose.newest, firehose.oldest = 0, 1
    firehose.disconnect()
    publish(alice, "roses")
    await daemon.pass_time(60)
    assert daemon.is_true(alice)
    publish(alice, "tulips")
    await daemon.pass_time(60)
    assert daemon.is_true(alice)


async def test_a_commit_too_large_for_a_message_leads_to_a_resync(
    daemon: Following, alice: Account
) -> None:
    await daemon.follow(alice)
    notes = [(NOTE, f"note-{number}", {"text": "hi"}) for number in range(250)]
    alice.put_many(notes)
    publish(alice)
    await daemon.pass_time(10)
    assert daemon.is_true(alice)
    assert asked(daemon, "sync.getRepo") == 2


async def test_a_look_at_the_publisher_between_two_events_does_no_harm(
    daemon: Following, alice: Account
) -> None:
    publish(alice)
    await daemon.follow(alice)
    with alice.pds.firehose.muted():
        publish(alice, title="New title")
    await daemon.reader.resolver.record(f"at://{alice.did}/{DATASET}/flowers", refresh=True)
    publish(alice, "roses")
    await daemon.pass_time(30)
    assert daemon.is_true(alice)


async def test_a_commit_that_comes_while_the_head_is_asked_for_is_no_step_back(
    daemon: Following, world: World, alice: Account
) -> None:
    await daemon.follow(alice)
    await daemon.quiet()
    gate = Gate(world, "sync.getLatestCommit")
    daemon.follower.board.need(daemon.follower.board.repos[alice.did], Need.CHECK)
    await gate.asked()
    publish(alice)
    await until(lambda: daemon.is_true(alice), "the commits came by the stream")
    gate.open()
    await daemon.quiet()
    assert daemon.state(alice) is State.SYNCHRONIZED
    assert await daemon.rejects(alice) == {}
    assert asked(daemon, "sync.getRepo") == 1


async def test_freshness_is_told_by_checks(daemon: Following, alice: Account) -> None:
    await daemon.follow(alice)
    before = daemon.catalog.following.row(alice.did)
    await daemon.pass_time(2 * CHECK_EVERY_S, step_s=60)
    row = daemon.catalog.following.row(alice.did)
    assert row is not None
    assert before is not None
    assert row.checked_at is not None
    assert row.checked_at > (before.checked_at or 0) + CHECK_EVERY_S / 2
    assert 1 <= asked(daemon, "sync.getLatestCommit") <= 4


async def test_unfollowing_during_a_resync_leaves_nothing_behind(
    daemon: Following, world: World, alice: Account
) -> None:
    publish(alice)
    gate = Gate(world)
    await daemon.follower.follow(alice.handle)
    await gate.asked()
    assert await daemon.follower.unfollow(alice.handle, forget=True) == alice.did
    gate.open()
    await daemon.pass_time(10)
    assert daemon.indexed(alice.did) == {}
    assert daemon.catalog.following.rows() == []
    assert daemon.follower.streams == {}


async def test_following_again_who_was_unreachable_waits_for_the_new_answer(
    daemon: Following, world: World, alice: Account
) -> None:
    for path in ("sync.getRepo?", "repo.listRecords", "sync.getRecord"):
        world.lie(status(503), path=path)
    publish(alice)
    assert await daemon.follow(alice) is State.UNREACHABLE
    world.honest()
    assert await daemon.follow(alice) is State.SYNCHRONIZED
    assert daemon.is_true(alice)


async def test_a_repository_that_is_not_given_whole_is_read_record_by_record(
    daemon: Following, world: World, alice: Account
) -> None:
    world.lie(status(501), path="sync.getRepo?")
    publish(alice)
    assert await daemon.follow(alice) is State.SYNCHRONIZED
    (report,) = await daemon.follower.following()
    assert not report.row.complete, "completeness is not proved"
    assert daemon.is_true(alice)
    publish(alice, "roses")
    alice.delete(DATASET, "flowers")
    await daemon.quiet()
    assert daemon.is_true(alice)
    assert await daemon.rejects(alice) == {}


async def test_a_first_event_after_a_restart_needs_no_directory_it_can_reach(
    world: World, alice: Account, tmp_path: Path
) -> None:
    async with Following.of(world, tmp_path) as daemon:
        await daemon.follow(alice)
        alice.put(NOTE, "one", {"text": "so that there is a cursor"})
        await daemon.quiet()
    publish(alice)
    world.lie(status(503), host="plc.world.example.com")
    async with Following.of(world, tmp_path) as daemon:
        await until(lambda: alice.pds.firehose.listeners == 1, "it listens again")
        await daemon.quiet()
        assert daemon.is_true(alice)
        assert await daemon.rejects(alice) == {}
