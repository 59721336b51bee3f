"""CSV files: a first line of column names, then one sample a line.

Belongs here: the dialect, the header, the lines. UTF-8 (with or without byte order mark); commas,
semicolons, tabs or bars, whichever the header has most of; quoting as in RFC 4180. Blank lines are
skipped. All files of a source have the same columns.

Keys. The key of a sample is its row number, counted from 0 in each split; but where a column is
called ``key`` or ``id`` (any case; ``key`` before ``id``) and its cells can all be keys and differ,
it is that cell: then inserting a row renames no other sample.

Rules. Every line is read once before anything is published: a ragged row, or a byte that is
not UTF-8, is a `BadSource` that names the file and the line.
"""

from __future__ import annotations

import csv
import dataclasses
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from atd.errors import BadSource, LocalError, SchemaMismatch
from atd.protocol.syntax import quote
from atd.publishing.sources import text
from atd.publishing.sources.given import Given
from atd.publishing.sources.keys import is_key, row_key
from atd.publishing.sources.source import Pair, Progress, Source, SplitSource, Tables, shown
from atd.publishing.sources.tables import open_files
from atd.schema import limits
from atd.schema.fields import Field, Kind, Schema, String

SUFFIXES: Final = (".csv", ".tsv")
MAX_CELL: Final = 64 * 1024**2
MAX_COLUMNS: Final = limits.MAX_FIELDS

_DELIMITERS: Final = (",", ";", "\t", "|")
_KEY_COLUMNS: Final = ("key", "id")
_SAVE_AS: Final = "save it as UTF-8 CSV, then run the same command again"

Row = tuple[int, list[str]]
"""The line on which a row ends, and its cells."""


@dataclass(frozen=True)
class Table:
    """One CSV file whose header has been read."""

    path: Path
    delimiter: str
    titles: tuple[str, ...]

    @classmethod
    def open(cls, path: Path) -> Table:
        """Read the header of ``path``."""
        first = next(_lines(path, ","), None)
        if first is None:
            raise BadSource(f"{shown(path)} is empty: expected a line of column names")
        delimiter = _delimiter(path)
        _, titles = next(_lines(path, delimiter))
        return cls(path, delimiter, _checked(path, [title.strip() for title in titles]))

    def rows(self) -> Iterator[Row]:
        """The rows after the header, each with as many cells as there are columns."""
        lines = _lines(self.path, self.delimiter)
        next(lines, None)
        for line, cells in lines:
            if len(cells) != len(self.titles):
                raise BadSource(
                    f"{shown(self.path)}, line {line}: expected {len(self.titles)} cells as in "
                    f"the header, found {len(cells)}",
                    next_step="correct the line (quote cells that hold a delimiter)",
                )
            yield line, cells


@dataclass
class Scan:
    """What a first pass over the rows of a split finds out."""

    columns: list[text.Column]
    count: int = 0
    keys: dict[int, set[str]] = dataclasses.field(default_factory=dict)

    def see(self, row: Row) -> None:
        """Take one row into account."""
        line, cells = row
        self.count += 1
        for column, cell in zip(self.columns, cells, strict=True):
            column.see(cell, line)
        for at, seen in list(self.keys.items()):
            if cells[at] in seen or not is_key(cells[at]):
                del self.keys[at]
            else:
                seen.add(cells[at])


def open_given(given: Given) -> Source:
    """The rows of a CSV file, or of all in a folder; see `open_tables`."""
    return open_files(given, SUFFIXES, open_tables)


def open_tables(paths: Tables, progress: Progress) -> Source:
    """The rows of CSV files.

    Args:
        paths: the files of each split, in order.

    Raises:
        BadSource: a file that is not such a table, or tables with different columns.
    """
    splits = {split: [Table.open(path) for path in found] for split, found in paths.items()}
    tables = [table for found in splits.values() for table in found]
    for other in tables[1:]:
        _same_columns(tables[0], other)
    titles = tables[0].titles
    columns = [text.Column() for _ in titles]
    scans = {split: _scan(found, columns, progress) for split, found in splits.items()}
    if not any(scan.count for scan in scans.values()):
        raise BadSource(f"{shown(tables[0].path)} has column names and no rows")
    key = _key_column(titles, scans.values())
    fields = _fields(titles, columns)
    return Source(
        what="CSV table" if len(tables) == 1 else f"{len(tables)} CSV tables",
        origin=str(tables[0].path if len(tables) == 1 else tables[0].path.parent),
        schema=Schema(tuple(fields)),
        splits={
            split: _split(found, fields, key, scans[split].count) for split, found in splits.items()
        },
        travels=(f"every cell of {len(titles)} columns: {', '.join(map(shown, titles))}",),
        warnings=tuple(_warnings(titles, columns, fields)),
    )


