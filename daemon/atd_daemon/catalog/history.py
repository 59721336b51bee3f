"""What the index saw of each record over time: written beside every change, within bounds.

What belongs here: the rows of ``history`` and of ``old_blocks``, going in and coming out. `writer`
calls the first two functions in the transaction of the change itself, so that nothing changes
without a row that says by which commit.

Bounds. A publisher decides how often it changes its records, so what is remembered of it is capped:
the newest `ROWS_PER_RECORD` changes of one record, the newest `OLD_BLOCKS_PER_RECORD` blocks of it
that were replaced or deleted, and `Bounds` of both for one publisher. Shard lists are many and
large and nobody reads how they differ, so their old blocks are not kept at all. What is forgotten
is the oldest.

Alarms. Three things are worth a second look and are marked on the row, when they happen, because
what they were compared with may be forgotten later: `MOVED`, a record that never changes (all but
heads) has another content than it once had under the same key; `BACKWARDS`, a head that points to
an earlier version than before; `UNREADABLE`, what is there now is no record that atd can read.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from atd.errors import InvalidSyntax, ProofError
from atd.names import DATASET, RECIPE, RELEASE, SCHEMA, SHARDS, split_release_key, version_order
from atd.protocol.cbor import Cid, decode
from atd.protocol.proof import VerifiedCommit
from atd.protocol.syntax import AtUri, Handle, Tid
from atd.records import StrongRef
from atd_daemon.catalog.model import Change

CREATE: Final = "create"
UPDATE: Final = "update"
DELETE: Final = "delete"
MOVED: Final = "moved"
BACKWARDS: Final = "backwards"
UNREADABLE: Final = "unreadable"

ROWS_PER_RECORD: Final = 200
OLD_BLOCKS_PER_RECORD: Final = 20
_FORGET: Final = 0.25  # of what a publisher may have, each time that it is too much


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many changes, and how many bytes of old contents, are remembered of one publisher."""

    rows: int = 500_000
    old_bytes: int = 64 * 1024 * 1024


BOUNDS: Final = Bounds()


def note_content(
    db: sqlite3.Connection,
    uri: AtUri,
    cid: Cid,
    commit: VerifiedCommit,
    now: float,
    *,
    block: bytes | None,
) -> str | None:
    """Take note that ``cid`` is at ``uri`` in ``commit``, before it is stored; not if it was.

    Args:
        block: its bytes; None: it cannot be read.

    Returns:
        What the index has there now, by its CID.
    """
    text, content = str(uri), str(cid)
    known = db.execute("SELECT cid, block FROM records WHERE uri = ?", (text,)).fetchone()
    if known is not None and known[0] == content:
        return content
    before = db.execute(
        "SELECT action, cid FROM history WHERE uri = ? ORDER BY id DESC LIMIT 1", (text,)
    ).fetchone()
    if known is None and before is None:
        _add(db, uri, CREATE, content, None, commit, now, _alarm(uri, block, None, moved=False))
        return None
    there = known[0] if known else (before[1] if before[0] != DELETE else None)
    if there == content:
        return None  # unreadable before, and still the same
    alarm = _alarm(uri, block, _last_block(db, uri, known), moved=_was_other(db, text, content))
    if known is not None:
        _keep(db, uri, *known)
    _add(db, uri, CREATE if there is None else UPDATE, content, there, commit, now, alarm)
    return None if known is None else known[0]


def note_absence(db: sqlite3.Connection, uri: AtUri, commit: VerifiedCommit, now: float) -> None:
    """Take note that nothing is at ``uri`` in ``commit``, before it is removed; not if it was."""
    text = str(uri)
    known = db.execute("SELECT cid, block FROM records WHERE uri = ?", (text,)).fetchone()
    before = db.execute(
        "SELECT action, cid FROM history WHERE uri = ? ORDER BY id DESC LIMIT 1", (text,)
    ).fetchone()
    if known is None and (before is None or before[0] == DELETE):
        return
    if known is not None:
        _keep(db, uri, *known)
    there = known[0] if known else before[1]
    _add(db, uri, DELETE, None, there, commit, now, None)


def _was_other(db: sqlite3.Connection, uri: str, cid: str) -> bool:
    """Whether something else was ever seen at ``uri``."""
    return (
        db.execute(
            "SELECT 1 FROM history WHERE uri = ? AND coalesce(cid, prev_cid) <> ? LIMIT 1",
            (uri, cid),
        ).fetchone()
        is not None
    )


