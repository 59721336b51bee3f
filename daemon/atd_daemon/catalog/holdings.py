"""What is known of the files in the store: when each was used, for which releases, what is pinned.

What belongs here: the tables ``holdings``, ``belongings`` and ``pins``. Whether a file is there and
right is the store's business alone; what is written here decides only which of them may go first.
So a row without a file, or a file without a row, is harmless, and `reconcile` puts it right.

A pin is of a release, and then of all its shards, those that come later too, or of one digest.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from atd.protocol.cbor import Cid
from atd.protocol.syntax import AtUri
from atd_daemon.catalog.database import Database


@dataclass(frozen=True, slots=True)
class Use:
    """A shard was asked for at ``at`` (seconds since 1970), for a release that calls it ``name``;
    both empty where that is not known."""

    digest: Cid
    at: float
    release: AtUri | None = None
    name: str = ""


@dataclass(frozen=True, slots=True)
class Holding:
    """A file of the store: ``size`` in bytes; ``names`` is what each release calls it."""

    digest: Cid
    size: int
    used_at: float
    pinned: bool
    names: Mapping[str, str]


class Holdings:
    """The part of the index about the store. Safe with threads; moments are by the caller's clock.

    Raises:
        StorageFault: as every part of the index.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, digest: Cid, size: int, *, now: float) -> None:
        """A file came into the store."""
        with self._database.write() as db:
            _put(db, digest, size, now)

    def used(self, uses: Iterable[Use]) -> None:
        """Take note of uses, in one transaction."""
        with self._database.write() as db:
            for use in uses:
                db.execute(
                    "UPDATE holdings SET used_at = max(used_at, ?) WHERE digest = ?",
                    (use.at, str(use.digest)),
                )
                if use.release is not None:
                    _belongs(db, use.digest, use.release, use.name)

    def belongs(self, release: AtUri, shards: Iterable[tuple[Cid, str]]) -> None:
        """Take note of what a release calls its shards, whether they are here or not."""
        rows = ((str(digest), str(release), name) for digest, name in shards)
        with self._database.write() as db:
            db.executemany("INSERT OR IGNORE INTO belongings VALUES (?, ?, ?)", rows)

    def drop(self, digests: Iterable[Cid]) -> None:
        """Files left the store. What a pinned release calls them is kept: they may come again."""
        with self._database.write() as db:
            for digest in digests:
                _drop(db, str(digest))

    def reconcile(self, found: Mapping[Cid, int], *, now: float) -> None:
        """Make the rows those of the files that are there, by digest with their sizes."""
        wanted = {str(digest): size for digest, size in found.items()}
        with self._database.write() as db:
            known = dict(db.execute("SELECT digest, size FROM holdings").fetchall())
            for digest in known.keys() - wanted.keys():
                _drop(db, digest)
            for digest, size in wanted.items():
                if known.get(digest) != size:
                    _put(db, digest, size, now)

    def total(self) -> int:
        """Bytes of all files."""
        with self._database.read() as db:
            return int(db.execute("SELECT total(size) FROM holdings").fetchone()[0])

    def all(self) -> list[Holding]:
        """Every file, the one that was not used for the longest first."""
        with self._database.read() as db:
            pins = {row[0] for row in db.execute("SELECT target FROM pins")}
            names: dict[str, dict[str, str]] = {}
            for digest, release, name in db.execute("SELECT digest, release, name FROM belongings"):
                names.setdefault(digest, {})[release] = name
            rows = db.execute("SELECT digest, size, used_at FROM holdings ORDER BY used_at, digest")
            return [
                Holding(
                    Cid.parse(digest),
                    size,
                    used_at,
                    digest in pins or not pins.isdisjoint(names.get(digest, ())),
                    names.get(digest, {}),
                )
                for digest, size, used_at in rows
            ]

    def counts(self) -> dict[str, int]:
        """How many shards of each release are here, by its URI."""
        query = """SELECT release, count(*) FROM belongings JOIN holdings USING (digest)
                   GROUP BY release"""
        with self._database.read() as db:
            return dict(db.execute(query).fetchall())

    def pin(self, target: AtUri | Cid, *, now: float) -> None:
        """Never let the shards of a release go, or one digest."""
        with self._database.write() as db:
            db.execute("INSERT OR IGNORE INTO pins VALUES (?, ?)", (str(target), now))

    def unpin(self, target: AtUri | Cid | str) -> bool:
        """Take a pin away; whether there was one."""
        with self._database.write() as db:
            gone = db.execute("DELETE FROM pins WHERE target = ?", (str(target),))
            return gone.rowcount > 0

    def pins(self) -> list[str]:
        """What is pinned: URIs of releases and digests, the oldest pin first."""
        with self._database.read() as db:
            return [row[0] for row in db.execute("SELECT target FROM pins ORDER BY at, target")]

    def releases(self) -> list[str]:
        """The URIs of the releases of which a shard is here, or that are pinned."""
        query = """SELECT release FROM belongings JOIN holdings USING (digest)
                   UNION SELECT target FROM pins WHERE target LIKE 'at://%' ORDER BY 1"""
        with self._database.read() as db:
            return [row[0] for row in db.execute(query)]


def _put(db: sqlite3.Connection, digest: Cid | str, size: int, now: float) -> None:
    db.execute("INSERT OR REPLACE INTO holdings VALUES (?, ?, ?)", (str(digest), size, now))


def _belongs(db: sqlite3.Connection, digest: Cid, release: AtUri, name: str) -> None:
    row = (str(digest), str(release), name)
    db.execute("INSERT OR IGNORE INTO belongings VALUES (?, ?, ?)", row)


def _drop(db: sqlite3.Connection, digest: str) -> None:
    db.execute("DELETE FROM holdings WHERE digest = ?", (digest,))
    db.execute(
        "DELETE FROM belongings WHERE digest = ? AND release NOT IN (SELECT target FROM pins)",
        (digest,),
    )
