"""Arrays whose first dimension counts the samples: files of arrays, and dicts of them.

Belongs here: one field from each array, one sample from each row. A 1-d array of numbers or text
gives scalars, one of more dimensions gives arrays of the rest of its shape. Arrays called
``x_train``, ``x_test`` … make splits.

Rules. Nothing is ever unpickled: an array of Python objects is refused. The key of a sample is its
row number, counted from 0 in each split.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from atd.errors import BadSource, LocalError
from atd.protocol.syntax import quote
from atd.publishing.sources import files, safetensors
from atd.publishing.sources.bad import Bad, one_shape
from atd.publishing.sources.given import Given
from atd.publishing.sources.keys import row_key
from atd.publishing.sources.loading import Row
from atd.publishing.sources.source import Item, Source, SplitSource, Tables, shown
from atd.publishing.sources.tables import Readable
from atd.schema.fields import Array, Bool, Field, Float, Int, Kind, Schema, String, Timestamp
from atd.shards.room import check_room
from atd.shards.unfit import Unfit

Arrays = Mapping[str, NDArray[Any]]

SUFFIXES: Final = (".npz", ".npy", ".safetensors")
_MAPPED: Final[Mapping[str, Literal["r"]]] = {".npy": "r"}
_SUFFIXED: Final = re.compile(r"(.+)_(train|val|valid|validation|dev|test)")


def open_given(given: Given) -> Source:
    """The arrays of a file, or of all in a folder.

    ``.npz`` and ``.safetensors`` hold arrays by name, and several in a folder are its splits. A
    ``.npy`` file holds one, called as the file is; in a folder each is a field.

    Raises:
        BadSource: damaged, with arrays of objects, or of different lengths; files of both sorts.
    """
    given.refuse_bad((".npy",), "each is a field of every sample")
    tables = given.tables(SUFFIXES)
    found = [path for paths in tables.values() for path in paths]
    loose = [path for path in found if path.suffix.lower() == ".npy"]
    if loose and len(loose) < len(found):
        raise BadSource(
            f"{shown(given.path)} holds .npy files and archives of arrays",
            next_step="publish one sort of them",
        )
    read = _Arrays(tables, skip=None if loose else given.skip_bad)
    reads = tuple(path.absolute() for path in found)
    origin, what = str(given.path), f"{found[0].suffix.lower()} file{'s'[: len(found) > 1]}"
    if loose:
        groups = {split: _loose(paths, read) for split, paths in tables.items()}
        if len(groups) == 1:
            ((split, arrays),) = groups.items()
            return from_arrays(arrays, split, what, origin, reads)
        return from_groups(groups, what, origin, reads)
    for paths in tables.values():
        if len(paths) > 1:
            raise BadSource(
                f"{shown(paths[0])} and {shown(paths[1])} would be one split",
                next_step="publish one of them, or call them as their splits: train, test",
            )
    if len(tables) == 1:
        return from_arrays(read.of[found[0]], next(iter(tables)), what, origin, reads)
    by_split = {split: read.of[path] for split, (path,) in tables.items() if path in read.of}
    return replace(from_groups(by_split, what, origin, reads), skipped=read.skipped)


class _Arrays:
    """The arrays of every file that can be read, and what is to be said of the others.

    A file of a folder of ``.npy`` files is a field of every sample, and is never left out.

    Raises:
        BadSource: some cannot be read, and are not to be left out, or all.
    """

    def __init__(self, tables: Tables, *, skip: bool | None) -> None:
        found = Readable(tables, lambda path: (path, _load(path)), skip=skip)
        self.of = dict(found.tables)
        self.skipped = found.settle(Bad(), kept=True)


def _loose(paths: Sequence[Path], read: _Arrays) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {}
    for path in paths:
        if path.stem in arrays:
            raise BadSource(f"{shown(path)}: another file is called {shown(path.stem)} too")
        arrays[path.stem] = read.of[path][""]
    return arrays


def _load(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays in one file by name; of a ``.npy`` file under no name."""
    files.check_file(path)
    try:
        if path.suffix.lower() == ".safetensors":
            return safetensors.load(path)
        if path.suffix.lower() == ".npz":
            with zipfile.ZipFile(path) as packed:
                check_room(sum(one.file_size for one in packed.infolist()))
        found = np.load(path, mmap_mode=_MAPPED.get(path.suffix.lower()), allow_pickle=False)
        if isinstance(found, np.ndarray):
            return {"": found}
        with found:
            return {name: found[name] for name in found.files}
    except (Unfit, MemoryError):
        raise BadSource(f"{shown(path)} unpacks to more than fits into memory") from None
    except OSError as error:
        raise BadSource(f"cannot read {shown(path)}: {error.strerror or error}") from None
    except Exception as error:  # damaged bytes make numpy and zipfile raise nearly anything
        raise BadSource(
            f"{shown(path)} is not an {path.suffix} file of plain arrays: {quote(str(error), 120)}",
            next_step="write it with numpy.savez or numpy.save, from arrays of numbers or text",
        ) from None


