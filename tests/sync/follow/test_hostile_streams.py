"""Hosts that lie: no message has an effect that its publisher did not sign, and each is counted."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from atd.names import DATASET, SCHEMA
from atd.protocol.cbor import Value
from atd.protocol.commit import Commit
from atd.protocol.syntax import Tid
from atd_daemon.host.events import frame
from atd_daemon.sync.follow.repo import MAX_HELD
from atd_daemon.sync.follow.states import State
from atd_daemon.sync.follow.stream import NONSENSE
from following import CHECK_EVERY_S, Following, until
from sync_gate import Gate, asked
from world import Account, World
from world.account import key_for
from world.datasets import publish
from world.firehose import commit_of
from world.lies import json_field, status

NOTE = "com.example.note"


@pytest.fixture
async def following(daemon: Following, alice: Account) -> Following:
    """A daemon that follows alice, who has published something."""
    publish(alice)
    assert await daemon.follow(alice) is State.SYNCHRONIZED
    return daemon


def told(account: Account) -> dict[str, Value]:
    """The true body of the #commit about an account's newest commit."""
    return dict(commit_of(account, account.history[-2], account.head))


def silently(account: Account, name: str = "roses") -> dict[str, Value]:
    """Write something that the stream does not tell; what it should have told."""
    with account.pds.firehose.muted():
        account.put(NOTE, name, {"text": "hi"})
    return told(account)


async def refused(daemon: Following, account: Account, reason: str, times: int = 1) -> None:
    """The reason was counted, nothing else was, and in the end the index is true all the same."""
    await daemon.quiet()
    assert await daemon.rejects(account) == {reason: times}
    await daemon.pass_time(30)
    assert daemon.is_true(account)
    assert daemon.state(account) is State.SYNCHRONIZED
    row = daemon.catalog.following.row(account.did)
    assert row is not None
    assert row.head is not None
    assert row.head.commit == account.head.commit.cid


async def test_a_dropped_event_breaks_the_chain(following: Following, alice: Account) -> None:
    with alice.pds.firehose.muted():
        publish(alice, "roses")
    alice.put(NOTE, "one", {"text": "hi"})
    await refused(following, alice, "broken_chain")


async def test_an_event_told_twice_counts_once(following: Following, alice: Account) -> None:
    alice.put(NOTE, "one", {"text": "hi"})
    alice.pds.firehose.put("#commit", told(alice))
    await refused(following, alice, "duplicate")
    assert asked(following, "sync.getRepo") == 1


async def test_an_event_of_the_past_counts_for_nothing(
    following: Following, alice: Account
) -> None:
    alice.put(NOTE, "one", {"text": "hi"})
    before = told(alice)
    alice.put(NOTE, "two", {"text": "hi"})
    alice.pds.firehose.put("#commit", before)
    await refused(following, alice, "stale_rev")


async def test_a_sequence_that_falls_is_refused(following: Following, alice: Account) -> None:
    alice.put(NOTE, "one", {"text": "hi"})
    alice.pds.firehose.put("#commit", {**silently(alice), "seq": 1})
    await following.quiet()
    assert await following.rejects(alice) == {"bad_sequence": 1}


async def test_a_commit_by_another_key_is_refused(following: Following, alice: Account) -> None:
    body, thief = silently(alice), key_for("thief")
    forged = Commit.sign(alice.did, alice.head.commit.rev, alice.head.commit.data, thief)
    alice.pds.firehose.put("#commit", resigned(body, alice, forged))
    await refused(following, alice, "bad_signature")


async def test_a_removal_that_nobody_signed_removes_nothing(
    following: Following, alice: Account
) -> None:
    before = following.indexed(alice.did)
    path = f"{DATASET}/flowers"
    op: dict[str, Value] = {
        "action": "delete",
        "path": path,
        "cid": None,
        "prev": alice.head.records[path],
    }
    alice.pds.firehose.put("#commit", {**silently(alice), "ops": [op]})
    await following.quiet()
    assert following.indexed(alice.did) == before
    await refused(following, alice, "inversion_failed")


