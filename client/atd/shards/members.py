"""The members layout: one tar member per field, or a JSON object for several.

The last part of a suffix says how a field is stored:

=========  =======================================================================================
json       one field of kind json, list or struct that cannot be null: the document itself;
           otherwise an object with a key per field, absent or null where the schema allows it
cls        a label's index, or an integer, in decimal; a label's name is read too
txt        strings as they are, numbers and booleans as JSON, timestamps as RFC 3339, JSON as such
npy        an array
msgpack    any kind, as one msgpack value: for lists and structs that hold arrays or bytes
others     the bytes of bytes, image, audio and video fields, as they are
=========  =======================================================================================

A member that is not there means: missing where the field is optional, else null where it is
nullable. A field that is both cannot say null in a member of its own; in a JSON object it can.
NaN and the infinities are the strings "NaN", "Infinity" and "-Infinity" in JSON.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from atd.errors import LocalError
from atd.records import Layout
from atd.schema import fields
from atd.schema.fields import Schema
from atd.shards import arrays, codec, media
from atd.shards.documents import from_document, json_text, parse_json, to_document
from atd.shards.fit import Plain
from atd.shards.room import check_room
from atd.shards.unfit import Unfit, describe, shown, wanted

_DOCUMENTS: Final = (fields.Json, fields.List, fields.Struct)
_STRINGS: Final = (fields.String, fields.Text, fields.Timestamp)
_NUMBERS: Final = (fields.Bool, fields.Int, fields.Float, fields.Label)
_MAX_NUMBER: Final = 4096
"""Bytes of a member that holds a number or the name of a label."""
_SPOKEN_FOR: Final = ("json", "cls", "txt", "npy", "msgpack")


class Member:
    """One tar member of a sample, and the fields that it holds."""

    def __init__(self, suffix: str, held: tuple[fields.Field, ...]) -> None:
        self.suffix = suffix
        self.names = frozenset(field.name for field in held)

    def write(self, plain: dict[str, Plain]) -> bytes | None:
        """The payload for a sample of plain values; None if the member is left out.

        Raises:
            Unfit: the layout cannot say what the sample says.
        """
        raise NotImplementedError

    def read(self, data: memoryview | None, into: dict[str, Any]) -> None:
        """Put the fields that ``data`` holds into ``into``; None if there is no such member.

        Raises:
            Unfit: with the name of the field.
        """
        raise NotImplementedError


def members_of(schema: Schema, layout: Layout) -> tuple[Member, ...]:
    """The members of a sample in the order in which they are written.

    Raises:
        LocalError: the layout stores a field where its kind cannot be.
    """
    groups: dict[str, list[fields.Field]] = {}
    for field in schema:
        groups.setdefault(layout.members[field.name].lower(), []).append(field)
    return tuple(_member(suffix, tuple(held)) for suffix, held in groups.items())


def _member(suffix: str, held: tuple[fields.Field, ...]) -> Member:
    ending = suffix.rpartition(".")[2]
    first = held[0]
    alone = isinstance(first.kind, _DOCUMENTS) and not first.nullable
    if ending == "json" and not (len(held) == 1 and alone):
        return _Object(suffix, held)
    if len(held) > 1:
        names = ", ".join(field.name for field in held)
        raise LocalError(f"layout: {names} share the suffix {suffix}; only json holds several")
    return _Single(suffix, first, _form(ending, first.kind))


class _Single(Member):
    """A member that holds one field and nothing else."""

    def __init__(self, suffix: str, field: fields.Field, form: _Form) -> None:
        super().__init__(suffix, (field,))
        self._field = field
        self._form = form
        self._says_null = isinstance(field.kind, fields.Json) and not field.nullable

    def write(self, plain: dict[str, Plain]) -> bytes | None:
        name = self._field.name
        if name not in plain:
            return None
        if plain[name] is not None or self._says_null:
            return self._form.write(plain[name])
        if self._field.optional:
            raise Unfit("no null: a member cannot tell it from missing", "null", name)
        return None

    def read(self, data: memoryview | None, into: dict[str, Any]) -> None:
        field = self._field
        if data is not None:
            try:
                into[field.name] = self._form.read(data)
            except Unfit as error:
                raise error.within(field.name) from None
            except MemoryError:
                found = f"{len(data)} bytes"
                raise Unfit("a value that fits into memory", found, field.name) from None
        elif not field.optional:
            if not field.nullable:
                raise Unfit(wanted(field.kind), f"no member .{self.suffix}", field.name)
            into[field.name] = None


class _Object(Member):
    """A JSON object with a key for each of its fields; other keys of it are left alone."""

    def __init__(self, suffix: str, held: tuple[fields.Field, ...]) -> None:
        super().__init__(suffix, held)
        self._readers = [(field, from_document(field.kind)) for field in held]
        self._writers = {field.name: to_document(field.kind) for field in held}

    def write(self, plain: dict[str, Plain]) -> bytes | None:
        held = {name: plain[name] for name in plain if name in self.names}
        return _json_bytes({name: self._writers[name](value) for name, value in held.items()})

    def _object(self, data: memoryview) -> dict[str, Any]:
        """The document, or `Unfit` about all fields that are in it."""
        fields = ", ".join(field.name for field, _ in self._readers)
        try:
            given = _json(data)
        except Unfit as error:
            raise error.within(fields) from None
        except MemoryError:
            raise Unfit("a value that fits into memory", f"{len(data)} bytes", fields) from None
        if not isinstance(given, dict):
            raise Unfit(f"a JSON object as the member .{self.suffix}", describe(given), fields)
        return given

    def read(self, data: memoryview | None, into: dict[str, Any]) -> None:
        given = {} if data is None else self._object(data)
        for field, read in self._readers:
            name = field.name
            if name not in given and field.optional:
                continue
            value = given.get(name)
            if value is None and field.nullable:
                into[name] = None
                continue
            if name not in given:
                raise Unfit(wanted(field.kind), "nothing", name)
            try:
                into[name] = read(value)
            except Unfit as error:
                raise error.within(name) from None


@dataclass(frozen=True, slots=True)
class _Form:
    """How one value is stored as the payload of a member."""

    write: Callable[[Plain], bytes]
    read: Callable[[memoryview], Any]


def _form(ending: str, kind: fields.Kind) -> _Form:
    match ending, kind:
        case "npy", fields.Array():
            check = codec.array_check(kind)
            return _Form(arrays.to_npy, lambda data: check(arrays.read_npy(data)))
        case "msgpack", _:
            return _Form(lambda plain: codec.pack_value(kind, plain), codec.value_reader(kind))
        case ("json", _) | ("txt", fields.Json()):
            to_json, from_json = to_document(kind), from_document(kind)
            return _Form(
                lambda plain: _json_bytes(to_json(plain)), lambda data: from_json(_json(data))
            )
        case ("cls", fields.Label() | fields.Int()) | ("txt", _) if isinstance(kind, _NUMBERS):
            return _Form(_number_bytes, _number_reader(kind))
        case "txt", _ if isinstance(kind, _STRINGS):
            from_text = from_document(kind)
            return _Form(str.encode, lambda data: from_text(_text(data)))
        case _ if ending in _SPOKEN_FOR:
            raise LocalError(f"layout: a field of kind {kind.tag} cannot be stored as .{ending}")
        case _, fields.Image():
            return _Form(bytes, media.Image)
        case _, fields.Audio():
            return _Form(bytes, media.Audio)
        case _, fields.Media():
            return _Form(bytes, media.Media)
        case _, fields.Bytes():
            return _Form(bytes, _bytes)
        case _:
            raise LocalError(f"layout: a field of kind {kind.tag} cannot be stored as .{ending}")


def _json_bytes(plain: Plain) -> bytes:
    return json_text(plain).encode()


def _number_bytes(plain: Plain) -> bytes:
    # NaN and the infinities go by their Python names, which JSON lacks.
    return json.dumps(plain).encode() if isinstance(plain, bool) else repr(plain).encode()


def _number_reader(kind: fields.Kind) -> Callable[[memoryview], Any]:
    from_json = from_document(kind)

    def read(data: memoryview) -> Any:
        if len(data) > _MAX_NUMBER:
            raise Unfit(wanted(kind), f"{len(data)} bytes")
        text = _text(data).strip()
        try:
            if isinstance(kind, fields.Float):
                return from_json(float(text))
            named = isinstance(kind, fields.Label) and not text.isdecimal()
            return from_json(text if named else parse_json(text))
        except (Unfit, ValueError):
            raise Unfit(wanted(kind), shown(text)) from None

    return read


def _bytes(data: memoryview) -> bytes:
    check_room(len(data))
    return bytes(data)


def _text(data: memoryview) -> str:
    check_room(len(data))
    try:
        return str(data, "utf-8")
    except UnicodeDecodeError:
        raise Unfit("text in UTF-8", f"{len(data)} other bytes") from None


def _json(data: memoryview) -> Any:
    return parse_json(_text(data))
