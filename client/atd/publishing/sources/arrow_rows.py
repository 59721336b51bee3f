"""Rows of Arrow tables, wherever they come from: Parquet, IPC files, DataFrames, HF data sets.

Belongs here: from Arrow types to kinds, and from rows to samples. What a table lies in is the
business of the modules around; each makes `Rows` of it. What Hugging Face's ``datasets`` notes in
the metadata of a schema is honoured: names of classes become a label, its structs of bytes and path
images and sounds. The key of a sample is its row number, counted from 0 in each split.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from atd.errors import BadSource, LocalError, ShardError
from atd.protocol.syntax import quote
from atd.publishing.sources.csv_table import field_name
from atd.publishing.sources.keys import row_key
from atd.publishing.sources.source import Pair, Source, SplitSource, Tables, settle_bad, shown
from atd.schema.fields import (
    Audio,
    Bool,
    Bytes,
    Field,
    Float,
    Image,
    Int,
    Kind,
    Label,
    List,
    Schema,
    String,
    Struct,
    Timestamp,
)
from atd.shards import media

BATCH: Final = 1_000
"""Rows that are made into Python values at a time."""

_MEDIA_STRUCT: Final = {"bytes", "path"}
_MEDIA: Final[Mapping[str, type[Kind]]] = {"Image": Image, "Audio": Audio}


@dataclass(frozen=True, eq=False)
class Rows:
    """One table.

    Args:
        where: what to call it in messages.
        schema: its ``pyarrow.Schema``.
        count: how many rows it has.
        batches: iterates over ``pyarrow.RecordBatch`` of the named columns, in order.
    """

    where: str
    schema: Any
    count: int
    batches: Callable[[list[str]], Iterator[Any]]


def of_table(table: Any, where: str) -> Rows:
    """A ``pyarrow.Table`` that is in memory or mapped."""

    def batches(columns: list[str]) -> Iterator[Any]:
        chosen: Iterator[Any] = iter(table.select(columns).to_batches(max_chunksize=BATCH))
        return chosen

    return Rows(where, table.schema, table.num_rows, batches)


def open_row_files(
    paths: Tables, kind: str, read: Callable[[Path], Rows], *, skip_bad: bool
) -> Source:
    """The rows of files: those of each split, in order; see `open_rows`.

    Args:
        kind: what one of them is called, such as "Parquet table".
        read: opens one of them.
    """
    files = [path for found in paths.values() for path in found]
    return open_rows(
        {split: [read(path) for path in found] for split, found in paths.items()},
        kind if len(files) == 1 else f"{len(files)} {kind}s",
        str(files[0] if len(files) == 1 else files[0].parent),
        skip_bad=skip_bad,
    )


def open_rows(
    splits: Mapping[str, Sequence[Rows]], what: str, origin: str, *, skip_bad: bool = False
) -> Source:
    """The rows of tables: those of each split, in order.

    Args:
        what: the kind of source in words; ``origin``: where it is.
        skip_bad: leave out rows whose pictures cannot be decoded.

    Raises:
        BadSource: columns of different types or of one name, a type without a kind, no rows, or
            pictures that cannot be decoded.
    """
    tables = [one for found in splits.values() for one in found]
    first = tables[0]
    for other in tables[1:]:
        if not other.schema.remove_metadata().equals(first.schema.remove_metadata()):
            raise BadSource(
                f"{shown(other.where)} has other columns or types than {shown(first.where)}",
                next_step="write all files of a data set with one schema",
            )
    twice = [name for name, many in Counter(first.schema.names).items() if many > 1]
    if twice:
        raise BadSource(f"{shown(first.where)} has several columns {shown(twice[0])}")
    if not any(one.count for one in tables):
        raise BadSource(f"{shown(origin)} has columns and no rows")
    fields = _fields(first, tables)
    titles = {field.name: title for field, title in zip(fields, first.schema.names, strict=True)}
    bad = {table: _undecodable(table, fields, titles) for table in tables}
    lines = [line for found in bad.values() for line in found.values()]
    skipped = settle_bad(lines, "rows cannot be published", "repair or remove them", skip=skip_bad)
    return Source(
        what=what,
        origin=origin,
        schema=Schema(tuple(fields)),
        splits={
            name: SplitSource(
                partial(_samples, [(one, frozenset(bad[one])) for one in found], titles),
                count=sum(one.count - len(bad[one]) for one in found),
            )
            for name, found in splits.items()
        },
        skipped=skipped,
        travels=(f"every cell of {len(fields)} columns: {', '.join(map(shown, titles.values()))}",),
    )


def _fields(first: Rows, tables: Sequence[Rows]) -> list[Field]:
    fields: list[Field] = []
    taken: set[str] = set()
    features = _features(first.schema)
    nulls = _with_nulls(tables)
    for number, column in enumerate(first.schema, start=1):
        name = field_name(column.name, number, taken)
        taken.add(name)
        try:
            kind = _featured(features.get(column.name), column.type)
            fields.append(Field(name, kind, nullable=column.name in nulls))
        except LocalError as error:
            raise BadSource(
                f"{shown(first.where)}: column {shown(column.name)}: {error}",
                next_step=error.next_step,
            ) from None
    return fields


def _with_nulls(tables: Sequence[Rows]) -> set[str]:
    """The top-level columns that hold nulls, by reading them; footers need not say."""
    found: set[str] = set()
    for table in tables:
        for name in table.schema.names:
            if name not in found and any(
                batch.column(0).null_count for batch in table.batches([name])
            ):
                found.add(name)
    return found


def _undecodable(table: Rows, fields: Sequence[Field], titles: Mapping[str, str]) -> dict[int, str]:
    """The rows with a picture that cannot be decoded, and which it is."""
    bad: dict[int, str] = {}
    for title in [titles[one.name] for one in fields if isinstance(one.kind, Image)]:
        row = 0
        for batch in table.batches([title]):
            for value in batch.column(0).to_pylist():
                try:
                    if value is not None:
                        media.Image(_file(value, "")).decode()
                except (ShardError, BadSource) as error:
                    what = error.message.removeprefix(": ")
                    bad[row] = f"{shown(table.where)}, row {row}: {shown(title)} ({what})"
                row += 1
    return bad


def _features(schema: Any) -> Mapping[str, Any]:
    """What ``datasets`` noted of the columns, as it wrote it; nothing where it did not."""
    try:
        noted = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, ValueError, TypeError):
        return {}
    return noted if isinstance(noted, dict) else {}


def _featured(feature: Any, arrow: Any) -> Kind:
    """The kind of a column, by what ``datasets`` noted where that says more than the type."""
    said = feature.get("_type") if isinstance(feature, dict) else None
    if said == "ClassLabel" and pa.types.is_integer(arrow):
        names = feature.get("names")
        if isinstance(names, list) and names and all(isinstance(one, str) for one in names):
            return Label(names)
    if isinstance(said, str) and said in _MEDIA and pa.types.is_struct(arrow):
        return _MEDIA[said]()
    return kind_of(arrow)


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
    if types.is_string(arrow) or types.is_large_string(arrow) or types.is_string_view(arrow):
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
    if {field.name for field in fields} == _MEDIA_STRUCT:
        return Image()
    return Struct(tuple(Field(one.name, kind_of(one.type), nullable=True) for one in fields))


def _samples(
    tables: Sequence[tuple[Rows, frozenset[int]]], titles: Mapping[str, str], schema: Schema
) -> Iterator[Pair]:
    """The rows of tables but for those, by their number in the table, that are left out."""
    wanted = {titles[field.name]: field for field in schema if field.name in titles}
    row = 0
    for table, out in tables:
        begin = row
        for batch in table.batches([*wanted]):
            for cells in batch.to_pylist():
                if row - begin not in out:
                    where = f"{shown(table.where)}, row {row - begin}"
                    yield row_key(row), _sample(cells, wanted, where)
                row += 1


def _sample(cells: Mapping[str, Any], wanted: Mapping[str, Field], where: str) -> dict[str, Any]:
    sample: dict[str, Any] = {}
    for title, field in wanted.items():
        value = cells[title]
        if isinstance(field.kind, Image | Audio) and isinstance(value, dict):
            value = _file(value, f"{where}: {shown(title)}")
        if isinstance(field.kind, Label) and value == -1 and field.nullable:
            value = None  # how datasets writes that there is none
        if value is not None or field.nullable:
            sample[field.name] = value
    return sample


def _file(value: Mapping[str, Any], where: str) -> Any:
    """The encoded file in a struct of bytes and path; a path alone is of no use here."""
    if value["bytes"] is None:
        raise BadSource(
            f"{where}: expected the bytes of a file, found the path {quote(value['path'])} alone",
            next_step="save the data set with its files embedded",
        )
    return value["bytes"]
