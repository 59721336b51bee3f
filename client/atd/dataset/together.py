"""Several shards of a data set as one, while a shuffle picks samples out of them.

What belongs here: which shards are joined, and for how long. Joining copies a few dozen bytes a
sample (numbers, offsets, the views of texts), so it has to pay: the shards are joined the second
time that samples of about the same ones are asked for together, and serve until others are. A
windowed shuffle joins each window once.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Final

import numpy as np

from atd.dataset.order import Indices
from atd.dataset.places import Scattered
from atd.dataset.shelf import Shelf
from atd.shards.column_kinds import Column
from atd.shards.columns import Columns
from atd.shards.joined import Lots, join

MAX_JOINED: Final = 128
"""Shards joined at once: each of them stays open for as long."""

_ALIKE: Final = 0.75
"""Share of the shards of two requests that are asked for in both, where they are of one window."""


class Together:
    """Columns of several shards, one after the other.

    Args:
        numbers: of the shards, ascending.
        parts: the columns of each.
    """

    def __init__(self, numbers: Sequence[int], parts: Sequence[Columns]) -> None:
        self.numbers = frozenset(numbers)
        self._parts = parts
        # A shard may have samples without a row of columns: its rows are not its samples then.
        rows = [part.count if part.row is None else _rows(part) for part in parts]
        self._lots = Lots(rows)
        self._base = np.full(numbers[-1] + 1, -1, np.int64)
        self._base[list(numbers)] = self._lots.begins
        self._row: Indices | None = None
        if any(part.row is not None for part in parts):
            counts = [part.count for part in parts]
            firsts = np.cumsum([0, *counts[:-1]], dtype=np.int64)
            self._base[list(numbers)] = firsts
            found = [np.arange(p.count) if p.row is None else p.row for p in parts]
            moved = zip(found, self._lots.begins.tolist(), strict=True)
            self._row = np.concatenate([np.where(row < 0, -1, row + begin) for row, begin in moved])
        self._columns: dict[str, Column] = {}

    def rows(self, places: Scattered) -> Indices | None:
        """The joined rows of samples; -1 for one that is in no column. None if a shard is missing
        here."""
        if int(places.numbers.max()) >= len(self._base):
            return None
        base = self._base.take(places.numbers)
        if int(base.min()) < 0:
            return None
        base += places.rows
        return base if self._row is None else self._row[base]

    def column(self, name: str) -> Column:
        """A field of all samples."""
        found = self._columns.get(name)
        if found is None:
            found = join([part.by_name[name] for part in self._parts], self._lots)
            self._columns[name] = found
        return found


def _rows(columns: Columns) -> int:
    assert columns.row is not None
    return int(np.count_nonzero(columns.row >= 0))


class _Joining:
    """What is joined of a shelf, and what was asked for in vain before."""

    def __init__(self) -> None:
        self.now: Together | None = None
        self.asked: frozenset[int] = frozenset()


_joinings: weakref.WeakKeyDictionary[Shelf, _Joining] = weakref.WeakKeyDictionary()


def together(shelf: Shelf, places: Scattered) -> tuple[Together, Indices] | None:
    """The shards of these samples as one, with the row of each; None where that would not pay.

    Raises:
        AtdError: a shard cannot be had.
    """
    joining = _joinings.setdefault(shelf, _Joining())
    # Threads may take turns here at will: what is joined never changes, it is only replaced.
    now = joining.now
    rows = None if now is None else now.rows(places)
    if now is not None and rows is not None:
        return now, rows
    asked, before = frozenset(places.shards()), joining.asked
    joining.asked = asked
    if len(asked & before) < _ALIKE * len(asked):
        return None
    both = asked | before
    numbers = sorted(both if len(asked & before) >= _ALIKE * len(both) else asked)
    if len(numbers) > MAX_JOINED:
        return None
    parts = [shelf.shard(number).columns for number in numbers]
    known = [part for part in parts if part is not None and part.by_name]
    if len(known) < len(parts):
        return None
    joining.now = made = Together(numbers, known)
    rows = made.rows(places)
    return None if rows is None else (made, rows)
