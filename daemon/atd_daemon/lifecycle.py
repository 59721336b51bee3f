"""One daemon per home: who may run, where it listens, what it says of itself, how it ends.

What belongs here: the lock that a running daemon holds for life, its socket, ``daemon.json``, its
log, and what the command line needs to start, stop and watch it. No HTTP server, no index: this
module is cheap to import.

Rules. Whoever holds the lock is the daemon; a process id is never trusted for that, since ids are
reused. A socket file is removed only by the holder of the lock. The kernel frees the lock when the
process dies, however it dies, so nothing needs to be cleaned up by hand.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import logging.handlers
import os
import secrets
import signal
import socket
import stat
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TextIO

from atd import __version__, api
from atd.connection import Connection, peer_credentials
from atd.errors import Busy, DaemonAway, DaemonError, StorageFault
from atd.launch import is_free, log_tail, start_daemon
from atd.protocol.syntax import spell_datetime
from atd.settings import Settings
from atd_daemon.logs import FLOOD, FORMATTERS

STOP_TIMEOUT_S: Final = 20.0
LOOK_S: Final = 0.2
MAX_LOG_BYTES: Final = 5 * 1024 * 1024
KEPT_LOGS: Final = 3
BACKLOG: Final = 128
LOOPBACK: Final = "127.0.0.1"


# ---- being the daemon


@contextlib.contextmanager
def only_daemon(settings: Settings) -> Iterator[None]:
    """Be the one daemon of this home while the context is open.

    Raises:
        Busy: another process is.
        StorageFault: the folders or the lock file cannot be made.
    """
    settings.prepare()
    path = settings.lock_file
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StorageFault(f"cannot open the lock file {path}: {error.strerror}") from None
    try:
        if not _locked(handle):
            raise Busy(
                f"a daemon already runs for {settings.state_dir} (it holds {path})",
                next_step="stop it first with: atd daemon stop",
            )
        yield
    finally:
        os.close(handle)


def _locked(handle: int) -> bool:
    """Lock an open file, unless somebody has it for longer than a look at it takes (`is_free`)."""
    deadline = time.monotonic() + LOOK_S
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(LOOK_S / 10)
        else:
            return True


@contextlib.contextmanager
def listening(path: Path) -> Iterator[socket.socket]:
    """A listening Unix socket at ``path``, for its owner alone. The caller holds the lock.

    A socket file that a killed daemon left behind is replaced; anything else there is not ours.

    Raises:
        StorageFault: something that is not a socket is in the way, or the path cannot be used.
    """
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise StorageFault(
                f"{path} should be the daemon's socket, but is another kind of file",
                next_step=f"move it away: mv {path} {path}.old",
            )
        os.unlink(path)
    line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with contextlib.closing(line):
        before = os.umask(0o177)
        try:
            line.bind(os.fspath(path))
        except OSError as error:
            raise StorageFault(f"cannot make the socket {path}: {error.strerror}") from None
        finally:
            os.umask(before)
        line.listen(BACKLOG)
        line.setblocking(False)
        try:
            yield line
        finally:
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def loopback(port: int) -> Iterator[socket.socket]:
    """A socket bound to ``port`` (0: any that is free) of 127.0.0.1, and of nothing else.

    Raises:
        StorageFault: the port is taken, or may not be used.
    """
    line = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    with contextlib.closing(line):
        line.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            line.bind((LOOPBACK, port))
        except OSError as error:
            raise StorageFault(
                f"cannot listen on {LOOPBACK}:{port}: {error.strerror}",
                next_step="choose another port with: atd daemon run --tcp PORT",
            ) from None
        yield line


@contextlib.contextmanager
def announced(settings: Settings) -> Iterator[datetime]:
    """Keep ``daemon.json`` while the context is open; yields when the daemon was started."""
    started_at = datetime.now(UTC)
    said = {
        "version": __version__,
        "pid": os.getpid(),
        "socket": str(settings.socket_path),
        "settings": settings.digest(),
        "values": settings.shared(),
        "startedAt": spell_datetime(started_at),
    }
    write_private(settings.daemon_file, json.dumps(said, indent=2) + "\n")
    try:
        yield started_at
    finally:
        settings.daemon_file.unlink(missing_ok=True)


def new_token(settings: Settings) -> str:
    """A fresh secret for the TCP listener, written to ``run/token`` for its owner alone."""
    token = secrets.token_urlsafe(32)
    write_private(settings.run_dir / "token", token + "\n")
    return token


def write_private(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` so that it is there whole or not at all, mode 0600.

    Raises:
        StorageFault: it cannot be written.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.unlink(missing_ok=True)
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(draft, path)
    except OSError as error:
        raise StorageFault(f"cannot write {path}: {error.strerror}") from None


def keep_log(settings: Settings, screen: TextIO | None = None) -> logging.Handler:
    """Send the log of this process to ``daemon.log``, and to ``screen`` where one is given.

    Returns the file's handler.

    Raises:
        StorageFault: the log cannot be written.
    """
    try:
        settings.log_file.touch(mode=0o600)
        handler = logging.handlers.RotatingFileHandler(
            settings.log_file, maxBytes=MAX_LOG_BYTES, backupCount=KEPT_LOGS, encoding="utf-8"
        )
    except OSError as error:
        raise StorageFault(f"cannot write the log {settings.log_file}: {error.strerror}") from None
    formatter = FORMATTERS[settings.log_format]()
    handlers: list[logging.Handler] = [handler]
    if screen is not None:
        handlers.append(logging.StreamHandler(screen))
    for each in handlers:
        each.setFormatter(formatter)
        each.addFilter(FLOOD)
    logging.basicConfig(level=logging.INFO, handlers=handlers, force=True)
    return handler


def detach() -> None:
    """What a background process leaves behind: the caller's folder and its file mode."""
    os.chdir("/")
    os.umask(0o077)
    sys.stdout.flush()


