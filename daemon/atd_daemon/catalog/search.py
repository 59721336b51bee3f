r"""Finding data sets by words and filters, at a cost that does not grow with the index.

What users type is never FTS5 syntax. It is cut at white space into pieces; each piece goes to FTS5
as one quoted string, which its tokeniser takes apart the way it took the records apart. All pieces
must be found. ``"some words"`` is a phrase, ``-word`` must not be found, ``word*`` matches what
begins so, and so does the last word where nothing follows it, as one would want while typing.

Ranking everything that a common word matches takes seconds in a large index, so it is bounded: the
newest `CANDIDATES` matches are ranked by BM25 (a word in the name counts most), and what lies
beyond them follows unranked, newest first. Without words, all is newest first.

Filters (licence, tag, publisher) are words of the index themselves, opaque ones in a column of
their own, so that a rare filter on a common word does not have to look at every match.

A cursor remembers which entry was last shown and which was the newest at the time of the first
page: what enters the index later does not push anything to the next page or the one before.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sqlite3
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Final

from atd.errors import InvalidSyntax
from atd.protocol.syntax import quote

CANDIDATES: Final = 2000
MAX_LIMIT: Final = 100
_MAX_TEXT: Final = 1000
_MAX_PIECES: Final = 24
_MAX_CURSOR: Final = 512
_WORDS: Final = "{name title description tags license publisher}"
# name, title, description, tags, license, publisher, keys
_RANK: Final = "bm25(search, 10.0, 5.0, 1.0, 4.0, 1.0, 3.0, 0.0)"
_EVERY: Final = "kdataset"  # in the keys of every entry: something to subtract from
_NONE: Final = "knothing"
_PIECE: Final = re.compile(r'(-?)(?:"([^"]*)"?|([^\s"]+))')


@dataclass(frozen=True, slots=True)
class Filters:
    """What every entry found must have; None: anything goes. Case does not count."""

    license: str | None = None
    tag: str | None = None
    did: str | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """The ids of one page, best first, and the cursor of the next."""

    ids: tuple[int, ...]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class _Position:
    """Where a page begins. ``of`` is a mark of the query; ids only fall from ``top`` on.

    ``shown`` entries of the ranked candidates were shown, the last of which was ``after``; once
    they are through, ``below`` is the id under which the unranked rest begins.
    """

    of: str
    top: int
    shown: int = 0
    after: int = 0
    below: int | None = None


def filter_words(*, did: str, license: str | None, tags: Iterable[str]) -> str:
    """The words for the ``keys`` column of a data set."""
    words = [_EVERY, _word("publisher", did), *(_word("tag", tag) for tag in tags)]
    if license is not None:
        words.append(_word("license", license))
    return " ".join(dict.fromkeys(words))


def find(
    db: sqlite3.Connection, text: str, filters: Filters, limit: int, cursor: str | None
) -> Found:
    """One page of what ``text`` and ``filters`` find.

    Args:
        text: whatever a user typed; empty finds everything.
        limit: how many at most, 1 to `MAX_LIMIT`.
        cursor: from the page before; None for the first.

    Raises:
        InvalidSyntax: the cursor is not one of this query's.
    """
    limit = max(1, min(limit, MAX_LIMIT))
    words, match = _match(text, filters)
    newest = db.execute("SELECT max(id) FROM datasets").fetchone()[0] or 0
    mark = hashlib.sha256(f"{match}".encode()).hexdigest()[:12]
    start = _Position(mark, newest) if cursor is None else _parse_cursor(cursor, mark)
    if not words or start.below is not None:
        return _newest(db, match, start, limit)
    return _ranked(db, match, start, limit)


def _newest(db: sqlite3.Connection, match: str, start: _Position, limit: int) -> Found:
    """Newest first, from where the position says."""
    below = start.top + 1 if start.below is None else start.below
    ids = _candidates(db, match, below, limit + 1)
    more = len(ids) > limit
    ids = ids[:limit]
    position = _Position(start.of, start.top, below=ids[-1]) if more else None
    return Found(tuple(ids), _write_cursor(position))


def _ranked(db: sqlite3.Connection, match: str, start: _Position, limit: int) -> Found:
    """The best of the newest candidates, and where they end, the beginning of the rest."""
    candidates = _candidates(db, match, start.top + 1, CANDIDATES)
    if not candidates:
        return Found((), None)
    rows = db.execute(
        f"SELECT rowid FROM search WHERE search MATCH ? AND rowid BETWEEN ? AND ?"  # noqa: S608
        f" ORDER BY {_RANK}, rowid DESC",
        (match, candidates[-1], candidates[0]),
    )
    ranked = [number for (number,) in rows]
    # The entry that was shown last may be gone since; what followed it then moved up by one.
    gone = start.after not in ranked
    at = max(start.shown - 1, 0) if gone else ranked.index(start.after) + 1
    ids = ranked[at : at + limit]
    if at + limit < len(ranked):
        position = _Position(start.of, start.top, at + limit, ids[-1])
        return Found(tuple(ids), _write_cursor(position))
    if len(candidates) < CANDIDATES:
        return Found(tuple(ids), None)
    rest = _Position(start.of, start.top, below=candidates[-1])
    if len(ids) == limit:
        return Found(tuple(ids), _write_cursor(rest))
    following = _newest(db, match, rest, limit - len(ids))
    return Found((*ids, *following.ids), following.cursor)


def _candidates(db: sqlite3.Connection, match: str, below: int, count: int) -> list[int]:
    """The newest ``count`` matches with an id under ``below``."""
    if match:
        rows = db.execute(
            "SELECT rowid FROM search WHERE search MATCH ? AND rowid < ?"
            " ORDER BY rowid DESC LIMIT ?",
            (match, below, count),
        )
    else:
        rows = db.execute(
            "SELECT id FROM datasets WHERE id < ? ORDER BY id DESC LIMIT ?", (below, count)
        )
    return [number for (number,) in rows]


# --- the query ------------------------------------------------------------------------------------


def _match(text: str, filters: Filters) -> tuple[bool, str]:
    """Whether there are words to rank by, and the FTS5 expression (empty: everything)."""
    wanted, unwanted = _pieces(text[:_MAX_TEXT])
    parts = []
    if not wanted and (unwanted or text.strip() not in ("", "*")):
        # Only words to leave out: from everything. No words in what was typed: from nothing.
        parts.append(f'keys : "{_EVERY if unwanted else _NONE}"')
    if wanted:
        parts.append(f"{_WORDS} : ({' AND '.join(wanted)})")
    for kind, value in asdict(filters).items():
        if value is not None:
            parts.append(f'keys : "{_word("publisher" if kind == "did" else kind, value)}"')
    if not parts:
        return False, ""
    match = " AND ".join(parts)
    if unwanted:
        match = f"({match}) NOT {_WORDS} : ({' OR '.join(unwanted)})"
    return bool(wanted), match


def _pieces(text: str) -> tuple[list[str], list[str]]:
    """The quoted strings that must be found, and those that must not."""
    clean = "".join(c if c.isprintable() or c.isspace() else " " for c in text)
    wanted: list[str] = []
    unwanted: list[str] = []
    found = list(_PIECE.finditer(clean))[:_MAX_PIECES]
    for piece in found:
        minus, phrase, word = piece.groups()
        body = phrase if word is None else word
        # What has no letter and no digit is no word to the tokeniser, and would match nothing.
        if not any(c.isalnum() for c in body):
            continue
        typing = piece is found[-1] and piece.end() == len(clean) and word is not None
        prefix = "*" if word is not None and (body.endswith("*") or (typing and not minus)) else ""
        quoted = '"' + body.rstrip("*").replace('"', '""') + '"' + prefix
        (unwanted if minus else wanted).append(quoted)
    return wanted, unwanted


def _word(kind: str, value: str) -> str:
    """One opaque word for ``keys``: of letters and digits, and nothing a user's word can be."""
    text = f"{kind}\0{value.strip().casefold()}" if kind != "publisher" else f"{kind}\0{value}"
    return "k" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:24]


# --- cursors --------------------------------------------------------------------------------------


def _write_cursor(position: _Position | None) -> str | None:
    if position is None:
        return None
    fields = [position.of, position.top, position.shown, position.after, position.below]
    return base64.urlsafe_b64encode(json.dumps(fields).encode()).decode().rstrip("=")


def _parse_cursor(text: str, mark: str) -> _Position:
    """The position that a cursor of ours holds; it may come back in any state."""
    try:
        if len(text) > _MAX_CURSOR:
            raise ValueError
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        of, top, shown, after, below = json.loads(data)
        numbers = (top, shown, after, 0 if below is None else below)
        if of != mark or not all(type(n) is int and 0 <= n < 2**62 for n in numbers):
            raise ValueError
    except (ValueError, TypeError, RecursionError):
        raise InvalidSyntax(
            f"expected the cursor of this very search, got {quote(text)}",
            next_step="search again without a cursor",
        ) from None
    return _Position(of, top, shown, after, below)
