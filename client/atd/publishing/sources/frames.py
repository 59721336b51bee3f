"""Tables of other libraries that are in memory: DataFrames, Arrow tables, Hugging Face data sets.

Belongs here: from their objects to Arrow, by the methods that they bring themselves, so that
nothing but pyarrow is imported. Who is recognised, and how, is in `atd.publishing.sources.objects`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from atd.errors import BadSource
from atd.protocol.syntax import quote
from atd.publishing.sources.arrow_rows import BATCH, Part, Rows, of_table
from atd.publishing.sources.arrow_tables import open_rows
from atd.publishing.sources.given import silent
from atd.publishing.sources.source import Source
from atd.publishing.sources.tables import Readable


def open_frames(frames: Mapping[str, Any], what: str, *, skip_bad: bool) -> Source:
    """The rows of tables by split; all are of one library.

    Raises:
        BadSource: a table that Arrow cannot hold, or splits of different columns.
    """
    paths = {split: [Path(split)] for split in frames}
    found = Readable(paths, lambda path: _rows(frames[path.name], what), skip=skip_bad)
    return open_rows(found, what, "a program", silent, skip_bad=skip_bad)


def _rows(frame: Any, what: str) -> Rows:
    try:
        return _of(frame)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise BadSource(
            f"the {what} cannot become an Arrow table: {quote(str(error))}",
            next_step="give each column one type",
        ) from None


def _of(frame: Any) -> Rows:
    library = type(frame).__module__.partition(".")[0]
    if library == "datasets":
        return _of_dataset(frame)
    if library == "pandas":
        return of_table(pa.Table.from_pandas(frame, preserve_index=False), "DataFrame")
    if library == "polars":
        return of_table(frame.to_arrow(), "DataFrame")
    return of_table(frame, "table")


def _of_dataset(dataset: Any) -> Rows:
    """A ``datasets.Dataset``, read in pieces: it may be larger than the memory.

    Files that it knows by path only, as those of an ``imagefolder``, are read into it piece by
    piece by the function of ``datasets`` itself, which is loaded since the object is its own.
    """
    embed = sys.modules["datasets.table"].embed_table_storage

    def batches(columns: list[str]) -> Iterator[Any]:
        for table in dataset.select_columns(columns).with_format("arrow").iter(BATCH):
            yield from embed(table).combine_chunks().to_batches()

    part = Part("rows", batches, dataset.num_rows)
    return Rows("Dataset", dataset.features.arrow_schema, [part])
