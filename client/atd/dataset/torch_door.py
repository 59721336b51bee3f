"""The only importer of torch: a data set as an ``IterableDataset`` of batches.

What belongs here: batches as tensors, and which of them a torch worker builds. It is a `Plan` like
the one of `atd.dataset.loader`, striped over the workers that torch starts; torch gives their
batches out in turn, and so the order is the same for any number of them.

Torch copies a data set into its workers once and does not tell them what changes later. So the
epoch and the place to begin at lie in a tensor that all copies share (as an anonymous file, which
nobody has to remove).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.distributed
from torch.utils.data import IterableDataset, get_worker_info

from atd.dataset.batches import Collate
from atd.dataset.flow import Flow
from atd.dataset.loader import Plan
from atd.dataset.survivors import with_survivors
from atd.errors import LocalError
from atd.shards.batch import Batch, Ragged

_EPOCH, _START, _CLAIM, _TURN = range(4)
"""What lies where in the shared tensor: the epoch; the global batch to begin at, for the one
iteration that claims it; the base seed of that iteration, or `_FREE`; how often it was set."""

_FREE = -1
_HERE = -2
"""The claim of an iteration without workers."""


class RaggedTensor(NamedTuple):
    """Tensors of one dtype but of different shapes: `atd.Ragged` as torch's tools can move it.

    Item ``i`` is ``values[offsets[i]:offsets[i + 1]]`` in the shape ``shapes[i]``.
    """

    values: torch.Tensor
    offsets: torch.Tensor
    shapes: torch.Tensor

    def unbind(self) -> list[torch.Tensor]:
        """The items, as views."""
        bounds = self.offsets.tolist()
        return [
            self.values[begin:end].reshape(shape)
            for begin, end, shape in zip(bounds, bounds[1:], self.shapes.tolist(), strict=False)
        ]


class TorchBatches(IterableDataset[Any]):  # type: ignore[misc]  # torch is not there for mypy
    """Batches of one rank as tensors. Made by `Dataset.torch`.

    Use it as ``DataLoader(batches, batch_size=None, num_workers=…)``.
    """

    def __init__(self, plan: Plan, rank: int | None, world: int | None) -> None:
        super().__init__()
        self._plan = plan
        self._asked = (rank, world)
        self._shared = torch.tensor([plan.flow.selection.epoch or 0, 0, _FREE, 0])
        self._shared.share_memory_()
        self._turn = 0
        self._start = 0
        self._given = 0
        self._resume: tuple[int, int, int, int] | None = None
        self._ranked()

    def __len__(self) -> int:
        """Global batches in an epoch: steps of every rank."""
        return self._plan.total

    @property
    def epoch(self) -> int:
        """The epoch that the next iteration is of."""
        return int(self._shared[_EPOCH])

    def set_epoch(self, epoch: int) -> None:
        """Turn to another epoch, and to its beginning; also in persistent workers.

        The epoch it is in keeps its position. Call it before iterating the ``DataLoader``.
        """
        if epoch != self.epoch:
            self._set(epoch, 0)

    def __iter__(self) -> Iterator[Any]:
        info = get_worker_info()
        worker, workers = (0, 1) if info is None else (info.id, info.num_workers)
        start = self._claimed(_HERE if info is None else info.seed - info.id)
        given = 0
        if self._resume is not None:
            start, given, *which = self._resume
            self._resume = None
            if which != [worker, workers]:
                raise LocalError(
                    f"this state is of worker {which[0]} of {which[1]}, and this is {worker} of "
                    f"{workers}",
                    next_step="a state of torch's workers fits as many of them; ds.loader and "
                    "state_dict(consumed=…) fit any number",
                )
        self._start, self._given = start, given
        return self._run(start, given, worker, workers)

    def state_dict(self, consumed: int | None = None) -> dict[str, Any]:
        """Where it stands, as JSON; the state of `Dataset.loader` where ``consumed`` is given.

        Args:
            consumed: global batches of this epoch that the training loop has behind it. Needed
                where a plain ``DataLoader`` has workers, which run ahead of it.
                ``StatefulDataLoader`` asks each worker by itself, and needs nothing.

        Raises:
            LocalError: workers iterate, and ``consumed`` is not given.
        """
        plan = self._turned()
        if consumed is not None:
            return plan.state(consumed)
        info = get_worker_info()
        if info is None:
            if int(self._shared[_CLAIM]) not in (_FREE, _HERE):
                raise LocalError(
                    "worker processes iterate, and run ahead of the training loop",
                    next_step="say how many batches of the epoch are behind: "
                    "state_dict(consumed=…), or use torchdata's StatefulDataLoader",
                )
            return plan.state(self._start + self._given)
        mine = {"worker": info.id, "workers": info.num_workers, "given": self._given}
        return {**plan.state(self._start), **mine}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Let the next iteration begin where ``state`` was taken, in the epoch it was taken in.

        Raises:
            LocalError: it is the state of another release, order or pipeline.
        """
        plan, start = self._turned().restored(state)
        if "given" in state:
            self._shared[_EPOCH] = plan.flow.selection.epoch or 0
            self._resume = (start, state["given"], state["worker"], state["workers"])
            self._start, self._given = start, state["given"]
        else:
            self._set(plan.flow.selection.epoch or 0, start)

    def __getstate__(self) -> dict[str, Any]:
        # Spawned workers cannot ask which rank they are of.
        self._ranked()
        return dict(self.__dict__)

    def __repr__(self) -> str:
        plan = self._plan
        return (
            f"TorchBatches of {plan.total:,} global batches of {plan.size}, rank {plan.rank} of "
            f"{plan.world}: {plan.flow}"
        )

    # -- inside -----------------------------------------------------------------------------

    def _run(self, start: int, given: int, worker: int, workers: int) -> Iterator[Any]:
        # Skipping ``given`` rounds of all workers leads to this worker's next batch.
        batches = self._turned().batches(start + given * workers, worker, workers)
        for count, batch in enumerate(batches, given + 1):
            self._given = count
            yield to_tensors(batch)

    def _turned(self) -> Plan:
        """The plan in the epoch that is set now."""
        self._ranked()
        plan, epoch = self._plan, self.epoch
        if plan.flow.selection.epoch not in (None, epoch):
            self._plan = plan = plan.at_epoch(epoch)
        return plan

    def _ranked(self) -> None:
        """Take rank and world from torch.distributed, where they were not given.

        A spawned worker cannot ask, and keeps what the data set knew when it was sent.
        """
        rank, world = self._asked
        if rank is not None and world is not None:
            pass
        elif torch.distributed.is_available() and torch.distributed.is_initialized():
            rank, world = torch.distributed.get_rank(), torch.distributed.get_world_size()
        elif get_worker_info() is not None:
            return
        else:
            rank, world = 0, 1
        self._plan = replace(self._plan, rank=rank, world=world)

    def _set(self, epoch: int, start: int) -> None:
        self._shared[_EPOCH] = epoch
        self._shared[_START] = start
        self._shared[_CLAIM] = _FREE
        self._shared[_TURN] += 1
        self._start, self._given = start, 0

    def _claimed(self, claim: int) -> int:
        """The global batch that this iteration begins at: the one set, but only once.

        All workers of an iteration have one base seed, and a persistent worker remembers that it
        began there before.
        """
        turn = int(self._shared[_TURN])
        holder = int(self._shared[_CLAIM])
        fresh = self._turn != turn and holder in (_FREE, claim)
        self._turn = turn
        if holder == _FREE:
            self._shared[_CLAIM] = claim
        return int(self._shared[_START]) if fresh else 0


