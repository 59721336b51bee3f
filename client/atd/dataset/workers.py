"""Worker processes that build batches, and the pipe a batch comes through.

What belongs here: starting processes, keeping their order, and leaving nothing behind. What a
worker builds is somebody else's business: it is handed a function that gives an iterator.

Each worker has a pipe of its own, so the order is the order in which they are asked. A thread in
the worker sends what is ready, at most ``prefetch`` batches ahead; the parent has no thread. Arrays
go through the pipe as they lie in memory. Shared memory would save a copy, but what a killed
process leaves in ``/dev/shm`` stays there, and a file descriptor of a pipe does not. A worker whose
parent is gone gets a broken pipe at its next batch, and ends.

What is unpickled here was pickled by a process that this one started, never by anybody else.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import multiprocessing
import os
import queue
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import ForkingPickler
from typing import Any, Final

import numpy as np

from atd.errors import LocalError

START_METHODS: Final = ("fork", "spawn", "forkserver")

_OUT_OF_BAND: Final = 5
"""The first pickle protocol that hands out the memory of arrays instead of copying it."""

_PIPE_BYTES: Final = 1 << 20
"""What a pipe may hold without privileges."""

_PATIENCE_S: Final = 5.0
"""How long a worker may take to end after it was told to, before it is killed."""

Job = Callable[[], Iterator[Any]]
"""What a worker does. It pickles, and the batches it gives do."""


@dataclass(frozen=True)
class _Done:
    """A worker has nothing more."""


@dataclass(frozen=True)
class _Failed:
    """A worker's batch raised: the error, and its traceback as text."""

    error: BaseException
    trace: str


def in_workers(jobs: Sequence[Job], *, prefetch: int, start_method: str | None) -> Iterator[Any]:
    """What the jobs give, one of each in turn, each job in a process of its own.

    Args:
        jobs: one for each worker; job ``w`` gives the items ``w``, ``w + len(jobs)`` … of the
            whole, so that the first to have no more ends it all.
        prefetch: items that each worker may be ahead, 1 or more.
        start_method: ``fork``, ``spawn`` or ``forkserver``; Python's default where it is None.

    Raises:
        LocalError: a worker died, and did not say why; or the jobs do not pickle.
        Exception: what a worker raised, with a note that says which one and where.
    """
    context = multiprocessing.get_context(start_method)
    workers: list[_Worker] = []
    try:
        for number, job in enumerate(jobs):
            workers.append(_Worker.start(context, job, f"{number + 1} of {len(jobs)}", prefetch))
        while True:
            for worker in workers:
                item = worker.take()
                if isinstance(item, _Done):
                    return
                yield item
    finally:
        _end(workers)


@dataclass(frozen=True)
class _Worker:
    name: str
    process: BaseProcess
    pipe: Connection

    @classmethod
    def start(cls, context: BaseContext, job: Job, name: str, prefetch: int) -> _Worker:
        ours, theirs = context.Pipe(duplex=False)
        _widen(ours)
        forked = context.get_start_method() == "fork"
        process = context.Process(  # type: ignore[attr-defined]  # every context has one
            target=_work,
            args=(job, theirs, ours if forked else None, prefetch),
            name=f"atd-loader-{name.replace(' ', '-')}",
            daemon=True,
        )
        try:
            process.start()
        except (AttributeError, TypeError) as error:
            ours.close()
            raise LocalError(
                f"this cannot be sent to a loader worker: {error}",
                next_step="map with functions of a module, not with lambdas or inner functions; or "
                "use start_method='fork'",
            ) from error
        finally:
            # Only the worker may hold this end, or its death would go unnoticed.
            theirs.close()
        return cls(name, process, ours)

    def take(self) -> Any:
        """The next item; raises what the worker raised."""
        wait([self.pipe, self.process.sentinel])
        try:
            # A process forked elsewhere meanwhile may hold the other end, so its closing is not
            # all there is to go by.
            if not self.pipe.poll():
                raise EOFError
            item = _receive(self.pipe)
        except (EOFError, OSError):
            self.process.join(_PATIENCE_S)
            raise LocalError(
                f"loader worker {self.name} (process {self.process.pid}) ended with "
                f"{_ending(self.process.exitcode)}, without a word",
                next_step="memory may be short: try fewer workers or smaller batches; workers=0 "
                "shows what it runs into",
            ) from None
        if isinstance(item, _Failed):
            item.error.add_note(f"In loader worker {self.name}:\n{item.trace}")
            raise item.error
        return item


