r"""Finding data sets by words and filters, at a cost that hardly grows with the index.

What users type is never FTS5 syntax (`terms`); words, filters and search terms become one
expression of the index and a few comparisons (`query`, `marks`).

Ranking. BM25 over everything that a common word matches takes seconds in a large index: it counts
all matches of each word before it ranks one. So it is not used. Best are those that have all words
in their names, however old, up to `NAMED` of them, shorter names first; then the newest
`CANDIDATES` matches, by where each word is found (name, title, tags and their like, description);
and what lies beyond follows unranked, newest first. Without words, all is newest first.

Bounds. A comparison that the index cannot make is made with at most `LOOKED` matches for one page;
a page may therefore be short, or empty, and still have a cursor. The last word is also taken for a
beginning, unless `CANDIDATES` data sets have it as it stands: gathering the matches of a beginning
is the one thing that costs what all of them cost, where it is longer than those that are indexed.
So where such a one is found is looked up for the word as it stands.

A cursor remembers which entry was last shown and which was the newest at the time of the first
page: what enters the index later does not push anything to the next page or the one before.
"""

from __future__ import annotations

import base64
import json
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from atd.errors import InvalidSyntax
from atd.protocol.syntax import quote
from atd_daemon.catalog.marks import typed_name_marks
from atd_daemon.catalog.model import Facets, FacetValue
from atd_daemon.catalog.query import Filters, Plan, planned, word_in_typing

CANDIDATES: Final = 2000
NAMED: Final = 500
LOOKED: Final = 5_000
FACETED: Final = 1000
MAX_LIMIT: Final = 100
MAX_FACET_VALUES: Final = 20
_RANKED_WORDS: Final = 4
_MAX_CURSOR: Final = 512

Sort: TypeAlias = Literal["relevance", "newest", "name"]
SORTS: Final[tuple[Sort, ...]] = ("relevance", "newest", "name")

_IN_TITLE: Final = "title"
_IN_LISTS: Final = "{tags tasks fields license publisher}"
_NAME_WEIGHT, _TITLE_WEIGHT, _LISTS_WEIGHT = 5, 4, 3

_NARROW: Final = "datasets d INDEXED BY datasets_narrow"


