"""What our SQLite files have in common: transactions, and connections for reading.

Belongs here: how a connection is used. What is in a file, how durable it is, and what its errors
mean to a user are its owner's affair: `catalog.database`, `publishing.journal`, `host.database`.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

KEPT_READERS: Final = 4


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """Write all that is written inside or, if anything is raised, nothing of it."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


class Readers:
    """The connections that read one file. Thread-safe: a long look keeps nobody from a short one.

    Args:
        connect: opens one more connection, with ``check_same_thread=False``.
    """

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        self._connect = connect
        self._lock = threading.Lock()
        self._idle: list[sqlite3.Connection] = []
        self._closed = False

    @contextmanager
    def view(self) -> Iterator[sqlite3.Connection]:
        """One state of the file: whatever is read inside belongs together.

        Raises:
            sqlite3.ProgrammingError: the file was closed.
        """
        connection = self._take()
        try:
            connection.execute("BEGIN")
            yield connection
        finally:
            try:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            finally:
                self._give_back(connection)

    def close(self) -> None:
        """Close them all; those that are still out are closed when they come back."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _take(self) -> sqlite3.Connection:
        with self._lock:
            if self._closed:
                raise sqlite3.ProgrammingError("it is closed")
            if self._idle:
                return self._idle.pop()
        return self._connect()

    def _give_back(self, connection: sqlite3.Connection) -> None:
        with self._lock:
            if not self._closed and len(self._idle) < KEPT_READERS:
                self._idle.append(connection)
                return
        connection.close()


@dataclass(frozen=True, slots=True)
class Seen:
    """What looking at a file showed: ``damage`` in SQLite's words, None where there is none.

    ``complete`` is False where not all of it was read; ``note`` says why. ``size`` is in bytes.
    """

    size: int
    damage: str | None = None
    complete: bool = True
    note: str = ""


def look(path: Path, *, limit_s: float) -> Seen:
    """Read a file through for damage, changing nothing: not even a lock or a log file appears.

    One that is in use, or that a killed process left with a write-ahead log, is not read: who opens
    it next has to, and what is in the file alone is not all of it.
    """
    size = path.stat().st_size
    log = path.with_name(f"{path.name}-wal")
    if log.exists() and log.stat().st_size > 0:
        return Seen(size, None, False, "in use, or left by a killed process: not looked into")
    deadline = time.monotonic() + limit_s
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
    try:
        connection.set_progress_handler(lambda: time.monotonic() > deadline, 10_000)
        found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.OperationalError as error:
        if "interrupted" in str(error):
            return Seen(size, None, False, f"no damage in what could be read in {limit_s:.0f} s")
        return Seen(size, str(error))
    except sqlite3.DatabaseError as error:
        return Seen(size, str(error))
    finally:
        connection.close()
    return Seen(size, None if found == "ok" else str(found))
