"""Python classes as schemas: the decorator ``@atd.sample``, and the schema of a class.

Belongs here: from a class to the `Schema` it publishes. What annotations mean is
`atd.schema.hints`; reading published samples into a class is `atd.schema.resolve`.
"""

from __future__ import annotations

import contextlib
import sys
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar, dataclass_transform, overload

from atd.errors import LocalError, SchemaMismatch
from atd.schema import fields, hints
from atd.schema.hints import About, Member, Misfit, Shape
from atd.schema.row import same

__all__ = ["About", "Shape", "sample", "schema_of"]

T = TypeVar("T")

_SCALAR_KINDS: Final[dict[object, fields.Kind]] = {
    "bool": fields.Bool(),
    "int": fields.Int(),
    "float": fields.Float(),
    "str": fields.String(),
    "bytes": fields.Bytes(),
    "datetime": fields.Timestamp(),
    **{f"int{bits}": fields.Int(bits) for bits in (8, 16, 32, 64)},
    **{f"uint{bits}": fields.Int(bits, signed=False) for bits in (8, 16, 32, 64)},
    **{f"float{bits}": fields.Float(bits) for bits in (16, 32, 64)},
}


@overload
def sample(cls: type[T], /) -> type[T]: ...
@overload
def sample(*, kw_only: bool = False, frozen: bool = False) -> Callable[[type[T]], type[T]]: ...
@dataclass_transform(eq_default=False)
def sample(
    cls: type[T] | None = None, /, *, kw_only: bool = False, frozen: bool = False
) -> type[T] | Callable[[type[T]], type[T]]:
    """Make a class of samples: a dataclass whose annotations say what is in a sample.

    Samples compare by value, arrays included. A plain ``@dataclass`` serves as well; this one also
    understands annotations that name what is local to the function that defines the class.

    Example:
        >>> @atd.sample
        ... class Flower:
        ...     image: NDArray[np.uint8]
        ...     label: Literal["rose", "tulip"]

    Args:
        kw_only: fields must be named when a sample is made; then any of them may have a default.
        frozen: samples cannot be changed.

    Raises:
        SchemaMismatch: an annotation means nothing as the field of a sample.
    """
    names = sys._getframe(1).f_locals

    def make(plain: type[T]) -> type[T]:
        return _made(plain, kw_only, frozen, names)

    return make if cls is None else make(cls)


def _made(cls: type[T], kw_only: bool, frozen: bool, names: dict[str, object]) -> type[T]:
    made = dataclass(eq=False, kw_only=kw_only, frozen=frozen)(cls)
    if "__eq__" not in cls.__dict__:
        # By setattr, because to a type checker methods are not assigned to.
        setattr(made, "__eq__", _equal)  # noqa: B010
        setattr(made, "__hash__", None)  # noqa: B010
    # A name that is defined further down is looked up later, by whoever asks for the schema.
    with contextlib.suppress(NameError):
        known = typing.get_type_hints(made, localns={**names}, include_extras=True)
        setattr(made, hints.HINTS_ATTRIBUTE, known)
        hints.members(made)
    return made


def _equal(self: object, other: object) -> bool:
    return type(self) is type(other) and same(vars(self), vars(other))


def schema_of(cls: type) -> fields.Schema:
    """The schema that samples of ``cls`` are published under.

    Raises:
        SchemaMismatch: it is no class of samples, or fields cannot be published: all are listed.
    """
    members = hints.members(cls)
    try:
        return fields.Schema(_fields(cls.__name__, members))
    except SchemaMismatch:
        raise
    except LocalError as error:
        raise SchemaMismatch(f"{cls.__name__} is no class of samples: {error.message}") from error


def _fields(owner: str, members: tuple[Member, ...]) -> tuple[fields.Field, ...]:
    found: list[fields.Field] = []
    problems: list[str] = []
    for member in members:
        try:
            found.append(_field(member))
        except (Misfit, LocalError) as error:
            problems.append(f"{member.name}: {error}")
    if problems:
        raise SchemaMismatch(f"{owner} cannot be published: " + "; ".join(problems))
    return tuple(found)


def _field(member: Member) -> fields.Field:
    return fields.Field(
        name=member.name,
        kind=kind_of(member.hint),
        optional=member.optional,
        nullable=member.nullable,
        description=member.about.description,
        unit=member.about.unit,
        aliases=tuple(member.about.aliases),
    )


def kind_of(hint: hints.Hint) -> fields.Kind:
    """The kind that an annotation is published as.

    Raises:
        Misfit: it can only be read.
    """
    match hint:
        case hints.Given() | hints.Encoded():
            return hint.kind
        case hints.Scalar():
            return _SCALAR_KINDS[hint.dtype or hint.type.__name__]
        case hints.Names():
            return fields.Label(hint.names)
        case hints.NumpyArray():
            return hints.array_kind(hint)
        case hints.Picture():
            return fields.Image()
        case hints.Items():
            return fields.List(kind_of(hint.item))
        case hints.Four():
            return fields.Box()
        case hints.Nested():
            return fields.Struct(_fields(hint.cls.__name__, hint.members))
        case hints.Anything() | hints.Document():
            return fields.Json()
