"""What a host leaves out of its stream is found and counted; what was lost is no accusation."""

from __future__ import annotations

import asyncio

import pytest

from atd_daemon.sync.follow.repo import Need
from atd_daemon.sync.follow.states import State
from following import CHECK_EVERY_S, PATIENCE_S, Following, until
from world import Account, World
from world.datasets import publish
from world.lies import Truth
from world.wire import Answer, Call


@pytest.fixture
async def following(daemon: Following, alice: Account) -> Following:
    """A daemon that follows alice, who has published something that her host told."""
    assert await daemon.follow(alice) is State.SYNCHRONIZED
    publish(alice)
    await daemon.quiet()
    return daemon


def count_anew(account: Account) -> None:
    """Her host loses its events and their numbers."""
    firehose = account.pds.firehose
    firehose.newest, firehose.oldest = 0, 1
    firehose.events.clear()
    firehose.disconnect()


async def found(daemon: Following, account: Account) -> None:
    """Write something that the stream does not tell, and see the check find and count it."""
    with account.pds.firehose.muted():
        publish(account, "roses")
    await daemon.quiet()
    assert not daemon.is_true(account)
    await daemon.pass_time(CHECK_EVERY_S * 1.5, step_s=10)
    assert daemon.is_true(account)
    assert await daemon.rejects(account) == {"withheld": 1}


async def test_withholding_is_found_by_the_check(following: Following, alice: Account) -> None:
    await found(following, alice)


async def test_what_was_lost_before_a_resync_excuses_nothing_after_it(
    following: Following, alice: Account
) -> None:
    alice.become("deactivated")
    await following.quiet()
    count_anew(alice)
    await following.pass_time(60)
    assert following.state(alice) is State.INACTIVE
    alice.become("active")
    await following.pass_time(20)
    assert following.is_true(alice)
    await found(following, alice)


async def test_who_says_in_the_middle_that_it_lost_events_is_not_excused(
    following: Following, alice: Account
) -> None:
    alice.pds.firehose.put("#info", {"name": "OutdatedCursor"})
    await found(following, alice)
    assert await following.rejects() == {"bad_sequence": 1}


async def test_what_is_lost_while_its_host_is_asked_was_not_withheld(
    world: World, following: Following, alice: Account
) -> None:
    asking, answer = asyncio.Event(), asyncio.Event()

    async def late(call: Call, truth: Truth) -> Answer:
        told = await truth()
        asking.set()
        await answer.wait()
        return told

    world.lie(late, path="sync.getLatestCommit", times=1)
    repo = following.follower.board.repos[alice.did]
    following.follower.board.need(repo, Need.CHECK)
    await asyncio.wait_for(asking.wait(), PATIENCE_S)
    with alice.pds.firehose.muted():
        publish(alice, "roses")
    count_anew(alice)
    stream = following.follower.streams[alice.pds.url]
    await until(lambda: stream.waits, "the connection is gone")
    following.time.pass_time(2.0)
    await until(lambda: repo.missed, "its host counts anew")
    answer.set()
    await following.pass_time(CHECK_EVERY_S * 1.5, step_s=10)
    assert following.is_true(alice)
    assert await following.rejects(alice) == {}
