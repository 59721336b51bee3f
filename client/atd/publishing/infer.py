"""From Python values to the kinds that hold them: the schema of samples that came without one.

Belongs here: `infer`, and the kind of one value. What holds two kinds at once is
`atd.schema.evolve.joined`; values that nothing else holds together become JSON. A field that some
samples lack is optional, one that is None in some is nullable.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

import numpy as np

from atd.errors import BadSource, LocalError
from atd.protocol.syntax import quote
from atd.schema import limits
from atd.schema.evolve import joined
from atd.schema.fields import (
    Array,
    Audio,
    Bool,
    Bytes,
    Field,
    Float,
    Image,
    Int,
    Json,
    Kind,
    List,
    Schema,
    String,
    Struct,
    Timestamp,
    Video,
)
from atd.shards import media

_EMPTY: Final = List(Json())
"""A list without items: any other list fits in its place."""


@dataclasses.dataclass
class _Seen:
    """What is known of one field."""

    kind: Kind | None = None
    present: int = 0
    nullable: bool = False

    def see(self, value: object) -> None:
        self.present += 1
        if value is None:
            self.nullable = True
        else:
            found = kind_of(value)
            self.kind = found if self.kind is None else _both(self.kind, found)


def infer(samples: Iterable[Any]) -> Schema:
    """The schema that ``samples``, mappings or dataclass instances, fit.

    Raises:
        BadSource: a sample is neither, a name cannot name a field, or a value has no kind.
    """
    count = 0
    seen: dict[str, _Seen] = {}
    for count, sample in enumerate(samples, start=1):
        for name, value in as_mapping(sample).items():
            try:
                if name not in seen:
                    seen[limits.field_name(name)] = _Seen()
                seen[name].see(value)
            except LocalError as error:
                raise BadSource(
                    f"sample {count - 1}: {quote(name, 60)}: {error}", next_step=error.next_step
                ) from None
    if not seen:
        raise BadSource("expected samples, found none: there is nothing to publish")
    return Schema(tuple(_field(name, one, count) for name, one in seen.items()))


def _field(name: str, seen: _Seen, count: int) -> Field:
    return Field(name, seen.kind or Json(), optional=seen.present < count, nullable=seen.nullable)


def as_mapping(sample: object) -> Mapping[str, Any]:
    """A sample by field name, or BadSource."""
    if isinstance(sample, Mapping):
        return sample
    if dataclasses.is_dataclass(sample) and not isinstance(sample, type):
        return {field.name: getattr(sample, field.name) for field in dataclasses.fields(sample)}
    named = getattr(sample, "_asdict", None)
    if isinstance(sample, tuple) and named is not None:
        return dict(named())
    raise BadSource(
        f"expected a dict or a dataclass instance for each sample, found {type(sample).__name__}",
        next_step="yield dicts such as {'image': …, 'label': …}, or instances of a dataclass",
    )


def kind_of(value: object) -> Kind:
    """The kind of one value that is not None.

    Raises:
        LocalError: nothing holds it.
    """
    match value:
        case bool() | np.bool_():
            return Bool()
        case np.integer() | np.floating():
            return _number(value.dtype)
        case int():
            return Int(64, signed=value < 2**63)
        case float():
            return Float()
        case str():
            return String()
        case datetime() | np.datetime64():
            return Timestamp()
        case np.ndarray():
            return Array(value.dtype.newbyteorder("=").name, _dims(value.shape))
        case media.Media():
            return _media(value)
        case bytes() | bytearray() | memoryview():
            return Bytes()
        case list() | tuple() if not hasattr(value, "_asdict"):
            return _list(value)
    if media.is_pillow(value):
        return Image()
    return _struct(value)


def _number(dtype: np.dtype[Any]) -> Kind:
    bits = dtype.itemsize * 8
    return Float(bits) if dtype.kind == "f" else Int(bits, dtype.kind == "i")


def _dims(shape: tuple[int, ...]) -> Any:
    return tuple(size or None for size in shape)


def _media(value: media.Media) -> Kind:
    if isinstance(value, media.Image):
        return Image()
    kinds: dict[str, type[Kind]] = {"audio": Audio, "video": Video, "image": Image}
    return kinds.get((value.media_type or "").partition("/")[0], Bytes)()


def _list(value: list[object] | tuple[object, ...]) -> Kind:
    found: Kind | None = None
    for item in value:
        if item is None:
            return Json()  # the items of a list cannot be null
        kind = kind_of(item)
        found = kind if found is None else _both(found, kind)
    return _EMPTY if found is None else List(found)


def _struct(value: object) -> Kind:
    """A struct where the keys can name fields, else JSON; a value of any other type has no kind."""
    if not isinstance(value, Mapping) and not dataclasses.is_dataclass(value):
        raise LocalError(
            f"no field holds a {type(value).__name__}",
            next_step="pass schema=, or turn it into numbers, text, bytes, arrays, lists or dicts",
        )
    try:
        return Struct(infer([value]).fields)
    except LocalError:
        return Json()


def _both(first: Kind, second: Kind) -> Kind:
    """A kind that holds both; JSON where nothing else does."""
    if isinstance(first, List) and second == _EMPTY:
        return first
    if isinstance(second, List) and first == _EMPTY:
        return second
    found = joined(first, second)
    if found is not None and _inside(found) <= limits.MAX_FIELDS:
        return found
    if _is_json(first) and _is_json(second):
        return Json()  # also objects that have keys of their own in each sample, such as ids
    if found is not None:
        raise LocalError(
            f"samples hold objects with more than {limits.MAX_FIELDS} different keys",
            next_step="give them the same keys, or make them lists of pairs",
        )
    raise LocalError(
        f"samples hold {first.tag} here and {second.tag} there",
        next_step="give all samples one type, or pass schema=",
    )


def _inside(kind: Kind) -> int:
    """The fields and items inside ``kind``, as a schema counts them."""
    match kind:
        case List():
            return 1 + _inside(kind.item)
        case Struct():
            return sum(1 + _inside(field.kind) for field in kind.fields)
    return 0


def _is_json(kind: Kind) -> bool:
    match kind:
        case List():
            return _is_json(kind.item)
        case Struct():
            return all(_is_json(field.kind) for field in kind.fields)
    return isinstance(kind, Bool | Int | Float | String | Json)
