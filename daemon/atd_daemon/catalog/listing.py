"""What lists and searches look at: rows made of records, and made again when they are out of date.

What belongs here: the tables ``datasets``, ``releases`` and ``schemas``, and (in `recipes`) that of
recipes, all of which follow from ``records``. `writer` calls these functions in the transaction of
the change itself.

A data set is listed with what its card says, and, once head, release and schema are all known, in
whatever order they arrived, with how large it is and what its samples are made of. The card pins
its release by CID, and the release its schema, so what was learned of them stays true: a row is
completed once and not taken apart when one of them goes. (Else whoever owns a schema that many use
could have the index busy by deleting and writing it again.)

`DERIVED` is the version of what is made of records. An index with another one is made anew out of
its own records when it is opened, without asking anybody.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from typing import Any, Final

from atd.names import DATASET, RELEASE, SCHEMA
from atd.protocol.cbor import Cid
from atd.protocol.syntax import AtUri
from atd.records import Dataset, RecipeRecord, Record, Release, SchemaRecord, parse_block
from atd.records.references import moment_value
from atd_daemon.catalog import recipes
from atd_daemon.catalog.marks import card_marks, schema_facts

DERIVED: Final = 2
_HASH_BYTES: Final = 8 * 1024 * 1024  # what FTS5 gathers before it writes; 1 MB costs a fifth more

_FACTS: Final = (
    "SELECT r.samples, r.size, s.fields, s.marks, s.modalities FROM releases r"
    " LEFT JOIN schemas s ON s.uri = r.schema_uri AND s.cid = r.schema_cid"
    " WHERE r.uri = ? AND r.cid = ?"
)
_NO_FACTS: Final = (None, None, None, None, None)


def store(db: sqlite3.Connection, place: AtUri, content: Cid, parsed: Record) -> None:
    """List what a record says that was just stored."""
    uri, cid = str(place), str(content)
    if isinstance(parsed, Dataset):
        _list_dataset(db, uri, cid, place.did, parsed)
    elif isinstance(parsed, Release):
        _store_release(db, uri, cid, place.did, parsed)
        _complete(db, "SELECT id FROM datasets WHERE latest_uri = ? AND latest_cid = ?", uri, cid)
    elif isinstance(parsed, RecipeRecord):
        recipes.store(db, uri, cid, place.did, parsed)
    elif isinstance(parsed, SchemaRecord):
        _store_schema(db, uri, cid, parsed)
        _complete(
            db,
            "SELECT d.id FROM releases r JOIN datasets d"
            " ON d.latest_uri = r.uri AND d.latest_cid = r.cid"
            " WHERE r.schema_uri = ? AND r.schema_cid = ?",
            *(uri, cid),
        )


def drop(db: sqlite3.Connection, uri: str) -> bool:
    """Remove a record and what was made of it. Whether it was there."""
    for table in ("datasets", "releases", "schemas", "recipes"):
        db.execute(f"DELETE FROM {table} WHERE uri = ?", (uri,))  # noqa: S608
    return db.execute("DELETE FROM records WHERE uri = ?", (uri,)).rowcount > 0


def is_current(db: sqlite3.Connection) -> bool:
    """Whether what was made of the records was made as it is made now."""
    return bool(db.execute("SELECT version FROM derived").fetchone() == (DERIVED,))


def renew(db: sqlite3.Connection) -> None:
    """Make everything here anew out of the records; data sets keep their place among the newest."""
    for table in ("releases", "schemas"):
        db.execute(f"DELETE FROM {table}")  # noqa: S608
    for uri, cid, parsed in _stored(db, SCHEMA):
        if isinstance(parsed, SchemaRecord):
            _store_schema(db, str(uri), cid, parsed)
    for uri, cid, parsed in _stored(db, RELEASE):
        if isinstance(parsed, Release):
            _store_release(db, str(uri), cid, uri.did, parsed)
    for uri, cid, parsed in _stored(db, DATASET):
        row = db.execute("SELECT id FROM datasets WHERE uri = ?", (str(uri),)).fetchone()
        if row is None or not isinstance(parsed, Dataset):
            continue  # known, and not listed
        columns = _card_columns(str(uri), cid, uri.did, parsed)
        db.execute(
            f"UPDATE datasets SET {', '.join(f'{name} = ?' for name in columns)} WHERE id = ?",  # noqa: S608
            (*columns.values(), row[0]),
        )
        _apply_facts(db, row[0])
    db.execute("INSERT INTO search (search, rank) VALUES ('hashsize', ?)", (_HASH_BYTES,))
    db.execute("INSERT INTO search (search) VALUES ('rebuild')")
    db.execute("DELETE FROM derived")
    db.execute("INSERT INTO derived (version) VALUES (?)", (DERIVED,))


# --- data sets ------------------------------------------------------------------------------------


def _list_dataset(db: sqlite3.Connection, uri: str, cid: str, did: str, parsed: Dataset) -> None:
    """List a data set; one that is listed as it is keeps its place among the newest."""
    known = db.execute("SELECT cid FROM datasets WHERE uri = ?", (uri,)).fetchone()
    if known == (cid,):
        return
    handle = db.execute("SELECT handle FROM publishers WHERE did = ?", (did,)).fetchone()[0]
    facts = _facts(db, str(parsed.latest.uri), str(parsed.latest.cid))
    row = {**_card_columns(uri, cid, did, parsed), "publisher": handle}
    row |= _fact_columns(row, facts)
    if known is not None:
        db.execute("DELETE FROM datasets WHERE uri = ?", (uri,))
    db.execute(
        f"INSERT INTO datasets ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})",  # noqa: S608
        tuple(row.values()),
    )


def _card_columns(uri: str, cid: str, did: str, parsed: Dataset) -> dict[str, Any]:
    """What a row of ``datasets`` has from the card alone."""
    created_at = moment_value(parsed.created_at)
    updated_at = None if parsed.updated_at is None else moment_value(parsed.updated_at)
    return {
        "uri": uri,
        "did": did,
        "cid": cid,
        "name": parsed.name,
        "title": parsed.title,
        "description": parsed.description,
        "tags": json.dumps(parsed.tags, ensure_ascii=False),
        "tasks": json.dumps(parsed.tasks, ensure_ascii=False),
        "license": parsed.license,
        "keys": "",
        "latest_uri": str(parsed.latest.uri),
        "latest_cid": str(parsed.latest.cid),
        "version": parsed.version,
        "deprecated": parsed.deprecated,
        "created_at": created_at,
        "updated_at": updated_at,
        "updated": updated_at or created_at,
    }


def _fact_columns(row: dict[str, Any], facts: tuple[Any, ...]) -> dict[str, Any]:
    """What the release and the schema add, and the marks of it all."""
    samples, size, fields, marks, modalities = facts
    own = card_marks(
        name=row["name"],
        did=row["did"],
        license=row["license"],
        tags=json.loads(row["tags"]),
        tasks=json.loads(row["tasks"]),
        updated=row["updated"],
        samples=samples,
        size=size,
    )
    return {
        "samples": samples,
        "size": size,
        "fields": fields or "",
        "modalities": modalities or "",
        "keys": " ".join([*own, *([marks] if marks else [])]),
    }


def _facts(db: sqlite3.Connection, latest_uri: str, latest_cid: str) -> tuple[Any, ...]:
    """Samples and bytes of a release, words, marks and modalities of its schema, if known."""
    found: tuple[Any, ...] | None = db.execute(_FACTS, (latest_uri, latest_cid)).fetchone()
    return _NO_FACTS if found is None else found


def _complete(db: sqlite3.Connection, which: str, *given: str) -> None:
    """Complete the rows that ``which`` selects and that lack something."""
    lacking = f"SELECT id FROM datasets WHERE id IN ({which}) AND (samples IS NULL OR fields = '')"  # noqa: S608
    for (number,) in db.execute(lacking, given).fetchall():
        _apply_facts(db, number)


def _apply_facts(db: sqlite3.Connection, number: int) -> None:
    names = ("name", "did", "license", "tags", "tasks", "updated", "latest_uri", "latest_cid")
    found = db.execute(
        f"SELECT {', '.join(names)} FROM datasets WHERE id = ?",  # noqa: S608
        (number,),
    ).fetchone()
    row = dict(zip(names, found, strict=True))
    columns = _fact_columns(row, _facts(db, row["latest_uri"], row["latest_cid"]))
    db.execute(
        f"UPDATE datasets SET {', '.join(f'{name} = ?' for name in columns)} WHERE id = ?",  # noqa: S608
        (*columns.values(), number),
    )


# --- what they refer to ---------------------------------------------------------------------------


def _store_release(db: sqlite3.Connection, uri: str, cid: str, did: str, parsed: Release) -> None:
    db.execute(
        "INSERT OR REPLACE INTO releases (uri, did, name, version, cid, samples, shards, size,"
        " created_at, notes, schema_uri, schema_cid) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(uri, did, parsed.name, parsed.version, cid, parsed.samples, parsed.shards),
            *(parsed.size, moment_value(parsed.created_at), parsed.notes),
            *(str(parsed.schema.uri), str(parsed.schema.cid)),
        ),
    )


def _store_schema(db: sqlite3.Connection, uri: str, cid: str, parsed: SchemaRecord) -> None:
    facts = schema_facts(parsed.schema)
    db.execute(
        "INSERT OR REPLACE INTO schemas (uri, cid, fields, marks, modalities)"
        " VALUES (?, ?, ?, ?, ?)",
        (uri, cid, facts.words, " ".join(facts.marks), " ".join(facts.modalities)),
    )


def _stored(db: sqlite3.Connection, collection: str) -> Iterable[tuple[AtUri, str, Record]]:
    """Every record of a collection; read by key, since the caller writes meanwhile."""
    last = 0
    while True:
        rows = db.execute(
            "SELECT id, uri, cid, block FROM records WHERE collection = ? AND id > ?"
            " ORDER BY id LIMIT 500",
            (collection, last),
        ).fetchall()
        if not rows:
            return
        for number, uri, cid, block in rows:
            place = AtUri.parse(uri)
            yield place, cid, parse_block(place, block)
            last = number
