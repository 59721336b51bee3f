"""The field language: what a sample is made of, as frozen values.

::

    Schema ── Field ── Kind ─┬─ scalars   Bool Int Float String Text Bytes Timestamp Json Label
      names   name           ├─ arrays    Array(dtype, dims) Box
      fields  optional       ├─ media     Image Audio Video
              nullable       └─ nested    List(item) Struct(fields)

Belongs here: fields, schemas and the kinds that nest (the others are in `atd.schema.kinds`, and
imported from here), and how they stand in a record: JSON values only, so a schema also fits into
a manifest. Nothing that needs numpy, Pillow or a record. A value that
exists is within its limits (`atd.schema.limits`), however it was made: the constructors check, by
the same rules for a local class and for a schema from the network. Names become attributes and
generated source, so they are ASCII identifiers; dtypes come from an allow-list of fixed-width
numbers; every size fits 53 bits.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Self

from atd.errors import LocalError
from atd.names import SCHEMA
from atd.protocol.syntax import quote
from atd.schema import limits
from atd.schema.kinds import (
    Array,
    Audio,
    Bool,
    Box,
    Bytes,
    Dim,
    Float,
    Image,
    Int,
    Json,
    Kind,
    Label,
    Media,
    String,
    Text,
    Timestamp,
    Video,
    present,
)
from atd.schema.limits import MAX_DEPTH, MAX_FIELDS, Reader

__all__ = [
    "KINDS",
    "Array",
    "Audio",
    "Bool",
    "Box",
    "Bytes",
    "Dim",
    "Field",
    "Float",
    "Image",
    "Int",
    "Json",
    "Kind",
    "Label",
    "List",
    "Media",
    "Schema",
    "String",
    "Struct",
    "Text",
    "Timestamp",
    "Video",
    "read_field",
    "read_kind",
]

_SEMANTIC_KEYS = frozenset({"description", "unit", "aliases"})


@dataclass(frozen=True)
class List(Kind):
    """Any number of ``item``."""

    tag: ClassVar[str] = "list"
    item: Kind

    def properties(self) -> dict[str, Any]:
        return {"item": self.item.to_value()}

    @classmethod
    def read(cls, value: Reader) -> Self:
        return cls(read_kind(value.child("item", deeper=1)))


@dataclass(frozen=True)
class Struct(Kind):
    """A record within the sample, with fields of its own."""

    tag: ClassVar[str] = "struct"
    fields: tuple[Field, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "fields", tuple(self.fields))
        _check_fields(self.fields)

    def properties(self) -> dict[str, Any]:
        return {"fields": [field.to_value() for field in self.fields]}

    @classmethod
    def read(cls, value: Reader) -> Self:
        return cls(tuple(read_field(field) for field in value.children("fields", deeper=1)))


_ALL: tuple[type[Kind], ...] = (
    *(Bool, Int, Float, String, Text, Bytes, Timestamp, Json, Array, Box),
    *(List, Struct, Label, Image, Audio, Video),
)
KINDS: Final[dict[str, type[Kind]]] = {kind.tag: kind for kind in _ALL}
"""Every kind by the name it has in a record."""


@dataclass(frozen=True)
class Field:
    """A named part of a sample.

    Args:
        optional: the field may be missing. Not the same as ``nullable``: it may be null.
        aliases: earlier or other names under which a reader also finds this field.
    """

    name: str
    kind: Kind
    optional: bool = False
    nullable: bool = False
    description: str | None = None
    unit: str | None = None
    aliases: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        limits.field_name(self.name)
        object.__setattr__(self, "aliases", tuple(map(limits.field_name, self.aliases)))
        limits.at_most("aliases of a field", 32, len(self.aliases))
        limits.distinct("alias", (self.name, *self.aliases))
        if self.description is not None:
            limits.text("description", self.description, 10_000, lines=True)
        if self.unit is not None:
            limits.text("unit", self.unit, 64)

    def to_value(self) -> dict[str, Any]:
        """The field as it stands in a record; what is false or missing is left out."""
        flags = {key: True for key in ("optional", "nullable") if getattr(self, key)}
        words = present(description=self.description, unit=self.unit)
        aliases = {"aliases": list(self.aliases)} if self.aliases else {}
        return {"name": self.name, "kind": self.kind.to_value(), **flags, **words, **aliases}


@dataclass(frozen=True)
class Schema:
    """The fields of a sample, in order. Iterable, sized, and indexed by name."""

    fields: tuple[Field, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "fields", tuple(self.fields))
        _check_fields(self.fields)
        for count, (depth, _) in enumerate(_walk(self.fields), start=1):
            limits.at_most("levels of nesting", MAX_DEPTH, depth)
            limits.at_most("fields and items", MAX_FIELDS, count)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the fields, in order."""
        return tuple(field.name for field in self.fields)

    def __getitem__(self, name: str) -> Field:
        for field in self.fields:
            if field.name == name:
                return field
        raise KeyError(f"no field {name!r}; there are: {', '.join(self.names)}")

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def __iter__(self) -> Iterator[Field]:
        return iter(self.fields)

    def __len__(self) -> int:
        return len(self.fields)

    def to_value(self) -> list[dict[str, Any]]:
        """The fields as they stand in a record: JSON values only."""
        return [field.to_value() for field in self.fields]

    @classmethod
    def from_value(cls, value: object, path: str = "fields") -> Self:
        """The schema that a record or a manifest holds. Whatever is wrong is a `LexiconError`."""
        whole = Reader({}, path)
        fields = tuple(read_field(field) for field in limits.readers(value, path))
        with whole.faults():
            return cls(fields)

    def shape_digest(self) -> str:
        """SHA-256, in hex, over names, kinds, optional and nullable: same shape, same type.

        Descriptions, units and aliases do not count; the order of the fields does. The form that is
        hashed is JSON with sorted keys, no white space and non-ASCII characters escaped.
        """
        shape = _without(self.to_value(), _SEMANTIC_KEYS)
        text = json.dumps(shape, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode("ascii")).hexdigest()