def batches(
    flow: Flow,
    size: int,
    rank: int | None,
    world: int | None,
    tail: str,
    collate: Collate | None,
) -> TorchBatches:
    """The batches of ``flow`` as a torch data set; see `Dataset.torch`."""
    if (world is None) != (rank is None):
        raise LocalError("expected a world with the rank", next_step="give both, or neither")
    # Validated as rank 0 of 1 first: who this is may be known only later.
    plan = Plan(with_survivors(flow), size, tail=tail, collate=collate)
    return TorchBatches(plan, rank, world)


def to_tensors(value: Any) -> Any:
    """``value`` with its arrays as tensors.

    A `Batch` or mapping becomes a dict, `Ragged` a `RaggedTensor`; lists and tuples are searched,
    and a list of tensors of one shape is stacked. An array that may be written is shared, one that
    is read-only (a view of a shard) is copied, for torch has no read-only tensors. What torch has
    no dtype for stays an array.
    """
    match value:
        case np.ndarray():
            return _tensor(value)
        case Batch() | Mapping():
            return {name: to_tensors(column) for name, column in value.items()}
        case Ragged():
            parts = (value.values, value.offsets, value.shapes)
            return RaggedTensor(*map(_tensor, parts))
        case list():
            return _list([to_tensors(item) for item in value])
        case tuple() if type(value) is tuple:
            return tuple(to_tensors(item) for item in value)
        case _:
            return value


def _list(items: list[Any]) -> Any:
    first = items[0] if items else None
    if isinstance(first, torch.Tensor) and all(
        isinstance(item, torch.Tensor) and (item.shape, item.dtype) == (first.shape, first.dtype)
        for item in items
    ):
        return torch.stack(items)
    return items


def _tensor(array: np.ndarray[Any, Any]) -> Any:
    plain = array.view(np.ndarray)
    if plain.dtype.kind not in "biufc":
        return plain
    if not plain.dtype.isnative:
        plain = plain.astype(plain.dtype.newbyteorder("="))
    if not plain.flags.writeable or any(stride < 0 for stride in plain.strides):
        plain = plain.copy()
    try:
        return torch.from_numpy(plain)
    except TypeError:
        # float128 and its like: torch says so by raising, and keeps no list to ask.
        return plain
