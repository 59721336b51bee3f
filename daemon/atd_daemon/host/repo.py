"""The signed repository: what one commit does, in one transaction.

A commit is made of a few writes. It edits the tree, signs the new root under a new revision,
stores the blocks that came and forgets those that went, relinks blobs, and appends its event. All
of it happens or none: the transaction is the only thing that a crash can see.

Revisions rise always: the clock's microseconds, or one more than the last revision where the clock
stands still or went back.

Source: atproto.com/specs/repository, atproto.com/specs/sync.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from atd.errors import StorageFault
from atd.protocol.cbor import Cid, Value
from atd.protocol.commit import Commit
from atd.protocol.keys import PrivateKey
from atd.protocol.syntax import Did, Tid
from atd_daemon.host.blobs import BlobStore
from atd_daemon.host.database import Connection, Database
from atd_daemon.host.events import EventLog, Op, commit_body, sync_body
from atd_daemon.host.limits import MAX_COMMIT_BYTES, MAX_WRITES
from atd_daemon.host.refusal import Refusal, invalid
from atd_daemon.host.tree import EMPTY_ROOT, Blocks, Sealed, Tree
from atd_daemon.host.writes import Write

FIRST_MICROS = 1


@dataclass(frozen=True, slots=True)
class Head:
    """The newest commit: its CID, its revision, and the root of its tree."""

    cid: Cid
    rev: Tid
    data: Cid

    @classmethod
    def read(cls, db: Connection) -> Head:
        """The head as the open transaction sees it."""
        row = db.execute("SELECT cid, rev, data FROM head").fetchone()
        if row is None:
            raise StorageFault("the host's database holds no repository")
        return cls(Cid(row[0]), Tid(row[1]), Cid(row[2]))


@dataclass(frozen=True, slots=True)
class Applied:
    """What came of a batch of writes. ``head`` is the new commit, None if nothing had to change."""

    head: Head | None
    writes: tuple[Write, ...]


class Repo:
    """The writer of one account's repository. Thread-safe; see `reading.Reader` for its reader.

    Args:
        database: where everything is.
        did: the account.
        key: its signing key.
        blobs: its blobs, whose uses change with the records.
        events: its event log.
        clock: Unix seconds.
        clock_id: the low 10 bits of its TIDs.
    """

    def __init__(
        self,
        database: Database,
        did: Did,
        key: PrivateKey,
        blobs: BlobStore,
        events: EventLog,
        clock: Callable[[], float],
        clock_id: int,
    ) -> None:
        self._database = database
        self._did = did
        self._key = key
        self._blobs = blobs
        self._events = events
        self._clock = clock
        self._clock_id = clock_id
        self._listeners: list[Callable[[], None]] = []

    def on_commit(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` after each commit, from the thread that made it."""
        self._listeners.append(listener)

    def apply(self, writes: Sequence[Write], swap_commit: Cid | None = None) -> Applied:
        """Make one commit of ``writes``, or none at all if one of them cannot be.

        Args:
            writes: at most 200, each on a record of its own.
            swap_commit: refuse unless this is the head at the moment of writing.

        Raises:
            Refusal: InvalidSwap, InvalidRequest, BlobNotFound, InvalidMimeType, InvalidSize.
            StorageFault: the disk is full, or the database is damaged.
        """
        _check_batch(writes)
        with self._database.write() as db:
            head = Head.read(db)
            if swap_commit not in (None, head.cid):
                raise Refusal("InvalidSwap", f"Commit was at {head.cid}")
            resolved = [(write, _resolve(db, write)) for write in writes]
            kept = [(write, op) for write, op in resolved if op is not None]
            if not kept:
                return Applied(None, tuple(writes))
            after, let_go = self._commit(db, head, kept)
        self._blobs.discard(let_go)
        self._announce()
        return Applied(after, tuple(writes))

    def begin(self, db: Connection) -> Head:
        """The first commit, of the empty tree, with its events; for a new account."""
        (root,) = EMPTY_ROOT
        head, blocks = self._advance(db, None, Sealed(root, EMPTY_ROOT, frozenset()))
        body = commit_body(self._did, (head.cid, head.rev), None, None, (), blocks)
        self._events.append(db, "#commit", body)
        self._events.append(db, "#sync", sync_body(self._did, head.cid, head.rev, blocks[head.cid]))
        return head

    def resign(self, db: Connection) -> Head:
        """Sign the same tree under a new revision, and say so with a #sync; for a restored one."""
        before = Head.read(db)
        head, blocks = self._advance(db, before, Sealed(before.data, {}, frozenset()))
        self._events.append(db, "#sync", sync_body(self._did, head.cid, head.rev, blocks[head.cid]))
        return head

    def next_key(self) -> Tid:
        """A fresh TID for a record that was given no key."""
        return Tid.from_micros(self._micros(), self._clock_id)

    # --- inside the transaction -------------------------------------------------------------------

    def _commit(
        self, db: Connection, head: Head, kept: Sequence[tuple[Write, Op]]
    ) -> tuple[Head, list[Cid]]:
        tree = Tree(lambda cid: read_block(db, cid), head.data)
        for _, op in kept:
            if op.cid is None:
                tree.delete(op.path)
            else:
                tree.put(op.path, op.cid)
        sealed = tree.seal()
        after, blocks = self._advance(db, head, sealed)
        for write, op in kept:
            blocks |= tree.cover(op.path)
            if write.record is not None:
                blocks[write.record.cid] = write.record.block
        ops = [op for _, op in kept]
        body = commit_body(self._did, (after.cid, after.rev), head.rev, head.data, ops, blocks)
        _check_size(body["blocks"])
        _store_records(db, kept, after.rev)
        let_go = self._blobs.relink(db, [write for write, _ in kept], after.rev)
        self._events.append(db, "#commit", body)
        return after, let_go

    def _advance(self, db: Connection, head: Head | None, sealed: Sealed) -> tuple[Head, Blocks]:
        """Sign the sealed tree and make it the head; returns it with its commit and new nodes."""
        rev = self._next_rev(head.rev if head else None)
        commit = Commit.sign(self._did, rev, sealed.root, self._key)
        block = commit.encode()
        cid = Cid.of(block)
        blocks = {cid: block, **sealed.added}
        gone = [(old.bytes,) for old in sealed.removed]
        if head is not None:
            gone.append((head.cid.bytes,))
        db.executemany("DELETE FROM block WHERE cid = ?", gone)
        rows = [(new.bytes, rev, data) for new, data in blocks.items()]
        db.executemany("INSERT INTO block VALUES (?, ?, ?)", rows)
        db.execute(
            "INSERT OR REPLACE INTO head VALUES (1, ?, ?, ?)", (cid.bytes, rev, sealed.root.bytes)
        )
        return Head(cid, rev, sealed.root), blocks

    def _next_rev(self, before: Tid | None) -> Tid:
        floor = before.micros + 1 if before is not None else FIRST_MICROS
        return Tid.from_micros(max(self._micros(), floor), self._clock_id)

    def _micros(self) -> int:
        return max(int(self._clock() * 1_000_000), FIRST_MICROS)

    def _announce(self) -> None:
        for listener in self._listeners:
            listener()


