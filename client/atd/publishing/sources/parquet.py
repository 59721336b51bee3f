"""Parquet files, through pyarrow: the only module that imports it.

Reached by `atd.publishing.sources.opening`, which says how to install pyarrow where it is missing.
Arrow types become kinds; the image struct that Hugging Face's ``datasets`` writes becomes an
image. The key of a sample is its row number, counted from 0 in each split.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from atd.errors import BadSource, LocalError
from atd.protocol.syntax import quote
from atd.publishing.sources.csv_table import field_name
from atd.publishing.sources.keys import row_key
from atd.publishing.sources.source import Pair, Source, SplitSource, shown
from atd.schema.fields import (
    Bool,
    Bytes,
    Field,
    Float,
    Image,
    Int,
    Kind,
    List,
    Schema,
    String,
    Struct,
    Timestamp,
)

_ROWS: Final = 1_000
_IMAGE_STRUCT: Final = {"bytes", "path"}


def open_files(paths: Mapping[str, Sequence[Path]]) -> Source:
    """The rows of Parquet files: the files of each split, in order.

    Raises:
        BadSource: a file that is not Parquet, columns of different types, or a type without kind.
    """
    opened = {split: [_open(path) for path in found] for split, found in paths.items()}
    files = [path for found in paths.values() for path in found]
    first = _arrow_schema(files[0])
    for path in files[1:]:
        if not _arrow_schema(path).equals(first):
            raise BadSource(
                f"{shown(path)} has other columns or types than {shown(files[0])}",
                next_step="write all files of a data set with one schema",
            )
    fields = _fields(first, opened.values(), files[0])
    titles = {field.name: title for field, title in zip(fields, first.names, strict=True)}
    return Source(
        what="Parquet table" if len(files) == 1 else f"{len(files)} Parquet tables",
        origin=str(files[0] if len(files) == 1 else files[0].parent),
        schema=Schema(tuple(fields)),
        splits={
            split: SplitSource(
                _samples(paths[split], titles),
                count=sum(file.metadata.num_rows for file in found),
            )
            for split, found in opened.items()
        },
        travels=(f"every cell of {len(fields)} columns: {', '.join(map(shown, first.names))}",),
    )


def _open(path: Path) -> Any:
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise BadSource(f"{shown(path)} is not a Parquet file: {quote(str(error))}") from None


def _arrow_schema(path: Path) -> Any:
    return _open(path).schema_arrow.remove_metadata()


def _fields(schema: Any, files: Any, path: Path) -> list[Field]:
    fields: list[Field] = []
    taken: set[str] = set()
    for number, column in enumerate(schema, start=1):
        name = field_name(column.name, number, taken)
        taken.add(name)
        try:
            nullable = _has_nulls(number - 1, files)
            fields.append(Field(name, kind_of(column.type), nullable=nullable))
        except LocalError as error:
            raise BadSource(
                f"{shown(path)}: column {shown(column.name)}: {error}", next_step=error.next_step
            ) from None
    return fields


def _has_nulls(column: int, opened: Any) -> bool:
    """Whether a top-level column holds nulls, by reading it; footers need not say."""
    for found in opened:
        for file in found:
            name = file.schema_arrow.names[column]
            for batch in file.iter_batches(batch_size=65536, columns=[name]):
                if batch.column(0).null_count:
                    return True
    return False


def kind_of(arrow: Any) -> Kind:
    """The kind of an Arrow type.

    Raises:
        LocalError: no kind holds it.
    """
    types = pa.types
    if types.is_boolean(arrow):
        return Bool()
    if types.is_integer(arrow):
        return Int(arrow.bit_width, types.is_signed_integer(arrow))
    if types.is_floating(arrow):
        return Float(arrow.bit_width)
    if types.is_string(arrow) or types.is_large_string(arrow):
        return String()
    if types.is_binary(arrow) or types.is_large_binary(arrow) or types.is_fixed_size_binary(arrow):
        return Bytes()
    if types.is_timestamp(arrow) and arrow.tz is not None:
        return Timestamp()
    if types.is_dictionary(arrow):
        return kind_of(arrow.value_type)
    if types.is_list(arrow) or types.is_large_list(arrow) or types.is_fixed_size_list(arrow):
        return List(kind_of(arrow.value_type))
    if types.is_struct(arrow):
        return _struct(arrow)
    raise LocalError(
        f"no field holds the Arrow type {arrow}",
        next_step="leave the column out or cast it (moments need a time zone)",
    )


def _struct(arrow: Any) -> Kind:
    fields = [arrow.field(at) for at in range(arrow.num_fields)]
    if {field.name for field in fields} == _IMAGE_STRUCT:
        return Image()
    return Struct(tuple(Field(one.name, kind_of(one.type), nullable=True) for one in fields))


def _samples(
    paths: Sequence[Path], titles: Mapping[str, str]
) -> Callable[[Schema], Iterator[Pair]]:
    def samples(schema: Schema) -> Iterator[Pair]:
        wanted = {titles[field.name]: field for field in schema if field.name in titles}
        row = 0
        for path in paths:
            for batch in _open(path).iter_batches(batch_size=_ROWS, columns=[*wanted]):
                for cells in batch.to_pylist():
                    yield row_key(row), _sample(cells, wanted)
                    row += 1

    return samples


def _sample(cells: Mapping[str, Any], wanted: Mapping[str, Field]) -> dict[str, Any]:
    sample: dict[str, Any] = {}
    for title, field in wanted.items():
        value = cells[title]
        if isinstance(field.kind, Image) and isinstance(value, dict):
            value = value["bytes"]
        if value is not None or field.nullable:
            sample[field.name] = value
    return sample
