"""The ways out of the index: rows back into values, each SELECT in one place.

Every function here runs inside one view of `Database.read`. What comes out was checked when it went
in, so identifiers are taken as they are.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any, Final

from atd.names import domain_of_name
from atd.protocol.cbor import Cid
from atd.protocol.syntax import AtUri, Did, Handle, Tid
from atd_daemon.catalog.model import (
    Counts,
    DatasetEntry,
    NamedDataset,
    Problem,
    Publisher,
    ReleaseEntry,
    StoredRecord,
)

_RECORD: Final = "SELECT uri, cid, rev, commit_cid, block, proof, verified_at FROM records"
_RELEASE_COLUMNS: Final = (
    "r.uri, r.cid, r.name, r.version, r.samples, r.shards, r.size, r.created_at, r.notes,"
    " rr.rev, rr.commit_cid, rr.verified_at"
)
_RELEASE: Final = f"SELECT {_RELEASE_COLUMNS} FROM releases r JOIN records rr USING (uri)"  # noqa: S608
_DATASET: Final = (
    "SELECT d.uri, d.cid, d.did, d.publisher, d.name, d.title, d.description, d.license, d.tags,"  # noqa: S608
    " d.tasks, d.modalities, d.version, d.latest_uri, d.latest_cid, d.deprecated, d.created_at,"
    " d.updated_at,"
    f" dr.rev, dr.commit_cid, dr.verified_at, {_RELEASE_COLUMNS}"
    " FROM datasets d JOIN records dr ON dr.uri = d.uri"
    " LEFT JOIN releases r ON r.uri = d.latest_uri AND r.cid = d.latest_cid"
    " LEFT JOIN records rr ON rr.uri = r.uri"
)
_PUBLISHER: Final = (
    "SELECT did, handle, handle_at, pds, rev, verified_at, complete_rev, complete_at, error,"
    " error_message, error_at FROM publishers"
)


def record(db: sqlite3.Connection, uri: AtUri) -> StoredRecord | None:
    """The record at ``uri``."""
    row = db.execute(f"{_RECORD} WHERE uri = ?", (str(uri),)).fetchone()
    return None if row is None else _record(row)


def records(db: sqlite3.Connection, did: str, collection: str) -> list[StoredRecord]:
    """Every record of one collection of one publisher, by key."""
    rows = db.execute(
        f"{_RECORD} WHERE did = ? AND collection = ? ORDER BY rkey", (did, collection)
    )
    return [_record(row) for row in rows]


def records_naming(db: sqlite3.Connection, collection: str, cid: Cid) -> list[StoredRecord]:
    """Every record of one collection whose block holds the bytes of ``cid``, newest proof first.

    A look through the blocks of that collection (a gigabyte a second or so): a candidate may hold
    the bytes by chance, so the caller reads it.
    """
    rows = db.execute(
        f"{_RECORD} WHERE collection = ? AND instr(block, ?) > 0 ORDER BY verified_at DESC",
        (collection, cid.bytes),
    )
    return [_record(row) for row in rows]


def dataset(db: sqlite3.Connection, did: str, name: str) -> DatasetEntry | None:
    """One data set, if it is listed."""
    row = db.execute(f"{_DATASET} WHERE d.did = ? AND d.name = ?", (did, name)).fetchone()
    return None if row is None else _dataset(row)


def datasets(
    db: sqlite3.Connection, did: str | None, limit: int | None = None, after: str | None = None
) -> list[DatasetEntry]:
    """The data sets of one publisher, or of all, by publisher and name, after ``DID/NAME``."""
    last_did, _, last_name = (after or "").rpartition("/")
    where, given = "(d.did, d.name) > (?, ?)", [last_did, last_name]
    if did is not None:
        where, given = f"{where} AND d.did = ?", [*given, did]
    rows = db.execute(
        f"{_DATASET} WHERE {where} ORDER BY d.did, d.name LIMIT ?",
        (*given, -1 if limit is None else limit),
    )
    return [_dataset(row) for row in rows]


def named(db: sqlite3.Connection, name: str, limit: int) -> list[NamedDataset]:
    """The data sets of this name; first those of the domain in it, then the oldest."""
    domains = json.dumps(domain_of_name(name))
    rows = db.execute(
        "SELECT uri, did, publisher, publisher IN (SELECT value FROM json_each(?)) AS proved"
        " FROM datasets WHERE name = ? ORDER BY proved IS 1 DESC, id LIMIT ?",
        (domains, name, limit),
    )
    return [
        NamedDataset(
            AtUri.parse(uri),
            Did(did),
            None if handle is None else Handle(handle),
            name,
            proved == 1,
        )
        for uri, did, handle, proved in rows
    ]


def datasets_by_id(db: sqlite3.Connection, ids: Sequence[int]) -> list[DatasetEntry]:
    """The data sets with these ids, in their order."""
    found = (db.execute(f"{_DATASET} WHERE d.id = ?", (number,)).fetchone() for number in ids)
    return [_dataset(row) for row in found if row is not None]


def releases(db: sqlite3.Connection, did: str, name: str) -> list[ReleaseEntry]:
    """The releases of one data set that are known, in no order."""
    rows = db.execute(f"{_RELEASE} WHERE r.did = ? AND r.name = ?", (did, name))
    return [_release(row) for row in rows]


def problems(db: sqlite3.Connection, did: str | None) -> list[Problem]:
    """What could not be proved or read, of one publisher or of all."""
    select = "SELECT uri, reason, message, first_seen, last_seen FROM problems"
    if did is None:
        rows: Iterable[Any] = db.execute(f"{select} ORDER BY uri")
    else:
        rows = db.execute(f"{select} WHERE did = ? ORDER BY uri", (did,))
    return [Problem(AtUri.parse(uri), *rest) for uri, *rest in rows]


def publisher(db: sqlite3.Connection, did: str) -> Publisher | None:
    """What is known of one publisher."""
    row = db.execute(f"{_PUBLISHER} WHERE did = ?", (did,)).fetchone()
    return None if row is None else _publisher(row)


def publishers(db: sqlite3.Connection) -> list[Publisher]:
    """What is known of every publisher, by DID."""
    return [_publisher(row) for row in db.execute(f"{_PUBLISHER} ORDER BY did")]


def did_of(db: sqlite3.Connection, handle: str) -> Did | None:
    """Who was last proved to have ``handle``."""
    row = db.execute("SELECT did FROM publishers WHERE handle = ?", (handle,)).fetchone()
    return None if row is None else Did(row[0])


def rev_floor(db: sqlite3.Connection, did: str) -> Tid | None:
    """The newest revision of this publisher that was proved."""
    row = db.execute("SELECT rev FROM publishers WHERE did = ?", (did,)).fetchone()
    return None if row is None or row[0] is None else Tid(row[0])


def knows_commit(db: sqlite3.Connection, did: str, commit: str) -> bool:
    """Whether a record of this publisher, or its whole repository, was proved by ``commit``."""
    row = db.execute(
        "SELECT 1 FROM records WHERE did = ? AND commit_cid = ?"
        " UNION ALL SELECT 1 FROM publishers WHERE did = ? AND complete_commit = ? LIMIT 1",
        (did, commit, did, commit),
    ).fetchone()
    return row is not None


def absence(db: sqlite3.Connection, uri: AtUri) -> Tid | None:
    """The revision at which it was proved that there is no record at ``uri``."""
    row = db.execute("SELECT rev FROM absences WHERE uri = ?", (str(uri),)).fetchone()
    return None if row is None else Tid(row[0])


def counts(db: sqlite3.Connection) -> Counts:
    """How much there is."""
    tables = ("publishers", "records", "datasets", "releases", "problems")
    return Counts(*(db.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in tables))  # noqa: S608


def _record(row: tuple[Any, ...]) -> StoredRecord:
    uri, cid, rev, commit, block, proof, verified_at = row
    return StoredRecord(
        AtUri.parse(uri), Cid.parse(cid), Tid(rev), Cid.parse(commit), block, proof, verified_at
    )


def _release(row: tuple[Any, ...]) -> ReleaseEntry:
    uri, cid, name, version, samples, shards, size, created_at, notes = row[:9]
    rev, commit, verified_at = row[9:]
    return ReleaseEntry(
        uri=AtUri.parse(uri),
        cid=Cid.parse(cid),
        name=name,
        version=version,
        samples=samples,
        shards=shards,
        size=size,
        created_at=created_at,
        notes=notes,
        rev=Tid(rev),
        commit=Cid.parse(commit),
        verified_at=verified_at,
    )


def _dataset(row: tuple[Any, ...]) -> DatasetEntry:
    uri, cid, did, handle, name, title, description, license_, tags = row[:9]
    tasks, modalities, version = row[9:12]
    latest_uri, latest_cid, deprecated, created_at, updated_at = row[12:17]
    rev, commit, verified_at = row[17:20]
    return DatasetEntry(
        uri=AtUri.parse(uri),
        cid=Cid.parse(cid),
        did=Did(did),
        handle=None if handle is None else Handle(handle),
        name=name,
        title=title,
        description=description,
        license=license_,
        tags=tuple(json.loads(tags)),
        tasks=tuple(json.loads(tasks)),
        modalities=tuple(modalities.split()),
        version=version,
        latest_uri=AtUri.parse(latest_uri),
        latest_cid=Cid.parse(latest_cid),
        deprecated=deprecated,
        created_at=created_at,
        updated_at=updated_at,
        rev=Tid(rev),
        commit=Cid.parse(commit),
        verified_at=verified_at,
        release=None if row[20] is None else _release(row[20:]),
    )


def _publisher(row: tuple[Any, ...]) -> Publisher:
    did, handle, handle_at, pds, rev, verified_at, complete_rev, *rest = row
    return Publisher(
        Did(did),
        None if handle is None else Handle(handle),
        handle_at,
        pds,
        None if rev is None else Tid(rev),
        verified_at,
        None if complete_rev is None else Tid(complete_rev),
        *rest,
    )