def _widen(pipe: Connection) -> None:
    """Let a pipe hold more than the 64 KB that Linux gives it: a batch of pictures is 200 times
    that, and each time it is full or empty the processes have to take turns."""
    ask = getattr(fcntl, "F_SETPIPE_SZ", None)
    if ask is not None:
        with contextlib.suppress(OSError):  # above a limit of the user's: it stays as it is
            fcntl.fcntl(pipe.fileno(), ask, _PIPE_BYTES)


def _end(workers: Sequence[_Worker]) -> None:
    """Let every worker go, and wait until it is gone."""
    for worker in workers:
        worker.pipe.close()
        worker.process.terminate()
    for worker in workers:
        worker.process.join(_PATIENCE_S)
        if worker.process.exitcode is None:
            worker.process.kill()
            worker.process.join()
        worker.process.close()


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        with contextlib.suppress(ValueError):
            return f"signal {signal.Signals(-code).name}"
    return f"exit code {code}"


# ---------------------------------------------------------------------- in the worker


def _work(job: Job, pipe: Connection, inherited: Connection | None, prefetch: int) -> None:
    """The life of a worker: build, hand to the sender, stop when nobody listens."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is interrupted too, and ends us
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # what the parent does then is not for us
    if inherited is not None:
        inherited.close()
    ready: queue.Queue[Any] = queue.Queue(maxsize=prefetch)
    sender = threading.Thread(target=_send_all, args=(ready, pipe), name="atd-send", daemon=True)
    sender.start()
    try:
        for item in job():
            ready.put(item)
        ready.put(_Done())
    except Exception as error:
        ready.put(_failure(error))
    sender.join()


def _send_all(ready: queue.Queue[Any], pipe: Connection) -> None:
    while True:
        item = ready.get()
        try:
            payload, buffers = _packed(item)
        except Exception as error:
            item = _failure(error)
            payload, buffers = _packed(item)
        try:
            _send(pipe, payload, buffers)
        except OSError:
            # Nobody listens any more, and the main thread may be in the middle of a long batch.
            os._exit(0)
        if isinstance(item, _Done | _Failed):
            pipe.close()
            return


def _failure(error: Exception) -> _Failed:
    """``error`` as it can travel: as itself, or as its name and message where it does not."""
    trace = "".join(traceback.format_exception(error))
    try:
        payload, buffers = _packed(error)
        _unpacked(payload, buffers)
    except Exception:
        return _Failed(RuntimeError(f"{type(error).__qualname__}: {error}"), trace)
    return _Failed(error, trace)


# ---------------------------------------------------------------------- the pipe


def _packed(item: Any) -> tuple[bytes, list[memoryview]]:
    """``item`` pickled, and the memory of its arrays beside it."""
    found: list[Any] = []
    out = io.BytesIO()
    ForkingPickler(out, _OUT_OF_BAND, True, found.append).dump(item)
    return out.getvalue(), [buffer.raw() for buffer in found]


def _unpacked(payload: bytes, buffers: Sequence[memoryview]) -> Any:
    return ForkingPickler.loads(payload, buffers=buffers)


def _send(pipe: Connection, payload: bytes, buffers: Sequence[memoryview]) -> None:
    pipe.send([buffer.nbytes for buffer in buffers])
    pipe.send_bytes(payload)
    for buffer in buffers:
        left = buffer
        while left:
            left = left[os.write(pipe.fileno(), left) :]


def _receive(pipe: Connection) -> Any:
    """The next item of the pipe; its arrays are writable and nobody else's.

    Raises:
        EOFError: the other end is closed.
    """
    sizes = pipe.recv()
    payload = pipe.recv_bytes()
    # New memory of numpy's is not filled with zeros first, and comes in large pages.
    buffers = [np.empty(size, np.uint8).data for size in sizes]
    for buffer in buffers:
        at = 0
        while at < len(buffer):
            # Straight to where it belongs: `Connection` would copy it three times on the way.
            count = os.readv(pipe.fileno(), [buffer[at:]])
            if not count:
                raise EOFError
            at += count
    return _unpacked(payload, buffers)
