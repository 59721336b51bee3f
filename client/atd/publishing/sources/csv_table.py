"""CSV files: a first line of column names, then one sample a line.

Belongs here: from rows to samples; which bytes are a row is in `atd.publishing.sources.csv_lines`.
All files of a source have the same columns.

Keys. The key of a sample is its row number, counted from 0 in each split; but where a column is
called ``key`` or ``id`` (any case; ``key`` before ``id``) and its cells can all be keys and differ,
it is that cell: then inserting a row renames no other sample. Rows that are left out count.

Rules. Every line is read once before anything is published, and all that are no rows are named with
file and line: they are refused, or left out.
"""

from __future__ import annotations

import dataclasses
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from atd.errors import BadSource, LocalError, SchemaMismatch
from atd.protocol.syntax import quote
from atd.publishing.sources import text
from atd.publishing.sources.bad import Bad, one_shape
from atd.publishing.sources.csv_lines import Row, Table
from atd.publishing.sources.given import Given
from atd.publishing.sources.keys import KEY_COLUMNS, KeySearch, row_key, shared_keys
from atd.publishing.sources.source import (
    Faulty,
    Pair,
    Progress,
    Source,
    SplitSource,
    Tables,
    shown,
)
from atd.publishing.sources.tables import Lost, Readable, origin_of
from atd.schema import limits
from atd.schema.fields import Field, Schema, String

SUFFIXES: Final = (".csv", ".tsv")


@dataclass
class Scan:
    """What a first pass over the rows of a split finds out."""

    columns: list[text.Column]
    keys: KeySearch[int]
    count: int = 0
    bad: Bad = dataclasses.field(default_factory=Bad)

    def see(self, table: Table, row: Row) -> None:
        """Take one row into account."""
        line, cells, wrong = row
        if wrong is not None:
            self.bad.add(f"{shown(table.path)}, line {line}: {wrong}")
            return
        self.count += 1
        for column, cell in zip(self.columns, cells, strict=True):
            column.see(cell, line)
        if self.keys:
            self.keys.see(cells.__getitem__, f"{shown(table.path)}, line {line}")


def open_given(given: Given) -> Source:
    """The rows of a CSV file, or of all in a folder; see `open_tables`."""
    return open_tables(given.tables(SUFFIXES), given.progress, skip_bad=given.skip_bad)


def open_tables(paths: Tables, progress: Progress, *, skip_bad: bool = False) -> Source:
    """The rows of CSV files.

    Args:
        paths: the files of each split, in order.
        skip_bad: leave out files and lines that cannot be read.

    Raises:
        BadSource: files that are no such tables, lines that are no rows, or tables with different
            columns.
    """
    found = Readable(paths, Table.open, skip=skip_bad)
    tables = found.tables
    one_shape(
        [(shown(table.path), ", ".join(map(shown, table.titles))) for table in tables],
        "columns",
        "give all files of a data set the same columns in the same order",
    )
    titles = tables[0].titles
    columns, scans = found.scan(partial(_scan, progress))
    bad = sum((scan.bad for scan in scans.values()), Bad())
    kept = any(scan.count for scan in scans.values())
    skipped = found.settle(bad + Bad(_without_rows(found.splits, scans) if kept else ()), kept=kept)
    if not kept:
        raise BadSource(f"{shown(tables[0].path)} has column names and no rows")
    keys, warned = shared_keys([scan.keys for scan in scans.values()])
    fields = _fields(titles, columns)
    return Source(
        what=_called([table.path for table in tables]),
        origin=origin_of(paths),
        schema=Schema(tuple(fields)),
        splits={
            split: _split(found.splits[split], fields, next(iter(keys), None), scan.count, skip_bad)
            for split, scan in scans.items()
            if scan.count
        },
        travels=(f"every cell of {len(titles)} columns: {', '.join(map(shown, titles))}",),
        warnings=(*_warnings(titles, columns, fields), *warned),
        skipped=skipped,
        exact=True,
    )


def _scan(
    progress: Progress, splits: Mapping[str, list[Table]], lost: Lost[Table]
) -> tuple[list[text.Column], dict[str, Scan]]:
    """Read every row of every table once."""
    titles = next(iter(splits.values()))[0].titles
    columns = [text.Column() for _ in titles]
    lowered = [title.lower() for title in titles]
    wanted = {lowered.index(name): name for name in KEY_COLUMNS if name in lowered}
    scans: dict[str, Scan] = {}
    for split, tables in splits.items():
        scan = scans[split] = Scan(columns, KeySearch(wanted))
        for table in tables:
            try:
                for row in table.rows():
                    scan.see(table, row)
                    if scan.count % 10_000 == 0:
                        progress("reading rows", scan.count, None)
            except BadSource as error:
                lost(table, error)
    return columns, scans


