"""Text cells and what they mean: the type of a column, and a cell as a value of a kind.

Belongs here: which strings are integers, numbers, moments … and what a column of them is. Knows
no file format.

The type of a column, over every cell of it: ``bool`` (true, false), ``int``, ``float``,
``timestamp`` (RFC 3339 with its offset from UTC), else ``string``. An empty cell makes the column
nullable. Integers with leading zeros are codes, not numbers: string. So is everything that mixes,
``NA`` among numbers too: what made a column of numbers a string is told.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from atd.schema.fields import (
    Bool,
    Float,
    Int,
    Json,
    Kind,
    Label,
    String,
    Text,
    Timestamp,
)
from atd.shards.fit import read_moment
from atd.shards.unfit import Unfit

_INT: Final = re.compile(r"[+-]?(?:0|[1-9][0-9]{0,18})")
_FLOAT: Final = re.compile(
    r"[+-]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?"
    r"|[+-]?(?:inf|infinity|nan)",
    re.IGNORECASE,
)
_WORDS: Final = {"true": True, "false": False}
_INT64: Final = range(-(2**63), 2**63)


def _is_int(cell: str) -> bool:
    return _INT.fullmatch(cell) is not None and int(cell) in _INT64


def _is_float(cell: str) -> bool:
    return _FLOAT.fullmatch(cell) is not None


def _is_bool(cell: str) -> bool:
    return cell.lower() in _WORDS


def _is_moment(cell: str) -> bool:
    try:
        read_moment(cell)
    except Unfit:
        return False
    return True


_ORDER: Final[tuple[tuple[Kind, Callable[[str], bool]], ...]] = (
    (Bool(), _is_bool),
    (Int(), _is_int),
    (Float(), _is_float),
    (Timestamp(), _is_moment),
)


@dataclass(slots=True)
class Column:
    """What is known of one column after some of its cells.

    ``spoiler``: the first cell, with its line, that made a column of other things a string.
    """

    kind: Kind | None = None
    empty: bool = False
    spoiler: tuple[int, str] | None = None
    _test: Callable[[str], bool] | None = None

    def see(self, cell: str, line: int) -> None:
        """Take one more cell into account."""
        if not cell:
            self.empty = True
        elif self._test is None:
            if self.kind is None:
                self.kind, self._test = _guess(cell)
        elif not self._test(cell):
            self._widen(cell, line)

    def _widen(self, cell: str, line: int) -> None:
        if isinstance(self.kind, Int) and _is_float(cell):
            self.kind, self._test = Float(), _is_float
            return
        self.kind, self._test, self.spoiler = String(), None, (line, cell)

    @property
    def settled(self) -> Kind:
        """The kind of the column; a column of empty cells is a string."""
        return self.kind or String()


def _guess(cell: str) -> tuple[Kind, Callable[[str], bool] | None]:
    return next(((kind, test) for kind, test in _ORDER if test(cell)), (String(), None))


def is_word(cell: str) -> bool:
    """Whether a cell is text and nothing else, as the names of columns are."""
    return isinstance(_guess(cell)[0], String)


def parser(kind: Kind) -> Callable[[str], Any] | None:
    """What makes a value of ``kind`` from a cell (raising ValueError), or None: no cell can."""
    match kind:
        case Bool():
            return _parse_bool
        case Int():
            return _parse_int
        case Float():
            return _parse_float
        case Json():
            return json.loads
        case Label():
            return lambda cell: _parse_label(kind, cell)
        case String() | Text() | Timestamp():
            return str
    return None


def _parse_bool(cell: str) -> bool:
    word = {**_WORDS, "1": True, "0": False}.get(cell.strip().lower())
    if word is None:
        raise ValueError("true or false")
    return word


def _parse_int(cell: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]{1,20}", cell.strip()):
        raise ValueError("an integer")
    return int(cell)


def _parse_float(cell: str) -> float:
    try:
        return float(cell.replace("_", "?"))  # float() would take 1_000
    except ValueError:
        raise ValueError("a number") from None


def _parse_label(kind: Label, cell: str) -> str:
    if cell not in kind.names:
        raise ValueError(f"one of {len(kind.names)} classes")
    return cell
