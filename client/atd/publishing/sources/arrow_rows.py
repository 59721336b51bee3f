"""Rows of Arrow tables, wherever they come from: Parquet, IPC files, DataFrames, HF data sets.

Belongs here: `Rows`, a table in parts that can be read without each other, and from rows to
samples. What a table lies in is the business of the modules around. The key of a sample is its row
number, counted from 0 in each split; rows that are left out count.

Rules. A table is never in memory as a whole, and no more rows of it are made into Python values
than take `PIECE` bytes, unless one row does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from atd.errors import BadSource
from atd.protocol.syntax import quote
from atd.publishing.sources.keys import row_key
from atd.publishing.sources.source import Faulty, Pair, shown
from atd.schema.fields import Audio, Field, Image, Label, Schema

BATCH: Final = 1_000
"""Rows that are made into Python values at a time, at most."""

PIECE: Final = 64 * 1024**2
"""Bytes of them, at most."""


@dataclass(frozen=True, eq=False)
class Part:
    """Rows of a table that lie together: a row group, a record batch, a table in memory.

    Args:
        name: what it is called in messages.
        batches: iterates over ``pyarrow.RecordBatch`` of the named columns, in order; raises
            BadSource where they cannot be read.
        count: how many rows it has, where that is known without reading them.
    """

    name: str
    batches: Callable[[list[str]], Iterator[Any]]
    count: int | None = None


@dataclass(frozen=True, eq=False)
class Rows:
    """One table: what to call it in messages, its ``pyarrow.Schema``, and its parts in order."""

    where: str
    schema: Any
    parts: Sequence[Part]


@dataclass(frozen=True)
class Left:
    """What is left out of a table: whole parts, and single rows by their number in the table."""

    parts: frozenset[int] = frozenset()
    rows: frozenset[int] = frozenset()


def of_table(table: Any, where: str) -> Rows:
    """A ``pyarrow.Table`` that is in memory."""

    def batches(columns: list[str]) -> Iterator[Any]:
        chosen: Iterator[Any] = iter(table.select(columns).to_batches(max_chunksize=BATCH))
        return chosen

    return Rows(where, table.schema, [Part("rows", batches, table.num_rows)])


def samples(
    tables: Sequence[tuple[Rows, Left]], titles: Mapping[str, str], schema: Schema
) -> Iterator[Pair]:
    """The rows of tables but for those that are left out."""
    wanted = {titles[field.name]: field for field in schema if field.name in titles}
    row = 0
    for table, left in tables:
        begin = row
        for number, part in enumerate(table.parts):
            if number in left.parts:
                row += part.count or 0
                continue
            for cells in (cells for batch in part.batches([*wanted]) for cells in values(batch)):
                if row - begin not in left.rows:
                    where = f"{shown(table.where)}, row {row - begin}"
                    yield row_key(row), _sample(cells, wanted, where)
                row += 1


def values(batch: Any) -> Iterator[dict[str, Any] | Exception]:
    """The rows of a batch as Python values, or why one cannot be that."""
    for piece in pieces(batch):
        try:
            yield from piece.to_pylist()
        except (ValueError, OverflowError, pa.ArrowException) as error:
            yield from _each(piece, error)


def _each(piece: Any, error: Exception) -> Iterator[dict[str, Any] | Exception]:
    if piece.num_rows == 1:
        yield error
    else:
        for at in range(piece.num_rows):
            yield from values(piece.slice(at, 1))


def pieces(batch: Any) -> Iterator[Any]:
    """A batch in slices of at most `BATCH` rows and `PIECE` bytes, or of one row.

    Values of a dictionary take their room once in a batch, and as often as they come as Python
    values: so as many rows are taken as could all have the largest.
    """
    repeated = sum(
        column.dictionary.nbytes
        for column in batch.columns
        if isinstance(column, pa.DictionaryArray)
    )
    room = PIECE // max(repeated, 1)
    most = max(1, min(BATCH, room, batch.num_rows * PIECE // max(batch.nbytes, 1)))
    for at in range(0, batch.num_rows, most):
        piece = batch.slice(at, most)
        if piece.num_rows > 1 and piece.nbytes > 2 * PIECE and not repeated:
            half = piece.num_rows // 2
            yield from pieces(piece.slice(0, half))
            yield from pieces(piece.slice(half))
        else:
            yield piece


def _sample(
    cells: Mapping[str, Any] | Exception, wanted: Mapping[str, Field], where: str
) -> dict[str, Any] | Faulty:
    if isinstance(cells, Exception):
        return Faulty(BadSource(f"{where} cannot be read: {quote(str(cells))}"))
    sample: dict[str, Any] = {}
    for title, field in wanted.items():
        value = cells[title]
        if isinstance(field.kind, Image | Audio) and isinstance(value, dict):
            try:
                value = file_of(value)
            except BadSource as error:
                return Faulty(BadSource(f"{where}: {shown(title)}: {error}", next_step=_EMBEDDED))
        if isinstance(field.kind, Label) and value == -1 and field.nullable:
            value = None  # how datasets writes that there is none
        if value is not None or field.nullable:
            sample[field.name] = value
    return sample


_EMBEDDED: Final = "save the data set with its files embedded"


def file_of(value: Mapping[str, Any]) -> Any:
    """The encoded file in a struct of bytes and path; a path alone is of no use here."""
    if value["bytes"] is None:
        raise BadSource(
            f"expected the bytes of a file, found the path {quote(value['path'])} alone",
            next_step=_EMBEDDED,
        )
    return value["bytes"]
