"""Rows of prepared Parquet files: the door of this room to pyarrow (extra ``parquet``)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from atd.errors import ShardError


def rows(path: Path) -> Iterator[dict[str, Any]]:
    """Each row of a Parquet file, or of the files in a folder, as a dict.

    Raises:
        ShardError: a file is none, or damaged.
    """
    files = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
    for file in files:
        try:
            with pq.ParquetFile(file) as opened:
                for batch in opened.iter_batches():
                    yield from batch.to_pylist()
        except (pa.ArrowException, OSError) as error:
            raise ShardError(f"{file} cannot be read as Parquet: {error}") from None
