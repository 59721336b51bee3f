"""The publication journal: what is being published, what was uploaded, what is about to be written.

One SQLite file, ``state/journal.sqlite``, WAL, ``synchronous=FULL``: a step that is in it survives
a power cut, and nothing is sent that is not in it. What belongs here: the file and its tables. What
the steps mean is `atd_daemon.publishing.publication`.

::

    publications   one row for each begin: whose, which name, by whom, what was asked
    writes         the records of a publication, in batches, byte for byte as they are sent
    uploads        blobs that a PDS took: known by account and digest, whichever publication

Only one publication of a name is open at a time: the table says so, and a second one is `Busy` as
long as the process that began the first is alive. A dead one's place is taken over, with its plan.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from atd.errors import Busy, InvalidSyntax, StorageFault
from atd.protocol.cbor import Cid, Value, decode, encode
from atd.protocol.syntax import AtUri, Did, Tid, quote
from atd.records import BlobRef, StrongRef
from atd_daemon.catalog.place import refuse_network
from atd_daemon.publishing.batches import Action, Write
from atd_daemon.publishing.holders import Holder
from atd_daemon.sqlite import transaction

_APPLICATION_ID: Final = 0x6174646A  # "atdj"
_VERSION: Final = 1
_BUSY_MS: Final = 10_000
_DAMAGED: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)

_TABLES: Final = """
CREATE TABLE publications (
    id TEXT PRIMARY KEY, did TEXT NOT NULL, name TEXT NOT NULL,
    open INTEGER NOT NULL, sending INTEGER NOT NULL DEFAULT 0,
    done INTEGER NOT NULL DEFAULT 0, begun_at REAL NOT NULL, ended_at REAL,
    holder TEXT, request TEXT NOT NULL, plan_key TEXT, plan TEXT
) STRICT;
CREATE UNIQUE INDEX one_open ON publications (did, name) WHERE open;
CREATE TABLE writes (
    publication TEXT NOT NULL REFERENCES publications (id), batch INTEGER NOT NULL,
    place INTEGER NOT NULL, action TEXT NOT NULL, uri TEXT NOT NULL, block BLOB NOT NULL,
    PRIMARY KEY (publication, batch, place)
) STRICT;
CREATE TABLE uploads (
    place TEXT NOT NULL, digest TEXT NOT NULL, publication TEXT NOT NULL,
    size INTEGER NOT NULL, blob BLOB NOT NULL, PRIMARY KEY (place, digest)
) STRICT, WITHOUT ROWID;
CREATE TABLE clock (last_tid_us INTEGER NOT NULL, id INTEGER NOT NULL) STRICT;
INSERT INTO clock VALUES (0, abs(random()) % 1024);
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """A publication that is open."""

    id: str
    did: Did
    name: str
    request: Mapping[str, Any]
    plan_key: str | None
    resumed: bool


@dataclass(frozen=True)
class Plan:
    """What a publication is going to write, fixed before the first byte of it is sent.

    Args:
        key: of what it was made from; another key, another plan.
        base: the CID of the head record that it replaces; None: there was none.
        head: the head record that it writes.
        release: the release that the head will point to.
        about: numbers for the result, as JSON.
        batches: the writes of each commit, in order; the last one moves the head.
    """

    key: str
    base: Cid | None
    head: StrongRef
    release: StrongRef
    about: Mapping[str, Any]
    batches: tuple[tuple[Write, ...], ...]

    @property
    def writes(self) -> Iterator[Write]:
        """The writes of all batches."""
        return (write for batch in self.batches for write in batch)


