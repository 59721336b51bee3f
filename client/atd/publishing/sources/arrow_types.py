"""Arrow types and what they are as fields.

Belongs here: from the schema of a table to fields. What Hugging Face's ``datasets`` notes in the
metadata of a schema is honoured: names of classes become a label, its structs of bytes and path
images and sounds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import pyarrow as pa

from atd.errors import BadSource, LocalError
from atd.publishing.sources.csv_table import field_name
from atd.publishing.sources.source import shown
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
    String,
    Struct,
    Timestamp,
)

_MEDIA_STRUCT: Final = {"bytes", "path"}
_MEDIA: Final[Mapping[str, type[Kind]]] = {"Image": Image, "Audio": Audio}


def fields_of(schema: Any, where: str) -> list[Field]:
    """A field for each column of a ``pyarrow.Schema``, none of them nullable yet.

    Args:
        where: what the table is called in messages.

    Raises:
        BadSource: a type that no kind holds.
    """
    fields: list[Field] = []
    taken: set[str] = set()
    features = _features(schema)
    for number, column in enumerate(schema, start=1):
        name = field_name(column.name, number, taken)
        taken.add(name)
        try:
            fields.append(Field(name, _featured(features.get(column.name), column.type)))
        except LocalError as error:
            raise BadSource(
                f"{shown(where)}: column {shown(column.name)}: {error}",
                next_step=error.next_step,
            ) from None
    return fields


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
