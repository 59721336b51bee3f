"""The account's blobs: files named by their CID, there as long as a record refers to them.

An upload is written beside its place, hashed and counted on the way, and moved into place with its
row. Until a record refers to it, it can be neither read nor listed, and after a while it goes. With
the last reference a blob goes too.

File and row can disagree after a crash only in one way, a file without a row, which `sweep` takes
away: files arrive before their row is committed, and leave after their row is gone, and both
happen inside a writing transaction, so never at the same time.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

from atd.disk import sync_folder
from atd.errors import StorageFault
from atd.protocol.cbor import Cid
from atd.protocol.syntax import Tid
from atd_daemon.host.database import Connection, Database
from atd_daemon.host.limits import HostLimits
from atd_daemon.host.refusal import Refusal
from atd_daemon.host.writes import BlobUse, Write

_INCOMING: Final = "incoming"


@dataclass(frozen=True, slots=True)
class StoredBlob:
    """A blob that may be served: its file, type and size in bytes."""

    path: Path
    mime: str
    size: int


class Upload:
    """A blob on its way in. Leaving the ``with`` block without `BlobStore.keep` throws it away."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        self.path = path
        self.size = 0
        self._max_bytes = max_bytes
        self._hash = hashlib.sha256()
        self._file: BinaryIO | None = None

    def __enter__(self) -> Self:
        try:
            handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StorageFault(f"{self.path} cannot be written: {error.strerror}") from None
        self._file = open(handle, "wb")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()
        self.path.unlink(missing_ok=True)

    @property
    def cid(self) -> Cid:
        """The CID of what has come so far."""
        return Cid.from_digest(self._hash.digest())

    def write(self, chunk: bytes) -> None:
        """Take the next bytes.

        Raises:
            Refusal: BlobTooLarge.
            StorageFault: the disk is full.
        """
        assert self._file is not None
        self.size += len(chunk)
        if self.size > self._max_bytes:
            raise Refusal("BlobTooLarge", f"A blob has at most {self._max_bytes} bytes")
        self._hash.update(chunk)
        try:
            self._file.write(chunk)
        except OSError as error:
            raise StorageFault(f"{self.path} cannot be written: {error.strerror}") from None

    def finish(self) -> None:
        """Reach the disk with all of it."""
        assert self._file is not None
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
        except OSError as error:
            raise StorageFault(f"{self.path} cannot be written: {error.strerror}") from None


