"""Killed between any two steps, a rerun of the same command goes on where it was.

Here the "process" is everything but the world: it ends by an exception that nothing catches, and a
new one opens the same home. The real thing, with SIGKILL, is in ``test_sigkill.py``.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from publishing.desk import Checkpoints, Killed, keys, numbers, opened, uploads
from world import Account, World
from world.daemons import Reader


async def passed(tmp_path: Path) -> list[str]:
    """The checkpoints of an undisturbed first publication and a second one."""
    world = World()
    counted = Checkpoints()
    with opened(world, tmp_path / "count", checkpoint=counted) as desk:
        await desk.login(world.account())
        await desk.publish(numbers(100))
        await desk.publish(numbers(110))
    return counted.passed


async def test_every_step_has_a_checkpoint(tmp_path: Path) -> None:
    found = await passed(tmp_path)
    assert set(found) == {
        *("checked", "sent a shard", "placed a shard", "planned"),
        *("before batch 0", "after batch 0", "read back", "adopted"),
    }


@pytest.mark.parametrize("step", range(1, 30))
async def test_killed_at_any_step_and_run_again(tmp_path: Path, step: int) -> None:
    world = World()
    alice = world.account()
    checkpoints = Checkpoints(kill_at=step)
    done = 0
    for _ in range(3):
        with opened(world, tmp_path / "home", checkpoint=checkpoints) as desk:
            if (not done and step == 1) or not desk.accounts.list():
                await desk.login(alice)
            try:
                for data in (numbers(100), numbers(110))[done:]:
                    await desk.publish(data)
                    done += 1
            except Killed:
                continue
            break
    assert done == 2
    if len(checkpoints.passed) < step:
        pytest.skip("there are fewer steps")
    await converged(world, alice, tmp_path)


async def converged(world: World, alice: Account, tmp_path: Path) -> None:
    """Two releases, each record once, no blob sent twice but the one in flight, all proved."""
    assert keys(alice, "release") == ["numbers:1.0.0", "numbers:1.1.0"]
    assert keys(alice, "schema") == ["numbers:1.0.0"]
    assert len(keys(alice, "shards")) == 2
    assert len(alice.history) == 3  # the empty repository, and one commit for each release
    assert len(uploads(world)) <= len(set(uploads(world))) + 1
    reader = Reader.of(world, tmp_path / "bob")
    for version in ("1.0.0", "1.1.0"):
        found = await reader.resolver.dataset(f"@alice.test/numbers@{version}")
        for shard in found.shards:
            await reader.store.ensure(shard.want)
    reader.catalog.close()


async def test_killed_and_then_something_else_is_published(tmp_path: Path) -> None:
    world = World()
    alice = world.account()
    names = ["sent a shard", "planned", "before batch 0", "after batch 0", "read back"]
    for number, name in enumerate(names):
        found = await passed(tmp_path / str(number))
        checkpoints = Checkpoints(kill_at=found.index(name) + 1)
        home = tmp_path / f"home{number}"
        with opened(world, home, checkpoint=checkpoints) as desk:
            await desk.login(alice)
            with pytest.raises(Killed):
                await desk.publish(numbers(100), f"set{number}")
        with opened(world, home) as desk:
            await desk.publish(numbers(50, start=500), f"set{number}")
            found_now = await desk.reader.resolver.dataset(f"@alice.test/set{number}", refresh=True)
            assert found_now.release.record.samples == 50
