"""Starting the daemon from a client, once, however many ask for it at the same time.

What belongs here: the lock that makes one of several callers the starter, the detached process, the
wait for its first word, and the log's last lines when it dies instead. Standard library only.

How it goes::

    caller ── flock run/start.lock ── still nobody at the socket? ── sh ── daemon
       │                                                              (exits)  │
       └───────────── reads one line: {"ready": true} or an error ◂── pipe ────┘

The daemon holds the writing end of the pipe. It writes one line when it serves, or the error that
stopped it; if it dies before either, the pipe ends and its log says why.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from atd import api
from atd.errors import Busy, DaemonAway, StorageFault
from atd.settings import Settings

START_TIMEOUT_S: Final = 30.0
POLL_S: Final = 0.05
LOG_LINES: Final = 8
MAX_LOG_TAIL_BYTES: Final = 16 * 1024

# The shell puts the daemon in the background and exits, so the daemon is nobody's child: a notebook
# that lives for weeks keeps no zombie of it. (Forking here would copy the caller's threads.)
TRAMPOLINE: Final = ("/bin/sh", "-c", '"$@" &', "atd")


def start_daemon(settings: Settings, is_up: Callable[[], bool]) -> None:
    """Start the daemon unless another caller just did, and wait until it serves.

    Args:
        settings: what the daemon is started with (its environment is made from them).
        is_up: whether a daemon answers at the socket now.

    Raises:
        AtdError: the reason that the daemon itself gave (BadSettings, StorageFault, …).
        DaemonAway: it died without a word, or did not serve in time.
    """
    settings.prepare()
    deadline = time.monotonic() + START_TIMEOUT_S
    with _only_one(settings.run_dir / "start.lock", deadline):
        while not is_up():
            if is_free(settings.lock_file):
                # Busy: someone ran `atd daemon run` between our look and our start. Theirs will do.
                with contextlib.suppress(Busy):
                    _spawn(settings, deadline)
                    return
            elif time.monotonic() > deadline:
                raise DaemonAway(
                    f"a daemon holds {settings.lock_file}, but does not listen at "
                    f"{settings.socket_path}",
                    next_step="see what it does with: atd daemon logs",
                )
            time.sleep(POLL_S)


def is_free(path: Path) -> bool:
    """Whether no daemon holds the lock ``path``: neither one that serves nor one that is stopping.

    Raises:
        StorageFault: the lock file is there and cannot be opened.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    except OSError as error:
        raise StorageFault(f"cannot open the lock file {path}: {error.strerror}") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(handle)
    return True


def log_tail(log_file: Path, offset: int = 0, lines: int = LOG_LINES) -> list[str]:
    """The last lines of the log that were written after byte ``offset``, without controls."""
    try:
        with open(log_file, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            begin = offset if offset <= size else 0
            file.seek(max(begin, size - MAX_LOG_TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return []
    return ["".join(c if c.isprintable() else "·" for c in line) for line in text.splitlines()][
        -lines:
    ]


@contextlib.contextmanager
def _only_one(path: Path, deadline: float) -> Iterator[None]:
    """Hold ``path`` locked. The file stays: removing a lock file would let two hold "it"."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StorageFault(f"cannot open the lock file {path}: {error.strerror}") from None
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise DaemonAway(
                        f"another process has been starting the daemon for {START_TIMEOUT_S:.0f} s "
                        f"(lock {path})"
                    ) from None
                time.sleep(POLL_S)
        yield
    finally:
        os.close(handle)


def _spawn(settings: Settings, deadline: float) -> None:
    """Start the detached process and read its first word."""
    log_file = settings.log_file
    try:
        log = os.open(log_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StorageFault(f"cannot write the log file {log_file}: {error.strerror}") from None
    offset = os.fstat(log).st_size
    reading, writing = os.pipe()
    command = [sys.executable, "-P", "-m", "atd_daemon.main", "--ready-fd", str(writing)]
    try:
        subprocess.run(  # noqa: S603 - our own interpreter, fixed arguments
            [*TRAMPOLINE, *command],
            env=settings.child_environ(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(writing,),
            start_new_session=True,
            check=True,
        )
        os.close(writing)
        writing = -1
        word = _first_line(reading, deadline)
    finally:
        os.close(log)
        os.close(reading)
        if writing >= 0:
            os.close(writing)
    if word is None:
        why = f"did not serve within {START_TIMEOUT_S:.0f} s"
    else:
        said = json.loads(word) if word else {}
        if said.get("ready"):
            return
        if "error" in said:
            raise api.error_from_wire(said)
        why = "stopped while it started"
    tail = "\n  ".join(log_tail(log_file, offset) or ["(the log says nothing)"])
    raise DaemonAway(f"the daemon {why}; the end of {log_file}:\n  {tail}")


def _first_line(handle: int, deadline: float) -> bytes | None:
    """The first line from a pipe: empty where it ended first, None where time ran out."""
    line = b""
    while not line.endswith(b"\n"):
        ready, _, _ = select.select([handle], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return None
        piece = os.read(handle, 65536)
        if not piece:
            return b""
        line += piece
    return line
