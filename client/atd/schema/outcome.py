"""What a sample is after reading: the schema of rows, or of the instances of the user's class.

Belongs here: for every conversion of `atd.schema.convert`, the kind of its result. Batches are made
by it: a label read as an integer is still a label with names, an image read as an array is an
array.
"""

from __future__ import annotations

from dataclasses import replace

from atd.schema import fields, hints
from atd.schema.classes import kind_of
from atd.schema.convert import find


def outcome(
    published: tuple[fields.Field, ...], members: tuple[hints.Member, ...]
) -> tuple[fields.Field, ...]:
    """The fields of what is made of ``published`` for a class with ``members``.

    A field may be missing or null where the published one may; one that takes its default because
    it is not published counts as both.
    """
    return tuple(_field(find(published, member), member) for member in members)


def _field(source: fields.Field | None, member: hints.Member) -> fields.Field:
    if source is not None:
        kind = outcome_kind(source.kind, member.hint)
        return replace(source, name=member.name, kind=kind, aliases=())
    try:
        kind = kind_of(member.hint)
    except hints.Misfit:
        kind = fields.Json()
    return fields.Field(member.name, kind, optional=True, nullable=True)


def outcome_kind(kind: fields.Kind, hint: hints.Hint) -> fields.Kind:
    """The kind of a value of ``kind`` once `atd.schema.convert.conversion` has made it ``hint``."""
    match hint:
        case hints.Scalar():
            return _scalar(kind, hint)
        case hints.NumpyArray():
            return _array(kind, hint)
        case hints.Items() if isinstance(kind, fields.List):
            return fields.List(outcome_kind(kind.item, hint.item))
        case hints.Nested() if isinstance(kind, fields.Struct):
            return fields.Struct(outcome(kind.fields, hint.members))
        case hints.Given():
            return _given(kind, hint)
    return kind


def _scalar(kind: fields.Kind, hint: hints.Scalar) -> fields.Kind:
    if hint.dtype is not None or (hint.type is float and isinstance(kind, fields.Int)):
        return kind_of(hint)
    return fields.Bytes() if isinstance(kind, fields.Media) else kind


def _array(kind: fields.Kind, hint: hints.NumpyArray) -> fields.Kind:
    if isinstance(kind, fields.Image):
        width, height = kind.size or (None, None)
        decoded = (fields.Dim(size=height), fields.Dim(size=width), fields.Dim(size=3))
        return fields.Array("uint8", hint.dims or decoded)
    if isinstance(kind, fields.Audio):
        return fields.Array("float32", hint.dims or (fields.Dim("frames"), fields.Dim("channels")))
    if isinstance(kind, fields.Array):
        return fields.Array(hint.dtype or kind.dtype, hint.dims or kind.dims)
    return kind


def _given(kind: fields.Kind, hint: hints.Given) -> fields.Kind:
    """Promoted to the kind that the class names; its value as the class says."""
    if isinstance(hint.kind, fields.Label) and hint.hint == hints.Scalar(int):
        return hint.kind
    if isinstance(hint.kind, fields.Int | fields.Float | fields.Array):
        return hint.kind
    return outcome_kind(kind, hint.hint)
