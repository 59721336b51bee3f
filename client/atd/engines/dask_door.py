"""The engine ``dask``: tasks on a Dask cluster, or on one of this machine's own.

Belongs here: everything that knows ``distributed``. ``--engine dask`` uses the client that the
program has, or else starts a cluster on this machine; ``--engine dask=tcp://host:8786`` takes part
in one that runs. Its workers must have atd installed and see the same files by the same paths.

Dask moves a task whose worker died by itself, as often as its scheduler's ``allowed-failures``
says; a cluster that is started here is told not to, since the foreman does.
"""

from __future__ import annotations

from typing import Any, Final

import dask
import distributed

from atd.engines.engine import Engine, Function, Outcome, Unsendable
from atd.engines.local import processors
from atd.errors import EngineFault

NAME: Final = "dask"
_CONNECT_S: Final = 10


def open_engine(address: str | None, workers: int | None) -> Engine:
    """The engine on the cluster at ``address``, the program's own, or one that is started now.

    Raises:
        EngineFault: nobody answers there, or a cluster cannot be started.
    """
    try:
        if address is not None:
            client = distributed.Client(address, timeout=_CONNECT_S, set_as_default=False)
            return Dask(client, workers, ours=[client])
        try:
            return Dask(distributed.get_client(timeout=_CONNECT_S), workers, ours=[])
        except ValueError:  # the program has none
            return _started(workers or processors())
    except (OSError, TimeoutError, ValueError, RuntimeError) as error:
        raise EngineFault(
            f"no Dask cluster at {address or 'this machine'}: {error}",
            next_step="give the address that the scheduler shows: --engine dask=tcp://HOST:8786",
        ) from error


def _started(workers: int) -> Dask:
    """A cluster of processes of this machine, on the loopback alone, and for this process alone.

    A scheduler runs whatever is sent to it, and every user of a machine reaches its loopback: who
    has not the key that is made here for each cluster, and never leaves its processes, is refused.
    """
    with dask.config.set({"distributed.scheduler.allowed-failures": 0}):
        cluster = distributed.LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            protocol="tls://",
            security=distributed.Security.temporary(),
            dashboard_address="127.0.0.1:0",
        )
    client = distributed.Client(cluster, set_as_default=False)
    return Dask(client, workers, ours=[client, cluster])


class Dask:
    """Tasks on a Dask cluster.

    Args:
        workers: tasks at a time; None: as many as the cluster has threads.
        ours: what to close at the end: nothing that the program brought itself.
    """

    name = NAME

    def __init__(self, client: Any, workers: int | None, *, ours: list[Any]) -> None:
        self._client = client
        self._ours = ours
        self._tickets: dict[Any, int] = {}
        self._ended = distributed.as_completed(loop=client.loop)
        self.slots = workers or max(sum(client.nthreads().values()), 1)

    def submit(self, ticket: int, function: Function, task: Any) -> None:
        """Submit a task, which is not to be taken for an earlier one that looks the same."""
        try:
            future = self._client.submit(function, task, pure=False, retries=0)
        except Exception as error:  # pickling runs code of whatever is pickled
            raise Unsendable(f"these samples cannot be sent to a Dask worker: {error}") from error
        self._tickets[future] = ticket
        self._ended.add(future)

    def wait(self) -> Outcome:
        """The future that is done next."""
        future = next(self._ended)
        ticket = self._tickets.pop(future)
        if future.status == "finished":
            return Outcome(ticket, value=future.result())
        error = future.exception() if future.status == "error" else None
        if error is None:
            return Outcome(ticket, lost=f"the Dask cluster says {future.status}")
        if isinstance(error, distributed.KilledWorker):
            return Outcome(ticket, lost="a Dask worker died")
        return Outcome(ticket, error=error)

    def close(self) -> None:
        """Cancel what is under way, and end what was started here."""
        self._client.cancel([*self._tickets])
        for one in self._ours:
            one.close()
