"""Parquet files: the rows of one, or of all in a folder.

Belongs here: the files; rows and types are in `atd.publishing.sources.arrow_rows`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from atd.errors import BadSource
from atd.protocol.syntax import quote
from atd.publishing.sources.arrow_rows import BATCH, Rows, open_row_files
from atd.publishing.sources.given import Given
from atd.publishing.sources.source import Progress, Source, Tables, shown
from atd.publishing.sources.tables import open_files

SUFFIXES: Final = (".parquet", ".pq")


def open_given(given: Given) -> Source:
    """The rows of a Parquet file, or of all in a folder; see `open_tables`."""
    return open_files(given, SUFFIXES, partial(open_tables, skip_bad=given.skip_bad))


def open_tables(paths: Tables, progress: Progress, *, skip_bad: bool = False) -> Source:
    """The rows of Parquet files: the files of each split, in order; see `open_row_files`.

    Raises:
        BadSource: a file that is not Parquet, columns of different types, or a type without kind.
    """
    return open_row_files(paths, "Parquet table", _rows, skip_bad=skip_bad)


def _rows(path: Path) -> Rows:
    file = _open(path)
    return Rows(str(path), file.schema_arrow, file.metadata.num_rows, partial(_batches, path))


def _open(path: Path) -> Any:
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise BadSource(f"{shown(path)} is not a Parquet file: {quote(str(error))}") from None


def _batches(path: Path, columns: list[str]) -> Iterator[Any]:
    try:
        yield from _open(path).iter_batches(batch_size=BATCH, columns=columns)
    except (pa.ArrowException, OSError) as error:
        raise BadSource(f"{shown(path)} cannot be read: {quote(str(error))}") from None
