"""A first look at every row of an Arrow table: what is null, and what cannot be published.

Belongs here: `survey`. Whatever a row may hold that only reading it shows: pages that are damaged,
text that is not UTF-8, moments beyond the calendar, numbers of classes that have no name, pictures
that do not decode, values that are too large.

Rules. What is wrong is said of a row where that can be told, else of the part of the table that
cannot be read: a row group, a record batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from atd.errors import BadSource, ShardError
from atd.protocol.syntax import quote
from atd.publishing.sources.arrow_rows import Left, Part, Rows, file_of, pieces, values
from atd.publishing.sources.bad import Bad
from atd.publishing.sources.source import MAX_VALUE, Progress, shown
from atd.schema.fields import Audio, Field, Image, Label
from atd.shards import media


@dataclass
class Survey:
    """What is known of a table after a look at every row.

    Args:
        kept: rows that can be published.
        nulls: the columns that hold nulls.
        left: the rest.
    """

    table: Rows
    kept: int = 0
    nulls: set[str] = field(default_factory=set)
    bad: Bad = field(default_factory=Bad)
    parts: set[int] = field(default_factory=set)
    rows: set[int] = field(default_factory=set)

    @property
    def left(self) -> Left:
        """What is to be left out."""
        return Left(frozenset(self.parts), frozenset(self.rows))


def survey(table: Rows, fields: Sequence[Field], progress: Progress) -> Survey:
    """Look at every row of ``table``, whose columns are ``fields``."""
    looks = _Looks.of(table, fields)
    found = Survey(table)
    row = 0
    for number, part in enumerate(table.parts):
        begin, kept = row, found.kept
        try:
            for batch in part.batches(table.schema.names):
                for piece in pieces(batch):
                    progress("reading rows", row, None)
                    _see(found, looks, piece, row)
                    row += piece.num_rows
        except BadSource as error:
            found.bad.add(f"{shown(table.where)}, {_place(part, begin)}: {error.message}")
            found.parts.add(number)
            found.kept = kept
            row = begin + (part.count or 0)
    return found


def _place(part: Part, begin: int) -> str:
    return f"{part.name} (rows {begin} to {begin + part.count - 1})" if part.count else part.name


def _see(found: Survey, looks: _Looks, piece: Any, row: int) -> None:
    """Take rows into account, of which the first has the number ``row``."""
    wrong = dict(_unsound(piece))
    if len(wrong) < piece.num_rows:
        wrong = {**looks.wrong(piece, wrong), **wrong}
    for at in sorted(wrong):
        found.bad.add(f"{shown(found.table.where)}, row {row + at}: {wrong[at]}")
        found.rows.add(row + at)
    found.kept += piece.num_rows - len(wrong)
    found.nulls |= looks.nulls(piece)


def _unsound(piece: Any, begin: int = 0) -> Iterator[tuple[int, str]]:
    """Rows that are not what Arrow says they are, or that are too large."""
    if piece.num_rows == 1 and piece.nbytes > MAX_VALUE:
        yield begin, f"{piece.nbytes} bytes; a row may have {MAX_VALUE}"
        return
    try:
        piece.validate(full=True)
    except pa.ArrowException as error:
        if piece.num_rows == 1:
            yield begin, quote(str(error))
            return
        half = piece.num_rows // 2
        yield from _unsound(piece.slice(0, half), begin)
        yield from _unsound(piece.slice(half), begin + half)


@dataclass(frozen=True)
class _Looks:
    """Columns that more has to be known of than that Arrow can read them, by their titles."""

    files: Mapping[str, bool]
    """Files in structs of bytes and path, and whether they are pictures."""
    labels: Mapping[str, int]
    """Numbers of classes, and how many classes there are."""
    moments: Sequence[str]
    """Values that Python may not be able to hold."""

    @classmethod
    def of(cls, table: Rows, fields: Sequence[Field]) -> _Looks:
        """What to look at in a table with these fields."""
        columns = list(zip(fields, table.schema, strict=True))
        return cls(
            {
                column.name: isinstance(one.kind, Image)
                for one, column in columns
                if isinstance(one.kind, Image | Audio) and pa.types.is_struct(column.type)
            },
            {
                column.name: len(one.kind.names)
                for one, column in columns
                if isinstance(one.kind, Label)
            },
            [column.name for _, column in columns if "timestamp" in str(column.type)],
        )

    def wrong(self, piece: Any, known: Mapping[int, str]) -> dict[int, str]:
        """The rows that cannot be samples, and why."""
        wrong: dict[int, str] = {}
        for title, pictures in self.files.items():
            for at, value in enumerate(piece.column(title).to_pylist()):
                if at not in known and value is not None and (why := _no_file(value, pictures)):
                    wrong[at] = f"{shown(title)} ({why})"
        for title, count in self.labels.items():
            for at, value in enumerate(piece.column(title).to_pylist()):
                if value is not None and not -1 <= value < count:
                    wrong[at] = f"{shown(title)} is {value}, and there are {count} classes"
        for title in self.moments:
            for at, cells in enumerate(values(piece.select([title]))):
                if isinstance(cells, Exception):
                    wrong[at] = f"{shown(title)} ({quote(str(cells))})"
        return wrong

    def nulls(self, piece: Any) -> set[str]:
        """The columns with values that are null, or written as `datasets` writes that."""
        found = {name for name in piece.schema.names if piece.column(name).null_count}
        return found | {name for name in self.labels if -1 in piece.column(name).to_pylist()}


def _no_file(value: Mapping[str, Any], picture: bool) -> str | None:
    try:
        data = file_of(value)
        if picture:
            media.Image(data).decode()
    except (ShardError, BadSource) as error:
        return error.message.removeprefix("image: ").removeprefix(": ")
    return None
