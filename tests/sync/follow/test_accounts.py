"""Accounts that leave and return, move, and change their keys and names."""

from __future__ import annotations

from pathlib import Path

import pytest

from atd.names import SCHEMA
from atd_daemon.sync.follow.states import State
from following import CHECK_EVERY_S, Following, until
from sync_gate import asked
from world import Account, World
from world.datasets import publish
from world.firehose import commit_of
from world.lies import status

NOTE = "com.example.note"


@pytest.fixture
async def following(daemon: Following, alice: Account) -> Following:
    """A daemon that follows alice, who has published something."""
    publish(alice)
    assert await daemon.follow(alice) is State.SYNCHRONIZED
    return daemon


@pytest.mark.parametrize("word", ["deactivated", "suspended", "takendown"])
async def test_who_leaves_is_listed_no_more_and_who_returns_is(
    following: Following, alice: Account, word: str
) -> None:
    known = len(following.indexed(alice.did))
    alice.become(word)
    await following.pass_time(15)
    assert following.state(alice) is State.INACTIVE
    assert following.catalog.datasets() == []
    assert following.catalog.search("flowers").entries == ()
    assert len(following.indexed(alice.did)) == known, "proofs stay"
    (report,) = await following.follower.following()
    assert report.row.status == word
    assert word in (report.row.message or "")
    alice.become("active")
    await following.pass_time(15)
    assert following.state(alice) is State.SYNCHRONIZED
    assert [entry.name for entry in following.catalog.datasets()] == ["flowers"]
    assert await following.rejects(alice) == {}


async def test_a_departure_that_no_event_told_is_found_by_the_check(
    following: Following, alice: Account
) -> None:
    alice.status = "takendown"
    await following.pass_time(CHECK_EVERY_S * 1.5, step_s=30)
    assert following.state(alice) is State.INACTIVE
    assert following.catalog.datasets() == []
    alice.status = "active"
    await following.pass_time(CHECK_EVERY_S * 1.5, step_s=30)
    assert following.state(alice) is State.SYNCHRONIZED


async def test_an_account_event_that_its_pds_does_not_confirm_changes_nothing(
    following: Following, alice: Account
) -> None:
    alice.pds.firehose.put("#account", {"did": alice.did, "active": False, "status": "takendown"})
    await following.pass_time(15)
    assert following.state(alice) is State.SYNCHRONIZED
    assert following.catalog.datasets()
    assert await following.rejects(alice) == {"unconfirmed": 1}


async def test_an_identity_event_that_nobody_confirms_changes_nothing(
    following: Following, alice: Account
) -> None:
    alice.pds.firehose.put("#identity", {"did": alice.did, "handle": "president.test"})
    await following.pass_time(15)
    (report,) = await following.follower.following()
    assert report.handle == "alice.test"
    assert await following.rejects(alice) == {"unconfirmed": 1}


async def test_commits_of_who_is_not_active_are_refused(
    following: Following, alice: Account
) -> None:
    alice.become("deactivated")
    await following.pass_time(15)
    alice.put(NOTE, "one", {"text": "hi"})
    await following.quiet()
    assert await following.rejects(alice) == {"inactive": 1}


async def test_an_account_that_is_deleted(
    following: Following, world: World, alice: Account
) -> None:
    del alice.pds.accounts[alice.did]
    alice.pds.firehose.put("#account", {"did": alice.did, "active": False, "status": "deleted"})
    await following.pass_time(15)
    assert following.state(alice) is State.INACTIVE
    assert following.catalog.datasets() == []


async def test_a_did_that_is_gone_for_ever(
    following: Following, world: World, alice: Account
) -> None:
    world.lie(status(410), path=f"/{alice.did}")
    alice.pds.firehose.identity(alice)
    await following.pass_time(15)
    assert following.state(alice) is State.INACTIVE
    assert following.catalog.datasets() == []


async def test_following_somebody_who_is_not_active_waits_for_the_return(
    daemon: Following, alice: Account
) -> None:
    publish(alice)
    alice.status = "deactivated"
    assert await daemon.follow(alice) is State.INACTIVE
    alice.become("active")
    await daemon.pass_time(30)
    assert daemon.state(alice) is State.SYNCHRONIZED
    assert daemon.is_true(alice)


async def test_a_rotated_key_is_taken_from_the_directory(
    following: Following, alice: Account
) -> None:
    alice.rotate_key()
    publish(alice, "roses")
    await following.pass_time(30)
    assert following.is_true(alice)
    assert following.state(alice) is State.SYNCHRONIZED


async def test_who_moved_before_being_followed_is_taken_in_with_the_first_own_signature(
    daemon: Following, alice: Account
) -> None:
    publish(alice)
    alice.rotate_key()
    assert await daemon.follow(alice) is State.FAILED
    row = daemon.catalog.following.row(alice.did)
    assert row is not None
    assert row.reason == "PreviousKey"
    assert daemon.catalog.datasets() == []
    publish(alice, "roses")
    await daemon.pass_time(60)
    assert daemon.state(alice) is State.SYNCHRONIZED
    assert daemon.is_true(alice)


