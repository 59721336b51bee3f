"""Every lie, told alone: it is counted under its reason, and the index is true afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest

from atd.protocol.car import read_car, write_car
from atd.protocol.rejects import Reject
from atd_daemon.sync.follow.states import State
from oracle.stage import ALL_LIES, Stage
from world import Account, body
from world.frame_lies import Told


@pytest.mark.parametrize("name", ALL_LIES)
async def test_a_lie_is_counted_and_leaves_the_index_true(name: str, tmp_path: Path) -> None:
    async with Stage.of(tmp_path, seed=1, people=2) as stage:
        await stage.lie(name, stage.people[0])
        await stage.check()


async def test_every_reason_has_its_lie(tmp_path: Path) -> None:
    """One lie after the other, of one daemon: the ledger has every reason but one (see below)."""
    async with Stage.of(tmp_path, seed=2, people=2) as stage:
        for name in ALL_LIES:
            await stage.lie(name, stage.people[0])
        await stage.check()
        told = {reason for one in stage.liar.ledger for reason in one.reasons}
        assert told == set(Reject) - {Reject.IDENTITY_UNKNOWN}


async def test_what_somebody_unknown_signs_is_counted_until_the_directory_answers(
    tmp_path: Path,
) -> None:
    async with Stage.of(tmp_path, seed=3, people=2) as stage:
        (alice, _), world = stage.people, stage.world
        await stage.daemon.close()
        world.pass_time(30 * 86_400.0)  # until no answer of the directory is believed any more
        world.unplug(world.plc.url)
        await stage.restart()
        await stage.daemon.quiet()  # it listens
        before = stage.counts()
        stage.liar.write(alice)
        await stage.daemon.pass_time(1.0)
        await stage.daemon.follower.board.flush()
        unknown = Told("unknown", alice.did, frozenset({Reject.IDENTITY_UNKNOWN}))
        await stage.counted(unknown, before)
        world.serve(world.plc.url, world.plc)
        await stage.settle()
        await stage.check()


async def many_blocks(stage: Stage, account: Account) -> None:
    """Let an account have a tree of several nodes."""
    for _ in range(4):
        stage.liar.write(account, 3)
    await stage.settle()
    assert len(account.head.tree) > 3


async def miss_something(stage: Stage, account: Account) -> None:
    """Make the daemon read the whole repository again."""
    stage.liar.secretly(account)
    stage.liar.write(account)
    await stage.daemon.quiet()


async def test_a_repository_cut_at_any_block_changes_nothing(tmp_path: Path) -> None:
    """Cut between two blocks, it may prove a head; what is missing is never taken for deleted."""
    async with Stage.of(tmp_path, seed=4, people=2) as stage:
        alice = stage.people[0]
        await many_blocks(stage, alice)
        for keep in range(len(read_car(alice.head.repo_car()).blocks)):
            await refused(stage, alice, lambda blocks, keep=keep: blocks[:keep])  # type: ignore[misc]


async def test_a_repository_that_lacks_any_block_changes_nothing(tmp_path: Path) -> None:
    """A withheld subtree, a withheld record."""
    async with Stage.of(tmp_path, seed=5, people=2) as stage:
        alice = stage.people[0]
        await many_blocks(stage, alice)
        for lacking in range(len(read_car(alice.head.repo_car()).blocks)):
            await refused(
                stage,
                alice,
                lambda blocks, lacking=lacking: blocks[:lacking] + blocks[lacking + 1 :],  # type: ignore[misc]
            )


async def refused(stage: Stage, account: Account, keep: object) -> None:
    """A whole repository with some blocks only is refused, and the next honest one is taken."""

    def cut(data: bytes) -> bytes:
        car = read_car(data)
        return write_car(car.roots[0], keep(list(car.blocks.items())))  # type: ignore[operator]

    before = stage.daemon.indexed(account.did)
    lie = stage.world.lie(body(cut), path="sync.getRepo")
    await miss_something(stage, account)
    for _ in range(10):  # whoever misses something again and again is read again more rarely
        if not lie.told:
            await stage.daemon.pass_time(50.0, 50.0)
    assert lie.told
    assert stage.daemon.state(account) is State.FAILED
    assert stage.daemon.indexed(account.did) == before
    stage.world.honest()
    await stage.settle()
    await stage.check()
