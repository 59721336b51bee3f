"""A data set in torch's own DataLoader: one order, whatever reads it."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import atd
import jobs
from atd.errors import LocalError

torch = pytest.importorskip("torch", reason="torch is not installed here: make test-torch")
data = pytest.importorskip("torch.utils.data")
door = pytest.importorskip("atd.dataset.torch_door")

SIZE = 12
METHODS = ["fork", "spawn"]

# Torch counts the processors and finds three workers too many.
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")


def numbers(batches: Any) -> list[list[int]]:
    return [batch["number"].tolist() for batch in batches]


def expected(ds: atd.Dataset[atd.Row], epoch: int = 0) -> list[list[int]]:
    loader = ds.loader(SIZE)
    loader.set_epoch(epoch)
    return [batch.number.tolist() for batch in loader]


def reading(batches: Any, workers: int = 0, method: str | None = None, **more: Any) -> Any:
    context = method if workers else None
    return data.DataLoader(
        batches, batch_size=None, num_workers=workers, multiprocessing_context=context, **more
    )


def test_batches_are_tensors(ds: atd.Dataset[atd.Row]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        batch = next(iter(ds.torch(SIZE)))
    assert isinstance(batch, dict)
    assert batch["number"].dtype == torch.int64
    assert batch["veins"].dtype == torch.float32
    assert batch["veins"].shape == (SIZE, 3)
    assert type(batch["kind"]) is torch.Tensor
    names = ds.schema["kind"].kind.names
    assert [names[at] for at in batch["kind"].tolist()] == [
        "oak" if n % 2 else "elm" for n in batch["number"].tolist()
    ]
    assert batch["note"] == [f"leaf {n}" for n in batch["number"].tolist()]
    spots = batch["spots"].unbind()
    assert [len(one) for one in spots] == [n % 3 + 1 for n in batch["number"].tolist()]
    batch["veins"][0] = 7  # may be written: it is no view of a shard


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("workers", [0, 1, 3])
def test_the_order_is_that_of_the_loader_for_any_number_of_workers(
    ds: atd.Dataset[atd.Row], workers: int, method: str
) -> None:
    loader = reading(ds.torch(SIZE), workers, method)
    assert numbers(loader) == expected(ds)
    assert numbers(loader) == expected(ds)
    assert len(loader) == 10


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("persistent", [False, True])
def test_an_epoch_reaches_workers(ds: atd.Dataset[atd.Row], persistent: bool, method: str) -> None:
    batches = ds.torch(SIZE)
    loader = reading(batches, 2, method, persistent_workers=persistent)
    for epoch in (0, 1, 1, 2):
        batches.set_epoch(epoch)
        assert numbers(loader) == expected(ds, epoch)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("persistent", [False, True])
def test_a_plain_loader_resumes_by_what_was_consumed(
    ds: atd.Dataset[atd.Row], persistent: bool, workers: int
) -> None:
    batches = ds.torch(SIZE)
    batches.set_epoch(3)
    running = iter(reading(batches, workers, "fork"))
    for _ in range(4):
        next(running)
    state = json.loads(json.dumps(batches.state_dict(consumed=4)))
    del running

    again = ds.torch(SIZE)
    again.load_state_dict(state)
    loader = reading(again, workers, "fork", persistent_workers=persistent and workers > 0)
    assert again.epoch == 3
    again.set_epoch(3)  # as a training loop does
    assert numbers(loader) == expected(ds, 3)[4:]
    assert numbers(loader) == expected(ds, 3), "only the next iteration resumes"
    again.load_state_dict(state)
    assert numbers(loader) == expected(ds, 3)[4:]
    again.set_epoch(4)
    assert numbers(loader) == expected(ds, 4)


def test_a_state_goes_between_torch_and_the_loader_on_other_ranks(
    ds: atd.Dataset[atd.Row],
) -> None:
    whole = expected(ds)
    state = ds.torch(SIZE, rank=1, world=2).state_dict(consumed=6)
    loader = ds.loader(SIZE)
    loader.load_state_dict(state)
    assert [batch.number.tolist() for batch in loader] == whole[6:]
    ranks = [ds.torch(SIZE, rank=rank, world=3) for rank in range(3)]
    for rank in ranks:
        rank.load_state_dict(loader.state_dict())
        assert numbers(rank) == []
        rank.load_state_dict(state)
    parts = [numbers(reading(rank, 2, "fork")) for rank in ranks]
    together = [[n for part in step for n in part] for step in zip(*parts, strict=True)]
    assert together == whole[6:]


def test_without_workers_it_knows_itself_where_it_stands(ds: atd.Dataset[atd.Row]) -> None:
    batches = ds.torch(SIZE)
    running = iter(batches)
    next(running)
    next(running)
    assert batches.state_dict() == batches.state_dict(consumed=2)


def test_with_workers_it_asks_what_was_consumed(ds: atd.Dataset[atd.Row]) -> None:
    batches = ds.torch(SIZE)
    next(iter(reading(batches, 1, "fork")))
    with pytest.raises(LocalError, match="run ahead") as caught:
        batches.state_dict()
    assert "consumed" in caught.value.next_step


@pytest.mark.parametrize(
    ("taken", "workers", "method"),
    [
        *((taken, workers, "fork") for taken in (0, 1, 4, 5, 10) for workers in (0, 2)),
        (5, 2, "spawn"),
    ],
)
def test_a_stateful_loader_is_exact_for_as_many_workers(
    ds: atd.Dataset[atd.Row], taken: int, workers: int, method: str
) -> None:
    stateful = pytest.importorskip(
        "torchdata.stateful_dataloader", reason="torchdata is not installed here: make test-torch"
    )

    def made() -> tuple[Any, Any]:
        batches = ds.torch(SIZE)
        context = method if workers else None
        return batches, stateful.StatefulDataLoader(
            batches, batch_size=None, num_workers=workers, multiprocessing_context=context
        )

    batches, loader = made()
    batches.set_epoch(2)
    running = iter(loader)
    before = [next(running)["number"].tolist() for _ in range(taken)]
    state = loader.state_dict()
    del running

    batches, loader = made()
    loader.load_state_dict(state)
    batches.set_epoch(2)
    assert before + numbers(loader) == expected(ds, 2)
    batches.set_epoch(3)
    assert numbers(loader) == expected(ds, 3)


def test_a_workers_state_is_refused_by_another_number_of_workers(
    ds: atd.Dataset[atd.Row],
) -> None:
    batches = ds.torch(SIZE)
    state = {**batches.state_dict(), "worker": 0, "workers": 2, "given": 1}
    batches.load_state_dict(state)
    with pytest.raises(LocalError, match="worker 0 of 2"):
        iter(batches)


def test_mapped_tensors_are_stacked(ds: atd.Dataset[atd.Row]) -> None:
    batch = next(iter(ds.map(jobs.as_tensor).torch(SIZE)))
    assert batch["x"].shape == (SIZE, 3)
    assert batch["note"] == [f"leaf {int(one[0])}" for one in batch["x"]]


def test_what_torch_has_no_dtype_for_stays(ds: atd.Dataset[atd.Row]) -> None:
    assert door.to_tensors(np.array([1, 2], dtype=">i4")).tolist() == [1, 2]
    assert door.to_tensors(np.arange(4)[::-1]).tolist() == [3, 2, 1, 0]
    assert door.to_tensors(np.array([1, 2], dtype=np.uint16)).tolist() == [1, 2]
    words = np.array(["a", "b"])
    assert door.to_tensors(words) is not None
    assert isinstance(door.to_tensors(words), np.ndarray)
    writable = np.zeros(3)
    door.to_tensors(writable)[0] = 5
    assert writable[0] == 5, "an array that may be written is shared, not copied"


def test_batches_of_samples_serve_a_map_style_loader(ds: atd.Dataset[atd.Row]) -> None:
    loader = reading(ds.batched(SIZE, drop_last=True), 2, "fork")
    assert [batch.number.tolist() for batch in loader] == expected(ds)


def test_pinning_and_pickling_keep_what_it_is(ds: atd.Dataset[atd.Row]) -> None:
    batches = ds.torch(SIZE)
    batches.set_epoch(1)
    assert numbers(pickle.loads(pickle.dumps(batches))) == expected(ds, 1)
    batch = next(iter(batches))
    copied = data.default_convert(batch)
    assert torch.equal(copied["spots"].values, batch["spots"].values)


def test_an_error_in_a_worker_keeps_its_message(ds: atd.Dataset[atd.Row]) -> None:
    loader = reading(ds.map(jobs.refuse_17).torch(SIZE), 2, "fork")
    with pytest.raises(ValueError, match="seventeen is no number"):
        list(loader)


def test_a_rank_comes_with_its_world(ds: atd.Dataset[atd.Row]) -> None:
    with pytest.raises(LocalError, match="world with the rank"):
        ds.torch(SIZE, rank=1)
    with pytest.raises(LocalError, match="multiple of 5"):
        ds.torch(SIZE, rank=1, world=5)


@pytest.mark.parametrize("workers", [0, 2])
def test_two_ranks_train_what_one_would(many: Path, tmp_path: Path, workers: int) -> None:
    """DDP over gloo: each rank takes its slices, and the model is that of one process."""
    program = Path(__file__).with_name("train.py")
    rendezvous = f"file://{tmp_path / 'rendezvous'}"
    ranks = [
        subprocess.Popen(
            [sys.executable, program, str(many), str(rank), "2", rendezvous, str(workers)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    alone = subprocess.run(
        [sys.executable, program, str(many), "0", "1", "", "0"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    one = json.loads(alone.stdout)
    two = [json.loads(rank.communicate(timeout=200)[0]) for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0]
    together = [a + b for a, b in zip(two[0]["seen"], two[1]["seen"], strict=True)]
    assert together == one["seen"]
    assert len(together) == 20
    assert two[0]["weights"] == two[1]["weights"]
    np.testing.assert_allclose(two[0]["weights"], one["weights"], rtol=1e-4)
