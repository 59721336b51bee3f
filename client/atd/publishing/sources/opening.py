"""`open_source`: from whatever the user gave to a `Source`.

Belongs here: which reader takes what. By path: a folder with ``atd.json`` is shards; a folder of
tables is one table with splits by file name; another folder is images by class; a file goes by its
suffix. Anything that is not a path is a Python object.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from atd.errors import BadSource, SchemaMismatch
from atd.publishing.sources import arrays, csv_table, files, images, objects, packed
from atd.publishing.sources.source import Progress, Source, shown
from atd.publishing.sources.stripping import carries_images, stripped
from atd.schema.classes import schema_of
from atd.schema.fields import Schema

Tables = Mapping[str, Sequence[Path]]

_PARQUET: Final = (".parquet", ".pq")
_TABLES: Final = (*csv_table.SUFFIXES, *_PARQUET)
_AS_IS: Final = (
    "images as they are, with the metadata (EXIF, places) that they may carry: "
    "--strip-metadata leaves it out"
)
_KNOWN: Final = "a folder of images by class, .csv, .tsv, .parquet, .npz, or a folder of shards"


def open_source(
    what: object,
    *,
    schema: type[Any] | Schema | None = None,
    strip_metadata: bool = False,
    split: str = "train",
    progress: Progress | None = None,
) -> Source:
    """Open ``what`` to be published or packed.

    Args:
        what: a path (`str` or `os.PathLike`); an iterable of samples: dicts, dataclass instances,
            named tuples, or pairs (key, sample); a dict of arrays, or of iterables by split.
        schema: what the samples fit, as a class or a schema; inferred where it is None.
        strip_metadata: take EXIF, XMP and comments out of images, without touching a pixel.
        split: the split of samples that do not say theirs.
        progress: told how far the first pass over the data is.

    Raises:
        BadSource: the data cannot be read as samples; names the files and lines.
        SchemaMismatch: the data lack a field that ``schema`` needs.
    """
    split = files.split_name(split)
    wanted = schema if isinstance(schema, Schema) or schema is None else schema_of(schema)
    if isinstance(what, str | os.PathLike):
        source = _open_path(Path(what), split, strip_metadata, progress or _silent)
    else:
        source = objects.open_object(what, split, wanted)
    if wanted is not None:
        source = _with_schema(source, wanted)
    if source.looked_at or not carries_images(source):
        return source
    return (
        stripped(source) if strip_metadata else replace(source, travels=(*source.travels, _AS_IS))
    )


def _silent(what: str, done: int, total: int | None) -> None:
    """Progress that nobody asked for."""


def _open_path(path: Path, split: str, strip: bool, progress: Progress) -> Source:
    if not path.exists():
        raise BadSource(f"{shown(path)} does not exist", next_step=f"give {_KNOWN}")
    if path.is_dir():
        return _open_folder(path, split, strip, progress)
    suffix = path.suffix.lower()
    if suffix in _TABLES:
        return _open_tables({split: [path]}, suffix, progress)
    if suffix == ".npz":
        return arrays.open_npz(path, split)
    raise BadSource(f"{shown(path)} is of no kind that is known here", next_step=f"give {_KNOWN}")


def _open_folder(folder: Path, split: str, strip: bool, progress: Progress) -> Source:
    if (folder / packed.MANIFEST).is_file():
        return packed.open_packed(folder)
    found = [folder / path for path in files.walk(folder)]
    tables = [path for path in found if path.suffix.lower() in _TABLES]
    pictured = any(path.suffix.lower() in images.SUFFIXES for path in found)
    if pictured or not tables:
        return images.open_folder(folder, split, strip, progress)
    suffixes = {path.suffix.lower() for path in tables}
    if len(suffixes) > 1:
        raise BadSource(
            f"{shown(folder)} holds tables of several kinds: {', '.join(sorted(suffixes))}",
            next_step="publish one of the files, or a folder with one kind of table",
        )
    splits: dict[str, list[Path]] = {}
    for path in tables:
        splits.setdefault(files.split_of(path, split), []).append(path)
    ordered = {name: splits[name] for name in files.in_order(iter(splits))}
    return _open_tables(ordered, suffixes.pop(), progress)


def _open_tables(tables: Tables, suffix: str, progress: Progress) -> Source:
    if suffix in _PARQUET:
        return _parquet_opener()(tables)
    return csv_table.open_tables(tables, progress)


def _parquet_opener() -> Callable[[Tables], Source]:
    """Parquet's door, opened on first use: pyarrow is an extra."""
    try:
        door = importlib.import_module("atd.publishing.sources.parquet")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "pyarrow":
            raise
        raise BadSource(
            "reading Parquet files needs pyarrow, which is not installed",
            next_step="install it with: pip install 'atd-catalog[parquet]'",
        ) from None
    opener: Callable[[Tables], Source] = door.open_files
    return opener


def _with_schema(source: Source, schema: Schema) -> Source:
    """``source`` with the user's schema in place of the inferred one."""
    if source.packed is not None:
        if source.schema.shape_digest() != schema.shape_digest():
            raise SchemaMismatch(
                f"the shards in {shown(source.origin)} were packed with another schema",
                next_step="pack them again with this schema, or publish them without one",
            )
        return source
    missing = [
        field.name for field in schema if not field.optional and field.name not in source.schema
    ]
    if missing:
        raise SchemaMismatch(
            f"the schema needs {', '.join(missing)}, but {shown(source.origin)} offers "
            f"{', '.join(source.schema.names)}",
            next_step="rename the fields, make them optional, or publish without a schema",
        )
    return replace(source, schema=schema, inferred=False)
