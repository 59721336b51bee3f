"""Whole global batches: the same ones on any number of ranks and workers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

import atd
import jobs
from atd.errors import LocalError
from leaves import pack_folder

SIZE = 12


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("many") / "packed"
    return pack_folder(folder, {"train": range(124)}, most=9)


@pytest.fixture
def ds(many: Path) -> atd.Dataset[atd.Row]:
    return atd.load(str(many), split="train").shuffled(seed=5, window=3)


def numbers(batches: Any) -> list[list[int]]:
    return [batch.number.tolist() for batch in batches]


def together(ranks: list[Iterator[Any]], most: int | None = None) -> list[list[int]]:
    """The global batches that the ranks make together, as far as all of them go."""
    found: list[list[int]] = []
    while most is None or len(found) < most:
        step = [next(rank, None) for rank in ranks]
        if None in step:
            assert step == [None] * len(ranks), "some ranks take more steps than others"
            break
        found.append([n for batch in step for n in batch.number.tolist()])
    return found


def test_batches_are_those_of_the_order(ds: atd.Dataset[atd.Row]) -> None:
    loader = ds.loader(SIZE)
    assert numbers(loader) == numbers(ds.batched(SIZE, drop_last=True))
    assert len(loader) == 10
    assert numbers(loader) == numbers(loader)


def test_the_last_batch_is_padded_with_the_first_samples(ds: atd.Dataset[atd.Row]) -> None:
    loader = ds.loader(SIZE, tail="pad")
    found = numbers(loader)
    order = [row.number for row in ds]
    assert len(loader) == len(found) == 11
    assert found[-1] == order[120:] + order[:8]
    assert numbers(ds.take(2).loader(5, tail="pad")) == [(order[:2] * 3)[:5]]
    assert numbers(ds.take(0).loader(5, tail="pad")) == []


@pytest.mark.parametrize("start_method", ["fork", "spawn"])
@pytest.mark.parametrize("workers", [1, 3])
def test_workers_give_the_same_batches_in_the_same_order(
    ds: atd.Dataset[atd.Row], workers: int, start_method: str
) -> None:
    loader = ds.loader(SIZE, workers=workers, start_method=start_method)
    assert numbers(loader) == numbers(ds.loader(SIZE))


@pytest.mark.parametrize("tail", ["drop", "pad"])
def test_it_goes_on_exactly_on_other_ranks_and_workers(ds: atd.Dataset[atd.Row], tail: str) -> None:
    """2 ranks with 2 workers, then 1 with 5, then 4 with 3: none lost, none twice."""
    whole = numbers(ds.loader(SIZE, tail=tail))
    seen: list[list[int]] = []
    state: Any = None
    for world, workers, steps in ((2, 2, 3), (1, 5, 4), (4, 3, None)):
        loaders = [
            ds.loader(SIZE, rank=rank, world=world, workers=workers, tail=tail, start_method="fork")
            for rank in range(world)
        ]
        if state is not None:
            for loader in loaders:
                loader.load_state_dict(state)
        running = [iter(loader) for loader in loaders]
        seen += together(running, steps)
        states = [json.dumps(loader.state_dict()) for loader in loaders]
        assert len(set(states)) == 1, "ranks stand at different places"
        state = json.loads(states[0])
    assert seen == whole


def test_any_position_resumes_on_any_shape(ds: atd.Dataset[atd.Row]) -> None:
    whole = numbers(ds.loader(SIZE))
    loader = ds.loader(SIZE)
    running = iter(loader)
    for at in range(len(whole) + 1):
        for world in (1, 2, 3, 4, 6, 12):
            ranks = [ds.loader(SIZE, rank=rank, world=world) for rank in range(world)]
            for rank in ranks:
                rank.load_state_dict(loader.state_dict())
            assert together([iter(rank) for rank in ranks]) == whole[at:]
        next(running, None)


def test_only_the_next_iteration_resumes(ds: atd.Dataset[atd.Row]) -> None:
    loader = ds.loader(SIZE)
    running = iter(loader)
    next(running)
    loader.load_state_dict(loader.state_dict())
    assert len(numbers(loader)) == 9
    assert len(numbers(loader)) == 10


def test_an_epoch_is_turned_by_hand_and_is_part_of_the_state(ds: atd.Dataset[atd.Row]) -> None:
    loader = ds.loader(SIZE)
    first = numbers(loader)
    loader.set_epoch(1)
    second = numbers(loader)
    assert second != first
    assert second == numbers(ds.shuffled(seed=5, epoch=1, window=3).loader(SIZE))
    running = iter(loader)
    next(running)
    again = ds.loader(SIZE)
    again.load_state_dict(loader.state_dict())
    assert again.epoch == 1
    again.set_epoch(1)  # what a training loop does before each epoch
    assert numbers(again) == second[1:]
    again.set_epoch(0)
    assert numbers(again) == first


def test_a_seed_shuffles_and_none_keeps_the_order(many: Path) -> None:
    plain = atd.load(str(many), split="train")
    assert numbers(plain.loader(SIZE))[0] == list(range(12))
    assert numbers(plain.loader(SIZE, seed=3, epoch=2)) == numbers(
        plain.shuffled(seed=3, epoch=2).loader(SIZE)
    )
    assert plain.loader(SIZE).epoch is None


def test_a_filter_leaves_equal_steps_and_resumes(ds: atd.Dataset[atd.Row]) -> None:
    odd = ds.filter(jobs.is_odd)
    ranks = [odd.loader(SIZE, rank=rank, world=2) for rank in range(2)]
    assert [len(rank) for rank in ranks] == [5, 5]
    kept = [row.number for row in odd]
    assert [n for batch in together([iter(rank) for rank in ranks]) for n in batch] == kept[:60]
    for rank in ranks:
        rank.set_epoch(1)
    turned = [row.number for row in ds.shuffled(seed=5, epoch=1, window=3).filter(jobs.is_odd)]
    running = [iter(rank) for rank in ranks]
    begun = together(running, 2)
    alone = odd.loader(SIZE)
    alone.load_state_dict(ranks[0].state_dict())
    assert [n for batch in begun + numbers(alone) for n in batch] == turned[:60]


def test_a_state_serves_the_data_set_too(ds: atd.Dataset[atd.Row]) -> None:
    loader = ds.loader(SIZE)
    next(iter(loader))
    batches = ds.batched(SIZE)
    batches.load_state_dict(loader.state_dict())
    assert next(iter(batches)).number.tolist() == numbers(ds.loader(SIZE))[1]


def test_a_state_within_a_batch_or_of_another_order_is_refused(ds: atd.Dataset[atd.Row]) -> None:
    loader = ds.loader(SIZE)
    next(iter(loader))
    with pytest.raises(LocalError, match="within a global batch of 8"):
        ds.loader(8).load_state_dict(loader.state_dict())
    again = ds.loader(6)
    again.load_state_dict(loader.state_dict())
    assert len(numbers(again)) == 18
    with pytest.raises(LocalError, match="another order"):
        ds.shuffled(seed=6).loader(SIZE).load_state_dict(loader.state_dict())


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"batch_size": 10, "world": 4}, "multiple of 4"),
        ({"batch_size": 0}, "multiple of 1"),
        ({"batch_size": 8, "rank": 2, "world": 2}, r"rank in range\(2\)"),
        ({"batch_size": 8, "tail": "keep"}, "drop or pad"),
        ({"batch_size": 8, "workers": -1}, "0 workers or more"),
        ({"batch_size": 8, "start_method": "magic"}, "fork, spawn"),
    ],
)
def test_what_cannot_be_is_refused(ds: atd.Dataset[atd.Row], wrong: Any, why: str) -> None:
    with pytest.raises(LocalError, match=why):
        ds.loader(**wrong)


def test_a_share_is_not_sliced_again(ds: atd.Dataset[atd.Row]) -> None:
    with pytest.raises(LocalError, match="already the share"):
        ds.shard(0, 2).loader(SIZE)


# ---------------------------------------------------------------------- worker processes


@pytest.fixture
def nothing_left() -> Iterator[None]:
    """No process and no shared memory is left behind."""
    before = shared_memory()
    _bystanders.clear()
    _bystanders.update(loaders())
    yield
    deadline = time.monotonic() + 10
    # Other programs on this machine have shared memory for a moment, too.
    while (loaders() or shared_memory() - before) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert loaders() == []
    assert not shared_memory() - before


def shared_memory() -> set[str]:
    """What Python's multiprocessing has in shared memory."""
    return {name for name in os.listdir("/dev/shm") if name.startswith(("psm_", "sem.", "pym-"))}