async def test_an_operation_that_was_left_out_is_noticed(
    following: Following, alice: Account
) -> None:
    with alice.pds.firehose.muted():
        alice.put_many([(NOTE, "one", {"text": "1"}), (NOTE, "two", {"text": "2"})])
    body = told(alice)
    ops = body["ops"]
    assert isinstance(ops, list)
    alice.pds.firehose.put("#commit", {**body, "ops": ops[:1]})
    await refused(following, alice, "inversion_failed")


async def test_a_revision_of_the_future_is_refused(following: Following, alice: Account) -> None:
    ahead = Tid.from_micros(int((following.world.now() + 3600) * 1e6), 1)
    with alice.pds.firehose.muted():
        alice.replace(dict(alice.head.records), rev=ahead)
    alice.pds.firehose.put("#commit", told(alice))
    await following.quiet()
    assert await following.rejects(alice) == {"future_rev": 1}
    row = following.catalog.following.row(alice.did)
    assert row is not None
    assert row.head is not None
    assert row.head.rev < ahead


async def test_two_commits_at_one_revision_are_two_histories(
    following: Following, alice: Account
) -> None:
    alice.put(NOTE, "one", {"text": "hi"})
    await following.quiet()
    known = alice.head
    with alice.pds.firehose.muted():
        other = {**known.records, f"{NOTE}/two": alice.store({"$type": NOTE, "text": "other"})}
        alice.replace(other, rev=known.commit.rev)
    alice.pds.firehose.put("#commit", commit_of(alice, alice.history[-3], alice.head))
    await following.quiet()
    assert (await following.rejects(alice))["equivocation"] >= 1
    row = following.catalog.following.row(alice.did)
    assert row is not None
    assert row.head is not None
    assert row.head.commit == known.commit.cid


async def test_a_sync_to_what_is_known_changes_nothing(
    following: Following, alice: Account
) -> None:
    alice.pds.firehose.sync(alice)
    await following.quiet()
    assert await following.rejects(alice) == {}
    assert asked(following, "sync.getRepo") == 1


async def test_a_sync_to_something_newer_leads_to_a_resync(
    following: Following, alice: Account
) -> None:
    with alice.pds.firehose.muted():
        publish(alice, "roses")
    alice.pds.firehose.sync(alice)
    await following.pass_time(5)
    assert following.is_true(alice)
    assert await following.rejects(alice) == {}


async def test_another_host_is_not_heard(
    following: Following, alice: Account, world: World
) -> None:
    other = world.account("bob.test", "pds2")
    await following.follow(other)
    silently(alice)
    other.pds.firehose.put("#commit", told(alice))
    await following.quiet()
    assert await following.rejects(alice) == {"wrong_host": 1}
    assert following.state(alice) is State.SYNCHRONIZED


async def test_a_server_that_goes_back_is_not_believed_and_said_so(
    following: Following, alice: Account
) -> None:
    alice.put(NOTE, "one", {"text": "hi"})
    await following.quiet()
    newest = alice.history.pop()
    await following.pass_time(CHECK_EVERY_S * 1.5, step_s=60)
    assert following.state(alice) is State.FAILED
    row = following.catalog.following.row(alice.did)
    assert row is not None
    assert row.reason == "StaleRevision"
    assert "rev" in (row.message or "")
    assert row.head is not None
    assert row.head.commit == newest.commit.cid
    alice.history.append(newest)
    await following.pass_time(7200, step_s=300)
    assert following.state(alice) is State.SYNCHRONIZED


async def test_frames_of_nonsense_are_counted_and_the_host_is_hung_up_on(
    following: Following, alice: Account
) -> None:
    for _ in range(NONSENSE):
        alice.pds.firehose.put_frame(b"\xff" * 10)
    await until(lambda: not alice.pds.firehose.listeners, "the host is hung up on")
    await following.quiet()
    assert await following.rejects() == {"bad_frame": NONSENSE}
    (host,) = await following.follower.hosts()
    assert host.error is not None
    assert "cannot be read" in host.error.message


