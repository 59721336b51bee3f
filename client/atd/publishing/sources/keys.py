"""Keys of samples: from file names and row numbers.

Belongs here: which key a sample of a source gets. A key depends on the file's own path below its
split, or on the row's number, and on nothing else: adding or removing files renames no other
sample. But a table may have a column of keys: `KeySearch`. What a key may look like is in
`atd.shards.keys`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Final, Generic, TypeVar

from atd.protocol.syntax import quote
from atd.shards.keys import safe_key

Column = TypeVar("Column")
"""How a reader calls a column: its number, its title."""

KEY_COLUMNS: Final = ("key", "id")
"""Titles of columns that may hold keys; the first comes first."""

ROW_DIGITS: Final = 9


def is_key(text: str) -> bool:
    """Whether ``text`` can be the key of a sample as it is."""
    return safe_key(text) == text


class RowKey(str):
    """A key that is the number of a row and nothing else: data that is appended is numbered on."""

    __slots__ = ()


def row_key(row: int) -> RowKey:
    """The key of row ``row``, counted from 0: nine digits, so that keys sort as rows do."""
    return RowKey(f"{row:0{ROW_DIGITS}d}")


def path_key(path: PurePosixPath) -> str:
    """The key of a file: its path, readable as far as a key can be, and a hash of it."""
    return safe_key(path.as_posix())


class KeySearch(Generic[Column]):
    """Which columns of a split could give the keys of its samples: all texts, fit, and different.

    Args:
        columns: those that are called so, with their titles, in the order of `KEY_COLUMNS`.
    """

    def __init__(self, columns: Mapping[Column, str]) -> None:
        self._titles = columns
        self._seen: dict[Column, set[str]] = {column: set() for column in columns}
        self.lost: dict[Column, str] = {}
        """Why a column gives no keys, if it is for a key that comes twice."""

    def see(self, cell: Callable[[Column], object], where: str) -> None:
        """Take the cells of one more row into account, which is ``where``."""
        for column, seen in [*self._seen.items()]:
            key = cell(column)
            if not isinstance(key, str) or not is_key(key):
                del self._seen[column]
            elif key in seen:
                del self._seen[column]
                self.lost[column] = (
                    f"{self._titles[column]} holds {quote(key, 60)} twice (again in {where}): "
                    "the keys of samples are row numbers"
                )
            else:
                seen.add(key)

    def __contains__(self, column: Column) -> bool:
        """Whether it could, after what was seen so far."""
        return column in self._seen

    def __bool__(self) -> bool:
        """Whether any could."""
        return bool(self._seen)

    def __iter__(self) -> Iterator[Column]:
        """All of them, those too that could not."""
        return iter(self._titles)


def shared_keys(searches: Sequence[KeySearch[Column]]) -> tuple[list[Column], tuple[str, ...]]:
    """The columns that give the keys in every split; else none, and why there is none."""
    found = [column for column in searches[0] if all(column in search for search in searches)]
    return found, () if found else tuple(why for one in searches for why in one.lost.values())
