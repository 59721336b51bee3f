"""What our SQLite files have in common: transactions, and connections for reading.

Belongs here: how a connection is used. What is in a file, how durable it is, and what its errors
mean to a user are its owner's affair: `catalog.database`, `publishing.journal`, `host.database`.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