class Journal:
    """The journal at ``path``. Belongs to one thread at a time; every method is one transaction."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        """Open or create it.

        Raises:
            StorageFault: the folder cannot be written, or the file is damaged or another's.
        """
        self.path = path
        self._clock = clock
        refuse_network(path.parent)
        with self._speaking():
            self._db = _connect(path)
            try:
                self._examine()
            except BaseException:
                self._db.close()
                raise
            with self._writing():
                # Nothing is being sent by a daemon that just started.
                self._db.execute("UPDATE publications SET sending = 0, holder = NULL WHERE sending")

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    # --- publications ----------------------------------------------------------------------------

    def begin(self, did: Did, name: str, request: Mapping[str, Any], holder: Holder) -> Entry:
        """Open a publication, or take over one that was interrupted.

        Raises:
            Busy: another process is publishing this name right now.
        """
        with self._writing() as db:
            row = db.execute(
                "SELECT id, holder, sending, plan_key FROM publications"
                " WHERE did = ? AND name = ? AND open",
                (did, name),
            ).fetchone()
            said, by = json.dumps(request, sort_keys=True), holder.spelt()
            if row is None:
                id = secrets.token_hex(8)
                db.execute(
                    "INSERT INTO publications (id, did, name, open, begun_at, holder, request)"
                    " VALUES (?, ?, ?, 1, ?, ?, ?)",
                    (id, did, name, self._clock(), by, said),
                )
                return Entry(id, did, name, request, None, False)
            id, other, sending, plan_key = row
            if sending or (other != by and Holder.read(other).alive()):
                raise Busy(f"{name} of {did} is being published by another process right now")
            db.execute(
                "UPDATE publications SET holder = ?, request = ? WHERE id = ?", (by, said, id)
            )
            return Entry(id, did, name, request, plan_key, True)

    def is_orphaned(self, did: Did, name: str) -> bool:
        """Whether this name is being sent for a process that is gone: it will be let go of."""
        with self._speaking():
            row = self._db.execute(
                "SELECT holder FROM publications WHERE did = ? AND name = ? AND open AND sending",
                (did, name),
            ).fetchone()
        return row is not None and row[0] is not None and not Holder.read(row[0]).alive()

    def is_being_sent(self, did: Did, name: str) -> bool:
        """Whether this name is being sent right now."""
        with self._speaking():
            row = self._db.execute(
                "SELECT 1 FROM publications WHERE did = ? AND name = ? AND open AND sending",
                (did, name),
            ).fetchone()
        return row is not None

    def entry(self, id: str) -> Entry:
        """The open publication with this id.

        Raises:
            InvalidSyntax: there is none.
        """
        with self._speaking():
            row = self._db.execute(
                "SELECT did, name, request, plan_key FROM publications WHERE id = ? AND open", (id,)
            ).fetchone()
        if row is None:
            raise InvalidSyntax(
                f"no publication {quote(id)} is open", next_step="publish again from the start"
            )
        return Entry(id, Did(row[0]), row[1], json.loads(row[2]), row[3], True)

    def open_plan(self, did: Did, name: str) -> Plan | None:
        """The plan of the publication of this name that is open, if it has one."""
        with self._speaking():
            row = self._db.execute(
                "SELECT id FROM publications WHERE did = ? AND name = ? AND open", (did, name)
            ).fetchone()
        return None if row is None else self.plan(row[0])

    def open_ids(self) -> frozenset[str]:
        """The ids of all open publications."""
        with self._speaking():
            rows = self._db.execute("SELECT id FROM publications WHERE open").fetchall()
        return frozenset(id for (id,) in rows)

    @contextmanager
    def sending(self, id: str) -> Iterator[None]:
        """Inside, the publication is this daemon's; afterwards nobody holds it.

        Raises:
            Busy: it is being sent already.
        """
        with self._writing() as db:
            taken = db.execute(
                "UPDATE publications SET sending = 1 WHERE id = ? AND open AND NOT sending", (id,)
            ).rowcount
        if not taken:
            raise Busy(f"the publication {quote(id)} is being sent already")
        try:
            yield
        finally:
            with self._writing() as db:
                db.execute("UPDATE publications SET sending = 0, holder = NULL WHERE id = ?", (id,))

    def end(self, id: str, *, done: bool) -> None:
        """Close a publication: done, or given up."""
        with self._writing() as db:
            db.execute(
                "UPDATE publications SET open = 0, done = ?, plan_key = NULL, plan = NULL,"
                " ended_at = ? WHERE id = ?",
                (done, self._clock(), id),
            )
            db.execute("DELETE FROM writes WHERE publication = ?", (id,))

    def last_request(self, did: Did, name: str) -> Mapping[str, Any] | None:
        """What the last publication of this name that was carried out was asked for."""
        with self._speaking():
            row = self._db.execute(
                "SELECT request FROM publications WHERE did = ? AND name = ? AND done"
                " ORDER BY ended_at DESC, rowid DESC LIMIT 1",
                (did, name),
            ).fetchone()
        return None if row is None else json.loads(row[0])

    # --- the plan --------------------------------------------------------------------------------

    def save_plan(self, id: str, plan: Plan) -> None:
        """Fix what is going to be written, in place of any earlier plan."""
        about = {
            "base": None if plan.base is None else str(plan.base),
            "head": plan.head.to_value(),
            "release": plan.release.to_value(),
            "about": dict(plan.about),
        }
        rows = [
            (id, batch, place, write.action.value, str(write.uri), write.block)
            for batch, writes in enumerate(plan.batches)
            for place, write in enumerate(writes)
        ]
        with self._writing() as db:
            db.execute("DELETE FROM writes WHERE publication = ?", (id,))
            db.executemany("INSERT INTO writes VALUES (?, ?, ?, ?, ?, ?)", rows)
            db.execute(
                "UPDATE publications SET plan_key = ?, plan = ? WHERE id = ?",
                (plan.key, json.dumps(about), id),
            )

    def plan(self, id: str) -> Plan | None:
        """What was fixed, if anything was."""
        with self._speaking():
            key, text = self._db.execute(
                "SELECT plan_key, plan FROM publications WHERE id = ?", (id,)
            ).fetchone()
            rows = self._db.execute(
                "SELECT batch, action, uri, block FROM writes WHERE publication = ?"
                " ORDER BY batch, place",
                (id,),
            ).fetchall()
        if key is None:
            return None
        batches: list[list[Write]] = []
        for batch, action, uri, block in rows:
            if batch == len(batches):
                batches.append([])
            batches[batch].append(Write(Action(action), AtUri.parse(uri), block))
        said = json.loads(text)
        return Plan(
            key=key,
            base=None if said["base"] is None else Cid.parse(said["base"]),
            head=StrongRef.from_value(said["head"], "head"),
            release=StrongRef.from_value(said["release"], "release"),
            about=said["about"],
            batches=tuple(tuple(writes) for writes in batches),
        )

    def drop_plan(self, id: str) -> None:
        """Forget the plan: it cannot be carried out any more."""
        with self._writing() as db:
            db.execute("UPDATE publications SET plan_key = NULL, plan = NULL WHERE id = ?", (id,))
            db.execute("DELETE FROM writes WHERE publication = ?", (id,))

    # --- what is known of the other side ---------------------------------------------------------

    def uploaded(self, place: str, digest: Cid) -> BlobRef | None:
        """The blob that ``place`` returned for this digest, if it was uploaded there."""
        with self._speaking():
            row = self._db.execute(
                "SELECT blob FROM uploads WHERE place = ? AND digest = ?", (place, str(digest))
            ).fetchone()
        return None if row is None else _read_blob(row[0])

    def remember_upload(self, place: str, id: str, blob: BlobRef) -> None:
        """Keep that ``place`` has this blob, uploaded for the publication ``id``."""
        raw: Value = dict(blob.to_value())
        with self._writing() as db:
            db.execute(
                "INSERT OR REPLACE INTO uploads VALUES (?, ?, ?, ?, ?)",
                (place, str(blob.cid), id, blob.size, encode(raw)),
            )

    def forget_uploads(self, place: str, digests: Iterable[Cid]) -> None:
        """Take it that ``place`` does not have these any more."""
        with self._writing() as db:
            db.executemany(
                "DELETE FROM uploads WHERE place = ? AND digest = ?",
                [(place, str(digest)) for digest in digests],
            )

    def uploads_of(self, id: str) -> tuple[int, int]:
        """How many blobs were uploaded for a publication, over all its runs, and their bytes."""
        with self._speaking():
            count, size = self._db.execute(
                "SELECT count(*), coalesce(sum(size), 0) FROM uploads WHERE publication = ?", (id,)
            ).fetchone()
        return int(count), int(size)

    def tids(self, count: int) -> Sequence[Tid]:
        """Fresh record keys, later than all that were given before, whatever the clock says."""
        with self._writing() as db:
            last, clock = db.execute("SELECT last_tid_us, id FROM clock").fetchone()
            first = max(int(last) + 1, int(self._clock() * 1_000_000))
            db.execute("UPDATE clock SET last_tid_us = ?", (first + count,))
        return [Tid.from_micros(first + at, clock) for at in range(count)]

    # --- the file --------------------------------------------------------------------------------

    def _examine(self) -> None:
        mark, version, tables = (
            self._db.execute(question).fetchone()[0]
            for question in (
                "PRAGMA application_id",
                "PRAGMA user_version",
                "SELECT count(*) FROM sqlite_master",
            )
        )
        if not tables:
            with self._writing() as db:
                for statement in _TABLES.split(";"):
                    db.execute(statement)
                db.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
                db.execute(f"PRAGMA user_version = {_VERSION}")
        elif mark != _APPLICATION_ID or version != _VERSION:
            raise StorageFault(
                f"{self.path} is not a journal of this version of atd",
                next_step="use the atd that wrote it, or move it away",
            )

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._speaking(), transaction(self._db) as db:
            yield db

    @contextmanager
    def _speaking(self) -> Iterator[None]:
        """What SQLite refuses becomes a StorageFault that names the file."""
        try:
            yield
        except sqlite3.Error as error:
            damaged = getattr(error, "sqlite_errorcode", None) in _DAMAGED
            raise StorageFault(
                f"the publication journal {self.path}: {error}",
                next_step=f"move it away: mv {self.path} {self.path}.damaged (a publication that "
                "was interrupted begins anew)"
                if damaged
                else None,
            ) from error


def _connect(path: Path) -> sqlite3.Connection:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StorageFault(f"cannot create {path.parent}: {error.strerror}") from error
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    with contextlib.suppress(OSError):
        path.chmod(0o600)
    db.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    return db


def _read_blob(block: bytes) -> BlobRef:
    value = decode(block)
    assert isinstance(value, dict), "only blob objects are kept"
    return BlobRef.from_value(value)
