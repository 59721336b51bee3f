"""Parquet files: the rows of one, or of all in a folder.

Belongs here: the files, by row groups; the rest is in `atd.publishing.sources.arrow_tables`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from atd.errors import BadSource
from atd.protocol.syntax import quote
from atd.publishing.sources import files
from atd.publishing.sources.arrow_rows import BATCH, PIECE, Part, Rows
from atd.publishing.sources.arrow_tables import open_row_files
from atd.publishing.sources.given import Given
from atd.publishing.sources.source import Progress, Source, Tables, shown

SUFFIXES: Final = (".parquet", ".pq")
_BUFFER: Final = 1024**2
"""Bytes of a column that are read from the disk at a time."""
_LEAST: Final = 16
"""Rows at a time where many may be large, but hardly ever are."""


def open_given(given: Given) -> Source:
    """The rows of a Parquet file, or of all in a folder; see `open_tables`."""
    return open_tables(given.tables(SUFFIXES), given.progress, skip_bad=given.skip_bad)


def open_tables(paths: Tables, progress: Progress, *, skip_bad: bool = False) -> Source:
    """The rows of Parquet files: the files of each split, in order; see `open_row_files`.

    Raises:
        BadSource: a file that is not Parquet, columns of different types, or a type without kind.
    """
    return open_row_files(paths, "Parquet table", _rows, progress, skip_bad=skip_bad)


def _rows(path: Path) -> Rows:
    with _opened(path) as file:
        groups = [file.metadata.row_group(number) for number in range(file.num_row_groups)]
        return Rows(
            str(path),
            file.schema_arrow,
            [
                Part(f"row group {number}", partial(_batches, path, number), group.num_rows)
                for number, group in enumerate(groups)
            ],
        )


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    # By Python and not by the library, which takes no names that are not text.
    with files.opened(path) as file:
        try:
            yield pq.ParquetFile(file, buffer_size=_BUFFER)
        except (pa.ArrowException, OSError) as error:
            raise BadSource(f"{shown(path)} is not a Parquet file: {quote(str(error))}") from None


def _batches(path: Path, group: int, columns: list[str]) -> Iterator[Any]:
    with _opened(path) as file:
        try:
            size = _batch_size(file.metadata.row_group(group))
            yield from file.iter_batches(batch_size=size, row_groups=[group], columns=columns)
        except (pa.ArrowException, OSError, IndexError) as error:
            raise BadSource(f"{shown(path)} cannot be read: {quote(str(error))}") from None


def _batch_size(group: Any) -> int:
    """Rows to read at a time, so that they take about `PIECE` bytes once they are unpacked.

    By what the footer says of the row group: what all values take, and where a dictionary holds
    them, of which each may come in every row, what that and the numbers into it take.
    """
    columns = [group.column(number) for number in range(group.num_columns)]
    repeated: int = max(
        (one.total_uncompressed_size for one in columns if _has_dictionary(one)), default=0
    )
    rows = int(group.num_rows * PIECE // max(group.total_byte_size, 1))
    return max(1, min(BATCH, rows, max(_LEAST, PIECE // max(repeated, 1))))


def _has_dictionary(column: Any) -> bool:
    """Whether values of any size may be repeated at the cost of a few bits."""
    return bool(column.physical_type == "BYTE_ARRAY" and column.has_dictionary_page)
