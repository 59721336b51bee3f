"""Who is followed, how far, and what was refused: the part of the index that `sync.follow` keeps.

What belongs here: the tables ``following``, ``hosts`` and ``rejects``, and the transactions in
which a proved diff, a state and a cursor change together. Records still enter by `writer` alone, so
its three rules hold here as well.

Rules. The cursor of a host is how far its events were *processed*: it is written in the transaction
of their effects, and never falls but by `Following.rewind`. A diff is taken only on top of the very
state that it continues. Rejects are kept for publishers that are followed, one row for each host
and reason, so that nobody can make them grow.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from atd.errors import AtdError, StaleRevision
from atd.protocol.cbor import Cid
from atd.protocol.live import VerifiedDiff
from atd.protocol.proof import VerifiedAbsence, VerifiedCommit
from atd.protocol.syntax import Did, Tid
from atd.records import Record
from atd_daemon.catalog import writer
from atd_daemon.catalog.database import Database

MAX_WORDS: Final = 1000  # of an error's message that is kept

_ROW: Final = (
    "SELECT did, since_at, state, status, rev, data_cid, commit_cid, host, complete, verified_at,"
    " checked_at, behind_at, delay_s, reason, message, error_at FROM following"
)
_FORGOTTEN: Final = (
    "datasets",
    "releases",
    "recipes",
    "records",
    "absences",
    "problems",
    "history",
    "history_tallies",
    "old_blocks",
    "rejects",
)


@dataclass(frozen=True, slots=True)
class Head:
    """The newest commit of a repository that was taken in: what the next one must continue."""

    rev: Tid
    data: Cid
    commit: Cid

    @classmethod
    def of(cls, commit: VerifiedCommit) -> Head:
        """The head that ``commit`` makes."""
        return cls(commit.rev, commit.data, commit.cid)


@dataclass(frozen=True, slots=True)
class Position:
    """How far the events of a host are processed: ``cursor`` and all before it."""

    origin: str
    cursor: int


@dataclass(frozen=True, slots=True)
class Followed:
    """One followed publisher; moments are seconds since 1970, by the daemon's clock.

    ``state`` is a word of `sync.follow.states`; ``status`` is what its PDS calls an inactive
    account. ``complete`` says that the whole repository was proved, not only what its server
    listed. ``verified_at``: something of it was last proved; ``checked_at``: its PDS last said
    that there is nothing newer; ``behind_at``: since when there is something that we do not have.
    ``delay_s``: from the publisher's revision to our index, of the last live commit. ``reason``,
    ``message`` and ``error_at`` are the last error, until it is over.
    """

    did: Did
    since_at: float
    state: str
    status: str | None
    head: Head | None
    host: str | None
    complete: bool
    verified_at: float | None
    checked_at: float | None
    behind_at: float | None
    delay_s: float | None
    reason: str | None
    message: str | None
    error_at: float | None


@dataclass(frozen=True, slots=True)
class HostEntry:
    """A host whose events are read; ``cursor`` None: none was processed yet."""

    origin: str
    cursor: int | None
    connected_at: float | None
    frame_at: float | None
    reason: str | None
    message: str | None
    error_at: float | None


@dataclass(frozen=True, slots=True)
class RejectCount:
    """How often a rule was broken; ``did`` None: by a message of nobody that is followed."""

    did: Did | None
    host: str
    reason: str
    count: int
    last_at: float
    message: str


class Following:
    """The face of this module; `Catalog.following` is the one instance. Callable from any thread.

    Moments (``now``) are told by the caller.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    # --- out --------------------------------------------------------------------------------------

    def rows(self) -> list[Followed]:
        """Every followed publisher, in the order in which they were followed."""
        with self._database.read() as db:
            return [_followed(row) for row in db.execute(f"{_ROW} ORDER BY since_at, did")]

    def row(self, did: Did) -> Followed | None:
        """One publisher; None: it is not followed."""
        with self._database.read() as db:
            row = db.execute(f"{_ROW} WHERE did = ?", (did,)).fetchone()
        return None if row is None else _followed(row)

    def records(self) -> Mapping[str, int]:
        """How many records of ours the index has of each followed publisher."""
        with self._database.read() as db:
            return dict(
                db.execute(
                    "SELECT did, (SELECT count(*) FROM records r WHERE r.did = f.did)"
                    " FROM following f"
                ).fetchall()
            )

    def count(self, did: Did) -> int:
        """How many records of ours the index has of one publisher."""
        with self._database.read() as db:
            row = db.execute("SELECT count(*) FROM records WHERE did = ?", (did,)).fetchone()
        return int(row[0])

    def hosts(self) -> list[HostEntry]:
        """Every host whose events were ever read and are still needed."""
        select = "SELECT origin, cursor, connected_at, frame_at, reason, message, error_at"
        with self._database.read() as db:
            return [HostEntry(*row) for row in db.execute(f"{select} FROM hosts ORDER BY origin")]

    def cursor(self, origin: str) -> int | None:
        """How far the events of a host were processed."""
        with self._database.read() as db:
            row = db.execute("SELECT cursor FROM hosts WHERE origin = ?", (origin,)).fetchone()
        return None if row is None else row[0]

    def rejects(self) -> list[RejectCount]:
        """What was refused, and how often."""
        select = "SELECT did, host, reason, count, last_at, message FROM rejects"
        with self._database.read() as db:
            rows = db.execute(f"{select} ORDER BY did, host, reason").fetchall()
        return [RejectCount(Did(did) if did else None, *rest) for did, *rest in rows]

    # --- in ---------------------------------------------------------------------------------------

    def add(self, did: Did, state: str, *, now: float) -> None:
        """Follow a publisher; nothing changes for one that is followed."""
        with self._database.write() as db:
            db.execute("INSERT OR IGNORE INTO publishers (did) VALUES (?)", (did,))
            db.execute(
                "INSERT OR IGNORE INTO following (did, since_at, state, complete)"
                " VALUES (?, ?, ?, 0)",
                (did, now, state),
            )

    def remove(self, did: Did, *, forget: bool) -> bool:
        """Follow a publisher no more. Whether it was followed.

        Args:
            forget: also drop every record of it, proof and history. Only its newest revision is
                remembered, so that an older one is still noticed.
        """
        with self._database.write() as db:
            gone = db.execute("DELETE FROM following WHERE did = ?", (did,)).rowcount > 0
            if not forget:
                db.execute("DELETE FROM rejects WHERE did = ?", (did,))
                return gone
            ours = "(SELECT uri FROM records WHERE did = ?)"
            db.execute(f"DELETE FROM schemas WHERE uri IN {ours}", (did,))  # noqa: S608 - our names
            for table in _FORGOTTEN:
                db.execute(f"DELETE FROM {table} WHERE did = ?", (did,))  # noqa: S608 - our names
            db.execute(
                "UPDATE publishers SET complete_rev = NULL, complete_commit = NULL,"
                " complete_at = NULL, verified_at = NULL, error = NULL, error_message = NULL,"
                " error_at = NULL WHERE did = ?",
                (did,),
            )
            return gone

    def apply(
        self,
        diff: VerifiedDiff,
        parsed: Sequence[Record | AtdError | None],
        position: Position | None,
        *,
        now: float,
    ) -> None:
        """Take in one commit of a followed publisher, and that its message is processed.

        Args:
            diff: proved to continue what is known; of `Following.row` the caller made sure that
                ``diff.since`` and ``diff.prev_data`` are its head.
            parsed: for each of ``diff.changes`` the typed record, or why it cannot be read; None
                where the change is a proved absence.
            position: how far the events of the host that sent it are now processed.

        Raises:
            TypeError, LexiconError: as `Catalog.put`.
        """
        if type(diff) is not VerifiedDiff:
            raise TypeError(f"the index takes a VerifiedDiff, got a {type(diff).__name__}")
        commit = diff.commit
        with self._database.write() as db:
            known = "SELECT 1 FROM following WHERE did = ?"
            if db.execute(known, (commit.did,)).fetchone() is None:
                return  # it is followed no more since this came
            writer.advance(db, commit, diff.since, now)
            for change, value in zip(diff.changes, parsed, strict=True):
                try:
                    if isinstance(change, VerifiedAbsence):
                        writer.delete(db, change, now)
                    elif isinstance(value, AtdError):
                        writer.unreadable(db, change, type(value).__name__, str(value), now)
                    else:
                        assert value is not None, "a record has a value or a reason"
                        writer.put(db, change, value, now)
                except StaleRevision:
                    continue  # somebody asked for this very record, and has it newer already
            delay_s = max(0.0, now - commit.rev.micros / 1e6)
            _set_head(db, commit.did, Head.of(commit), now)
            db.execute("UPDATE following SET delay_s = ? WHERE did = ?", (delay_s, commit.did))
            _move(db, position, now)

    def resynced(self, did: Did, head: Head, *, host: str, complete: bool, now: float) -> None:
        """A repository is known as of ``head``; what came with it is in the index already."""
        with self._database.write() as db:
            _set_head(db, did, head, now)
            db.execute(
                "UPDATE following SET host = ?, complete = ?, status = NULL, checked_at = ?"
                " WHERE did = ?",
                (host, complete, now, did),
            )

    def set_state(self, did: Did, state: str) -> None:
        """Note what a repository is now."""
        with self._database.write() as db:
            db.execute("UPDATE following SET state = ? WHERE did = ?", (state, did))

    def left(self, did: Did, state: str, status: str, error: AtdError, *, now: float) -> None:
        """An account is not active: nothing of it is listed any more; proofs and history stay."""
        with self._database.write() as db:
            for table in ("datasets", "recipes"):
                db.execute(f"DELETE FROM {table} WHERE did = ?", (did,))  # noqa: S608 - our names
            db.execute(
                "UPDATE following SET state = ?, status = ?, checked_at = ? WHERE did = ?",
                (state, status, now, did),
            )
            _set_error(db, did, error, now)
            writer.publisher_error(db, did, type(error).__name__, str(error), now)

    def checked(self, did: Did, *, now: float) -> None:
        """Its PDS says that there is nothing newer than what is known."""
        with self._database.write() as db:
            db.execute(
                "UPDATE following SET checked_at = ?, behind_at = NULL, reason = NULL,"
                " message = NULL, error_at = NULL WHERE did = ?",
                (now, did),
            )

    def behind(self, did: Did, *, now: float) -> None:
        """There is something that the index does not have."""
        with self._database.write() as db:
            db.execute(
                "UPDATE following SET behind_at = coalesce(behind_at, ?) WHERE did = ?", (now, did)
            )

    def failed(self, did: Did, error: AtdError, *, now: float) -> None:
        """Note the last error of a publisher, in words."""
        with self._database.write() as db:
            _set_error(db, did, error, now)

    # --- hosts ------------------------------------------------------------------------------------

    def move(self, position: Position, *, now: float) -> None:
        """The events of a host are processed so far."""
        with self._database.write() as db:
            _move(db, position, now)

    def rewind(self, origin: str) -> None:
        """Forget how far the events of a host were processed."""
        with self._database.write() as db:
            db.execute("UPDATE hosts SET cursor = NULL WHERE origin = ?", (origin,))

    def host_connected(self, origin: str, *, now: float) -> None:
        """The events of a host are being read."""
        with self._database.write() as db:
            db.execute(
                "INSERT INTO hosts (origin, connected_at) VALUES (?, ?)"
                " ON CONFLICT (origin) DO UPDATE SET connected_at = excluded.connected_at,"
                " reason = NULL, message = NULL, error_at = NULL",
                (origin, now),
            )

    def host_failed(self, origin: str, error: AtdError, *, now: float) -> None:
        """The events of a host cannot be read now."""
        with self._database.write() as db:
            db.execute("INSERT OR IGNORE INTO hosts (origin) VALUES (?)", (origin,))
            db.execute(
                "UPDATE hosts SET connected_at = NULL, reason = ?, message = ?, error_at = ?"
                " WHERE origin = ?",
                (type(error).__name__, str(error)[:MAX_WORDS], now, origin),
            )

    def forget_host(self, origin: str) -> None:
        """Nobody who is followed is at this host any more."""
        with self._database.write() as db:
            db.execute("DELETE FROM hosts WHERE origin = ?", (origin,))

    def count_rejects(
        self, counted: Mapping[tuple[Did | None, str, str], tuple[int, str]], *, now: float
    ) -> None:
        """Add to the counts: by publisher, host and reason, how often, and the last message."""
        with self._database.write() as db:
            db.executemany(
                "INSERT INTO rejects (did, host, reason, count, last_at, message)"
                " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (did, host, reason) DO UPDATE SET"
                " count = count + excluded.count, last_at = excluded.last_at,"
                " message = excluded.message",
                [
                    (did or "", host, reason, count, now, message[:MAX_WORDS])
                    for (did, host, reason), (count, message) in counted.items()
                ],
            )


