"""Reading the repository: records, proofs, blocks and the whole of it as a CAR.

Everything here is public. Each answer comes from one snapshot of the database, so a proof and the
commit that it belongs to always agree; a long CAR keeps its snapshot until it is sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from atd.protocol.car import car_block, car_header, write_car
from atd.protocol.cbor import Cid, Value, decode
from atd.protocol.syntax import Nsid, RecordKey, Tid
from atd_daemon.host.database import Database
from atd_daemon.host.refusal import Refusal
from atd_daemon.host.repo import Head, current, read_block
from atd_daemon.host.tree import Tree

_CHUNK_BYTES: Final = 256 * 1024
_BEYOND: Final = "\x7f"
"""Sorts after every record key."""
_ASCENDING: Final = (
    "SELECT rkey, record.cid, bytes FROM record JOIN block ON block.cid = record.cid"
    " WHERE collection = ? AND rkey > ? ORDER BY rkey LIMIT ?"
)
_DESCENDING: Final = (
    "SELECT rkey, record.cid, bytes FROM record JOIN block ON block.cid = record.cid"
    " WHERE collection = ? AND rkey < ? ORDER BY rkey DESC LIMIT ?"
)


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A record as it is stored."""

    rkey: RecordKey
    cid: Cid
    block: bytes

    def value(self) -> Value:
        """The record itself."""
        return decode(self.block)


@dataclass(frozen=True, slots=True)
class Totals:
    """How much an account holds: counts, and bytes of records, blobs and the event log."""

    records: int
    blobs: int
    blob_bytes: int
    block_bytes: int


class Reader:
    """The reader of one account's repository. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def head(self) -> Head:
        """The newest commit."""
        with self._database.read() as db:
            return Head.read(db)

    def record(self, collection: Nsid, rkey: RecordKey) -> StoredRecord | None:
        """One record, or None."""
        with self._database.read() as db:
            cid = current(db, collection, rkey)
            return None if cid is None else StoredRecord(rkey, cid, read_block(db, cid))

    def records(
        self, collection: Nsid, *, limit: int, cursor: str | None, reverse: bool
    ) -> list[StoredRecord]:
        """Records of a collection by key: newest key first, or with ``reverse`` oldest first.

        Args:
            collection: which ones.
            limit: at most so many.
            cursor: only beyond this record key, in the direction of listing.
            reverse: ascending rather than descending.
        """
        with self._database.read() as db:
            rows = db.execute(
                _ASCENDING if reverse else _DESCENDING,
                (collection, cursor if cursor is not None else "" if reverse else _BEYOND, limit),
            ).fetchall()
        return [StoredRecord(RecordKey(rkey), Cid(cid), block) for rkey, cid, block in rows]

    def collections(self) -> list[str]:
        """Every collection that has a record, in order."""
        with self._database.read() as db:
            rows = db.execute("SELECT DISTINCT collection FROM record ORDER BY collection")
            return [name for (name,) in rows.fetchall()]

    def totals(self) -> Totals:
        """How much there is."""
        with self._database.read() as db:
            (records,) = db.execute("SELECT count(*) FROM record").fetchone()
            blobs, size = db.execute("SELECT count(*), total(size) FROM blob").fetchone()
            (blocks,) = db.execute("SELECT total(length(bytes)) FROM block").fetchone()
        return Totals(records, blobs, int(size), int(blocks))

    def proof(self, collection: Nsid, rkey: RecordKey) -> bytes:
        """A CAR that proves the record, or proves that there is none: commit, path, record."""
        key = f"{collection}/{rkey}"
        with self._database.read() as db:
            head = Head.read(db)
            tree = Tree(lambda cid: read_block(db, cid), head.data)
            blocks = {head.cid: read_block(db, head.cid), **tree.path(key)}
            cid = tree.find(key)
            if cid is not None:
                blocks[cid] = read_block(db, cid)
        return write_car(head.cid, blocks.items())

    def blocks(self, cids: Sequence[Cid]) -> bytes:
        """A CAR without a root that holds ``cids``.

        Raises:
            Refusal: BlockNotFound, names those that are not there.
        """
        found, missing = {}, []
        with self._database.read() as db:
            for cid in cids:
                row = db.execute("SELECT bytes FROM block WHERE cid = ?", (cid.bytes,)).fetchone()
                if row is None:
                    missing.append(str(cid))
                else:
                    found[cid] = bytes(row[0])
        if missing:
            raise Refusal("BlockNotFound", f"Could not find cids: {', '.join(missing)}")
        return car_header() + b"".join(car_block(cid, block) for cid, block in found.items())

    def car(self, since: Tid | None) -> Iterator[bytes]:
        """The repository as a CAR, in chunks of some 256 KiB; the commit is its first block.

        Args:
            since: only the blocks that were added after this revision; None for all.
        """
        with self._database.read() as db:
            head = Head.read(db)
            chunk = bytearray(car_header(head.cid))
            if since is None or since < head.rev:
                chunk += car_block(head.cid, read_block(db, head.cid))
            # Without `since` a scan of the table; with it, the index of revisions.
            query = "SELECT cid, bytes FROM block WHERE cid != ?"
            rows = (
                db.execute(query, (head.cid.bytes,))
                if since is None
                else db.execute(query + " AND rev > ?", (head.cid.bytes, since))
            )
            for cid, block in rows:
                chunk += car_block(Cid(cid), block)
                if len(chunk) >= _CHUNK_BYTES:
                    yield bytes(chunk)
                    chunk.clear()
            yield bytes(chunk)
