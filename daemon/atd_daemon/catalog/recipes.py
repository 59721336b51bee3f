"""Recipes that stand by themselves, as the index lists and finds them.

What belongs here: the table ``recipes`` and the search over it. `listing` calls `store`, `drop` and
`renew` in the transaction of the change itself. Recipes that releases carry are records like
others, and not listed here: who looks for them looks for the data set.

Finding. All words must be there, the last one may be a beginning; what was typed is never FTS5
syntax. Of the newest `CANDIDATES` matches those come first whose name is what was typed, then those
with all words in their names, then in name or title, and the newest first among equals. So the cost
is bounded, however many recipes a common word finds.
"""

from __future__ import annotations

import re
import sqlite3
from typing import Any, Final

from atd.protocol.cbor import Cid
from atd.protocol.syntax import AtUri, Did, Handle, Tid
from atd.records import RecipeRecord
from atd.records.references import moment_value
from atd_daemon.catalog.model import RecipeEntry

CANDIDATES: Final = 2000
MAX_LIMIT: Final = 100
MAX_WORDS: Final = 24
_SHORTEST_PREFIX: Final = 3
_WORD: Final = re.compile(r"[^\W_]+")

_ENTRY: Final = (
    "SELECT c.uri, c.cid, c.did, p.handle, c.name, c.title, c.description, c.license, c.size,"
    " c.updated, r.rev, r.commit_cid, r.verified_at FROM recipes c"
    " JOIN records r ON r.uri = c.uri JOIN publishers p ON p.did = c.did"
)


def store(db: sqlite3.Connection, uri: str, cid: str, did: str, parsed: RecipeRecord) -> None:
    """List a recipe; one that is listed as it is keeps its place among the newest."""
    if parsed.version is not None:
        return
    if db.execute("SELECT cid FROM recipes WHERE uri = ?", (uri,)).fetchone() == (cid,):
        return
    drop(db, uri)
    handle = db.execute("SELECT handle FROM publishers WHERE did = ?", (did,)).fetchone()[0]
    row = {**_columns(uri, cid, did, parsed), "publisher": handle}
    db.execute(
        f"INSERT INTO recipes ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})",  # noqa: S608
        tuple(row.values()),
    )


def drop(db: sqlite3.Connection, uri: str) -> None:
    """List a recipe no longer."""
    db.execute("DELETE FROM recipes WHERE uri = ?", (uri,))


def search(db: sqlite3.Connection, text: str, limit: int) -> tuple[list[RecipeEntry], bool]:
    """The recipes that have every word of ``text``, best first.

    Args:
        text: whatever a user typed; without a word in it, the newest are found.
        limit: how many at most, 1 to `MAX_LIMIT`.

    Returns:
        The recipes, and whether there are more.
    """
    limit = max(1, min(limit, MAX_LIMIT))
    words = [word.lower() for word in _WORD.findall(text)[:MAX_WORDS]]
    found = _matches(db, words)
    ranked = sorted(found, key=lambda row: (*_rank(row[1], row[2] or "", text, words), -row[0]))
    entries = [_entry(db, number) for number, _, _ in ranked[:limit]]
    return entries, len(ranked) > limit


def _matches(db: sqlite3.Connection, words: list[str]) -> list[tuple[int, str, str | None]]:
    """The newest matches: id, name, title."""
    if not words:
        rows = db.execute(
            "SELECT id, name, title FROM recipes ORDER BY id DESC LIMIT ?", (CANDIDATES,)
        )
        return rows.fetchall()
    said = [f'"{word}"' for word in words]
    if len(words[-1]) >= _SHORTEST_PREFIX:
        said[-1] += "*"
    rows = db.execute(
        "SELECT c.id, c.name, c.title FROM recipe_search s CROSS JOIN recipes c ON c.id = s.rowid"
        " WHERE s.recipe_search MATCH ? ORDER BY s.rowid DESC LIMIT ?",
        (" AND ".join(said), CANDIDATES),
    )
    return rows.fetchall()


def _rank(name: str, title: str, text: str, words: list[str]) -> tuple[bool, bool, bool]:
    """Better ones compare lower."""
    own = _WORD.findall(name)
    everywhere = {*own, *(word.lower() for word in _WORD.findall(title))}
    return (
        name != text.strip().lower(),
        not all(any(one.startswith(word) for one in own) for word in words),
        not all(any(one.startswith(word) for one in everywhere) for word in words),
    )


def _columns(uri: str, cid: str, did: str, parsed: RecipeRecord) -> dict[str, Any]:
    sizes = [one["how"].get("size", 0) for one in parsed.body["resources"]]
    return {
        "uri": uri,
        "cid": cid,
        "did": did,
        "name": parsed.name,
        "title": parsed.text("title"),
        "description": parsed.text("description"),
        "license": parsed.text("license"),
        "size": sum(size for size in sizes if isinstance(size, int)),
        "updated": moment_value(parsed.updated_at or parsed.created_at),
    }


def _entry(db: sqlite3.Connection, number: int) -> RecipeEntry:
    uri, cid, did, handle, *texts, size, updated, rev, commit, verified_at = db.execute(
        f"{_ENTRY} WHERE c.id = ?", (number,)
    ).fetchone()
    name, title, description, license = texts
    return RecipeEntry(
        uri=AtUri.parse(uri),
        cid=Cid.parse(cid),
        did=Did(did),
        handle=None if handle is None else Handle(handle),
        name=name,
        title=title,
        description=description,
        license=license,
        size=size,
        updated_at=updated,
        rev=Tid(rev),
        commit=Cid.parse(commit),
        verified_at=verified_at,
    )
