"""Which data sets are kept here: those that somebody pulled, and at which release.

What belongs here: the table ``kept``. It says what was asked for on purpose; which of its shards
are here is for the files to say. A data set is kept at one release at a time, the one that was
pulled last.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from atd.names import split_release_key
from atd.protocol.cbor import Cid
from atd.protocol.syntax import AtUri, Did
from atd_daemon.catalog.database import Database


@dataclass(frozen=True, slots=True)
class KeptDataset:
    """A data set that is kept at ``release``, whose content was ``cid``; ``since`` is when it was
    first pulled (seconds since 1970)."""

    did: Did
    name: str
    release: AtUri
    cid: Cid
    since: float

    @property
    def version(self) -> str:
        """The version of the release."""
        return split_release_key(str(self.release.rkey))[1]


class Kept:
    """The part of the index about what is kept. Safe with threads; moments are by the caller.

    Raises:
        StorageFault: as every part of the index.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, one: KeptDataset) -> None:
        """It is being pulled: keep it, unless it is kept already, at whichever release."""
        with self._database.write() as db:
            db.execute("INSERT OR IGNORE INTO kept VALUES (?, ?, ?, ?, ?)", _row(one))

    def set(self, one: KeptDataset) -> None:
        """It was pulled: keep it at this release; since when stays what it was."""
        query = """INSERT INTO kept VALUES (?, ?, ?, ?, ?) ON CONFLICT (did, name)
                   DO UPDATE SET release = excluded.release, cid = excluded.cid"""
        with self._database.write() as db:
            db.execute(query, _row(one))

    def forget(self, did: Did, name: str) -> bool:
        """Keep it no longer; whether it was kept."""
        with self._database.write() as db:
            gone = db.execute("DELETE FROM kept WHERE did = ? AND name = ?", (str(did), name))
            return gone.rowcount > 0

    def get(self, did: Did, name: str) -> KeptDataset | None:
        """What is kept of a data set."""
        query = "SELECT * FROM kept WHERE did = ? AND name = ?"
        with self._database.read() as db:
            row = db.execute(query, (str(did), name)).fetchone()
        return None if row is None else _read(row)

    def all(self) -> list[KeptDataset]:
        """Every data set that is kept, by name."""
        with self._database.read() as db:
            return [_read(row) for row in db.execute("SELECT * FROM kept ORDER BY name, did")]


def _row(one: KeptDataset) -> tuple[str, str, str, str, float]:
    return str(one.did), one.name, str(one.release), str(one.cid), one.since


def _read(row: sqlite3.Row | tuple[str, str, str, str, float]) -> KeptDataset:
    did, name, release, cid, since = row
    return KeptDataset(Did(did), name, AtUri.parse(release), Cid.parse(cid), since)
