"""A schema in other languages: Python source, JSON Schema, a table for people.

Belongs here: texts derived from a schema, deterministically. Nothing of a schema can become code:
names are identifiers by construction (`atd.schema.limits`), class names are made here, and every
string goes through ``repr``. What acts on a terminal is escaped.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator
from typing import Any, Final

from atd.schema import fields
from atd.schema.words import describe, printable

_IMPORTS: Final = {
    "datetime": ("datetime", "datetime"),
    "Annotated": ("typing", "Annotated"),
    "Any": ("typing", "Any"),
    "Final": ("typing", "Final"),
    "Literal": ("typing", "Literal"),
    "Protocol": ("typing", "Protocol"),
    "np": ("numpy", ""),
    "NDArray": ("numpy.typing", "NDArray"),
    "atd": ("atd", ""),
    "fields": ("atd.schema", "fields"),
}
"""Words that annotations use: where they come from; all others are built in."""
_MODULES: Final = (("datetime", "typing"), ("numpy", "numpy.typing"), ("atd", "atd.schema"))
_WIDTH: Final = 100

# ------------------------------------------------------------------ Python


def to_python(schema: fields.Schema, name: str) -> str:
    """Source of a module with a class of samples that reads everything that ``schema`` says.

    The class publishes the same schema, save that an optional field is also nullable: in Python a
    field that may be missing needs a default, and only None is one for every type.

    Args:
        name: of the data set or the class; made into an identifier.
    """
    source = Source(schema)
    source.add_class(class_name(name), schema.fields)
    return source.module()


class Source:
    """The classes written so far: those of structs stand before the class that uses them.

    A field with a default shadows, within its class, whatever has the same name: a field ``int``
    would spoil the annotation ``int`` of the next one. So words that are also names of fields go by
    another name.
    """

    def __init__(self, schema: fields.Schema) -> None:
        self.classes: list[str] = []
        self.structs: dict[tuple[str, str], str] = {}
        """The class of a struct, by the class and the field that hold it."""
        self._taken = {field.name for field in _all_fields(schema.fields)}
        self._words: dict[str, str] = {}
        self._names = {*_IMPORTS, *self._taken, "None", "True", "False"}

    def word(self, name: str) -> str:
        """How to say ``name`` in an annotation."""
        alias = name
        while alias in self._taken:
            alias += "_"
        return self._words.setdefault(name, alias)

    def imports(self) -> str:
        """The head of the module: what the classes use, and other names for what they shadow."""
        renamed = [
            f"{word} as {alias}"
            for word, alias in self._words.items()
            if word not in _IMPORTS and alias != word
        ]
        groups = [[f"from builtins import {', '.join(renamed)}"] if renamed else []]
        for modules in _MODULES:
            lines = [self._import(module) for module in modules]
            groups.append([line for line in lines if line])
        return "\n\n".join("\n".join(group) for group in groups if group)

    def _import(self, module: str) -> str:
        """The line that imports what is used of ``module``; empty if nothing is."""
        found = []
        for word, (home, name) in _IMPORTS.items():
            if home == module and word in self._words:
                alias = self._words[word]
                original = name or module
                found.append(original if alias == original else f"{original} as {alias}")
        if not found:
            return ""
        whole = all(not name for home, name in _IMPORTS.values() if home == module)
        return f"import {found[0]}" if whole else f"from {module} import {', '.join(found)}"

    def add_class(self, wanted: str, members: tuple[fields.Field, ...]) -> str:
        """Write the class, and give the name that it got."""
        name = self.fresh(wanted)
        lines = [self.member(name, field) for field in members]
        order = [field.optional for field in members]
        options = "" if order == sorted(order) else "(kw_only=True)"
        decorator = f"@{self.word('atd')}.sample{options}"
        self.classes.append("\n".join([decorator, f"class {name}:", *lines]))
        return name

    def fresh(self, wanted: str) -> str:
        """``wanted``, with a number where the module has that name already."""
        name, number = wanted, 1
        while name in self._names:
            number += 1
            name = f"{wanted}{number}"
        self._names.add(name)
        return name

    def module(self) -> str:
        """Everything that was written, as the source of a module."""
        return "\n\n".join([self.imports(), *(f"\n{text}" for text in self.classes)]) + "\n"

    def member(self, owner: str, field: fields.Field) -> str:
        """The line of one field."""
        annotation = self.annotation(owner, field.name, field.kind)
        if field.nullable or field.optional:
            annotation += " | None"
        words = _arguments(
            description=field.description, unit=field.unit, aliases=field.aliases or None
        )
        if words:
            annotation = (
                f"{self.word('Annotated')}[{annotation}, {self.word('atd')}.About({words})]"
            )
        default = " = None  # may be missing" if field.optional else ""
        return f"    {field.name}: {annotation}{default}"

    def annotation(self, owner: str, name: str, kind: fields.Kind) -> str:
        """The annotation of a kind."""
        match kind:
            case fields.Array():
                return self.array(kind)
            case fields.List():
                return f"{self.word('list')}[{self.annotation(owner, name, kind.item)}]"
            case fields.Struct():
                made = self.add_class(owner + _camel(name), kind.fields)
                return self.structs.setdefault((owner, name), made)
            case fields.Label():
                return f"{self.word('Literal')}[{', '.join(map(repr, kind.names))}]"
            case fields.Json():
                return self.word("Any")
            case fields.Box():
                numbers = ", ".join([self.word("float")] * 4)
                return self.given(f"{self.word('tuple')}[{numbers}]", kind, format=kind.format)
            case fields.Int():
                signed = None if kind.signed else False
                return self.given(
                    self.word("int"), kind, bits=_unless(64, kind.bits), signed=signed
                )
            case fields.Float():
                return self.given(self.word("float"), kind, bits=_unless(64, kind.bits))
            case fields.Text():
                return self.given(self.word("str"), kind, language=kind.language)
            case fields.Image():
                words = {"media_types": kind.media_types or None, "mode": kind.mode}
                return self.given(f"{self.word('atd')}.Image", kind, **words, size=kind.size)
            case fields.Media():
                sound = isinstance(kind, fields.Audio)
                plain = f"{self.word('atd')}.Audio" if sound else self.word("bytes")
                return self.given(plain, kind, media_types=kind.media_types or None)
        return self.word(_BUILT_IN[type(kind)])

    def given(self, plain: str, kind: fields.Kind, **options: Any) -> str:
        """``plain`` alone where it says it all, else with the kind beside it."""
        arguments = _arguments(**options)
        says_it_all = fields.Int | fields.Float | fields.Image | fields.Audio
        if not arguments and isinstance(kind, says_it_all):
            return plain
        made = f"{self.word('fields')}.{type(kind).__name__}({arguments})"
        return f"{self.word('Annotated')}[{plain}, {made}]"

    def array(self, kind: fields.Array) -> str:
        """An array with its element type and, where they are known, its dimensions."""
        scalar = f"{self.word('np')}.{'bool_' if kind.dtype == 'bool' else kind.dtype}"
        plain = f"{self.word('NDArray')}[{scalar}]"
        if not kind.dims:
            return plain
        dims = ", ".join(self.dim(dim) for dim in kind.dims)
        return f"{self.word('Annotated')}[{plain}, {self.word('atd')}.Shape({dims})]"

    def dim(self, dim: fields.Dim) -> str:
        """One dimension, as `Shape` takes it."""
        if dim.name is None:
            return repr(dim.size)
        if dim.size is None:
            return repr(dim.name)
        return f"{self.word('fields')}.Dim({dim.name!r}, {dim.size!r})"


_BUILT_IN: Final[dict[type[fields.Kind], str]] = {
    fields.Bool: "bool",
    fields.String: "str",
    fields.Bytes: "bytes",
    fields.Timestamp: "datetime",
}


def _arguments(**values: Any) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in values.items() if value is not None)


def class_name(text: str) -> str:
    """``com.lecun.mnist`` as ``ComLecunMnist``: an identifier, whatever ``text`` is."""
    name = _camel(text)
    return name if name.isidentifier() and not keyword.iskeyword(name) else f"Sample{name}"


def _camel(text: str) -> str:
    parts = re.findall(r"[A-Za-z0-9]+", text)
    return "".join(part[:1].upper() + part[1:] for part in parts)


def _unless(default: int, value: int) -> int | None:
    return None if value == default else value


def _all_fields(members: tuple[fields.Field, ...]) -> Iterator[fields.Field]:
    """Every field, those of structs included."""
    for field in members:
        yield field
        kind = field.kind
        while isinstance(kind, fields.List):
            kind = kind.item
        if isinstance(kind, fields.Struct):
            yield from _all_fields(kind.fields)


# ------------------------------------------------------------------ JSON Schema


def to_json_schema(schema: fields.Schema, title: str | None = None) -> dict[str, Any]:
    """JSON Schema (2020-12) of a sample written as JSON: bytes in base64, labels by name."""
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    named = {} if title is None else {"title": title}
    return {**head, **named, **_object(schema.fields)}


def _object(members: tuple[fields.Field, ...]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {field.name: _property(field) for field in members},
        "required": [field.name for field in members if not field.optional],
        "additionalProperties": False,
    }


def _property(field: fields.Field) -> dict[str, Any]:
    found = _json_kind(field.kind)
    if field.nullable:
        found = {"anyOf": [found, {"type": "null"}]}
    words = {} if field.description is None else {"description": field.description}
    return {**found, **words}


def _json_kind(kind: fields.Kind) -> dict[str, Any]:
    match kind:
        case fields.Bool():
            return {"type": "boolean"}
        case fields.Int():
            low, high = kind.limits
            return {"type": "integer", "minimum": low, "maximum": high}
        case fields.Float():
            return {"type": "number"}
        case fields.String() | fields.Text():
            return {"type": "string"}
        case fields.Timestamp():
            return {"type": "string", "format": "date-time"}
        case fields.Bytes():
            return {"type": "string", "contentEncoding": "base64"}
        case fields.Media():
            types = {"contentMediaType": kind.media_types[0]} if len(kind.media_types) == 1 else {}
            return {"type": "string", "contentEncoding": "base64", **types}
        case fields.Label():
            return {"enum": list(kind.names)}
        case fields.List():
            return {"type": "array", "items": _json_kind(kind.item)}
        case fields.Struct():
            return _object(kind.fields)
        case fields.Box():
            return {"type": "array", "items": {"type": "number"}, "minItems": 4, "maxItems": 4}
        case fields.Array():
            return _json_array(kind)
        case _:
            return {}


def _json_array(kind: fields.Array) -> dict[str, Any]:
    """Lists in lists, one for each dimension; complex numbers as pairs."""
    if not kind.dims:
        return {"type": "array"}
    pair = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
    number = {"b": "boolean", "i": "integer", "u": "integer", "f": "number"}.get(kind.dtype[0])
    found: dict[str, Any] = pair if number is None else {"type": number}
    for dim in reversed(kind.dims):
        sizes = {} if dim.size is None else {"minItems": dim.size, "maxItems": dim.size}
        found = {"type": "array", "items": found, **sizes}
    return found


# ------------------------------------------------------------------ for people


def to_text(schema: fields.Schema) -> str:
    """A table of the fields: name, kind, what may be missing or null, and what it says."""
    rows = list(_rows(schema.fields, ""))
    widths = [max(len(row[column]) for row in rows) for column in (0, 1, 2)]
    cells = [[cell.ljust(width) for cell, width in zip(row, widths, strict=False)] for row in rows]
    lines = ["  ".join([*cell, row[3]]).rstrip() for cell, row in zip(cells, rows, strict=True)]
    return "\n".join(lines)


def _rows(members: tuple[fields.Field, ...], indent: str) -> Iterator[tuple[str, str, str, str]]:
    for field in members:
        flags = [word for word in ("optional", "nullable") if getattr(field, word)]
        unit = [f"[{field.unit}]"] if field.unit else []
        described = [field.description.partition("\n")[0]] if field.description else []
        words = printable(" ".join([*unit, *described]))
        yield indent + field.name, describe(field.kind), ", ".join(flags), words[:_WIDTH]
        kind = field.kind
        while isinstance(kind, fields.List):
            kind = kind.item
        if isinstance(kind, fields.Struct):
            yield from _rows(kind.fields, indent + "  ")
