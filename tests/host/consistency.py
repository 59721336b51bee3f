"""Is an account sound? Everything that must agree after any crash, compared."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from atd.protocol.car import read_car
from atd.protocol.cbor import RAW, Cid, decode
from atd.protocol.identity import Identity
from atd.protocol.proof import verify_repo
from atd_daemon.host.account import Account


def check(account: Account) -> dict[str, Cid]:
    """Fail unless repository, tables, blobs and events tell one story; returns the records."""
    identity = Identity.from_document(account.document())
    repo = verify_repo(b"".join(account.reader.car(None)), identity)
    with contextlib.closing(sqlite3.connect(account.folder / "repo.sqlite")) as db:
        records = {
            f"{collection}/{rkey}": Cid(cid)
            for collection, rkey, cid in db.execute("SELECT collection, rkey, cid FROM record")
        }
        stored = {Cid(cid): block for cid, block in db.execute("SELECT cid, bytes FROM block")}
        blobs = {Cid(cid): size for cid, size in db.execute("SELECT cid, size FROM blob")}
        used = {Cid(cid) for (cid,) in db.execute("SELECT cid FROM blob_use")}
        seqs = [seq for (seq,) in db.execute("SELECT seq FROM event ORDER BY seq")]
        (last,) = db.execute("SELECT frame FROM event ORDER BY seq DESC LIMIT 1").fetchone()
    assert records == dict(repo.entries)
    assert stored.keys() == set(read_car(b"".join(account.reader.car(None))).blocks)
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))
    assert head_of(last) == account.reader.head().cid
    check_blobs(account.folder / "blobs", blobs)
    assert used == set(blobs_of(decode(stored[cid]) for cid in records.values()))
    assert used <= blobs.keys()
    return records


def head_of(frame: bytes) -> Cid:
    """The commit that an event's frame tells of."""
    for size in range(1, 64):
        with contextlib.suppress(Exception):
            decode(frame[:size])
            body = decode(frame[size:])
            assert isinstance(body, dict)
            assert isinstance(body["blocks"], bytes)
            return read_car(body["blocks"]).roots[0]
    raise AssertionError("the last event is not a frame")


def check_blobs(folder: Path, blobs: dict[Cid, int]) -> None:
    files = {path.name: path for path in folder.glob("??/*")}
    assert files.keys() == {str(cid) for cid in blobs}
    for cid, size in blobs.items():
        data = files[str(cid)].read_bytes()
        assert (Cid.of(data, RAW), len(data)) == (cid, size)


def blobs_of(values: object) -> set[Cid]:
    """The blobs that some records refer to."""
    if isinstance(values, dict):
        found = blobs_of(list(values.values()))
        ref = values.get("ref")
        return found | {ref} if values.get("$type") == "blob" and isinstance(ref, Cid) else found
    if isinstance(values, str | bytes | int | Cid) or values is None:
        return set()
    found = set()
    for value in values:  # type: ignore[attr-defined]
        found |= blobs_of(value)
    return found