_bystanders: set[int] = set()
"""Children of this process that were there before the test: servers of other tests."""


def loaders(of: int | None = None) -> list[int]:
    """Children of a process, but bystanders and the one that looks after spawned resources."""
    return [
        child.pid
        for child in psutil.Process(of).children(recursive=True)
        if child.pid not in _bystanders
        and child.status() != psutil.STATUS_ZOMBIE
        and not any("resource_tracker" in word for word in child.cmdline())
    ]


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("start_method", ["fork", "spawn"])
def test_batches_are_built_in_the_workers(ds: atd.Dataset[atd.Row], start_method: str) -> None:
    loader = ds.map(jobs.process).loader(SIZE, workers=2, start_method=start_method)
    seen = [set(batch.tolist()) for batch in loader]
    assert len(seen) == 10
    assert seen[0] != seen[1]
    assert seen[0] == seen[2]
    assert os.getpid() not in set.union(*seen)


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("start_method", ["fork", "spawn"])
def test_what_a_worker_raises_is_raised_with_its_message(
    ds: atd.Dataset[atd.Row], start_method: str
) -> None:
    loader = ds.map(jobs.refuse_17).loader(SIZE, workers=2, start_method=start_method)
    with pytest.raises(ValueError, match="seventeen is no number") as caught:
        list(loader)
    notes = "".join(caught.value.__notes__)
    assert "loader worker" in notes
    assert "refuse_17" in notes


