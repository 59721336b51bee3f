"""Opening the index file, and running transactions in it.

One connection writes, behind a lock; others read, in WAL mode. So the catalog may be called from
any thread, a long write (a publisher's whole repository) holds up other writers but no reader, a
long look holds up nobody, and what is read is always the state between two transactions.

A file that is damaged is never used and never deleted: it is renamed, so that it can be looked at,
and the next start begins with an empty index, which fills again from the network.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from atd.errors import AtdError, Busy, StorageFault
from atd_daemon.catalog.place import refuse_network
from atd_daemon.catalog.schema import APPLICATION_ID, VERSION
from atd_daemon.sqlite import Readers, transaction

REBUILD: Final = (
    "run the same command again: an empty index is made, and fills again from the network"
    " (atd ls @HANDLE for each publisher)"
)
_BUSY_MS: Final = 10_000
_LOG_BYTES: Final = 64 * 1024 * 1024  # what the write-ahead log is cut back to after a large write
# A file that was closed in good order is checked only up to this size; one that was not, or that
# has failed us before, always. The check reads the whole file, at about 1 GB/s.
_CHECKED_BYTES: Final = 256 * 1024 * 1024
_SUFFIXES: Final = ("", "-wal", "-shm")


class Database:
    """The index file at ``path``, created or brought up to date on opening."""

    def __init__(self, path: Path) -> None:
        """Open it.

        Raises:
            StorageFault: it is damaged (and was moved aside), of a newer atd, not an index of atd,
                on a network file system, or cannot be written.
        """
        self.path = path
        self._suspect = path.with_name(f"{path.name}.suspect")
        self._write_lock = threading.RLock()
        self._readers = Readers(lambda: _connect(path, query_only=True))
        self._in_use = False
        refuse_network(path.parent)
        with self._speaking():
            _create(path)
            due = self._check_due()
            self._writer = _connect(path)
            try:
                self._examine(due)
            except BaseException:
                self._writer.close()
                raise
        self._in_use = True

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """One transaction: all of it, or, if anything is raised inside, nothing of it."""
        with self._write_lock, self._speaking(), transaction(self._writer) as db:
            yield db

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """One view: everything read inside is of the same moment."""
        with self._speaking(), self._readers.view() as db:
            yield db

    def size_bytes(self) -> int:
        """What the index takes on disk."""
        sizes = 0
        for suffix in _SUFFIXES:
            with contextlib.suppress(FileNotFoundError):
                sizes += self.path.with_name(self.path.name + suffix).stat().st_size
        return sizes

    def close(self) -> None:
        """Close the file; the last one to do so folds the write-ahead log into it."""
        with self._write_lock:
            self._readers.close()
            self._writer.close()

    def _check_due(self) -> bool:
        """Whether the file has to be read through before it is trusted."""
        log = self.path.with_name(f"{self.path.name}-wal")
        unclean = log.exists() and log.stat().st_size > 0
        return unclean or self._suspect.exists() or self.path.stat().st_size <= _CHECKED_BYTES

    def _examine(self, check_due: bool) -> None:
        """Refuse what is not ours or damaged, migrate what is old."""
        writer = self._writer
        version = writer.execute("PRAGMA user_version").fetchone()[0]
        mark = writer.execute("PRAGMA application_id").fetchone()[0]
        tables = writer.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if tables and mark != APPLICATION_ID:
            raise StorageFault(
                f"{self.path} is a database of another program",
                next_step="move it away, or choose another folder with ATD_HOME",
            )
        if version > VERSION:
            raise StorageFault(
                f"{self.path} was written by a newer atd (version {version}, known: {VERSION})",
                next_step="update atd, or choose another folder with ATD_HOME",
            )
        if tables and check_due:
            found = writer.execute("PRAGMA quick_check(1)").fetchone()[0]
            if found != "ok":
                raise sqlite3.DatabaseError(f"malformed: {found}")
            self._suspect.unlink(missing_ok=True)
        writer.execute("PRAGMA journal_mode = WAL")
        if version < VERSION:
            importlib.import_module("atd_daemon.catalog.migrations").migrate(writer)

    @contextmanager
    def _speaking(self) -> Iterator[None]:
        """Say in our words what SQLite and the disk say."""
        try:
            yield
        except (sqlite3.IntegrityError, sqlite3.ProgrammingError):
            raise  # a defect of ours, not a state of the file
        except sqlite3.DatabaseError as error:
            raise self._fault(error) from error
        except OSError as error:
            raise StorageFault(f"cannot use the index {self.path}: {error.strerror}") from error

    def _fault(self, error: sqlite3.DatabaseError) -> AtdError:
        code = getattr(error, "sqlite_errorcode", None)
        kind = code & 0xFF if isinstance(code, int) else None
        if kind in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return Busy(f"the index {self.path} is being written by another process")
        if kind == sqlite3.SQLITE_FULL:
            return StorageFault(f"no space left to write the index {self.path}")
        damaged = kind in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
        if not damaged and not str(error).startswith("malformed"):
            return StorageFault(f"cannot use the index {self.path}: {error}")
        if self._in_use:  # the next start looks at it closely
            self._suspect.touch()
            return StorageFault(
                f"the index {self.path} is damaged ({error})", next_step=f"stop atd, then {REBUILD}"
            )
        kept = _set_aside(self.path)
        self._suspect.unlink(missing_ok=True)
        return StorageFault(
            f"the index {self.path} was damaged ({error}); it is kept as {kept.name}",
            next_step=REBUILD,
        )


def _create(path: Path) -> None:
    """Make an empty file for its owner alone, unless there is one."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


def _connect(path: Path, *, query_only: bool = False) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute(f"PRAGMA journal_size_limit = {_LOG_BYTES}")
    # In WAL mode this never damages the file; a power cut may undo the last moments of an index
    # that can be rebuilt, and no write waits for the disk.
    connection.execute("PRAGMA synchronous = NORMAL")
    if query_only:
        connection.execute("PRAGMA query_only = ON")
    return connection


def _set_aside(path: Path) -> Path:
    """Rename the damaged file and what belongs to it; returns its new name."""
    number = 1
    while path.with_name(f"{path.name}.damaged-{number}").exists():
        number += 1
    kept = path.with_name(f"{path.name}.damaged-{number}")
    for suffix in _SUFFIXES:
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(kept.with_name(kept.name + suffix))
    return kept