def from_arrays(
    arrays: Arrays, default: str, what: str, origin: str, reads: tuple[Path, ...] | None = None
) -> Source:
    """Samples from arrays of equal first dimension, by field name.

    Args:
        default: the split where no array's name says one.
        what: the kind of source, in words; ``origin``: where it is.
        reads: the files that the arrays were read from, if they were.
    """
    if not arrays:
        raise BadSource(f"{shown(origin)} holds no arrays")
    return from_groups(_groups(arrays, default), what, origin, reads)


def from_groups(
    groups: Mapping[str, Arrays], what: str, origin: str, reads: tuple[Path, ...] | None = None
) -> Source:
    """Samples from arrays by split, and there by field name; ``reads`` as for `from_arrays`."""
    splits: dict[str, SplitSource] = {}
    schemas: list[Schema] = []
    for split in files.in_order(iter(groups)):
        count = _length(groups[split], origin)
        schemas.append(_schema(groups[split], origin))
        splits[split] = SplitSource(items=_items(groups[split], count, reads), count=count)
    one_shape(
        [(split, _words(groups[split])) for split in splits],
        f"arrays in the splits of {shown(origin)}",
        "give every split the same arrays, such as x_train, y_train, x_test, y_test",
    )
    names = ", ".join(schemas[0].names)
    return Source(
        what=what,
        origin=origin,
        schema=schemas[0],
        splits=splits,
        travels=(f"every element of the arrays {names}",),
        exact=not any(isinstance(one.kind, String | Timestamp) for one in schemas[0]),
    )


def _words(arrays: Arrays) -> str:
    return ", ".join(
        f"{shown(name)} {array.dtype}{list(array.shape[1:]) if array.ndim > 1 else ''}"
        for name, array in sorted(arrays.items())
    )


def _groups(arrays: Arrays, default: str) -> dict[str, dict[str, NDArray[Any]]]:
    """The arrays by split, if all their names say one; else all in the default split."""
    named = {name: _SUFFIXED.fullmatch(name) for name in arrays}
    groups: dict[str, dict[str, NDArray[Any]]] = {}
    if all(named.values()):
        for name, match in named.items():
            assert match is not None
            groups.setdefault(match[2], {})[match[1]] = arrays[name]
        return groups
    return {default: dict(arrays)}


def _length(arrays: Arrays, origin: str) -> int:
    lengths = {name: len(array) if array.ndim else None for name, array in arrays.items()}
    if None in lengths.values() or len(set(lengths.values())) != 1:
        said = ", ".join(f"{shown(name)} {array.shape}" for name, array in arrays.items())
        raise BadSource(
            f"{shown(origin)}: expected arrays of one length (their first dimension), found {said}",
            next_step="leave out or reshape the arrays that do not have one row for each sample",
        )
    (count,) = set(lengths.values())
    if not count:
        raise BadSource(f"{shown(origin)}: the arrays have no rows")
    return count


def _schema(arrays: Arrays, origin: str) -> Schema:
    fields = []
    for name, array in arrays.items():
        try:
            fields.append(Field(name, kind_of(array.dtype, array.shape[1:])))
        except LocalError as error:
            raise BadSource(
                f"{shown(origin)}: array {shown(name)}: {error}", next_step=error.next_step
            ) from None
    return Schema(tuple(fields))


def kind_of(dtype: np.dtype[Any], shape: tuple[int, ...]) -> Kind:
    """The kind of one row of an array: a scalar where ``shape``, the rest of it, is empty.

    Raises:
        LocalError: a dtype that no field holds: objects, structured, void.
    """
    if shape and 0 in shape:
        raise LocalError(f"a dimension of length 0: {shape}")
    if dtype.kind in "UM" and not shape:
        return String() if dtype.kind == "U" else Timestamp()
    if not shape:
        match dtype.kind:
            case "b":
                return Bool()
            case "i" | "u":
                return Int(dtype.itemsize * 8, dtype.kind == "i")
            case "f" if dtype.itemsize <= 8:
                return Float(dtype.itemsize * 8)
    return Array(dtype.newbyteorder("=").name, shape)  # type: ignore[arg-type]


def _items(
    arrays: Arrays, count: int, reads: tuple[Path, ...] | None
) -> Callable[[Schema], Iterator[Item]]:
    def items(schema: Schema) -> Iterator[Item]:
        wanted = {field.name: arrays[field.name] for field in schema if field.name in arrays}
        return ((row_key(row), Row(wanted, row, _cell, reads)) for row in range(count))

    return items


def _cell(value: Any) -> Any:
    """A row of an array as a sample has it; text without numpy's own type."""
    return str(value) if isinstance(value, np.str_) else value