def _set_head(db: sqlite3.Connection, did: str, head: Head, now: float) -> None:
    db.execute(
        "UPDATE following SET rev = ?, data_cid = ?, commit_cid = ?, verified_at = ?,"
        " behind_at = NULL, reason = NULL, message = NULL, error_at = NULL WHERE did = ?",
        (head.rev, str(head.data), str(head.commit), now, did),
    )


def _set_error(db: sqlite3.Connection, did: str, error: AtdError, now: float) -> None:
    db.execute(
        "UPDATE following SET reason = ?, message = ?, error_at = ? WHERE did = ?",
        (type(error).__name__, str(error)[:MAX_WORDS], now, did),
    )


def _move(db: sqlite3.Connection, position: Position | None, now: float) -> None:
    """Raise the cursor of a host; one that is there already stays."""
    if position is None:
        return
    db.execute(
        "INSERT INTO hosts (origin, cursor, frame_at) VALUES (?, ?, ?)"
        " ON CONFLICT (origin) DO UPDATE SET frame_at = excluded.frame_at,"
        " cursor = max(coalesce(cursor, excluded.cursor), excluded.cursor)",
        (position.origin, position.cursor, now),
    )


def _followed(row: tuple[Any, ...]) -> Followed:
    did, since_at, state, status, rev, data, commit, host, complete, *rest = row
    head = None if rev is None else Head(Tid(rev), Cid.parse(data), Cid.parse(commit))
    return Followed(Did(did), since_at, state, status, head, host, bool(complete), *rest)