def read_block(db: Connection, cid: Cid) -> bytes:
    """The stored block ``cid``.

    Raises:
        StorageFault: it is not there, so the database is damaged.
    """
    row = db.execute("SELECT bytes FROM block WHERE cid = ?", (cid.bytes,)).fetchone()
    if row is None:
        raise StorageFault(
            f"the host's database lacks the block {cid}", next_step="restore a backup of the host"
        )
    return bytes(row[0])


def current(db: Connection, collection: str, rkey: str) -> Cid | None:
    """What the record is at this moment, or None if there is none."""
    row = db.execute(
        "SELECT cid FROM record WHERE collection = ? AND rkey = ?", (collection, rkey)
    ).fetchone()
    return None if row is None else Cid(row[0])


def _check_batch(writes: Sequence[Write]) -> None:
    if len(writes) > MAX_WRITES:
        raise invalid(f"Too many writes. Max: {MAX_WRITES}")
    seen: set[str] = set()
    for write in writes:
        if write.path in seen:
            raise invalid(f"Two writes to one record in one commit: {write.path}")
        seen.add(write.path)


def _check_size(car: Value) -> None:
    if isinstance(car, bytes) and len(car) > MAX_COMMIT_BYTES:
        raise invalid(f"Too many writes. Max event size: {MAX_COMMIT_BYTES} bytes, got {len(car)}")


def _resolve(db: Connection, write: Write) -> Op | None:
    """What a write comes to, given what is there; None where nothing has to change."""
    before = current(db, write.collection, write.rkey)
    if write.swap is not None and write.swap.cid != before:
        raise Refusal("InvalidSwap", f"Record was at {before}")
    if write.action == "create" and before is not None:
        raise invalid(f"Record already exists: {write.path}")
    if write.action in ("update", "delete") and before is None:
        raise invalid(f"Could not find record: {write.path}")
    if write.record is None:
        return None if before is None else Op("delete", write.path, None, before)
    if write.action == "put" and write.record.cid == before:
        return None
    action = "create" if before is None else "update"
    return Op(action, write.path, write.record.cid, before)


def _store_records(db: Connection, kept: Sequence[tuple[Write, Op]], rev: Tid) -> None:
    for write, _ in kept:
        place = (write.collection, write.rkey)
        if write.record is None:
            db.execute("DELETE FROM record WHERE collection = ? AND rkey = ?", place)
            continue
        cid = write.record.cid.bytes
        db.execute("INSERT OR REPLACE INTO record VALUES (?, ?, ?, ?)", (*place, cid, rev))
        # One block may be several records: it is stored once, and stays while one is left.
        db.execute("INSERT OR IGNORE INTO block VALUES (?, ?, ?)", (cid, rev, write.record.block))
    db.executemany(
        "DELETE FROM block WHERE cid = ?1 AND NOT EXISTS (SELECT 1 FROM record WHERE cid = ?1)",
        [(op.prev.bytes,) for _, op in kept if op.prev is not None],
    )
