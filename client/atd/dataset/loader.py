"""Whole global batches, on any number of ranks and workers.

What belongs here: `Loader` and the plan that says which worker builds what. The order is a function
of the data set alone; position counts whole global batches of it. Ranks and workers only stripe
that order: each rank takes its slice of every global batch, and worker ``w`` of ``W`` builds that
rank's batches ``w``, ``w + W`` and so on. So a position means the same on any number of them, and
all ranks take the same number of steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Generic, TypeVar

from atd.dataset.batches import Batches, Collate
from atd.dataset.cursor import check_state, state_of
from atd.dataset.flow import Flow
from atd.dataset.patience import PatientBatches
from atd.dataset.survivors import with_survivors
from atd.dataset.workers import START_METHODS, in_workers
from atd.errors import LocalError

B = TypeVar("B")

TAILS: Final = ("drop", "pad")


@dataclass(frozen=True, eq=False)
class Plan:
    """Which batches a rank gives, and which worker builds them.

    Args:
        flow: what all ranks share: nobody's share, and without filters.
        size: samples in a global batch; a multiple of ``world``.
        rank, world: whose slice of each global batch.
        tail: ``drop`` leaves out the last samples that do not fill a global batch; ``pad`` fills it
            with the first samples of the same epoch.
        collate: makes a batch of a list of samples, or None.
    """

    flow: Flow
    size: int
    rank: int = 0
    world: int = 1
    tail: str = "drop"
    collate: Collate | None = None

    def __post_init__(self) -> None:
        if self.size < 1 or self.world < 1 or self.size % self.world:
            raise LocalError(
                f"expected a global batch of a multiple of {self.world} samples, one slice for "
                f"each rank, got {self.size}",
                next_step="batch_size counts the samples of all ranks together",
            )
        if not 0 <= self.rank < self.world:
            raise LocalError(f"expected a rank in range({self.world}), got {self.rank}")
        if self.tail not in TAILS:
            raise LocalError(f"expected a tail of {' or '.join(TAILS)}, got {self.tail!r}")
        if self.flow.world != 1:
            raise LocalError(
                "this data set is already the share of one rank",
                next_step="name rank and world here instead of with shard",
            )

    @property
    def total(self) -> int:
        """Global batches in an epoch."""
        whole, rest = divmod(self.flow.selection.total, self.size)
        return whole + (rest > 0 and self.tail == "pad")

    def batches(self, start: int, worker: int = 0, workers: int = 1) -> Iterator[Any]:
        """This rank's batches ``start + worker``, then every ``workers``-th one."""
        mine = len(range(start + worker, self.total, workers))
        selection = self.flow.selection.stripe(
            self.size,
            rank=self.rank,
            world=self.world,
            first=start + worker,
            stride=workers,
            batches=mine,
        )
        flow = replace(self.flow, selection=selection)
        made = PatientBatches if flow.patient else Batches
        return iter(made(flow, self.size // self.world, False, self.collate))

    def at_epoch(self, epoch: int) -> Plan:
        """The same plan in another epoch."""
        turned = self.flow.selection.at_epoch(epoch)
        return replace(self, flow=replace(self.flow, selection=turned))

    def state(self, position: int) -> dict[str, Any]:
        """The state after ``position`` global batches: the one of the data set, and the epoch."""
        samples = min(position * self.size, self.flow.selection.total)
        return {**state_of(self.flow, samples), "epoch": self.flow.selection.epoch}

    def restored(self, state: Mapping[str, Any]) -> tuple[Plan, int]:
        """This plan in the epoch of ``state``, and the global batches that are behind.

        Raises:
            LocalError: it is of another release, order or pipeline, or lies within a global batch.
        """
        epoch = state.get("epoch")
        plan = self.at_epoch(epoch) if isinstance(epoch, int) else self
        samples = check_state(plan.flow, state)
        position, rest = divmod(samples, self.size)
        if rest and samples != plan.flow.selection.total:
            raise LocalError(
                f"this state stands after {samples:,} samples, within a global batch of "
                f"{self.size}",
                next_step="go on with the batch size that it was taken with",
            )
        return plan, min(position + (rest > 0), plan.total)


@dataclass(frozen=True, eq=False)
class _Job:
    """What one worker builds. It pickles."""

    plan: Plan
    start: int
    worker: int
    workers: int

    def __call__(self) -> Iterator[Any]:
        return self.plan.batches(self.start, self.worker, self.workers)


class Loader(Generic[B]):
    """Batches ``B`` of one rank; its position counts global batches. Made by `Dataset.loader`.

    Each iteration begins at the beginning of the epoch, or once where `load_state_dict` said, and
    never advances the epoch: `set_epoch` does.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        workers: int = 0,
        prefetch: int = 2,
        start_method: str | None = None,
    ) -> None:
        if workers < 0 or prefetch < 1:
            raise LocalError(
                f"expected 0 workers or more, each 1 batch ahead or more, got {workers} and "
                f"{prefetch}"
            )
        if start_method is not None and start_method not in START_METHODS:
            raise LocalError(
                f"expected a start method of {', '.join(START_METHODS)}, got {start_method!r}"
            )
        self._plan = replace(plan, flow=with_survivors(plan.flow))
        self._workers = workers
        self._prefetch = prefetch
        self._start_method = start_method
        self._start = 0
        self._given = 0

    def __len__(self) -> int:
        """Global batches in an epoch: steps of every rank."""
        return self._plan.total

    @property
    def epoch(self) -> int | None:
        """The epoch of the shuffle written last; None for an order that has none."""
        return self._plan.flow.selection.epoch

    def set_epoch(self, epoch: int) -> None:
        """Turn to another epoch, and to its beginning. The epoch it is in keeps its position.

        Only a shuffle written last before `loader` turns; another order is the same in every epoch.
        """
        if epoch != self.epoch:
            self._plan = self._plan.at_epoch(epoch)
            self._start = self._given = 0

    def __iter__(self) -> Iterator[B]:
        start, self._start = self._start, 0
        self._given = start
        return self._run(start)

    def state_dict(self) -> dict[str, Any]:
        """Where the last iterator stands: after the global batch it gave last, on every rank."""
        return self._plan.state(self._given)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Let the next iterator begin where ``state`` was taken, in the epoch it was taken in.

        The number of ranks and workers may be another. So may the batch size, if the samples that
        are behind are whole batches of the new one.

        Raises:
            LocalError: it is the state of another release, order or pipeline.
        """
        self._plan, self._start = self._plan.restored(state)
        self._given = self._start

    def _run(self, start: int) -> Iterator[Any]:
        # More workers than batches would start for nothing.
        workers = min(self._workers, self._plan.total - start)
        if workers < 1:
            batches = self._plan.batches(start)
        else:
            jobs = [_Job(self._plan, start, worker, workers) for worker in range(workers)]
            batches = in_workers(jobs, prefetch=self._prefetch, start_method=self._start_method)
        for given, batch in enumerate(batches, start + 1):
            self._given = given
            yield batch

    def __repr__(self) -> str:
        plan = self._plan
        return (
            f"Loader of {plan.total:,} global batches of {plan.size}, rank {plan.rank} of "
            f"{plan.world}, {self._workers} workers: {plan.flow}"
        )