def read_field(value: Reader) -> Field:
    """A field out of a record or a manifest."""
    kind = read_kind(value.child("kind"))
    with value.faults():
        return Field(
            name=value.text("name"),
            kind=kind,
            optional=value.flag("optional"),
            nullable=value.flag("nullable"),
            description=value.maybe_text("description"),
            unit=value.maybe_text("unit"),
            aliases=value.strings("aliases"),
        )


def read_kind(value: Reader) -> Kind:
    """A kind out of a record or a manifest, by its ``$type``."""
    name = value.text("$type")
    kind = KINDS.get(name.removeprefix(f"{SCHEMA}#"))
    if kind is None or not name.startswith(f"{SCHEMA}#"):
        raise value.fault(f"expected a kind that this version knows, found {quote(name)}")
    with value.faults():
        return kind.read(value)


def _walk(fields: tuple[Field, ...], depth: int = 1) -> Iterator[tuple[int, Field | Kind]]:
    """Every field and every item of a list, with its depth; stops one level past the limit."""
    for field in fields:
        yield depth, field
        kind, level = field.kind, depth
        while isinstance(kind, List) and level <= MAX_DEPTH:
            kind, level = kind.item, level + 1
            yield level, kind
        if isinstance(kind, Struct) and level <= MAX_DEPTH:
            yield from _walk(kind.fields, level + 1)


def _check_fields(fields: tuple[Field, ...]) -> None:
    if not fields:
        raise LocalError("expected at least one field, found none")
    limits.distinct("field", [name for field in fields for name in (field.name, *field.aliases)])


def _without(value: Any, keys: frozenset[str]) -> Any:
    if isinstance(value, list):
        return [_without(item, keys) for item in value]
    if isinstance(value, dict):
        return {key: _without(item, keys) for key, item in value.items() if key not in keys}
    return value
