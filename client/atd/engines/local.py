"""The engine of this machine: this process alone, or processes beside it.

Belongs here: starting worker processes, giving each one task at a time, noticing that one died, and
leaving nothing behind.

A worker is this interpreter started anew, with the same ``sys.path``, and never a fork: threads and
locks of a program do not survive that. It does not run the user's script a second time either, as
processes of ``multiprocessing`` do, so a script needs no ``if __name__ == "__main__"``; what only
that script defines cannot be sent in turn, and is done in this process.

Tasks and outcomes are pickled through a socket that only the two processes have. What is unpickled
was pickled by a process that this one started, and never comes from a shard or the network.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections import deque
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import ForkingPickler
from typing import Any, Final

from atd.engines.engine import Engine, Function, Outcome, Unsendable
from atd.engines.here import NAME, Here
from atd.errors import EngineFault

_PATIENCE_S: Final = 5.0
"""How long a worker may take to end after it was told to, before it is killed."""


def processors() -> int:
    """How many processors this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return os.cpu_count() or 1


def open_engine(address: str | None, workers: int | None) -> Engine:
    """Processes of this machine, or this process alone where ``workers`` is 1.

    Raises:
        EngineFault: an address was given.
    """
    if address is not None:
        raise EngineFault(
            f"the engine {NAME} has no address: it is this machine",
            next_step="say how many processes with --workers N, or choose dask or ray",
        )
    count = processors() if workers is None else workers
    return Processes(count) if count > 1 and sys.executable else Here()


@dataclass(eq=False)
class _Worker:
    """A worker process and the task that it has."""

    process: subprocess.Popen[bytes]
    pipe: Connection
    ticket: int | None = None


class Processes:
    """Worker processes beside this one; each is started when there is a first task for it."""

    name = NAME

    def __init__(self, workers: int) -> None:
        self.slots = workers
        self._workers: list[_Worker] = []
        self._lost: deque[Outcome] = deque()

    def submit(self, ticket: int, function: Function, task: Any) -> None:
        """Send a task to a worker that has none."""
        try:
            message = ForkingPickler.dumps((function, task))
        except Exception as error:  # pickling runs code of whatever is pickled
            raise Unsendable(f"these samples cannot be sent to another process: {error}") from error
        worker = next((one for one in self._workers if one.ticket is None), None)
        if worker is None:
            worker = _start()
            self._workers.append(worker)
        worker.ticket = ticket
        try:
            worker.pipe.send_bytes(message)
        except OSError:
            self._lost.append(self._bury(worker))

    def wait(self) -> Outcome:
        """Whatever a worker says next, or that one has died."""
        if self._lost:
            return self._lost.popleft()
        pipes = {one.pipe: one for one in self._workers if one.ticket is not None}
        worker = pipes[next(one for one in wait([*pipes]) if isinstance(one, Connection))]
        try:
            value, error = worker.pipe.recv()
        except (EOFError, OSError):
            return self._bury(worker)
        assert worker.ticket is not None
        ticket, worker.ticket = worker.ticket, None
        return Outcome(ticket, value, error)

    def _bury(self, worker: _Worker) -> Outcome:
        """The outcome of the task that a dead worker had."""
        self._workers.remove(worker)
        worker.pipe.close()
        _end(worker.process)
        assert worker.ticket is not None
        return Outcome(worker.ticket, lost=f"a worker process ended with {_ending(worker.process)}")

    def close(self) -> None:
        """End every worker, whatever it is doing, and wait until it is gone."""
        for worker in self._workers:
            worker.pipe.close()
            worker.process.terminate()
        for worker in self._workers:
            _end(worker.process)
        self._workers.clear()


def _start() -> _Worker:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        number = theirs.fileno()
        boot = (
            f"import sys; sys.path[:] = {sys.path!r}; "
            f"from atd.engines.worker import work; work({number})"
        )
        try:
            # Its own session: an interrupt from the terminal is for the driver, which then ends it.
            process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-c", boot],
                stdin=subprocess.DEVNULL,
                stdout=2,
                pass_fds=(number,),
                start_new_session=True,
            )
        except OSError as error:
            raise EngineFault(
                f"cannot start a worker process: {error.strerror}",
                next_step="try --workers 1, which starts none",
            ) from error
        return _Worker(process, Connection(ours.detach()))


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(_PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _ending(process: subprocess.Popen[bytes]) -> str:
    code = process.returncode
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"signal {signal.Signals(-code).name}"
    return f"exit code {code}"
