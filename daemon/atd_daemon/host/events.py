"""The account's event log: what subscribeRepos sends, stored with the change that it tells of.

An event is appended in the transaction of its commit, so there is never one without the other. It
is stored as the very frame that goes over the wire: a DAG-CBOR header and a DAG-CBOR body, one
after the other. ``seq`` rises by one and never repeats, not even after old events were dropped.

Source: atproto.com/specs/event-stream, atproto.com/specs/sync, com.atproto.sync.subscribeRepos.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from atd.protocol.car import write_car
from atd.protocol.cbor import Cid, Value, encode
from atd.protocol.syntax import Did, Handle, Tid, spell_datetime
from atd_daemon.host.database import Connection, Database
from atd_daemon.host.limits import HostLimits
from atd_daemon.host.refusal import Refusal

_MESSAGE: Final = 1
_ERROR: Final = -1


@dataclass(frozen=True, slots=True)
class Op:
    """One operation of a commit as the firehose tells it. ``cid`` is None for a delete."""

    action: str
    path: str
    cid: Cid | None
    prev: Cid | None

    def to_value(self) -> dict[str, Value]:
        """The ``repoOp``; ``prev`` is left out for a create."""
        value: dict[str, Value] = {"action": self.action, "path": self.path, "cid": self.cid}
        return value if self.prev is None else {**value, "prev": self.prev}


@dataclass(frozen=True, slots=True)
class Event:
    """A frame of the log under its number."""

    seq: int
    frame: bytes


def frame(kind: str, body: dict[str, Value]) -> bytes:
    """A message frame, such as ``#commit``."""
    return encode({"op": _MESSAGE, "t": kind}) + encode(body)


def error_frame(name: str, message: str) -> bytes:
    """The frame that says why the stream ends now."""
    return encode({"op": _ERROR}) + encode({"error": name, "message": message})


def timestamp(moment_s: float) -> str:
    """A moment (Unix seconds) as records and events write it: UTC, milliseconds, ``Z``."""
    return spell_datetime(datetime.fromtimestamp(moment_s, UTC))


def commit_body(
    did: Did,
    commit: tuple[Cid, Tid],
    since: Tid | None,
    prev_data: Cid | None,
    ops: Iterable[Op],
    blocks: dict[Cid, bytes],
) -> dict[str, Value]:
    """The body of a ``#commit``; ``blocks`` hold the commit, and prove and undo its ``ops``."""
    cid, rev = commit
    ordered = sorted(blocks.items(), key=lambda block: block[0] != cid)
    body: dict[str, Value] = {
        "repo": did,
        "commit": cid,
        "rev": rev,
        "since": since,
        "blocks": write_car(cid, ordered),
        "ops": [op.to_value() for op in ops],
        # required by the lexicon, without meaning since sync 1.1
        "rebase": False,
        "tooBig": False,
        "blobs": [],
    }
    return body if prev_data is None else {**body, "prevData": prev_data}


def sync_body(did: Did, cid: Cid, rev: Tid, block: bytes) -> dict[str, Value]:
    """The body of a ``#sync``: this is the repository's state, whatever was said before."""
    return {"did": did, "rev": rev, "blocks": write_car(cid, [(cid, block)])}


def identity_body(did: Did, handle: Handle) -> dict[str, Value]:
    """The body of an ``#identity``: resolve this account anew."""
    return {"did": did, "handle": handle}


def account_body(did: Did) -> dict[str, Value]:
    """The body of an ``#account``: it is active here."""
    return {"did": did, "active": True}


class EventLog:
    """The events of one account, oldest to newest."""

    def __init__(self, database: Database, limits: HostLimits, clock: Callable[[], float]) -> None:
        self._database = database
        self._limits = limits
        self._clock = clock

    def append(self, db: Connection, kind: str, body: dict[str, Value]) -> int:
        """Add an event in the open transaction ``db`` and drop those that are too old.

        Returns:
            Its ``seq``.
        """
        seq, now = _newest(db) + 1, self._clock()
        data = frame(kind, {**body, "seq": seq, "time": timestamp(now)})
        db.execute("INSERT INTO event VALUES (?, ?, ?)", (seq, now, data))
        db.execute("DELETE FROM event WHERE seq <= ?", (seq - self._limits.max_events,))
        db.execute(
            "DELETE FROM event WHERE seq <"
            " (SELECT seq FROM event WHERE time_s >= ? ORDER BY seq LIMIT 1)",
            (now - self._limits.event_retention_s,),
        )
        return seq

    def newest(self) -> int:
        """The number of the last event ever added; 0 if there was none."""
        with self._database.read() as db:
            return _newest(db)

    def resume(self, cursor: int | None) -> tuple[int, bool]:
        """Where a subscriber goes on: after which event, and whether it missed some.

        Args:
            cursor: the last event it saw; 0 for all there are; None for new ones only.

        Raises:
            Refusal: FutureCursor, the cursor lies beyond the newest event.
        """
        with self._database.read() as db:
            newest = _newest(db)
            if cursor is None:
                return newest, False
            if cursor > newest:
                raise Refusal("FutureCursor", f"Cursor {cursor} in the future, at {newest} now.")
            (oldest,) = db.execute("SELECT min(seq) FROM event").fetchone()
        oldest = newest + 1 if oldest is None else oldest
        if cursor >= oldest - 1:
            return cursor, False
        return oldest - 1, cursor != 0

    def after(self, seq: int) -> list[Event]:
        """The next events after ``seq``, in order: at least one, if there is one, and not many more
        bytes than a page holds."""
        events: list[Event] = []
        room = self._limits.page_bytes
        with self._database.read() as db:
            rows = db.execute("SELECT seq, frame FROM event WHERE seq > ? ORDER BY seq", (seq,))
            for number, data in rows:
                events.append(Event(number, data))
                room -= len(data)
                if room <= 0:
                    break
        return events


def leap(db: Connection, count: int) -> None:
    """Forget every event and jump ``count`` numbers ahead.

    For a restored backup: numbers given out after the backup was made must not come again.
    """
    newest = _newest(db)
    db.execute("DELETE FROM event")
    db.execute("UPDATE sqlite_sequence SET seq = ? WHERE name = 'event'", (newest + count,))


def _newest(db: Connection) -> int:
    row = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'event'").fetchone()
    return 0 if row is None else int(row[0])
