"""Schemas and samples of every kind, for properties."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from atd.schema import fields
from atd.schema.fields import Field, Schema

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de"
    "0000000c49444154789c63f8cfc0000003010100c9fe92ef0000000049454e44ae426082"
)

texts = st.text(st.characters(codec="utf-8"), max_size=40)
dtypes = st.sampled_from(["bool", "uint8", "int16", "int64", "float16", "float32", "complex64"])


@st.composite
def arrays_of(draw: Any) -> tuple[fields.Kind, st.SearchStrategy[Any]]:
    dtype = draw(dtypes)
    form = draw(st.sampled_from(["fixed", "ragged", "free"]))
    shape = draw(npst.array_shapes(max_dims=3, max_side=4))
    values = npst.arrays(dtype, shape)
    if form == "fixed":
        return fields.Array(dtype, shape), values
    if form == "ragged":
        return fields.Array(dtype, (None, *shape[1:])), st.integers(0, 4).flatmap(
            lambda n: npst.arrays(dtype, (n, *shape[1:]))
        )
    shapes = npst.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)
    return fields.Array(dtype), npst.arrays(dtype, shapes)


def ints() -> st.SearchStrategy[tuple[fields.Kind, st.SearchStrategy[Any]]]:
    kinds = st.builds(fields.Int, st.sampled_from([8, 16, 32, 64]), st.booleans())
    return kinds.map(lambda kind: (kind, st.integers(*kind.limits)))


moments = st.datetimes(
    datetime(1, 1, 3),
    datetime(9999, 12, 29),
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=-9, minutes=-30))]),
)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | texts
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
labels = st.lists(st.text("abcß", min_size=1, max_size=5), min_size=1, max_size=4, unique=True)

simple = st.one_of(
    st.just((fields.Bool(), st.booleans())),
    ints(),
    st.just((fields.Float(), st.floats(allow_nan=False))),
    st.just((fields.Float(32), st.floats(width=32, allow_nan=False))),
    st.just((fields.String(), texts)),
    st.just((fields.Text("en"), texts)),
    st.just((fields.Bytes(), st.binary(max_size=40))),
    st.just((fields.Timestamp(), moments)),
    st.just((fields.Json(), json_values)),
    labels.map(lambda names: (fields.Label(*names), st.integers(0, len(names) - 1))),
    st.just((fields.Box(), st.tuples(*[st.floats(-1e9, 1e9)] * 4))),
    st.just((fields.Image(), st.just(PNG))),
    st.just((fields.Audio(), st.binary(min_size=1, max_size=20))),
    arrays_of(),
)


def _listed(pair: tuple[fields.Kind, Any]) -> tuple[fields.Kind, Any]:
    return fields.List(pair[0]), st.lists(pair[1], max_size=3)


@st.composite
def structs(draw: Any, inner: Any) -> tuple[fields.Kind, Any]:
    members, values = draw(members_of(inner))
    return fields.Struct(members), values


@st.composite
def members_of(draw: Any, kinds: Any) -> tuple[tuple[Field, ...], Any]:
    """Fields, and a strategy for the mappings that fit them."""
    members = []
    required: dict[str, Any] = {}
    optional: dict[str, Any] = {}
    for at in range(draw(st.integers(1, 4))):
        kind, values = draw(kinds)
        field = Field(f"f{at}", kind, optional=draw(st.booleans()), nullable=draw(st.booleans()))
        members.append(field)
        where = optional if field.optional else required
        where[field.name] = values | st.none() if field.nullable else values
    return tuple(members), st.fixed_dictionaries(required, optional=optional)


kinds = st.recursive(simple, lambda inner: inner.map(_listed) | structs(inner), max_leaves=3)


@st.composite
def schemas_and_samples(draw: Any, size: int = 3) -> tuple[Schema, list[dict[str, Any]]]:
    members, values = draw(members_of(kinds))
    return Schema(members), draw(st.lists(values, min_size=1, max_size=size))


def same(kind: fields.Kind, read: Any, given: Any) -> bool:
    """Whether what was read is what was given, as its kind counts equality."""
    if given is None:
        return read is None
    match kind:
        case fields.Array():
            return (
                read.dtype == given.dtype
                and read.shape == given.shape
                and np.array_equal(read, given, equal_nan=read.dtype.kind in "fc")
            )
        case fields.Float():
            return math.copysign(1, read) == math.copysign(1, given) and read == given
        case fields.Image() | fields.Audio() | fields.Video():
            return bool(read.bytes == given)
        case fields.List():
            pairs = zip(read, given, strict=True)
            return len(read) == len(given) and all(same(kind.item, *pair) for pair in pairs)
        case fields.Struct():
            return same_sample(kind.fields, read, given)
        case _:
            return type(read) is type(given) and bool(read == given)


def same_sample(members: Any, read: dict[str, Any], given: dict[str, Any]) -> bool:
    return list(read) == [f.name for f in members if f.name in given] and all(
        same(field.kind, read[field.name], given[field.name])
        for field in members
        if field.name in given
    )
