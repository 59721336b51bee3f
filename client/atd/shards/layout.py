"""How a sample lies in a shard: one msgpack member, or several members as they are.

::

    packed     KEY.msgpack                      a map of all fields (atd.shards.codec)
    members    KEY.jpg KEY.cls KEY.json …       one member per suffix, adjacent, in schema order

Belongs here: `default_layout`, and the two directions for both layouts. How a field is stored in a
member of its own is in `atd.shards.members`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final, TypeAlias

from atd.errors import SchemaMismatch
from atd.records import Layout
from atd.schema import fields
from atd.schema.fields import Schema
from atd.shards import codec, media
from atd.shards.fit import Fitter
from atd.shards.keys import check_key
from atd.shards.members import Member, members_of
from atd.shards.unfit import Unfit

PACKED: Final = "msgpack"

Stored: TypeAlias = list[tuple[str, bytes]]
"""The members of one sample: suffix and payload."""


def default_layout(schema: Schema, kind: str = "packed") -> Layout:
    """The layout that we write for ``schema``, ``packed`` or ``members``.

    Packed: arrays of a fixed size come first in the map, so that they lie at the same offset in
    every sample whatever follows; then the other fields in schema order. Members: the usual suffix
    of each kind, with the field's name before it where two fields would have the same.
    """
    if kind == "members":
        return Layout("members", _suffixes(schema))
    first = [field.name for field in schema if _has_fixed_size(field)]
    rest = [name for name in schema.names if name not in first]
    return Layout("packed", {name: name for name in (*first, *rest)})


def _has_fixed_size(field: fields.Field) -> bool:
    fixed = isinstance(field.kind, fields.Array) and field.kind.shape is not None
    return fixed and not field.optional and not field.nullable


def _suffixes(schema: Schema) -> dict[str, str]:
    usual = {field.name: _usual_suffix(field) for field in schema}
    shared = {s for s in usual.values() if s != "json" and list(usual.values()).count(s) > 1}
    return {name: f"{name}.{s}".lower() if s in shared else s for name, s in usual.items()}


def _usual_suffix(field: fields.Field) -> str:
    kind = field.kind
    match kind:
        case fields.Media():
            names = [media.SUFFIXES.get(name, kind.tag) for name in kind.media_types]
            return names[0] if len(names) == 1 else {"image": "img"}.get(kind.tag, kind.tag)
        case fields.Array():
            return "npy"
        case fields.Bytes():
            return "bin"
        case fields.List() | fields.Struct() if not _fits_json(kind):
            return PACKED
        case _ if field.nullable and field.optional:
            return "json"
        case fields.Label():
            return "cls"
        case fields.String() | fields.Text():
            return "txt"
        case _:
            return "json"


def _fits_json(kind: fields.Kind) -> bool:
    match kind:
        case fields.List():
            return _fits_json(kind.item)
        case fields.Struct():
            return all(_fits_json(field.kind) for field in kind.fields)
        case _:
            return not isinstance(kind, fields.Bytes | fields.Media | fields.Array)


# ------------------------------------------------------------------ writing


class SampleWriter:
    """Samples of ``schema`` as the members that ``layout`` stores.

    Raises:
        LocalError: the layout does not fit the schema.
    """

    def __init__(self, schema: Schema, layout: Layout) -> None:
        layout.check_fits(schema)
        self._fit = Fitter(schema.fields)
        self._packed: codec.Encoder | None = None
        self._members: tuple[Member, ...] = ()
        if layout.kind == "packed":
            self._packed = codec.Encoder(schema.fields, packed_keys(schema, layout))
        else:
            self._members = members_of(schema, layout)

    def __call__(self, key: str, sample: object) -> Stored:
        """The members of one sample, in the order in which they are written.

        Raises:
            InvalidSyntax: the key cannot be written.
            SchemaMismatch: the sample does not fit; names the key and the field.
        """
        check_key(key)
        try:
            plain = self._fit(sample)
            if self._packed is not None:
                return [(PACKED, self._packed(plain))]
            stored = [(member.suffix, member.write(plain)) for member in self._members]
            held = [(suffix, data) for suffix, data in stored if data is not None]
            if not held:
                raise Unfit("at least one field that is there, or the sample has no member", "none")
            return held
        except Unfit as error:
            raise SchemaMismatch(
                f"sample {key}: {error}",
                next_step="correct the sample, or publish with a schema that allows it",
            ) from None


def packed_keys(schema: Schema, layout: Layout) -> Mapping[str, str]:
    """The msgpack key of each field, in the order of the map."""
    return dict(layout.members) or {name: name for name in schema.names}


# ------------------------------------------------------------------ reading


class SampleReader:
    """Samples of ``schema`` out of the members that ``layout`` stores; see `SampleWriter`."""

    def __init__(self, schema: Schema, layout: Layout) -> None:
        layout.check_fits(schema)
        self.names = frozenset(schema.names)
        self._schema = schema
        self._packed: codec.StructReader | None = None
        self._members: tuple[Member, ...] = ()
        if layout.kind == "packed":
            self._packed = codec.StructReader(schema.fields, packed_keys(schema, layout))
        else:
            self._members = members_of(schema, layout)

    def __call__(
        self, members: Mapping[str, memoryview], only: Collection[str] | None = None
    ) -> dict[str, Any]:
        """The sample whose members are ``members``, by suffix; only the fields in ``only``.

        Members that the layout does not name are left alone: archives made by others have them.

        Raises:
            Unfit: with the path of the field that does not fit.
        """
        if self._packed is not None:
            return self._packed.sample(members[PACKED], only)
        found: dict[str, Any] = {}
        for member in self._members:
            if only is None or not member.names.isdisjoint(only):
                member.read(members.get(member.suffix), found)
        asked = [name for name in self._schema.names if only is None or name in only]
        return {name: found[name] for name in asked if name in found}