@pytest.mark.usefixtures("nothing_left")
def test_an_error_that_does_not_travel_comes_as_its_words(ds: atd.Dataset[atd.Row]) -> None:
    with pytest.raises(RuntimeError, match="Odd: 1 and 2"):
        list(ds.map(jobs.raise_odd).loader(SIZE, workers=1, start_method="fork"))


@pytest.mark.usefixtures("nothing_left")
def test_a_batch_that_does_not_travel_is_an_error(ds: atd.Dataset[atd.Row]) -> None:
    with pytest.raises((AttributeError, RuntimeError, TypeError), match=r"pickle|lambda"):
        list(ds.map(jobs.as_lambda).loader(SIZE, workers=1, start_method="fork"))


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("start_method", ["fork", "spawn"])
def test_a_killed_worker_is_an_error_and_no_wait(
    ds: atd.Dataset[atd.Row], start_method: str
) -> None:
    loader = ds.map(jobs.die_at_17).loader(SIZE, workers=2, start_method=start_method)
    with pytest.raises(LocalError, match="signal SIGKILL"):
        list(loader)


@pytest.mark.usefixtures("nothing_left")
def test_leaving_early_ends_the_workers(ds: atd.Dataset[atd.Row]) -> None:
    for batch in ds.map(jobs.slowly).loader(SIZE, workers=3, start_method="fork"):
        assert len(batch) == SIZE
        assert len(loaders()) == 3
        break


@pytest.mark.usefixtures("nothing_left")
def test_a_lambda_is_refused_where_it_cannot_be_sent(ds: atd.Dataset[atd.Row]) -> None:
    with pytest.raises(LocalError, match="cannot be sent to a loader worker"):
        list(ds.map(lambda row: row).loader(SIZE, workers=1, start_method="spawn"))


def test_no_more_workers_than_batches_are_started(ds: atd.Dataset[atd.Row]) -> None:
    seen = list(ds.map(jobs.process).loader(60, workers=9, start_method="fork"))
    assert len({batch[0] for batch in seen}) == 2


def test_arrays_that_came_from_a_worker_may_be_written(ds: atd.Dataset[atd.Row]) -> None:
    batch = next(iter(ds.loader(SIZE, workers=1, start_method="fork")))
    batch.veins[0] = 7
    assert batch.kind.names == ("oak", "elm")
    assert batch.note[0] == f"leaf {batch.number[0]}"
    np.testing.assert_array_equal(batch.spots[1], np.arange(batch.number[1] % 3 + 1))


PROGRAM = """
import os, sys
import atd
import jobs

if __name__ == "__main__":
    ds = atd.load(sys.argv[1], split="train").map(jobs.slowly)
    for batch in ds.loader(12, workers=2, start_method=sys.argv[2]):
        print("begun", flush=True)
        sys.stdin.read()
"""


@pytest.mark.parametrize("start_method", ["fork", "spawn"])
def test_workers_end_with_a_parent_that_was_killed(
    many: Path, tmp_path: Path, start_method: str
) -> None:
    before = shared_memory()
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    parent = subprocess.Popen(
        [sys.executable, str(program), str(many), start_method],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"begun\n"
    workers = loaders(parent.pid)
    assert len(workers) == 2
    parent.kill()
    parent.communicate()
    deadline = time.monotonic() + 20
    while (any(map(is_alive, workers)) or shared_memory() - before) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(is_alive, workers))
    assert not shared_memory() - before


def is_alive(process: int) -> bool:
    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
