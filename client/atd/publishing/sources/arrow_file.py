"""Arrow IPC: files (Feather version 2 is one) and streams, which ``datasets`` writes.

Belongs here: the files; rows and types are in `atd.publishing.sources.arrow_rows`. A file is
mapped, not read, so it may be larger than the memory.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.ipc as ipc

from atd.errors import BadSource
from atd.protocol.syntax import quote
from atd.publishing.sources.arrow_rows import Rows, of_table, open_row_files
from atd.publishing.sources.given import Given
from atd.publishing.sources.source import Progress, Source, Tables, shown
from atd.publishing.sources.tables import open_files

SUFFIXES: Final = (".arrow", ".feather", ".ipc")
_FILE_MAGIC: Final = b"ARROW1"


def open_given(given: Given) -> Source:
    """The rows of an Arrow file, or of all in a folder; see `open_tables`."""
    return open_files(given, SUFFIXES, partial(open_tables, skip_bad=given.skip_bad))


def open_tables(paths: Tables, progress: Progress, *, skip_bad: bool = False) -> Source:
    """The rows of Arrow files: the files of each split, in order; see `open_row_files`.

    Raises:
        BadSource: a file that is not Arrow, columns of different types, or a type without kind.
    """
    return open_row_files(paths, "Arrow table", read, skip_bad=skip_bad)


def read(path: Path) -> Rows:
    """The table in one file, of either form.

    Raises:
        BadSource: it is neither, or damaged.
    """
    try:
        table = _table(path)
        table.validate(full=True)
    except (pa.ArrowException, OSError) as error:
        raise BadSource(f"{shown(path)} is not an Arrow file: {quote(str(error))}") from None
    return of_table(table, str(path))


def _table(path: Path) -> Any:
    source = pa.memory_map(str(path))
    if source.read_at(len(_FILE_MAGIC), 0) == _FILE_MAGIC:
        return ipc.open_file(source).read_all()
    return ipc.open_stream(source).read_all()
