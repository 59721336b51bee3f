"""The account's SQLite file: its tables, one writer at a time, readers beside it.

Everything that one commit changes (records, blocks, head, blob uses, its event) is in this one
file, so that one transaction makes it and a SIGKILL at any moment leaves the state before or the
state after. ``synchronous=FULL``: a signed commit that was shown to somebody must survive a loss of
power, or the account would sign two histories.

Every ``sqlite3.Error`` leaves here as `StorageFault`.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TypeAlias

from atd.errors import StorageFault
from atd_daemon.sqlite import Readers, transaction

Connection: TypeAlias = sqlite3.Connection

_VERSION: Final = 1

_SCHEMA: Final = """
CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE head (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    cid BLOB NOT NULL, rev TEXT NOT NULL, data BLOB NOT NULL
);
CREATE TABLE block (cid BLOB PRIMARY KEY, rev TEXT NOT NULL, bytes BLOB NOT NULL);
CREATE INDEX block_rev ON block (rev);
CREATE TABLE record (
    collection TEXT NOT NULL, rkey TEXT NOT NULL, cid BLOB NOT NULL, rev TEXT NOT NULL,
    PRIMARY KEY (collection, rkey)
) WITHOUT ROWID;
CREATE INDEX record_cid ON record (cid);
CREATE TABLE blob (
    cid BLOB PRIMARY KEY, mime TEXT NOT NULL, size INTEGER NOT NULL, uploaded_s REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE blob_use (
    cid BLOB NOT NULL, collection TEXT NOT NULL, rkey TEXT NOT NULL, rev TEXT NOT NULL,
    PRIMARY KEY (cid, collection, rkey)
) WITHOUT ROWID;
CREATE INDEX blob_use_record ON blob_use (collection, rkey);
CREATE TABLE event (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, time_s REAL NOT NULL, frame BLOB NOT NULL
);
CREATE TABLE session (
    id TEXT PRIMARY KEY, generation INTEGER NOT NULL, refreshed_s REAL NOT NULL,
    expires_s REAL NOT NULL
) WITHOUT ROWID;
"""


class Database:
    """One SQLite file. Thread-safe: writers wait for each other, readers see a snapshot."""

    def __init__(self, path: Path) -> None:
        """Open ``path``, which `create` made.

        Raises:
            StorageFault: missing, damaged, or of a later version of atd.
        """
        self.path = path
        self._lock = threading.Lock()
        self._readers = Readers(self._connect)
        with self._faults():
            self._writer = self._connect()
            (version,) = self._writer.execute("PRAGMA user_version").fetchone()
        if version != _VERSION:
            self._writer.close()
            raise StorageFault(
                f"the host's database {path} has layout {version}, this atd knows {_VERSION}",
                next_step="use the version of atd that wrote it, or restore a backup",
            )

    @classmethod
    def create(cls, path: Path) -> Database:
        """Make a new database at ``path`` with empty tables, readable by its owner alone.

        Raises:
            StorageFault: it exists, or cannot be written.
        """
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise StorageFault(f"{path} cannot be made: {error.strerror}") from None
        try:
            with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.executescript(
                    f"BEGIN; {_SCHEMA} PRAGMA user_version = {_VERSION}; COMMIT;"
                )
        except sqlite3.Error as error:
            raise StorageFault(f"{path} cannot be made: {error}") from None
        return cls(path)

    @contextlib.contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that changes things: kept if the block ends, undone if it raises."""
        with self._lock, self._faults(), transaction(self._writer) as connection:
            yield connection

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """A snapshot: what it reads belongs to one state of the account."""
        with self._faults(), self._readers.view() as connection:
            yield connection

    def copy_to(self, path: Path) -> None:
        """Write a consistent copy to ``path`` (SQLite's backup API) while others go on working."""
        with (
            self._faults(),
            contextlib.closing(self._connect()) as source,
            contextlib.closing(sqlite3.connect(path)) as target,
        ):
            source.backup(target)

    def close(self) -> None:
        """Close every connection; readers still out are closed when they come back."""
        with self._lock, self._faults():
            self._readers.close()
            self._writer.close()

    def _connect(self) -> Connection:
        # ``mode=rw``: a missing file is an error, never an empty database.
        connection = sqlite3.connect(
            f"{self.path.absolute().as_uri()}?mode=rw",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            timeout=10,
        )
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA journal_size_limit = 67108864")
        return connection

    @contextlib.contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StorageFault(f"the host's database {self.path}: {error}") from error


def setting(connection: Connection, name: str) -> str | None:
    """The value kept under ``name``, or None."""
    row = connection.execute("SELECT value FROM setting WHERE name = ?", (name,)).fetchone()
    return None if row is None else str(row[0])


def keep(connection: Connection, name: str, value: str) -> None:
    """Keep ``value`` under ``name``, in place of what was there."""
    connection.execute("INSERT OR REPLACE INTO setting VALUES (?, ?)", (name, value))