async def test_a_rotation_that_no_event_told_is_noticed_by_the_first_commit(
    following: Following, alice: Account
) -> None:
    with alice.pds.firehose.muted():
        alice.rotate_key()
    publish(alice, "roses")
    await following.pass_time(60)
    assert following.is_true(alice)
    assert following.state(alice) is State.SYNCHRONIZED


async def test_a_pds_that_hides_a_rotation_can_use_the_old_key_for_an_hour(
    following: Following, alice: Account
) -> None:
    taken = alice.key
    with alice.pds.firehose.muted():
        alice.rotate_key()
    alice.key = taken  # and the host signs with it all the same
    publish(alice, "roses")
    await following.quiet()
    assert following.is_true(alice), "nothing told of the new key yet"
    await following.pass_time(1.6 * 3600, step_s=300)
    publish(alice, "forged")
    await following.pass_time(30)
    assert [entry.name for entry in following.catalog.datasets()] == ["flowers", "roses"]
    assert (await following.rejects(alice))["bad_signature"] >= 1


async def test_a_document_that_does_not_change_is_looked_at_every_hour_and_costs_one_question(
    following: Following, world: World, alice: Account
) -> None:
    await following.pass_time(2 * 3600, step_s=300)
    before = len(world.calls)
    await following.pass_time(3 * 3600, step_s=300)
    documents = [call for call in world.calls[before:] if call.url.endswith(f"/{alice.did}")]
    assert 2 <= len(documents) <= 4
    others = {call.url.partition("?")[0].rpartition("/")[2] for call in world.calls[before:]}
    assert others == {alice.did, "com.atproto.sync.getLatestCommit"}


async def test_what_was_told_while_the_directory_was_away_is_found_out_when_it_is_back(
    following: Following, world: World, alice: Account
) -> None:
    world.name("alice.example.com", alice.did)
    world.unplug(world.plc.url)
    alice.claim("alice.example.com")
    await following.pass_time(60)
    world.serve(world.plc.url, world.plc)
    await following.pass_time(90)
    (report,) = await following.follower.following()
    assert report.handle == "alice.example.com"


async def test_a_directory_that_is_away_changes_nothing(
    following: Following, world: World, alice: Account
) -> None:
    world.unplug(world.plc.url)
    await following.pass_time(3 * 3600, step_s=300)
    assert following.state(alice) is State.SYNCHRONIZED
    publish(alice, "roses")
    await following.quiet()
    assert following.is_true(alice)


async def test_a_new_handle_is_proved_and_shown(
    following: Following, world: World, alice: Account
) -> None:
    world.name("alice.example.com", alice.did)
    alice.claim("alice.example.com")
    await following.pass_time(15)
    (report,) = await following.follower.following()
    assert report.handle == "alice.example.com"


async def test_a_move_to_another_pds_is_followed(
    following: Following, world: World, alice: Account
) -> None:
    old = alice.pds
    alice.migrate(world.pds("pds2"))
    await following.pass_time(30)
    assert following.state(alice) is State.SYNCHRONIZED
    (report,) = await following.follower.following()
    assert report.row.host == world.pds("pds2").url
    await until(lambda: not old.firehose.listeners, "the old host is heard no more")
    publish(alice, "roses")
    await following.quiet()
    assert following.is_true(alice)
    assert [host.origin for host in following.catalog.following.hosts()] == [world.pds("pds2").url]


async def test_after_a_move_the_old_host_is_refused(
    following: Following, world: World, alice: Account
) -> None:
    bob = world.account("bob.test")
    await following.follow(bob)
    old = alice.pds
    alice.migrate(world.pds("pds2"))
    await following.pass_time(30)
    with alice.pds.firehose.muted():
        alice.put(NOTE, "one", {"text": "hi"})
    old.firehose.put("#commit", commit_of(alice, alice.history[-2], alice.head))
    await following.quiet()
    assert (await following.rejects(alice)).get("wrong_host") == 1


async def test_a_move_while_the_daemon_was_away(
    world: World, alice: Account, tmp_path: Path
) -> None:
    publish(alice)
    async with Following.of(world, tmp_path) as daemon:
        await daemon.follow(alice)
    alice.migrate(world.pds("pds2"))
    publish(alice, "roses")
    world.pass_time(10_000)
    async with Following.of(world, tmp_path) as daemon:
        await daemon.pass_time(60)
        assert daemon.state(alice) is State.SYNCHRONIZED
        assert daemon.is_true(alice)
        (report,) = await daemon.follower.following()
        assert report.row.host == world.pds("pds2").url


async def test_a_directory_that_is_away_does_not_end_following(
    following: Following, world: World, alice: Account
) -> None:
    world.lie(status(503), path=f"/{alice.did}")
    alice.pds.firehose.identity(alice)
    alice.put(SCHEMA, "x", {"text": "whatever"})
    publish(alice, "roses")
    await following.pass_time(30)
    assert following.state(alice) is State.SYNCHRONIZED
    assert following.is_true(alice)


async def test_events_about_an_account_do_not_make_us_ask_without_end(
    following: Following, alice: Account
) -> None:
    before = asked(following, "sync.getRepoStatus")
    for _ in range(50):
        alice.pds.firehose.account(alice)
        alice.pds.firehose.identity(alice)
    await following.pass_time(20, step_s=1)
    assert asked(following, "sync.getRepoStatus") - before <= 4
