"""Who may touch which file, among the tasks and processes of one machine (flock).

Two kinds. The *work lock* of a digest is a file of its own: whoever holds it may download, adopt
or replace that shard. The *readers' lock* is on the shard file itself: readers hold it shared
while they have the file mapped, removal takes it exclusively and gives up at once if it cannot.

A lock lives in the kernel and dies with its process, so nothing is left behind by a SIGKILL.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from atd.errors import Busy
from atd_daemon.store.layout import storing

_POLL_S = 0.05


@asynccontextmanager
async def working(path: Path) -> AsyncIterator[None]:
    """Hold the work lock at ``path``, waiting for whoever has it."""
    while (handle := _try_work(path)) is None:  # noqa: ASYNC110 - another process may hold it
        await asyncio.sleep(_POLL_S)
    try:
        yield
    finally:
        _release(path, handle)


@contextmanager
def working_now(path: Path) -> Iterator[None]:
    """Hold the work lock at ``path``.

    Raises:
        Busy: another task or process holds it.
    """
    handle = _try_work(path)
    if handle is None:
        raise Busy(f"{path.stem} is being worked on by another task or process")
    try:
        yield
    finally:
        _release(path, handle)


@contextmanager
def sole_reader(path: Path) -> Iterator[None]:
    """Hold the readers' lock of the shard file ``path`` exclusively.

    Raises:
        Busy: somebody reads the file.
        FileNotFoundError: it is not there.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy(f"the shard {path.name} is being read") from None
        yield
    finally:
        os.close(handle)


def _try_work(path: Path) -> int | None:
    """An open, locked handle of the lock file; None if another holds it."""
    with storing(path):
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # The one before us removed the file it had locked: a lock on a file without a name
        # excludes nobody.
        if _same_file(path, handle):
            return handle
    except BlockingIOError:
        pass
    except BaseException:
        os.close(handle)
        raise
    os.close(handle)
    return None


def _same_file(path: Path, handle: int) -> bool:
    try:
        named = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return False
    held = os.fstat(handle)
    return (named.st_dev, named.st_ino) == (held.st_dev, held.st_ino)


def _release(path: Path, handle: int) -> None:
    """Remove the lock file while it is still held, then let go."""
    try:
        path.unlink(missing_ok=True)
    finally:
        os.close(handle)
