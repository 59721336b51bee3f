"""The lines of a CSV file: from bytes to rows of cells.

Belongs here: the dialect, the header, and what makes a line no row. UTF-8 (with or without byte
order mark); commas, semicolons, tabs or bars, whichever the header has most of; quoting as in
RFC 4180. Blank lines are skipped.

Rules. A row with another number of cells, a byte that is not UTF-8 or a stray quote spoils its own
line, which is given as such: the lines after it are read. What spoils the file is a `BadSource`: no
header, UTF-16, a quote that is never closed (nobody can tell then where the next row begins) and a
line that would fill the memory.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, NamedTuple

from atd.errors import BadSource, LocalError
from atd.protocol.syntax import quote
from atd.publishing.sources import files, text
from atd.publishing.sources.source import shown
from atd.schema import limits

MAX_CELL: Final = 64 * 1024**2
"""Characters of one cell, of one line and of all lines of a row, at most."""
MAX_COLUMNS: Final = limits.MAX_FIELDS

_DELIMITERS: Final = (",", ";", "\t", "|")
_SAVE_AS: Final = "save it as UTF-8 CSV, then run the same command again"


class Row(NamedTuple):
    """A row: the line that it begins on, its cells, and what is wrong with it if it is none."""

    line: int
    cells: list[str]
    wrong: str | None = None


@dataclass(frozen=True)
class Table:
    """One CSV file whose header has been read."""

    path: Path
    delimiter: str
    titles: tuple[str, ...]

    @classmethod
    def open(cls, path: Path) -> Table:
        """Read the header of ``path``.

        Raises:
            BadSource: it is none, or the file is not text in UTF-8.
        """
        delimiter = _delimiter(path)
        first = next(_rows(path, delimiter), None)
        if first is None:
            raise BadSource(f"{shown(path)} is empty: expected a line of column names")
        if first.wrong is not None:
            raise BadSource(f"{shown(path)}, line {first.line}: {first.wrong}", next_step=_SAVE_AS)
        return cls(path, delimiter, _checked(path, [title.strip() for title in first.cells]))

    def rows(self) -> Iterator[Row]:
        """The rows after the header, with as many cells as there are columns or something wrong.

        Raises:
            BadSource: the file cannot be read to its end.
        """
        rows = _rows(self.path, self.delimiter)
        next(rows, None)
        wanted = len(self.titles)
        for row in rows:
            if row.wrong is None and len(row.cells) != wanted:
                yield row._replace(
                    wrong=f"expected {wanted} cells as in the header, found {len(row.cells)}"
                )
            else:
                yield row


def _checked(path: Path, titles: list[str]) -> tuple[str, ...]:
    where = f"{shown(path)}, line 1"
    if len(titles) > MAX_COLUMNS:
        raise BadSource(f"{where}: {len(titles)} columns; at most {MAX_COLUMNS} are taken")
    named = [title for title in titles if title]
    if not named or not any(text.is_word(title) for title in named):
        raise BadSource(
            f"{where}: expected column names, found {quote(','.join(titles), 60)}",
            next_step="put a line with the names of the columns at the top",
        )
    try:
        limits.distinct("column", named)
    except LocalError as error:
        raise BadSource(f"{where}: {error}", next_step="rename one of the columns") from None
    return tuple(titles)


def _delimiter(path: Path) -> str:
    """The delimiter that the first line has most of, outside quotes; a comma if it has none."""
    with files.opened(path) as file:
        if file.read(2) in (b"\xff\xfe", b"\xfe\xff"):
            raise BadSource(f"{shown(path)} should be UTF-8, but is UTF-16", next_step=_SAVE_AS)
        file.seek(0)
        first = next(_Lines(path, file), "")
    bare = re.sub(r'"[^"]*"', "", first)
    return max(_DELIMITERS, key=bare.count)


def _rows(path: Path, delimiter: str) -> Iterator[Row]:
    """Every row, the header too; those that are none with what is wrong."""
    if csv.field_size_limit() < MAX_CELL:
        csv.field_size_limit(MAX_CELL)  # the module's own default is 128 KiB
    with files.opened(path) as file:
        lines = _Lines(path, file)
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        while True:
            begin = lines.begin_row()
            wrong = None
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                if lines.ended or lines.number > begin:
                    raise BadSource(
                        f"{shown(path)}, line {begin}: {error} (a quote that opens there is not "
                        "closed as it should be)",
                        next_step="close the quote, or write quotes inside of cells twice",
                    ) from None
                cells, wrong = [], quote(str(error))
            if lines.bad_byte is not None:
                wrong = f"byte 0x{lines.bad_byte:02x} is not UTF-8"
            if cells or wrong:
                yield Row(begin, cells, wrong)


class _Lines:
    """The lines of a file as `csv` takes them: none so long that it fills the memory.

    Bytes that are not UTF-8 are kept as lone surrogates, so that only their row is lost.
    """

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self._path = path
        self._text = io.TextIOWrapper(file, "utf-8-sig", "surrogateescape", newline="")
        self._room = MAX_CELL
        self.number = 0
        self.ended = False
        self.bad_byte: int | None = None
        """The first byte of the row that is not UTF-8."""

    def begin_row(self) -> int:
        """A row begins: with which line."""
        self._room, self.bad_byte = MAX_CELL, None
        return self.number + 1

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._text.readline(self._room + 1)
        self.number += 1
        self._room -= len(line)
        if self._room < 0:
            raise BadSource(
                f"{shown(self._path)}, line {self.number}: a row of more than {MAX_CELL} characters"
            )
        if not line:
            self.ended = True
            raise StopIteration
        if not line.isascii() and self.bad_byte is None:
            try:
                line.encode()
            except UnicodeEncodeError as error:
                self.bad_byte = ord(line[error.start]) & 0xFF
        return line