def _last_block(
    db: sqlite3.Connection, uri: AtUri, known: tuple[str, bytes] | None
) -> bytes | None:
    """The newest content of ``uri`` that is still here."""
    if known is not None:
        return known[1]
    row = db.execute(
        "SELECT block FROM old_blocks WHERE uri = ? ORDER BY id DESC LIMIT 1", (str(uri),)
    ).fetchone()
    return None if row is None else row[0]


def _alarm(uri: AtUri, block: bytes | None, old: bytes | None, *, moved: bool) -> str | None:
    if block is None:
        return UNREADABLE
    if uri.collection != DATASET:
        return MOVED if moved else None
    if old is None:
        return None  # nothing to compare with: most of a backfill, which need not be read for it
    now, then = latest_version(block), latest_version(old)
    if now is None or then is None or version_order(now) >= version_order(then):
        return None
    return BACKWARDS


def latest_version(block: bytes) -> str | None:
    """The version that the head in ``block`` points to; None where it says none that we know."""
    try:
        value = decode(block)
        latest = value.get("latest") if isinstance(value, dict) else None
        uri = latest.get("uri") if isinstance(latest, dict) else None
        return split_release_key(str(AtUri.parse(str(uri)).rkey))[1]
    except (ProofError, InvalidSyntax):
        return None


def _add(
    db: sqlite3.Connection,
    uri: AtUri,
    action: str,
    cid: str | None,
    prev_cid: str | None,
    commit: VerifiedCommit,
    now: float,
    alarm: str | None,
) -> None:
    text = str(uri)
    db.execute(
        "INSERT INTO history (uri, did, collection, rkey, action, cid, prev_cid, rev, commit_cid,"
        " seen_at, alarm) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(text, uri.did, uri.collection, uri.rkey, action, cid, prev_cid),
            *(commit.rev, str(commit.cid), now, alarm),
        ),
    )
    if prev_cid is not None or action == DELETE:
        db.execute(
            "DELETE FROM history WHERE uri = ? AND id <= (SELECT id FROM history WHERE uri = ?"
            " ORDER BY id DESC LIMIT 1 OFFSET ?)",
            (text, text, ROWS_PER_RECORD),
        )
    _count(db, str(uri.did), rows=1, old_bytes=0)


def _keep(db: sqlite3.Connection, uri: AtUri, cid: str, block: bytes) -> None:
    """Keep the content that is about to be replaced or removed, for comparing."""
    if uri.collection == SHARDS:
        return
    text = str(uri)
    db.execute("DELETE FROM old_blocks WHERE uri = ? AND cid = ?", (text, cid))
    db.execute(
        "INSERT INTO old_blocks (uri, did, cid, block) VALUES (?, ?, ?, ?)",
        (text, uri.did, cid, block),
    )
    db.execute(
        "DELETE FROM old_blocks WHERE uri = ? AND id <= (SELECT id FROM old_blocks WHERE uri = ?"
        " ORDER BY id DESC LIMIT 1 OFFSET ?)",
        (text, text, OLD_BLOCKS_PER_RECORD),
    )
    _count(db, str(uri.did), rows=0, old_bytes=len(block))


def _count(db: sqlite3.Connection, did: str, *, rows: int, old_bytes: int) -> None:
    """Count what was added for a publisher; when it seems too much, count anew and forget.

    The tally only rises between two such moments, so it is never too small.
    """
    tally = db.execute(
        "INSERT INTO history_tallies (did, rows, old_bytes) VALUES (?, ?, ?)"
        " ON CONFLICT (did) DO UPDATE SET rows = rows + excluded.rows,"
        " old_bytes = old_bytes + excluded.old_bytes RETURNING rows, old_bytes",
        (did, rows, old_bytes),
    ).fetchone()
    if tally[0] > BOUNDS.rows or tally[1] > BOUNDS.old_bytes:
        forget(db, did, BOUNDS)


def forget(db: sqlite3.Connection, did: str, bounds: Bounds) -> None:
    """Forget what is oldest of a publisher, down to three quarters of ``bounds``."""
    _forget_rows(db, did, int(bounds.rows * (1 - _FORGET)))
    _forget_blocks(db, did, int(bounds.old_bytes * (1 - _FORGET)))


def _forget_rows(db: sqlite3.Connection, did: str, keep: int) -> None:
    db.execute(
        "DELETE FROM history WHERE did = ? AND id <= (SELECT id FROM history WHERE did = ?"
        " ORDER BY id DESC LIMIT 1 OFFSET ?)",
        (did, did, keep),
    )
    db.execute(
        "UPDATE history_tallies SET rows = (SELECT count(*) FROM history WHERE did = ?)"
        " WHERE did = ?",
        (did, did),
    )


