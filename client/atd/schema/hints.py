"""Annotations of a sample class, understood once: what each field is, and as what it is read.

Belongs here: the grammar of annotations. Two readers use it: `atd.schema.classes` asks for the
kind that is published, `atd.schema.resolve` for the values that the class wants to see.

=================================  ==========================  =================================
annotation                         published as                reads
=================================  ==========================  =================================
bool, int, float, str, bytes       the kind of that name       it; int and str also labels, bytes
                                                               also media, float also int
np.int32, np.float32 …             int, float of these bits    the same, safely promoted
datetime                           timestamp                   timestamp
dict, Mapping, Any                 json                        json, struct; Any: anything
Literal["a", "b"]                  label                       label, by name
NDArray[np.uint8], with Shape(…)   array                       array; image, decoded to RGB;
                                                               audio, decoded to float32
PIL.Image.Image, atd.Image         image                       image
atd.Audio                          audio                       audio
list[T], tuple[T, ...]             list                        list
a dataclass                        struct                      struct
T | None                           nullable                    nullable or not
Annotated[T, kind]                 that kind                   that kind, as T
=================================  ==========================  =================================

A default makes a field optional. ``Annotated[T, About(unit="m")]`` adds words and aliases.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final, Literal, TypeAlias, Union, get_args, get_origin

import numpy as np

from atd.errors import InvalidSyntax, LocalError, SchemaMismatch
from atd.protocol.syntax import quote
from atd.schema import limits
from atd.schema.fields import Array, Dim, Kind
from atd.schema.limits import DTYPES, MAX_DEPTH

HINTS_ATTRIBUTE: Final = "__atd_hints__"
"""Where `atd.schema.classes.sample` keeps annotations that only its caller could resolve."""


class Shape:
    """The shape of an array: ``Annotated[NDArray[np.uint8], atd.Shape("height", "width", 3)]``.

    Args:
        dims: outermost first: a size, a name for a size that differs between samples, None for one
            without a name, or a `Dim`.
    """

    def __init__(self, *dims: int | str | Dim | None) -> None:
        self.dims = tuple(_dim(dim) for dim in dims)

    def __repr__(self) -> str:
        return f"Shape({', '.join(map(repr, self.dims))})"


@dataclass(frozen=True)
class About:
    """Words about a field, and the other names that it is looked for under."""

    description: str | None = None
    unit: str | None = None
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class Anything:
    """``Any``: as the sample has it."""


@dataclass(frozen=True)
class Scalar:
    """A Python scalar, or a numpy scalar of ``dtype``."""

    type: type
    dtype: str | None = None


@dataclass(frozen=True)
class Names:
    """``Literal``: one of these strings."""

    names: tuple[str, ...]


@dataclass(frozen=True)
class NumpyArray:
    """An ndarray; ``dtype`` None takes any."""

    dtype: str | None
    dims: tuple[Dim, ...] = ()


@dataclass(frozen=True)
class Picture:
    """A Pillow image."""


@dataclass(frozen=True)
class Encoded:
    """A class that holds an encoded file and says so: it has the kind as ``__atd_kind__``."""

    kind: Kind


@dataclass(frozen=True)
class Items:
    """A list, or a tuple of any length."""

    item: Hint
    build: Callable[[list[Any]], Any]


@dataclass(frozen=True)
class Four:
    """``tuple[float, float, float, float]``: a box."""


@dataclass(frozen=True)
class Document:
    """A dict."""


@dataclass(frozen=True)
class Nested:
    """A dataclass."""

    cls: type
    members: tuple[Member, ...]


@dataclass(frozen=True)
class Given:
    """``Annotated[T, kind]``: published as ``kind``; read as ``hint``."""

    hint: Hint
    kind: Kind


Hint: TypeAlias = (
    Anything
    | Scalar
    | Names
    | NumpyArray
    | Picture
    | Encoded
    | Items
    | Four
    | Document
    | Nested
    | Given
)


@dataclass(frozen=True)
class Member:
    """A field of a sample class."""

    name: str
    hint: Hint
    nullable: bool
    optional: bool
    about: About


class Misfit(Exception):
    """An annotation that means nothing here; becomes a `SchemaMismatch` that names the field."""


_SCALARS: Final = {bool, int, float, str, bytes, datetime}
_ABSTRACT: Final = {
    *(np.generic, np.number, np.inexact, np.floating, np.complexfloating),
    *(np.integer, np.signedinteger, np.unsignedinteger),
}
_DOCUMENTS: Final = (dict, Mapping, typing.Mapping)


def members(cls: type) -> tuple[Member, ...]:
    """The fields of a dataclass.

    Raises:
        SchemaMismatch: it is no dataclass, or annotations mean nothing here: all are listed.
    """
    return _members(cls, ())


def _members(cls: type, outer: tuple[type, ...]) -> tuple[Member, ...]:
    if not (isinstance(cls, type) and dataclasses.is_dataclass(cls)):
        raise SchemaMismatch(
            f"expected a class of samples, found {quote(cls)}",
            next_step="decorate the class with @atd.sample, or with @dataclass",
        )
    if cls in outer or len(outer) >= MAX_DEPTH:
        raise SchemaMismatch(f"{cls.__name__} contains itself: samples are of bounded depth")
    found: list[Member] = []
    problems: list[str] = []
    hints = evaluated(cls)
    for field in dataclasses.fields(cls):
        if not field.init:
            continue
        try:
            limits.field_name(field.name)
            found.append(_member(field, hints[field.name], (*outer, cls)))
        except (Misfit, InvalidSyntax) as error:
            problems.append(f"{field.name}: {error}")
    if problems or not found:
        listed = "; ".join(problems) or "it has no fields"
        raise SchemaMismatch(f"{cls.__name__} is no class of samples: {listed}")
    return tuple(found)


def evaluated(cls: type) -> dict[str, Any]:
    """The evaluated annotations of ``cls``.

    Raises:
        SchemaMismatch: a name in them is not known where the class is defined.
    """
    kept: dict[str, Any] | None = cls.__dict__.get(HINTS_ATTRIBUTE)
    if kept is not None:
        return kept
    try:
        return typing.get_type_hints(cls, include_extras=True)
    except (NameError, TypeError) as error:
        raise SchemaMismatch(
            f"an annotation of {cls.__name__} cannot be evaluated: {error}",
            next_step="import the name at the top of the module that defines the class",
        ) from error


def _member(field: dataclasses.Field[Any], annotation: Any, outer: tuple[type, ...]) -> Member:
    inner, extras = _unwrapped(annotation)
    options = get_args(inner) if get_origin(inner) in (Union, types.UnionType) else (inner,)
    nullable = type(None) in options
    rest = [option for option in options if option is not type(None)]
    if len(rest) != 1:
        raise Misfit(f"a union of several types has no kind: {quote(str(annotation))}")
    about = next((extra for extra in extras if isinstance(extra, About)), About())
    has_default = field.default is not dataclasses.MISSING
    has_factory = field.default_factory is not dataclasses.MISSING
    hint = _hint(Annotated[(rest[0], *extras)] if extras else rest[0], outer)
    return Member(field.name, hint, nullable, has_default or has_factory, about)


def _unwrapped(annotation: Any) -> tuple[Any, tuple[Any, ...]]:
    """An annotation without type aliases (PEP 695) and ``Annotated``, and what the latter said."""
    while hasattr(annotation, "__value__"):
        annotation = annotation.__value__
    if get_origin(annotation) is Annotated:
        inner, *extras = get_args(annotation)
        deeper, more = _unwrapped(inner)
        return deeper, (*more, *extras)
    return annotation, ()


def _hint(annotation: Any, outer: tuple[type, ...]) -> Hint:
    inner, extras = _unwrapped(annotation)
    hint = _plain(inner, outer)
    for extra in extras:
        if isinstance(extra, Shape) and isinstance(hint, NumpyArray):
            hint = NumpyArray(hint.dtype, extra.dims)
        elif isinstance(extra, Shape):
            raise Misfit("a shape belongs to an array, as in NDArray[np.uint8]")
    kind = next((extra for extra in extras if isinstance(extra, Kind)), None)
    return hint if kind is None else Given(hint, kind)


def _plain(annotation: Any, outer: tuple[type, ...]) -> Hint:
    origin, args = get_origin(annotation), get_args(annotation)
    if annotation is Any or annotation is object:
        return Anything()
    if annotation in _SCALARS:
        return Scalar(annotation)
    if annotation in _DOCUMENTS or origin in _DOCUMENTS:
        return Document()
    if origin is Literal:
        return _names(args)
    if annotation is np.ndarray or origin is np.ndarray:
        return _array(args)
    if origin in (list, tuple):
        return _items(origin, args, outer)
    if isinstance(annotation, type):
        return _class(annotation, outer)
    raise Misfit(_not_understood(annotation))


def _names(values: tuple[Any, ...]) -> Names:
    if not all(isinstance(value, str) for value in values):
        raise Misfit("a Literal of anything but strings has no kind")
    return Names(values)


def _array(args: tuple[Any, ...]) -> NumpyArray:
    """``np.ndarray[shape, np.dtype[scalar]]``, which is what ``NDArray[scalar]`` means."""
    scalar = get_args(args[1])[0] if len(args) == 2 and get_args(args[1]) else Any
    if scalar is Any or scalar in _ABSTRACT:
        return NumpyArray(None)
    if not isinstance(scalar, type):
        raise Misfit(f"no element type: {quote(str(scalar))}")
    name = np.dtype(scalar).name
    if name not in DTYPES:
        raise Misfit(f"an array of {quote(name)} has no kind: elements are of a fixed width")
    return NumpyArray(name)


def _items(origin: type, args: tuple[Any, ...], outer: tuple[type, ...]) -> Hint:
    if origin is tuple and args == (float,) * 4:
        return Four()
    if origin is tuple and (len(args) != 2 or args[1] is not Ellipsis):
        raise Misfit("a tuple of a fixed length has no kind: write tuple[T, ...] or a dataclass")
    return Items(_hint(args[0], outer), list if origin is list else tuple)


def _class(cls: type, outer: tuple[type, ...]) -> Hint:
    kind = getattr(cls, "__atd_kind__", None)
    if isinstance(kind, Kind):
        return Encoded(kind)
    if (cls.__module__, cls.__name__) == ("PIL.Image", "Image"):
        return Picture()
    if dataclasses.is_dataclass(cls):
        return Nested(cls, _members(cls, outer))
    if issubclass(cls, np.generic) and np.dtype(cls).name in DTYPES:
        return Scalar(cls, np.dtype(cls).name)
    raise Misfit(_not_understood(cls))


def _not_understood(annotation: Any) -> str:
    if isinstance(annotation, types.ModuleType):
        return f"{annotation.__name__} is a module, not a type; Pillow's type is Image.Image"
    if annotation in (list, tuple):
        return f"say of what: {annotation.__name__}[T]"
    return f"no kind for the annotation {quote(str(annotation))}"


def _dim(dim: int | str | Dim | None) -> Dim:
    if isinstance(dim, Dim):
        return dim
    return Dim(name=dim) if isinstance(dim, str) else Dim(size=dim)


def array_kind(hint: NumpyArray) -> Array:
    """The kind that an array annotation is published as."""
    if hint.dtype is None:
        raise Misfit("say the element type, as in NDArray[np.uint8]")
    try:
        return Array(hint.dtype, hint.dims)
    except LocalError as error:
        raise Misfit(error.message) from error
