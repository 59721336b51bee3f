"""Reading prepared files: IDX arrays, tables, lines, folders of images.

Rules. Bytes are hostile until they were checked, also those that a recipe fetched: what a header
says is compared with the size of the file before anything is made of it. A file that is not what
the recipe says is `ShardError`, which names the file and the place in it.
"""

from __future__ import annotations

import csv
import importlib
import json
import math
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final, TextIO

import numpy as np
from numpy.typing import NDArray

from atd.errors import InvalidSyntax, ShardError, StorageFault
from atd.protocol.syntax import quote
from atd.recipes.model import Reader
from atd.shards.media import Image

MAX_LINE_BYTES: Final = 64 << 20
MAX_ROW: Final = 8 << 20
"""Characters of a row of CSV: it may be all cells, which take twenty times as much."""
_MAX_IDX_DIMENSIONS: Final = 16
_IDX_TYPES: Final = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_IMAGES: Final = frozenset({".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".tif", ".tiff"})
_MAX_IMAGE_BYTES: Final = 1 << 30


def samples(path: Path, reader: Reader) -> Iterator[Any]:
    """The samples of what lies at ``path``: rows of an array, dicts of columns, lines, images.

    Raises:
        ShardError: it is not what the recipe says. StorageFault: it cannot be read.
        InvalidSyntax: the reader is ``path``, which has no samples.
    """
    if reader.kind == "idx":
        return iter(read_idx(path))
    if reader.kind == "csv":
        return read_csv(path, reader.delimiter or ",", reader.columns)
    if reader.kind == "parquet":
        return _parquet().rows(path)  # type: ignore[no-any-return]
    readers = {"jsonl": read_json_lines, "lines": read_lines, "images": read_images}
    if reader.kind not in readers:
        raise InvalidSyntax(f"{path} is a file or folder, which is not iterated: use .path")
    return readers[reader.kind](path)


def as_array(values: Any) -> NDArray[Any]:
    """``values`` as numpy takes them."""
    return np.asarray(values)


def idx_shape(path: Path) -> tuple[int, ...]:
    """The shape of the array in an IDX file, from its header alone; raises as `read_idx`."""
    with _opened(path) as file:
        return _idx_header(file, path)[1]


def read_idx(path: Path) -> NDArray[Any]:
    """The array in an IDX file (http://yann.lecun.com/exdb/mnist/), in this machine's byte order.

    Raises:
        ShardError: it is none, or its header does not fit its size.
    """
    with _opened(path) as file:
        dtype, shape = _idx_header(file, path)
        values: NDArray[Any] = np.fromfile(file, dtype, math.prod(shape)).reshape(shape)
    return values.astype(dtype.newbyteorder("="), copy=False)


def _idx_header(file: BinaryIO, path: Path) -> tuple[np.dtype[Any], tuple[int, ...]]:
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _IDX_TYPES:
        raise ShardError(f"{path} is no IDX file: it begins with {magic!r}")
    if not 1 <= magic[3] <= _MAX_IDX_DIMENSIONS:
        raise ShardError(
            f"{path}: expected 1 to {_MAX_IDX_DIMENSIONS} dimensions, found {magic[3]}"
        )
    header = file.read(4 * magic[3])
    if len(header) < 4 * magic[3]:
        raise ShardError(f"{path}: the file ends in its header")
    shape = struct.unpack(f">{magic[3]}I", header)
    dtype = np.dtype(_IDX_TYPES[magic[2]])
    expected = 4 + len(header) + math.prod(shape) * dtype.itemsize
    found = path.stat().st_size
    if expected != found:
        raise ShardError(
            f"{path}: its header says {shape} of {dtype.name}, {expected:,} bytes; it has {found:,}"
        )
    return dtype, shape


def read_csv(path: Path, delimiter: str, columns: tuple[str, ...]) -> Iterator[dict[str, str]]:
    """The rows of a CSV file (RFC 4180) as dicts of texts; a row of another length is an error."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = _RowLines(path, file)
            rows = csv.reader(lines, delimiter=delimiter, strict=True)
            names = list(columns) or next(rows, [])
            if len(set(names)) != len(names):
                raise ShardError(f"{path}: a column comes twice: {quote(', '.join(names), 200)}")
            lines.begin_row()
            for row in rows:
                lines.begin_row()
                if row and len(row) != len(names):
                    raise ShardError(
                        f"{path}, line {rows.line_num}: {len(row)} cells, not {len(names)}"
                    )
                if row:
                    yield dict(zip(names, row, strict=True))
    except (csv.Error, UnicodeDecodeError) as error:
        raise ShardError(f"{path}: {error}") from None
    except OSError as error:
        raise StorageFault(f"cannot read {path}: {error.strerror}") from error


class _RowLines:
    """The lines of a file as `csv` takes them: those of one row are not more than memory bears."""

    def __init__(self, path: Path, file: TextIO) -> None:
        self._path, self._file, self._room = path, file, MAX_ROW

    def begin_row(self) -> None:
        """The row before is read."""
        self._room = MAX_ROW

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._file.readline(self._room + 1)
        self._room -= len(line)
        if self._room < 0:
            raise ShardError(f"{self._path}: a row longer than {MAX_ROW:,} characters")
        if not line:
            raise StopIteration
        return line


def read_json_lines(path: Path) -> Iterator[Any]:
    """The values of a JSON Lines file; empty lines are passed over."""
    for number, line in enumerate(read_lines(path), 1):
        if line.strip():
            try:
                yield json.loads(line)
            except (ValueError, RecursionError) as error:
                raise ShardError(f"{path}, line {number}: {quote(str(error), 200)}") from None


def read_lines(path: Path) -> Iterator[str]:
    """The lines of a text in UTF-8, without their ends."""
    number = 0
    with _opened(path) as file:
        while line := file.readline(MAX_LINE_BYTES + 1):
            number += 1
            if len(line) > MAX_LINE_BYTES:
                raise ShardError(f"{path}, line {number}: longer than {MAX_LINE_BYTES:,} bytes")
            try:
                yield line.decode("utf-8").rstrip("\r\n")
            except UnicodeDecodeError as error:
                raise ShardError(f"{path}, line {number}: no UTF-8: {error.reason}") from None


def read_images(path: Path) -> Iterator[dict[str, Any]]:
    """The images below a folder as ``{"key", "image", "label"}``, labelled by their folder."""
    found = (one for one in path.rglob("*") if one.suffix.lower() in _IMAGES)
    for one in sorted(found):
        if one.is_symlink() or not one.is_file():
            continue
        if one.stat().st_size > _MAX_IMAGE_BYTES:
            raise ShardError(f"{one}: larger than {_MAX_IMAGE_BYTES:,} bytes")
        inner = one.relative_to(path)
        label = inner.parts[0] if len(inner.parts) > 1 else None
        key = inner.with_suffix("").as_posix()
        yield {"key": key, "image": Image(one.read_bytes()), "label": label}


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise StorageFault(
            f"cannot read {path}: {error.strerror}", next_step="prepare the data set again"
        ) from error


def _parquet() -> Any:
    """The door of pyarrow, loaded when a Parquet file is read."""
    return importlib.import_module("atd.recipes.parquet_door")