# ---- watching and steering it, for the command line


def start(settings: Settings) -> dict[str, Any]:
    """Start the daemon unless it runs, and return its status. Raises like `Connection.call`."""
    connection = Connection(settings, start=False)
    if not connection.is_up():
        start_daemon(settings, connection.is_up)
    return connection.call(api.GET_STATUS)


def status(settings: Settings) -> dict[str, Any] | None:
    """What the running daemon says of itself (`network.atd.daemon.getStatus`); None: none runs."""
    connection = Connection(settings, start=False)
    return connection.call(api.GET_STATUS) if connection.is_up() else None


def stop(settings: Settings) -> bool:
    """Stop the daemon and wait until it is gone. Whether there was one.

    It is asked first; one that does not answer gets SIGTERM.

    Raises:
        DaemonError: it is still there after both.
    """
    pid = _listener(settings)
    if pid is None:
        return False
    with contextlib.suppress(DaemonAway, DaemonError):
        Connection(settings, start=False).call(api.STOP, {})
    if _is_gone(settings, STOP_TIMEOUT_S):
        return True
    if pid and _listener(settings) == pid:
        os.kill(pid, signal.SIGTERM)
        if _is_gone(settings, STOP_TIMEOUT_S):
            return True
    raise DaemonError(
        f"the daemon (process {pid or 'unknown'}) does not stop",
        next_step=f"end it with: kill -9 {pid}" if pid else None,
    )


def logs(settings: Settings, lines: int = 50) -> list[str]:
    """The last ``lines`` lines of the daemon's log; empty where there is none."""
    return log_tail(settings.log_file, lines=lines)


def _listener(settings: Settings) -> int | None:
    """The process that listens at the socket (0: the system does not say which); None: none.

    Told by the kernel about the listening process, so it cannot be a reused id from a file.
    """
    line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        line.settimeout(STOP_TIMEOUT_S)
        line.connect(os.fspath(settings.socket_path))
        pid, owner = peer_credentials(line, os.fspath(settings.socket_path))
    except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
        return None
    finally:
        line.close()
    if owner != os.getuid():
        raise DaemonError(f"the socket {settings.socket_path} is served by user {owner}")
    return pid


def _is_gone(settings: Settings, timeout_s: float) -> bool:
    """Wait until nobody holds the daemon's lock."""
    deadline = time.monotonic() + timeout_s
    while not is_free(settings.lock_file):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