class BlobStore:
    """The blobs of one account. Thread-safe."""

    def __init__(
        self, folder: Path, database: Database, limits: HostLimits, clock: Callable[[], float]
    ) -> None:
        self._folder = folder
        self._database = database
        self._limits = limits
        self._clock = clock
        self._held = 0
        (folder / _INCOMING).mkdir(mode=0o700, parents=True, exist_ok=True)

    # --- in ---------------------------------------------------------------------------------------

    def receive(self, max_bytes: int | None = None) -> Upload:
        """A place for a new blob to be written to."""
        limit = self._limits.max_blob_bytes if max_bytes is None else max_bytes
        return Upload(self._folder / _INCOMING / secrets.token_hex(16), limit)

    def keep(self, upload: Upload, mime: str) -> BlobUse:
        """Take over what was uploaded. The same bytes again are the same blob.

        A blob that a record refers to keeps the type it was first uploaded with.
        """
        upload.finish()
        cid, now = upload.cid, self._clock()
        with self._database.write() as db:
            row = db.execute(
                "SELECT mime FROM blob WHERE cid = ?1"
                " AND EXISTS (SELECT 1 FROM blob_use WHERE cid = ?1)",
                (cid.bytes,),
            ).fetchone()
            mime = mime if row is None else row[0]
            db.execute(
                "INSERT OR REPLACE INTO blob VALUES (?, ?, ?, ?)",
                (cid.bytes, mime, upload.size, now),
            )
            self._place(upload.path, cid)
        return BlobUse(cid, mime, upload.size)

    def _place(self, source: Path, cid: Cid) -> None:
        target = self.path(cid)
        try:
            target.parent.mkdir(mode=0o700, exist_ok=True)
            source.replace(target)
            sync_folder(target.parent)
        except OSError as error:
            raise StorageFault(f"{target} cannot be written: {error.strerror}") from None

    # --- with a commit ----------------------------------------------------------------------------

    def relink(self, db: Connection, writes: Iterable[Write], rev: Tid) -> list[Cid]:
        """Note in the open transaction which blobs the written records refer to.

        Returns:
            The blobs that no record refers to any more; `discard` them after the commit.

        Raises:
            Refusal: BlobNotFound, InvalidMimeType or InvalidSize.
        """
        let_go: set[bytes] = set()
        for write in writes:
            place = (write.collection, write.rkey)
            rows = db.execute(
                "DELETE FROM blob_use WHERE collection = ? AND rkey = ? RETURNING cid", place
            )
            let_go.update(cid for (cid,) in rows.fetchall())
        for write in writes:
            for blob in write.record.blobs if write.record else ():
                _check(db, blob)
                db.execute(
                    "INSERT OR IGNORE INTO blob_use VALUES (?, ?, ?, ?)",
                    (blob.cid.bytes, write.collection, write.rkey, rev),
                )
        used = "SELECT 1 FROM blob_use WHERE cid = ?"
        gone = [cid for cid in let_go if db.execute(used, (cid,)).fetchone() is None]
        db.executemany("DELETE FROM blob WHERE cid = ?", [(cid,) for cid in gone])
        return [Cid(cid) for cid in gone]

    def discard(self, cids: Sequence[Cid]) -> None:
        """Take away the files of blobs whose rows are gone, unless they came back meanwhile."""
        if not cids:
            return
        with self._database.write() as db:
            if self._held:
                return  # a backup is reading; `release` sweeps
            for cid in cids:
                if db.execute("SELECT 1 FROM blob WHERE cid = ?", (cid.bytes,)).fetchone() is None:
                    self.path(cid).unlink(missing_ok=True)

    # --- out --------------------------------------------------------------------------------------

    def path(self, cid: Cid) -> Path:
        """Where the file of ``cid`` is, or would be."""
        name = str(cid)
        return self._folder / name[-2:] / name

    def find(self, cid: Cid) -> StoredBlob | None:
        """The blob, if a record refers to it."""
        with self._database.read() as db:
            row = db.execute(
                "SELECT mime, size FROM blob WHERE cid = ?1"
                " AND EXISTS (SELECT 1 FROM blob_use WHERE cid = ?1)",
                (cid.bytes,),
            ).fetchone()
        return None if row is None else StoredBlob(self.path(cid), row[0], row[1])

    def listed(self, since: str | None, after: Cid | None, limit: int) -> list[Cid]:
        """Blobs that records refer to, in the order of their CIDs.

        Args:
            since: only of records written after this rev.
            after: only beyond this one.
            limit: at most so many.
        """
        with self._database.read() as db:
            rows = db.execute(
                "SELECT DISTINCT cid FROM blob_use WHERE rev > ? AND cid > ? ORDER BY cid LIMIT ?",
                (since or "", after.bytes if after else b"", limit),
            ).fetchall()
        return [Cid(cid) for (cid,) in rows]

    # --- tidying ----------------------------------------------------------------------------------

    def hold(self) -> None:
        """Keep every file in its place until `release`: a backup is reading them."""
        with self._database.write():
            self._held += 1

    def release(self) -> None:
        """End one `hold`."""
        with self._database.write():
            self._held -= 1
        self.sweep()

    def sweep(self, *, incoming: bool = False) -> None:
        """Drop uploads that no record ever referred to, and files without a row.

        Args:
            incoming: also drop half uploads; only while nobody is uploading.
        """
        with self._database.write() as db:
            db.execute(
                "DELETE FROM blob WHERE uploaded_s < ?"
                " AND NOT EXISTS (SELECT 1 FROM blob_use WHERE blob_use.cid = blob.cid)",
                (self._clock() - self._limits.unused_blob_s,),
            )
        with self._database.write() as db:
            if self._held:
                return
            known = {str(Cid(cid)) for (cid,) in db.execute("SELECT cid FROM blob")}
            for path in self._folder.glob("??/*"):
                if path.name not in known:
                    path.unlink(missing_ok=True)
        if incoming:
            for path in (self._folder / _INCOMING).iterdir():
                path.unlink(missing_ok=True)


def _check(db: Connection, blob: BlobUse) -> None:
    row = db.execute("SELECT mime, size FROM blob WHERE cid = ?", (blob.cid.bytes,)).fetchone()
    if row is None:
        raise Refusal("BlobNotFound", f"Could not find blob: {blob.cid}")
    mime, size = row
    if blob.mime != mime:
        raise Refusal("InvalidMimeType", f"Blob {blob.cid} was uploaded as {mime}, not {blob.mime}")
    if blob.size != size:
        raise Refusal("InvalidSize", f"Blob {blob.cid} has {size} bytes, not {blob.size}")