async def test_a_frame_of_an_unknown_kind_is_passed_over(
    following: Following, alice: Account
) -> None:
    alice.pds.firehose.put("#tombstone", {"did": alice.did})
    publish(alice, "roses")
    await following.quiet()
    assert following.is_true(alice)
    assert await following.rejects() == {"unknown_message": 1}


async def test_rejects_of_strangers_do_not_fill_the_index(
    following: Following, world: World, alice: Account
) -> None:
    for number in range(50):
        data = frame("#commit", {"repo": f"did:web:host{number}.example", "seq": number + 100})
        alice.pds.firehose.put_frame(data)
        alice.pds.firehose.put("#identity", {"did": f"did:web:other{number}.example"})
    await following.quiet()
    assert await following.rejects() == {"bad_frame": 50}
    assert len(following.catalog.following.rejects()) == 1


async def test_too_many_events_during_a_resync_mean_another_one(
    daemon: Following, world: World, alice: Account
) -> None:
    gate = Gate(world)
    await daemon.follower.follow(alice.handle)
    await gate.asked()
    await until(lambda: alice.pds.firehose.listeners == 1, "it listens")
    for number in range(MAX_HELD + 1):
        alice.put(NOTE, "same", {"text": str(number)})
    repo = daemon.follower.board.repos[alice.did]
    await until(lambda: repo.state is State.DESYNCHRONIZED, "the queue overflowed")
    assert daemon.follower.board.held_bytes == 0
    gate.open()
    await daemon.pass_time(10)
    assert daemon.state(alice) is State.SYNCHRONIZED
    assert daemon.is_true(alice)


async def test_what_is_forged_while_a_resync_runs_is_refused_after_it(
    daemon: Following, world: World, alice: Account
) -> None:
    gate = Gate(world)
    await daemon.follower.follow(alice.handle)
    await gate.asked()
    await until(lambda: alice.pds.firehose.listeners == 1, "it listens")
    body, thief = silently(alice), key_for("thief")
    forged = Commit.sign(alice.did, alice.head.commit.rev, alice.head.commit.data, thief)
    alice.pds.firehose.put("#commit", resigned(body, alice, forged))
    repo = daemon.follower.board.repos[alice.did]
    await until(lambda: len(repo.held) == 1, "it is held")
    gate.open()
    await refused(daemon, alice, "bad_signature")


async def test_forged_messages_do_not_make_us_ask_without_end(
    following: Following, alice: Account
) -> None:
    body, thief = silently(alice), key_for("thief")
    forged = Commit.sign(alice.did, alice.head.commit.rev, alice.head.commit.data, thief)
    lie = resigned(body, alice, forged)
    alice.history.pop()
    for _ in range(100):
        alice.pds.firehose.put("#commit", lie)
    await following.quiet()
    await following.pass_time(5, step_s=1)
    assert (await following.rejects(alice))["bad_signature"] == 100
    assert asked(following, "sync.getRepo") == 1
    assert asked(following, "sync.getLatestCommit") <= 3


async def test_gaps_without_end_do_not_make_us_read_a_repository_without_end(
    following: Following, alice: Account
) -> None:
    """Each costs nobody a signature, and us up to half a gigabyte."""
    body = {**silently(alice), "tooBig": True}
    alice.history.pop()
    for _ in range(40):
        alice.pds.firehose.put("#commit", body)
        await following.pass_time(70, step_s=5)
    assert (await following.rejects(alice))["too_big"] >= 15
    assert 5 < asked(following, "sync.getRepo") < 25
    assert following.is_true(alice)


async def test_checks_that_contradict_without_end_do_not_make_us_read_a_repository_without_end(
    following: Following, world: World, alice: Account
) -> None:
    body, thief = silently(alice), key_for("thief")
    forged = Commit.sign(alice.did, alice.head.commit.rev, alice.head.commit.data, thief)
    lie = resigned(body, alice, forged)
    alice.history.pop()
    world.lie(json_field("cid", str(forged.cid)), path="getLatestCommit")
    for _ in range(60):
        alice.pds.firehose.put("#commit", lie)  # which makes us ask
        await following.pass_time(20, step_s=10)
    assert (await following.rejects(alice))["equivocation"] >= 10
    assert 5 < asked(following, "sync.getRepo") < 20
    assert following.is_true(alice)