@dataclass(frozen=True, slots=True)
class Found:
    """The ids of one page, best first, and the cursor of the next."""

    ids: tuple[int, ...]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class _Position:
    """Where a page begins. ``of`` is a mark of the question; ids only fall from ``top`` on.

    ``shown`` entries of the ranked ones were shown, the last of which was ``after``; once they are
    through, ``below`` is the id under which the unranked rest begins.
    """

    of: str
    top: int
    shown: int = 0
    after: int = 0
    below: int | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked for, ready to be looked up in one view of the index."""

    plan: Plan
    start: _Position


def ask(
    db: sqlite3.Connection, text: str, filters: Filters, sort: Sort, cursor: str | None
) -> Question:
    """Decide how to find what ``text`` and ``filters`` ask for.

    Args:
        text: whatever a user typed; empty finds everything.
        cursor: from the page before; None for the first.

    Raises:
        InvalidSyntax: the cursor is not one of this question's, or a regular expression is none.
    """
    exact = planned(db, text, filters, typing=False)
    word = word_in_typing(text)
    longer = exact if word is None else planned(db, text, filters, typing=True)
    marks = [f"{sort}:{one.mark}" for one in (exact, longer)]
    if cursor is not None:
        start = _parse_cursor(cursor, marks)
        return Question(exact if start.of == marks[0] else longer, start)
    top = db.execute("SELECT max(id) FROM datasets").fetchone()[0] or 0
    if word is None or _ids(db, word, top + 1, 1, skip=CANDIDATES - 1):
        return Question(exact, _Position(marks[0], top))
    return Question(longer, _Position(marks[1], top))


def page(db: sqlite3.Connection, question: Question, sort: Sort, limit: int) -> Found:
    """One page of what was asked for.

    Args:
        limit: how many at most, 1 to `MAX_LIMIT`.
    """
    limit = max(1, min(limit, MAX_LIMIT))
    start = question.start
    ranked = sort == "name" or (sort == "relevance" and bool(question.plan.words))
    if ranked and start.below is None:
        return _ranked(db, question, sort, limit)
    named = _named(db, question) if sort == "relevance" else []
    return _newest(db, question.plan, start, limit, frozenset(named))


def facets(db: sqlite3.Connection, question: Question) -> Facets:
    """How the newest `FACETED` matches are distributed."""
    ids, end = _candidates(db, question)
    complete = end is None and len(ids) <= FACETED
    ids = ids[:FACETED]
    rows = db.execute(
        "SELECT d.license, d.tags, d.tasks, d.modalities, coalesce(d.publisher, d.did)"
        " FROM json_each(?) j CROSS JOIN datasets d ON d.id = j.value",
        (json.dumps(ids),),
    )
    counts: dict[str, Counter[str]] = {name: Counter() for name in Facets.NAMES}
    spelt: dict[str, str] = {}
    for license, tags, tasks, modalities, publisher in rows:
        values = (
            [] if license is None else [license],
            json.loads(tags),
            json.loads(tasks),
            modalities.split(),
            [publisher],
        )
        for name, found in zip(Facets.NAMES, values, strict=True):
            folded = {one.strip().casefold(): one for one in found}
            counts[name].update(folded.keys())
            for key, one in folded.items():
                spelt.setdefault(key, one)
    most = {
        name: tuple(
            FacetValue(spelt[key], count)
            for key, count in sorted(counter.items(), key=lambda item: (-item[1], item[0]))
        )[:MAX_FACET_VALUES]
        for name, counter in counts.items()
    }
    return Facets(len(ids), complete, **most)


# --- pages ----------------------------------------------------------------------------------------


def _newest(
    db: sqlite3.Connection, plan: Plan, start: _Position, limit: int, without: frozenset[int]
) -> Found:
    """Newest first, from where the position says."""
    below = start.top + 1 if start.below is None else start.below
    ids, end = _matches(db, plan, plan.match, below, limit + 1)
    if len(ids) > limit:
        ids, end = ids[:limit], ids[limit - 1]
    position = None if end is None else _Position(start.of, start.top, below=end)
    return Found(tuple(one for one in ids if one not in without), _write_cursor(position))


def _ranked(db: sqlite3.Connection, question: Question, sort: Sort, limit: int) -> Found:
    """The best of the newest candidates, and where they end, the beginning of the rest."""
    start, plan = question.start, question.plan
    newest, end = _candidates(db, question)
    if sort == "name":
        named: list[int] = []
        names = dict(_names(db, newest))
        ranked = sorted(newest, key=lambda one: (names[one], -one))
    else:
        named = _named(db, question)
        ranked = [*named, *_by_words(db, plan, newest, frozenset(named))]
    # The entry that was shown last may be gone since; what followed it then moved up by one.
    gone = start.after not in ranked
    at = max(start.shown - 1, 0) if gone else ranked.index(start.after) + 1
    ids = ranked[at : at + limit]
    if at + limit < len(ranked):
        position = _Position(start.of, start.top, at + limit, ids[-1])
        return Found(tuple(ids), _write_cursor(position))
    if end is None:
        return Found(tuple(ids), None)
    rest = _Position(start.of, start.top, below=end)
    if len(ids) == limit:
        return Found(tuple(ids), _write_cursor(rest))
    following = _newest(db, plan, rest, limit - len(ids), frozenset(named))
    return Found((*ids, *following.ids), following.cursor)


def _candidates(db: sqlite3.Connection, question: Question) -> tuple[Sequence[int], int | None]:
    """The newest matches of the first page, and below which id there may be more."""
    plan, top = question.plan, question.start.top
    return _matches(db, plan, plan.match, top + 1, CANDIDATES)


def _named(db: sqlite3.Connection, question: Question) -> list[int]:
    """Those with all words in their names: the very name first, then by how much else is in it."""
    plan, top = question.plan, question.start.top
    if plan.named is None:
        return []
    ids, _ = _matches(db, plan, plan.named, top + 1, NAMED)
    names = dict(_names(db, ids))
    typed = "-".join(words.text.lower() for words in plan.words)
    return sorted(ids, key=lambda one: (names[one] != typed, _name_words(names[one]), -one))


def _by_words(
    db: sqlite3.Connection, plan: Plan, newest: Sequence[int], without: frozenset[int]
) -> list[int]:
    """By where each word is found: the more telling the place the better, then the newest."""
    rest = [one for one in newest if one not in without]
    if not rest:
        return []
    score: Counter[int] = Counter()
    for words in plan.words[:_RANKED_WORDS]:
        # To look for a beginning gathers all its matches, each time: the word as it stands will do.
        whole = words.prefix and not words.indexed
        said = words.expression(prefix=False) if whole else words.expression()
        marks = typed_name_marks(words.text) or []
        in_name = " AND ".join(f'"{one}"' for one in marks) + ("" if said[-1] == '"' else "*")
        places = [
            (f"{_IN_TITLE} : {said}", _TITLE_WEIGHT),
            (f"{_IN_LISTS} : {said}", _LISTS_WEIGHT),
        ]
        if marks:
            places.append((f"keys : ({in_name})", _NAME_WEIGHT))
        for place, weight in places:
            rows = db.execute(
                "SELECT rowid FROM search WHERE search MATCH ? AND rowid BETWEEN ? AND ?",
                (place if whole else f"({place}) AND ({plan.match})", rest[-1], rest[0]),
            )
            score.update({number: weight for (number,) in rows})
    return sorted(rest, key=lambda one: (-score[one], -one))


# --- rows -----------------------------------------------------------------------------------------


def _matches(
    db: sqlite3.Connection, plan: Plan, match: str, below: int, count: int
) -> tuple[list[int], int | None]:
    """The newest ``count`` matches with an id under ``below``, and the id under which to go on.

    The latter is None where there are no more.
    """
    if not plan.compares:
        ids = _ids(db, match, below, count)
        return ids, (ids[-1] if len(ids) == count else None)
    end = _ids(db, match, below, 1, skip=LOOKED - 1)
    kept: list[int] = []
    for number, name in _compared(db, plan, match, below, end[0] if end else 0):
        if all(accepts(name) for accepts in plan.patterns):
            kept.append(number)
            if len(kept) == count:
                return kept, number
    return kept, (end[0] if end else None)


def _ids(db: sqlite3.Connection, match: str, below: int, count: int, *, skip: int = 0) -> list[int]:
    """The newest matches under ``below``, without the first ``skip``."""
    if match:
        rows = db.execute(
            "SELECT rowid FROM search WHERE search MATCH ? AND rowid < ?"
            " ORDER BY rowid DESC LIMIT ? OFFSET ?",
            (match, below, count, skip),
        )
    else:
        rows = db.execute(
            "SELECT id FROM datasets WHERE id < ? ORDER BY id DESC LIMIT ? OFFSET ?",
            (below, count, skip),
        )
    return [number for (number,) in rows]


def _compared(
    db: sqlite3.Connection, plan: Plan, match: str, below: int, least: int
) -> Iterator[tuple[int, str]]:
    """The matches from ``least`` to under ``below`` that hold every comparison, newest first."""
    further = "".join(f" AND {condition}" for condition, _ in plan.conditions)
    values = (below, least, *(value for _, value in plan.conditions))
    if match:
        yield from db.execute(
            f"SELECT d.id, d.name FROM search s CROSS JOIN {_NARROW} ON d.id = s.rowid"  # noqa: S608
            f" WHERE s.search MATCH ? AND s.rowid < ? AND s.rowid >= ?{further}"
            " ORDER BY s.rowid DESC",
            (match, *values),
        )
        return
    yield from db.execute(
        f"SELECT d.id, d.name FROM {_NARROW} WHERE d.id < ? AND d.id >= ?{further}"  # noqa: S608
        " ORDER BY d.id DESC",
        values,
    )


def _names(db: sqlite3.Connection, ids: Sequence[int]) -> Iterator[tuple[int, str]]:
    yield from db.execute(
        f"SELECT d.id, d.name FROM json_each(?) j CROSS JOIN {_NARROW} ON d.id = j.value",  # noqa: S608
        (json.dumps(ids),),
    )


def _name_words(name: str) -> int:
    return sum(name.count(separator) for separator in "._-")


# --- cursors --------------------------------------------------------------------------------------


def _write_cursor(position: _Position | None) -> str | None:
    if position is None:
        return None
    fields = [position.of, position.top, position.shown, position.after, position.below]
    return base64.urlsafe_b64encode(json.dumps(fields).encode()).decode().rstrip("=")


def _parse_cursor(text: str, marks: Sequence[str]) -> _Position:
    """The position that a cursor of ours holds; it may come back in any state."""
    try:
        if len(text) > _MAX_CURSOR:
            raise ValueError
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        of, top, shown, after, below = json.loads(data)
        numbers = (top, shown, after, 0 if below is None else below)
        if of not in marks or not all(type(n) is int and 0 <= n < 2**62 for n in numbers):
            raise ValueError
    except (ValueError, TypeError, RecursionError):
        raise InvalidSyntax(
            f"expected the cursor of this very search, got {quote(text)}",
            next_step="search again without a cursor",
        ) from None
    return _Position(of, top, shown, after, below)
