"""The library where users use it: in worker processes, in a notebook, in a script of their own."""

from __future__ import annotations

import asyncio
import threading
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

import atd
from story import workers
from story.people import Person

ROWS = 200


@pytest.fixture(scope="module")
def ref(alice: Person, desk: Path) -> str:
    noise = np.random.default_rng(8).integers(0, 255, (ROWS, 1000), dtype=np.uint8)
    path = desk / "numbers.npz"
    np.savez(path, n=np.arange(ROWS), noise=noise)
    alice.run("publish", str(path), "--name", "numbers", "--yes", "--shard-size", "65536")
    return f"@{alice.handle}/numbers"


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_read_what_the_parent_loaded(bob: Person, ref: str, method: str) -> None:
    found = bob.python(Path(workers.__file__), ref, method).json
    shares = found["shares"]
    assert sorted(n for share in shares for n in share) == list(range(ROWS))
    assert [len(share) for share in shares] == [ROWS // 2, ROWS // 2]
    assert shares[0][0] == found["first"]
    order = [row.n for row in atd.load(ref, connection=bob.connection).shuffled(seed=4)]
    assert order == [n for pair in zip(*shares, strict=True) for n in pair]


async def test_everything_works_inside_a_running_event_loop(
    bob: Person, alice: Person, ref: str
) -> None:
    """As in a notebook, whose cells run in a loop that is running already."""
    assert asyncio.get_running_loop().is_running()
    connection = bob.connection
    assert [info.name for info in atd.ls(alice.handle, connection=connection)] == ["numbers"]
    assert atd.show(ref, connection=connection).info.samples == ROWS
    atd.pull(ref, connection=connection)
    batches = [batch.n for batch in atd.load(ref, connection=connection).batched(64)]
    assert sorted(np.concatenate(batches)) == list(range(ROWS))
    cell = atd.publish([{"n": 1}, {"n": 2}], name="cell", connection=alice.connection)
    assert cell.samples == 2
    assert [await asyncio.to_thread(len, atd.load(cell.ref, connection=connection))] == [2]


def test_threads_share_one_data_set(bob: Person, ref: str) -> None:
    dataset = atd.load(ref, connection=bob.connection)
    found: list[list[int]] = []
    threads = [
        threading.Thread(target=lambda: found.append([row.n for row in dataset.shuffled(seed=1)]))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert all(one == found[0] for one in found)
    assert sorted(found[0]) == list(range(ROWS))


def test_an_epoch_that_was_interrupted_goes_on_where_it_was(bob: Person, ref: str) -> None:
    def loader() -> atd.Dataset[atd.Row]:
        return atd.load(ref, connection=bob.connection).shuffled(seed=9)

    whole = [row.n for row in loader()]
    broken = loader()
    before = [row.n for row in islice(broken, 77)]
    resumed = loader()
    resumed.load_state_dict(broken.state_dict())
    assert before + [row.n for row in resumed] == whole


def test_the_daemon_may_be_killed_while_a_program_reads(bob: Person, ref: str) -> None:
    """Open shards stay readable; the next question starts a new daemon."""
    rows = iter(atd.load(ref, connection=bob.connection))
    found = [next(rows).n for _ in range(3)]
    assert bob.kill_daemon()
    found += [row.n for row in rows]
    assert sorted(found) == list(range(ROWS))
