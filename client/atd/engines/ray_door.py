"""The engine ``ray``: tasks on a Ray cluster, or on one of this machine's own.

Belongs here: everything that knows Ray's tasks; its data sets are in `atd.dataset.ray_door`.
``--engine ray`` uses the cluster that the program is connected to, or else starts one on this
machine; ``--engine ray=HOST:6379`` or ``ray=auto`` takes part in one that runs. Its workers must
have atd installed and see the same files by the same paths.

Ray would try a task again by itself; it is told not to, since the foreman does.
"""

from __future__ import annotations

import os
from typing import Any, Final

import ray
from ray import exceptions

from atd.engines.engine import Engine, Function, Outcome, Unsendable
from atd.errors import EngineFault

NAME: Final = "ray"

_LOST: Final = (
    exceptions.WorkerCrashedError,
    exceptions.NodeDiedError,
    exceptions.ObjectLostError,
    exceptions.OutOfMemoryError,
    exceptions.LocalRayletDiedError,
    exceptions.RaySystemError,
)


def open_engine(address: str | None, workers: int | None) -> Engine:
    """The engine on the cluster at ``address``, the program's own, or one that is started now.

    Raises:
        EngineFault: nobody answers there, or a cluster cannot be started.
    """
    ours = not ray.is_initialized()
    if ours:
        # Whoever runs atd was not asked whether to tell Ray's makers.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            ray.init(
                address=address or "local",
                num_cpus=workers if address is None else None,
                include_dashboard=False if address is None else None,
                log_to_driver=False,
                logging_level="ERROR",
            )
        except (OSError, ConnectionError, ValueError, RuntimeError, TimeoutError) as error:
            raise EngineFault(
                f"no Ray cluster at {address or 'this machine'}: {error}",
                next_step="give the address that ray start shows: --engine ray=HOST:6379",
            ) from error
    return Ray(workers, ours=ours)


class Ray:
    """Tasks on the Ray cluster that this process is connected to.

    Args:
        workers: tasks at a time; None: as many as the cluster has processors.
        ours: whether the connection ends with the engine.
    """

    name = NAME

    def __init__(self, workers: int | None, *, ours: bool) -> None:
        self._ours = ours
        self._tickets: dict[Any, int] = {}
        self._remotes: dict[Function, Any] = {}
        self.slots = workers or max(int(ray.cluster_resources().get("CPU", 1)), 1)

    def submit(self, ticket: int, function: Function, task: Any) -> None:
        """Submit a task for one processor."""
        try:
            if function not in self._remotes:
                self._remotes[function] = ray.remote(num_cpus=1, max_retries=0)(function)
            promise = self._remotes[function].remote(task)
        except (TypeError, AttributeError, ValueError) as error:
            raise Unsendable(f"these samples cannot be sent to a Ray worker: {error}") from error
        self._tickets[promise] = ticket

    def wait(self) -> Outcome:
        """The promise that is kept next."""
        (promise, *_), _ = ray.wait([*self._tickets], num_returns=1)
        ticket = self._tickets.pop(promise)
        try:
            return Outcome(ticket, value=ray.get(promise))
        except _LOST as error:
            return Outcome(ticket, lost=f"a Ray worker died ({type(error).__name__})")
        except exceptions.RayTaskError as error:
            cause = error.cause
            return Outcome(ticket, error=cause if isinstance(cause, Exception) else error)

    def close(self) -> None:
        """Cancel what is under way, and let go of a cluster that was started here."""
        if self._ours:
            ray.shutdown()
            return
        for promise in self._tickets:
            ray.cancel(promise, force=True)
