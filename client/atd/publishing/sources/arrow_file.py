"""Arrow IPC: files (Feather version 2 is one) and streams, which ``datasets`` writes.

Belongs here: the files; the rest is in `atd.publishing.sources.arrow_tables`. A file is mapped, not
read, so it may be larger than the memory; where its buffers are compressed, one record batch of it
is unpacked at a time.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeAlias

import pyarrow as pa
import pyarrow.ipc as ipc

from atd.errors import BadSource
from atd.protocol.syntax import quote
from atd.publishing.sources import files
from atd.publishing.sources.arrow_rows import Part, Rows
from atd.publishing.sources.arrow_tables import open_row_files
from atd.publishing.sources.given import Given
from atd.publishing.sources.source import Progress, Source, Tables, shown

SUFFIXES: Final = (".arrow", ".feather", ".ipc")
_FILE_MAGIC: Final = b"ARROW1"

Batches: TypeAlias = Callable[[list[str]], Iterator[Any]]


def open_given(given: Given) -> Source:
    """The rows of an Arrow file, or of all in a folder; see `open_tables`."""
    return open_tables(given.tables(SUFFIXES), given.progress, skip_bad=given.skip_bad)


def open_tables(paths: Tables, progress: Progress, *, skip_bad: bool = False) -> Source:
    """The rows of Arrow files: the files of each split, in order; see `open_row_files`.

    Raises:
        BadSource: a file that is not Arrow, columns of different types, or a type without kind.
    """
    return open_row_files(paths, "Arrow table", read, progress, skip_bad=skip_bad)


def read(path: Path) -> Rows:
    """The table in one file, of either form. A file has parts, a stream is one.

    Raises:
        BadSource: it is neither.
    """
    with _told(path, "is not an Arrow file"):
        source = _mapped(path)
        if not _is_file(source):
            return Rows(str(path), ipc.open_stream(source).schema, [Part("rows", _stream(path))])
        reader = ipc.open_file(source)
        return Rows(
            str(path),
            reader.schema,
            [
                Part(f"record batch {number}", _batch(path, number))
                for number in range(reader.num_record_batches)
            ],
        )


def _stream(path: Path) -> Batches:
    def batches(columns: list[str]) -> Iterator[Any]:
        with _told(path, "cannot be read"):
            for batch in ipc.open_stream(_mapped(path)):
                yield batch.select(columns)

    return batches


def _batch(path: Path, number: int) -> Batches:
    def batches(columns: list[str]) -> Iterator[Any]:
        with _told(path, "cannot be read"):
            yield ipc.open_file(_mapped(path)).get_batch(number).select(columns)

    return batches


def _mapped(path: Path) -> Any:
    # By Python and not by the library, which takes no names that are not text.
    with files.opened(path) as file:
        if not os.fstat(file.fileno()).st_size:
            raise BadSource(f"{shown(path)} is not an Arrow file: it is empty")
        return pa.BufferReader(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _is_file(source: Any) -> bool:
    return bool(source.read_at(len(_FILE_MAGIC), 0) == _FILE_MAGIC)


@contextmanager
def _told(path: Path, what: str) -> Iterator[None]:
    """The library's errors as ours."""
    try:
        yield
    except (pa.ArrowException, OSError, MemoryError) as error:
        raise BadSource(f"{shown(path)} {what}: {quote(str(error))}") from None