def _scan(tables: list[Table], columns: list[text.Column], progress: Progress) -> Scan:
    titles = [title.lower() for title in tables[0].titles]
    wanted = [titles.index(name) for name in _KEY_COLUMNS if name in titles]
    scan = Scan(columns, keys={at: set() for at in wanted})
    for table in tables:
        for row in table.rows():
            scan.see(row)
            if scan.count % 10_000 == 0:
                progress("reading rows", scan.count, None)
    return scan


def _key_column(titles: Sequence[str], scans: Iterable[Scan]) -> int | None:
    """The column whose cells are keys in every split, if there is one."""
    shared = set.intersection(*(set(scan.keys) for scan in scans))
    return min(shared, key=lambda at: _KEY_COLUMNS.index(titles[at].lower()), default=None)


def _split(tables: list[Table], fields: list[Field], key: int | None, count: int) -> SplitSource:
    def samples(schema: Schema) -> Iterator[Pair]:
        makers = _makers(schema, fields)
        row = 0
        for table in tables:
            for line, cells in table.rows():
                sample = {}
                for field, at, make in makers:
                    value = _value(table, line, field, cells[at], make)
                    if value is not None or field.nullable:
                        sample[field.name] = value
                yield (row_key(row) if key is None else cells[key]), sample
                row += 1

    return SplitSource(samples, count=count)


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


def _value(table: Table, line: int, field: Field, cell: str, make: Callable[[str], Any]) -> Any:
    if not cell and (field.nullable or field.optional):
        return None
    try:
        return make(cell)
    except ValueError as error:
        raise BadSource(
            f"{shown(table.path)}, line {line}: expected {error} for {field.name}, "
            f"found {quote(cell, 60)}"
        ) from None


# ------------------------------------------------------------------ columns


def _checked(path: Path, titles: list[str]) -> tuple[str, ...]:
    where = f"{shown(path)}, line 1"
    if len(titles) > MAX_COLUMNS:
        raise BadSource(f"{where}: {len(titles)} columns; at most {MAX_COLUMNS} are taken")
    named = [title for title in titles if title]
    if not named or all(text.parser(_guessed(title)) is not str for title in named):
        raise BadSource(
            f"{where}: expected column names, found {quote(','.join(titles), 60)}",
            next_step="put a line with the names of the columns at the top",
        )
    try:
        limits.distinct("column", named)
    except LocalError as error:
        raise BadSource(f"{where}: {error}", next_step="rename one of the columns") from None
    return tuple(titles)


def _guessed(cell: str) -> Kind:
    column = text.Column()
    column.see(cell, 1)
    return column.settled


def _same_columns(first: Table, other: Table) -> None:
    if first.titles != other.titles:
        raise BadSource(
            f"{shown(other.path)} has the columns {', '.join(map(shown, other.titles))}, but "
            f"{shown(first.path)} has {', '.join(map(shown, first.titles))}",
            next_step="give all files of a data set the same columns in the same order",
        )


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


# ------------------------------------------------------------------ lines


def _delimiter(path: Path) -> str:
    """The delimiter that the first line has most of, outside quotes; a comma if it has none."""
    _, first = next(_lines(path, "\n"), (1, [""]))
    bare = re.sub(r'"[^"]*"', "", first[0])
    return max(_DELIMITERS, key=bare.count)


def _lines(path: Path, delimiter: str) -> Iterator[Row]:
    if csv.field_size_limit() < MAX_CELL:
        csv.field_size_limit(MAX_CELL)  # the module's own default is 128 KiB
    reader = None
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            if delimiter == "\n":
                yield 1, [file.readline()]
                return
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            for cells in reader:
                if cells:
                    yield reader.line_num, cells
    except UnicodeDecodeError:
        raise BadSource(_undecodable(path), next_step=_SAVE_AS) from None
    except csv.Error as error:
        line = reader.line_num if reader else 1
        raise BadSource(f"{shown(path)}, line {line}: {error}", next_step=_SAVE_AS) from None
    except OSError as error:
        raise BadSource(f"cannot read {shown(path)}: {error.strerror}") from None


def _undecodable(path: Path) -> str:
    """Which line is not UTF-8: looked for only once it is known that one is not."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if number == 1 and line[:2] in (b"\xff\xfe", b"\xfe\xff"):
                return f"{shown(path)} should be UTF-8, but is UTF-16"
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                return f"{shown(path)}, line {number}: byte 0x{line[error.start]:02x} is not UTF-8"
    return f"{shown(path)} is not UTF-8"
