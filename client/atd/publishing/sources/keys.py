"""Keys of samples: from file names and row numbers.

Belongs here: which key a sample of a source gets. A key depends on the file's own path below its
split, or on the row's number, and on nothing else: adding or removing files renames no other
sample. What a key may look like is in `atd.shards.keys`.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Final

from atd.shards.keys import safe_key

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