def _forget_blocks(db: sqlite3.Connection, did: str, left: int) -> None:
    kept, last = 0, None
    sizes = "SELECT id, length(block) FROM old_blocks WHERE did = ? ORDER BY id DESC"
    for number, size in db.execute(sizes, (did,)):
        if kept + size > left:
            last = number
            break
        kept += size
    if last is not None:
        db.execute("DELETE FROM old_blocks WHERE did = ? AND id <= ?", (did, last))
    db.execute("UPDATE history_tallies SET old_bytes = ? WHERE did = ?", (kept, did))


# --- out ------------------------------------------------------------------------------------------

_CHANGE: Final = (
    "SELECT h.id, h.uri, p.handle, h.action, h.cid, h.prev_cid, h.rev, h.commit_cid, h.seen_at,"
    " h.alarm FROM history h LEFT JOIN publishers p ON p.did = h.did"
)
_NEWEST: Final = 2**62


def of_dataset(
    db: sqlite3.Connection, did: str, name: str, limit: int, below: int | None
) -> list[Change]:
    """What was seen of a data set's card, releases, recipes and schemas, newest first."""
    head = f"at://{did}/{DATASET}/{name}"
    ranges = [(head, head)]
    for collection in (RELEASE, RECIPE, SCHEMA):
        start = f"at://{did}/{collection}/{name}:"
        ranges.append((start, f"{start[:-1]};"))  # ";" follows ":", so: everything NAME:…
    found: list[Change] = []
    for first, last in ranges:
        rows = db.execute(
            f"{_CHANGE} WHERE h.uri BETWEEN ? AND ? AND h.id < ? ORDER BY h.id DESC LIMIT ?",
            (first, last, _NEWEST if below is None else below, limit),
        )
        found += _changes(rows)
    return sorted(found, key=lambda change: -change.id)[:limit]


def log(
    db: sqlite3.Connection,
    did: str | None,
    since: float | None,
    alarms: bool,
    shards: bool,
    limit: int,
    below: int | None,
) -> list[Change]:
    """What was seen, newest first, down to the first that was seen before ``since``."""
    where = ["h.id < ?"]
    given: list[int | str] = [_NEWEST if below is None else below]
    if did is not None:
        where.append("h.did = ?")
        given.append(did)
    if not shards:
        where.append("h.collection <> ?")
        given.append(SHARDS)
    if alarms:
        where.append("h.alarm IS NOT NULL")
    found: list[Change] = []
    rows = db.execute(f"{_CHANGE} WHERE {' AND '.join(where)} ORDER BY h.id DESC", given)
    for change in _changes(rows):
        if len(found) == limit or (since is not None and change.seen_at < since):
            break
        found.append(change)
    return found


def content(db: sqlite3.Connection, uri: AtUri, cid: Cid) -> bytes | None:
    """The bytes of ``cid`` that were once proved to be at ``uri``, if they are here."""
    row = db.execute(
        "SELECT block FROM records WHERE uri = ? AND cid = ?"
        " UNION ALL SELECT block FROM old_blocks WHERE uri = ? AND cid = ? LIMIT 1",
        (str(uri), str(cid), str(uri), str(cid)),
    ).fetchone()
    return None if row is None else row[0]


def release_before(db: sqlite3.Connection, change: Change) -> StrongRef | None:
    """The release of the same data set that was seen last before ``change``, which is of one."""
    name, _ = split_release_key(str(change.uri.rkey))
    start = f"at://{change.uri.did}/{RELEASE}/{name}:"
    row = db.execute(
        "SELECT uri, cid FROM history WHERE uri BETWEEN ? AND ? AND uri <> ? AND id < ?"
        " AND cid IS NOT NULL ORDER BY id DESC LIMIT 1",
        (start, f"{start[:-1]};", str(change.uri), change.id),
    ).fetchone()
    return None if row is None else StrongRef(AtUri.parse(row[0]), Cid.parse(row[1]))


def _changes(rows: Iterable[Any]) -> Iterable[Change]:
    for number, uri, handle, action, cid, prev_cid, rev, commit, seen_at, alarm in rows:
        yield Change(
            id=number,
            uri=AtUri.parse(uri),
            handle=None if handle is None else Handle(handle),
            action=action,
            cid=None if cid is None else Cid.parse(cid),
            prev_cid=None if prev_cid is None else Cid.parse(prev_cid),
            rev=Tid(rev),
            commit=Cid.parse(commit),
            seen_at=seen_at,
            alarm=alarm,
        )