def _without_rows(splits: Mapping[str, list[Table]], scans: Mapping[str, Scan]) -> Iterator[str]:
    """The tables of splits that would be empty."""
    for split, scan in scans.items():
        if not scan.count and not scan.bad:
            for table in splits[split]:
                yield f"{shown(table.path)} has no rows, and so has the split {split}"


def _split(
    tables: list[Table], fields: list[Field], key: int | None, count: int, skip_bad: bool
) -> SplitSource:
    def samples(schema: Schema) -> Iterator[Pair]:
        makers = _makers(schema, fields)
        rows = ((table, row) for table in tables for row in table.rows())
        for number, (table, (line, cells, wrong)) in enumerate(rows):
            if wrong is not None:
                if not skip_bad:
                    raise BadSource(f"{shown(table.path)}, line {line}: {wrong}")
                continue
            yield (
                (row_key(number) if key is None else cells[key]),
                _sample(table, line, cells, makers),
            )

    return SplitSource(samples, count=count)


def _sample(table: Table, line: int, cells: list[str], makers: list[Maker]) -> Any:
    """The cells of a line as a sample; what raises its error when it is asked for, if they fit no
    sample."""
    sample = {}
    for field, at, make in makers:
        try:
            value = _value(field, cells[at], make)
        except ValueError as error:
            return Faulty(
                BadSource(
                    f"{shown(table.path)}, line {line}: expected {error} for {field.name}, "
                    f"found {quote(cells[at], 60)}"
                )
            )
        if value is not None or field.nullable:
            sample[field.name] = value
    return sample


Maker = tuple[Field, int, Callable[[str], Any]]


def _makers(schema: Schema, fields: list[Field]) -> list[Maker]:
    """For each field of the schema: its column, and what makes a value of a cell."""
    at = {field.name: column for column, field in enumerate(fields)}
    makers: list[Maker] = []
    for field in schema:
        if field.name not in at:
            continue  # optional: `atd.publishing.sources.opening` has refused the others
        make = text.parser(field.kind)
        if make is None:
            raise SchemaMismatch(
                f"the field {field.name} is of kind {field.kind.tag}, which no CSV cell can hold",
                next_step="publish it from Python: atd.publish(samples, name=…, schema=…)",
            )
        makers.append((field, at[field.name], make))
    return makers


def _value(field: Field, cell: str, make: Callable[[str], Any]) -> Any:
    if not cell and (field.nullable or field.optional):
        return None
    return make(cell)


# ------------------------------------------------------------------ columns


def _called(paths: Sequence[Path]) -> str:
    """What tables are called, by the ends of their names."""
    form = "TSV" if all(path.suffix.lower() == ".tsv" for path in paths) else "CSV"
    return f"{form} table" if len(paths) == 1 else f"{len(paths)} {form} tables"


def _fields(titles: Sequence[str], columns: Sequence[text.Column]) -> list[Field]:
    taken: set[str] = set()
    fields: list[Field] = []
    for number, (title, column) in enumerate(zip(titles, columns, strict=True), start=1):
        name = field_name(title, number, taken)
        taken.add(name)
        words = "".join(c for c in title if unicodedata.category(c) not in ("Cc", "Cs"))
        described = words if words and words != name else None
        fields.append(Field(name, column.settled, nullable=column.empty, description=described))
    return fields


def field_name(title: str, number: int, taken: set[str]) -> str:
    """A column's title as the name of a field, not among ``taken``: an identifier, or column_N."""
    letters = unicodedata.normalize("NFKD", title)
    bare = "".join(letter for letter in letters if not unicodedata.combining(letter))
    name = re.sub(r"[^A-Za-z0-9]+", "_", bare).strip("_")[:60]
    name = f"_{name}" if name[:1].isdigit() else name
    try:
        limits.field_name(name)
    except LocalError:
        name = f"{name}_" if name.isidentifier() else f"column_{number}"
    return name if name not in taken else f"{name[:50]}_{number}"


def _warnings(
    titles: Sequence[str],
    columns: Sequence[text.Column],
    fields: Sequence[Field],
) -> Iterator[str]:
    for title, column, named in zip(titles, columns, fields, strict=True):
        if column.spoiler is not None and isinstance(named.kind, String):
            line, cell = column.spoiler
            yield (
                f"column {shown(title)} is text, because line {line} has {quote(cell, 40)} "
                "among other things"
            )
        if column.kind is None:
            yield f"column {shown(title)} is empty: it is taken for text"
