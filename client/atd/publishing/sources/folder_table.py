"""A table beside media files that says what each is: ``metadata.csv``, ``.jsonl`` or ``.parquet``.

Belongs here: finding the table, in the folder or in its folders (each speaks of the files beside
and below it), and its rows by file. The column ``file_name`` leads to the file, as in the folders
that Hugging Face's ``datasets`` reads; the other columns are fields of samples.

Rules. A file is listed once. A name that leads out of the folder of its table is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final

from atd.errors import BadSource
from atd.publishing.sources import kinds
from atd.publishing.sources.bad import Bad, settle_bad
from atd.publishing.sources.given import Given
from atd.publishing.sources.source import Source, shown
from atd.schema.fields import Field

_COLUMN: Final = "file_name"
_READERS: Final = {
    "metadata.csv": ("csv_table", "", ""),
    "metadata.jsonl": ("json_lines", "", ""),
    "metadata.parquet": ("parquet", "pyarrow", "parquet"),
}
"""Who reads it; the library that may be missing, and the extra that brings it."""


@dataclass(frozen=True)
class Notes:
    """The rows of tables beside media files, by the file that each is about.

    Args:
        names: what the tables are called.
        fields: the columns but for the name of the file.
        skipped: rows that were left out.
    """

    names: str
    fields: tuple[Field, ...]
    rows: Mapping[PurePosixPath, Mapping[str, Any]]
    warnings: tuple[str, ...]
    skipped: tuple[str, ...] = ()


def names(given: Given) -> list[PurePosixPath]:
    """The tables below a folder."""
    return [one for one in given.found if one.name in _READERS]


def read(given: Given, medium: str) -> Notes | None:
    """The tables below a folder; None where there is none.

    Args:
        medium: the field that the file itself will be, which no column may be called.

    Raises:
        BadSource: tables of several sorts, or one that does not say which file each row is about.
    """
    given.refuse_bad(_READERS, "without its table nobody can say what a file is")
    found = names(given)
    if not found:
        return None
    called = sorted({one.name for one in found})
    if len(called) > 1:
        raise BadSource(
            f"{shown(given.path)} holds {' and '.join(called)}: which one counts?",
            next_step="keep one of them",
        )
    source = _open(given, found, called[0])
    if _COLUMN not in source.schema:
        raise BadSource(
            f"{shown(found[0])} has no column {_COLUMN}: its columns are "
            f"{', '.join(source.schema.names)}",
            next_step=f"name the file of each row in a column {_COLUMN}",
        )
    if medium in source.schema:
        raise BadSource(
            f"{shown(found[0])} has a column {medium}, which is what the file itself is called",
            next_step="call the column otherwise",
        )
    rows: dict[PurePosixPath, Mapping[str, Any]] = {}
    bad = Bad(_collect(source, found, rows))
    what = f"rows of {called[0]} lead to no file of their own"
    skipped = settle_bad(bad, what, "correct the rows", skip=given.skip_bad)
    fields = tuple(one for one in source.schema if one.name != _COLUMN)
    return Notes(called[0], fields, rows, source.warnings, (*source.skipped, *skipped))


def _open(given: Given, found: list[PurePosixPath], name: str) -> Source:
    """All tables as one source, with a split for each."""
    tables = {str(number): [given.at(path)] for number, path in enumerate(found)}
    opener = kinds.door(*_READERS[name]).open_tables
    opened: Source = opener(tables, given.progress, skip_bad=given.skip_bad)
    return opened


def _collect(
    source: Source, found: list[PurePosixPath], rows: dict[PurePosixPath, Mapping[str, Any]]
) -> Iterator[str]:
    """Put the rows into ``rows``; yields what is wrong with the others, by row from 1."""
    for number, table in enumerate(found):
        if str(number) not in source.splits:
            continue  # left out as a whole: it cannot be read
        samples = source.splits[str(number)].samples(source.schema)
        for row, (_, sample) in enumerate(samples, start=1):
            name = sample.pop(_COLUMN, None)
            path = PurePosixPath(str(name))
            where = f"{shown(table)}, row {row}: {shown(name)}"
            if name is None or path.is_absolute() or ".." in path.parts or not path.parts:
                yield f"{where} (expected a file beside or below the table)"
            elif table.parent / path in rows:
                yield f"{where} (listed twice)"
            else:
                rows[table.parent / path] = sample
