"""From what was asked to an expression of FTS5 and the comparisons that follow it.

What belongs here: `Filters`, and how they and the typed terms become a `Plan`. Needs the database
only to know whose handle was named.

What can be said in marks (see `marks`) is part of the index lookup. What cannot (an exact number or
moment, a regular expression) is compared with each match.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from atd_daemon.catalog.marks import (
    EVERY,
    NOTHING,
    mark,
    number_marks,
    typed_name_marks,
    year_marks,
)
from atd_daemon.catalog.patterns import Budget, compiled
from atd_daemon.catalog.terms import Term, Typed, Words, parse

WORDS: Final = "{name title description tags tasks fields license publisher}"


@dataclass(frozen=True, slots=True)
class Filters:
    """What every data set found must have. Case does not count.

    Of several licences or publishers one is enough; of everything else, all are meant. A publisher
    is a DID, a handle as it is proved now, or a word of one (``@alice``). ``types`` are kinds or
    modalities. ``since`` is a moment as records spell it, compared with when the card was last
    changed by its author's clock; numbers are of the latest release and include their limits.
    """

    licenses: tuple[str, ...] = ()
    publishers: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    modalities: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    since: str | None = None
    min_samples: int | None = None
    max_samples: int | None = None
    min_size: int | None = None
    max_size: int | None = None


NO_FILTERS: Final = Filters()


@dataclass(frozen=True, slots=True)
class Plan:
    """What to look for: ``match`` in the index (empty: everything), then what follows.

    ``named`` finds those of them that have all words in their names, None where no name can.
    ``conditions`` are further ones, in SQL over the columns of ``datasets``, with their values;
    ``patterns`` look at names. ``words`` are what to rank by; ``mark`` tells this question from
    every other.
    """

    match: str
    words: tuple[Words, ...]
    named: str | None
    conditions: tuple[tuple[str, str | int], ...]
    patterns: tuple[Callable[[str], bool], ...]
    mark: str

    @property
    def compares(self) -> bool:
        """Whether not everything can be said in the index."""
        return bool(self.conditions or self.patterns)


def planned(db: sqlite3.Connection, text: str, filters: Filters, *, typing: bool) -> Plan:
    """How to find what ``text`` and ``filters`` ask for.

    Args:
        typing: take the last word for a beginning where it may be one.

    Raises:
        InvalidSyntax: a regular expression that is none.
    """
    typed = parse(text)
    if not typing:
        typed = replace(typed, wanted=tuple(_finished(words) for words in typed.wanted))
    every = _with_terms(filters, typed.terms)
    conditions = _conditions(db, every)
    without = [_term_expression(db, term) for term in typed.terms if not term.wanted]
    found = (*typed.wanted, *typed.unwanted, *typed.terms, *typed.patterns)
    if not found and not typed.empty:
        conditions.append(_keys([NOTHING]))  # no words in what was typed: nothing, not everything
    budget = Budget()
    patterns = [_pattern(pattern, keep, budget) for pattern, keep in typed.patterns]
    match = _expression(typed, conditions, without, _anywhere(typed))
    named = _in_name(typed)
    seen = repr((match, every, typed.patterns))
    return Plan(
        match=match,
        words=typed.wanted,
        named=None if named is None else _expression(typed, conditions, without, named),
        conditions=tuple(_comparisons(every)),
        patterns=tuple(patterns),
        mark=hashlib.sha256(seen.encode("utf-8", "surrogatepass")).hexdigest()[:12],
    )


def word_in_typing(text: str) -> str | None:
    """The last word in ``text``, as an expression of its own, if it may be only a beginning."""
    for words in parse(text).wanted:
        if words.typing:
            return f"{WORDS} : {words.expression(prefix=False)}"
    return None


def _finished(words: Words) -> Words:
    return Words(words.text) if words.typing else words


def _expression(typed: Typed, conditions: list[str], without: list[str], words: str | None) -> str:
    """Everything that must hold, ``words`` (which say where the typed words are) among it."""
    parts = [*conditions, *([] if words is None else [words])]
    unwanted = list(without)
    if typed.unwanted:
        unwanted.append(
            f"{WORDS} : ({' OR '.join(words.expression() for words in typed.unwanted)})"
        )
    if unwanted and not parts:
        parts.append(_keys([EVERY]))
    match = " AND ".join(f"({part})" for part in parts)
    return f"({match}) NOT ({' OR '.join(unwanted)})" if unwanted else match


def _anywhere(typed: Typed) -> str | None:
    """All words, in any of the columns that people read; None: there are none."""
    if not typed.wanted:
        return None
    return f"{WORDS} : ({' AND '.join(words.expression() for words in typed.wanted)})"


def _in_name(typed: Typed) -> str | None:
    """All words in the name, which are then anywhere too; None: no name can have them."""
    marks: list[str] = []
    for words in typed.wanted:
        found = typed_name_marks(words.text)
        if found is None:
            return None
        marks += [f'"{one}"' for one in found]
        if words.prefix:
            marks[-1] += "*"
    return f"keys : ({' AND '.join(dict.fromkeys(marks))})" if marks else None


def _with_terms(filters: Filters, terms: Iterable[Term]) -> Filters:
    """``filters`` and what was typed as terms."""
    names = {
        "license": "licenses",
        "publisher": "publishers",
        "tag": "tags",
        "task": "tasks",
        "modality": "modalities",
        "field": "fields",
        "kind": "kinds",
        "type": "types",
    }
    added: dict[str, tuple[str, ...]] = {}
    for term in terms:
        if term.wanted:
            name = names[term.name]
            added[name] = (*added.get(name, getattr(filters, name)), term.value)
    return replace(filters, **added)  # type: ignore[arg-type]  # names of such fields


def _conditions(db: sqlite3.Connection, filters: Filters) -> list[str]:
    """What the index can say of ``filters``, each to hold."""
    parts = []
    if filters.licenses:
        parts.append(_keys(mark("license", value) for value in filters.licenses))
    if filters.publishers:
        parts.append(" OR ".join(f"({_publisher(db, value)})" for value in filters.publishers))
    for name, values in (
        ("tag", filters.tags),
        ("task", filters.tasks),
        ("modality", filters.modalities),
        ("field", filters.fields),
        ("kind", filters.kinds),
    ):
        parts += [_keys([mark(name, value)]) for value in values]
    parts += [_type(value) for value in filters.types]
    if filters.since is not None:
        parts.append(_keys(year_marks(filters.since)))
    if not (filters.min_samples is None and filters.max_samples is None):
        parts.append(_keys(number_marks("samples", filters.min_samples, filters.max_samples)))
    if not (filters.min_size is None and filters.max_size is None):
        parts.append(_keys(number_marks("size", filters.min_size, filters.max_size)))
    return parts


def _term_expression(db: sqlite3.Connection, term: Term) -> str:
    if term.name == "publisher":
        return _publisher(db, term.value)
    if term.name == "type":
        return _type(term.value)
    return _keys([mark(term.name, term.value)])


def _type(value: str) -> str:
    return _keys([mark("modality", value), mark("kind", value)])


def _publisher(db: sqlite3.Connection, value: str) -> str:
    """A DID and a handle mean one publisher; a word, everybody who has it in their handle."""
    name = value.strip().removeprefix("@")
    if name.startswith("did:"):
        return _keys([mark("publisher", name)])
    if "." in name:
        row = db.execute("SELECT did FROM publishers WHERE handle = ?", (name.lower(),)).fetchone()
        return _keys([NOTHING if row is None else mark("publisher", row[0])])
    if not any(c.isalnum() for c in name):
        return _keys([NOTHING])
    return f"publisher : {Words(name).expression()}"


def _keys(marks: Iterable[str]) -> str:
    alternatives = " OR ".join(f'"{one}"' for one in marks)
    return f"keys : ({alternatives or NOTHING})"


def _comparisons(filters: Filters) -> Iterator[tuple[str, str | int]]:
    """What is compared with each match."""
    limits = (
        ("d.updated >= ?", filters.since),
        ("d.samples >= ?", filters.min_samples),
        ("d.samples <= ?", filters.max_samples),
        ("d.size >= ?", filters.min_size),
        ("d.size <= ?", filters.max_size),
    )
    for condition, value in limits:
        if value is not None:
            yield condition, value


def _pattern(pattern: str, keep: bool, budget: Budget) -> Callable[[str], bool]:
    matches = compiled(pattern, budget)
    return lambda name: matches(name) == keep
