"""How schemas change from one release to the next: what holds both, and how much changed.

Belongs here: three questions about two schemas. `joined`: which kind holds the values of both?
`settle`: how near to the last release's schema can an inferred one stay? `change`: is the step
from one to the other none, minor or major? Pure functions over `atd.schema.fields`.

What counts as what, for a program that reads the next release with the old one's class:

==============================================================  =======
nothing but descriptions, units, aliases                        none
a field added; an optional one now always there; one never null
now; classes added at the end of a label; an image no longer
bound to one size, mode or type                                 minor
a field removed, renamed, retyped, moved into another order of
classes; now optional, or now nullable                          major
==============================================================  =======
"""

from __future__ import annotations

from dataclasses import replace
from enum import IntEnum

from atd.schema.fields import (
    Array,
    Dim,
    Field,
    Float,
    Image,
    Int,
    Kind,
    Label,
    List,
    Schema,
    Struct,
)


class Change(IntEnum):
    """How large a step between two schemas is; ordered, so the larger of two is their maximum."""

    NONE = 0
    MINOR = 1
    MAJOR = 2


# ------------------------------------------------------------------ what holds both


def joined(first: Kind, second: Kind) -> Kind | None:
    """A kind that holds every value of both, the nearest to ``first``; None where there is none."""
    if first == second:
        return first
    match first, second:
        case (Int(), Int()) if first.signed == second.signed:
            return first if first.bits >= second.bits else second
        case (Float(), Float()):
            return first if first.bits >= second.bits else second
        case (Float(), Int()) | (Int(), Float()):
            return Float(64)
        case (Label(), Label()):
            known = set(first.names)
            return Label([*first.names, *(name for name in second.names if name not in known)])
        case (Image(), Image()):
            return _joined_images(first, second)
        case (Array(), Array()) if first.dtype == second.dtype:
            return Array(first.dtype, _joined_dims(first.dims, second.dims))
        case (List(), List()):
            item = joined(first.item, second.item)
            return None if item is None else List(item)
        case (Struct(), Struct()):
            fields = joined_fields(first.fields, second.fields)
            return None if fields is None else Struct(fields)
    return None


def joined_fields(first: tuple[Field, ...], second: tuple[Field, ...]) -> tuple[Field, ...] | None:
    """Fields that hold the samples of both: one that either lacks is optional. None: no kind."""
    theirs = {field.name: field for field in second}
    fields: list[Field] = []
    for field in first:
        other = theirs.pop(field.name, None)
        if other is None:
            fields.append(replace(field, optional=True))
            continue
        kind = joined(field.kind, other.kind)
        if kind is None:
            return None
        fields.append(
            replace(
                field,
                kind=kind,
                optional=field.optional or other.optional,
                nullable=field.nullable or other.nullable,
            )
        )
    return (*fields, *(replace(field, optional=True) for field in theirs.values()))


def _joined_images(first: Image, second: Image) -> Image:
    types: tuple[str, ...] = ()
    if first.media_types and second.media_types:
        types = tuple(dict.fromkeys((*first.media_types, *second.media_types)))
    return Image(
        types,
        mode=first.mode if first.mode == second.mode else None,
        size=first.size if first.size == second.size else None,
    )


def _joined_dims(first: tuple[Dim, ...], second: tuple[Dim, ...]) -> tuple[Dim, ...]:
    """The dimensions of both: a size that differs becomes ragged, another number of them none."""
    if len(first) != len(second):
        return ()
    return tuple(
        one if one.size == two.size else Dim(one.name, None)
        for one, two in zip(first, second, strict=True)
    )


def fits(old: Schema, new: Schema) -> bool:
    """Whether every sample of ``old`` is one of ``new``, and who reads ``old`` reads ``new``."""
    held = joined_fields(new.fields, old.fields)
    return held == new.fields and change(old, new) is not Change.MAJOR


# ------------------------------------------------------------------ staying near


def settle(inferred: Schema, previous: Schema) -> Schema:
    """A schema that the samples of ``inferred`` fit, as near to ``previous`` as can be.

    Fields keep the order, the words and, where it still holds the values, the kind that they had;
    a field that is gone stays only if it was optional; new fields come last.
    """
    found = {field.name: field for field in inferred}
    fields: list[Field] = []
    for old in previous:
        new = found.pop(old.name, None)
        if new is not None:
            fields.append(_settled(new, old))
        elif old.optional:
            fields.append(old)
    return Schema((*fields, *found.values()))


def _settled(new: Field, old: Field) -> Field:
    kind = joined(old.kind, new.kind)
    if kind is None:
        return new
    return Field(
        name=new.name,
        kind=kind,
        optional=old.optional or new.optional,
        nullable=old.nullable or new.nullable,
        description=new.description or old.description,
        unit=new.unit or old.unit,
        aliases=new.aliases or old.aliases,
    )


# ------------------------------------------------------------------ how much changed


def change(old: Schema, new: Schema) -> Change:
    """How large the step from ``old`` to ``new`` is for those who read the data."""
    return _fields_change(old.fields, new.fields)


def _fields_change(old: tuple[Field, ...], new: tuple[Field, ...]) -> Change:
    theirs = {field.name: field for field in new}
    added = set(theirs) - {field.name for field in old}
    found = Change.MINOR if added else Change.NONE
    for field in old:
        other = theirs.get(field.name)
        if other is None:
            return Change.MAJOR
        found = max(found, _field_change(field, other))
    return found


def _field_change(old: Field, new: Field) -> Change:
    if (new.optional and not old.optional) or (new.nullable and not old.nullable):
        return Change.MAJOR
    looser = old.optional != new.optional or old.nullable != new.nullable
    return max(Change.MINOR if looser else Change.NONE, _kind_change(old.kind, new.kind))


def _kind_change(old: Kind, new: Kind) -> Change:
    if old == new:
        return Change.NONE
    match old, new:
        case (Label(), Label()):
            kept = new.names[: len(old.names)] == old.names
            return Change.MINOR if kept else Change.MAJOR
        case (Image(), Image()):
            return Change.MINOR if _joined_images(old, new) == new else Change.MAJOR
        case (List(), List()):
            return _kind_change(old.item, new.item)
        case (Struct(), Struct()):
            return _fields_change(old.fields, new.fields)
    return Change.MAJOR