async def test_a_repository_that_does_not_prove_is_shown_with_its_reason(
    daemon: Following, world: World, alice: Account
) -> None:
    publish(alice)
    honest = alice.key
    alice.key = key_for("thief")
    alice.commit()
    assert await daemon.follow(alice) is State.FAILED
    row = daemon.catalog.following.row(alice.did)
    assert row is not None
    assert row.reason == "ProofError"
    assert daemon.indexed(alice.did) == {}
    alice.key = honest
    alice.put(SCHEMA, "x", {"text": "whatever"})
    await daemon.pass_time(120)
    assert daemon.state(alice) is State.SYNCHRONIZED
    assert daemon.is_true(alice)


async def test_a_host_that_hangs_does_not_delay_the_others(
    daemon: Following, world: World, alice: Account
) -> None:
    gate = Gate(world)
    await daemon.follower.follow(alice.handle)
    await gate.asked()
    world.honest()
    bob = world.account("bob.test", "pds2")
    publish(bob)
    assert await daemon.follow(bob) is State.SYNCHRONIZED
    publish(bob, "roses")
    await daemon_has(daemon, bob)
    assert daemon.follower.board.repos[alice.did].state is State.SYNCING
    gate.open()
    assert await daemon.follower.settled(alice.did) is State.SYNCHRONIZED


async def test_a_server_that_is_away_is_tried_again(
    daemon: Following, world: World, alice: Account
) -> None:
    world.lie(status(503), path="sync.getRepo?")
    world.lie(status(503), path="repo.listRecords")
    world.lie(status(503), path="sync.getRecord")
    assert await daemon.follow(alice) is State.UNREACHABLE
    row = daemon.catalog.following.row(alice.did)
    assert row is not None
    assert row.reason == "Unreachable"
    tries = asked(daemon, "sync.getRepo")
    await daemon.pass_time(3600, step_s=30)
    assert 3 <= asked(daemon, "sync.getRepo") - tries <= 40
    world.honest()
    await daemon.pass_time(900, step_s=30)
    assert daemon.state(alice) is State.SYNCHRONIZED


async def test_a_relay_tells_what_a_pds_withholds(world: World, tmp_path: Path) -> None:
    relay = world.pds("relay")
    alice = world.account("alice.test")
    async with Following.of(world, tmp_path, relay=relay.url) as daemon:
        await daemon.follow(alice)
        await until(lambda: relay.firehose.listeners == 1, "the relay is heard")
        with alice.pds.firehose.muted():
            publish(alice)
        for before, after in zip(alice.history, alice.history[1:], strict=False):
            relay.firehose.put("#commit", commit_of(alice, before, after))
        await daemon.quiet()
        assert daemon.is_true(alice)
        assert await daemon.rejects(alice) == {}
        relay.firehose.put("#account", {"did": alice.did, "active": False, "status": "takendown"})
        await daemon.quiet()
        assert daemon.state(alice) is State.SYNCHRONIZED
        assert await daemon.rejects(alice) == {"unconfirmed": 1}


def resigned(body: Mapping[str, Value], account: Account, commit: Commit) -> dict[str, Value]:
    """The body with another commit in place of the true one."""
    blocks = body["blocks"]
    assert isinstance(blocks, bytes)
    old = account.head.commit
    changed = blocks.replace(old.cid.bytes, commit.cid.bytes).replace(old.encode(), commit.encode())
    return {**body, "commit": commit.cid, "blocks": changed}


async def daemon_has(daemon: Following, account: Account) -> None:
    """Wait until the index has what an account has."""
    await until(lambda: daemon.is_true(account), f"the index has all of {account.handle}")
