"""From a published kind to the value that an annotation asks for.

Belongs here: one function per pair that makes sense. Each returns the conversion of one value, or
None where the value is already right; a pair that makes no sense raises `Unreadable`. The values
that go in are those that the shard reader gives: arrays, integers for labels, media objects with
``bytes``, ``decode()`` and ``pillow()``, aware datetimes, dicts for structs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from atd.schema import fields, hints
from atd.schema.hint_words import describe_hint
from atd.schema.row import LabelIndex, Row
from atd.schema.words import describe, describe_dims

Convert: TypeAlias = Callable[[Any], Any]

_PLAIN: Final[dict[str, tuple[type[fields.Kind], ...]]] = {
    "bool": (fields.Bool,),
    "str": (fields.String, fields.Text),
    "bytes": (fields.Bytes,),
    "datetime": (fields.Timestamp,),
}
"""Scalars that read these kinds as they are."""


class Unreadable(Exception):
    """A published kind, or one value of it, is not what an annotation asks for.

    ``problems`` are pairs of a path within the value (empty: the value itself) and what is wrong.
    """

    def __init__(self, *problems: str | tuple[str, str]) -> None:
        self.problems = [("", item) if isinstance(item, str) else item for item in problems]
        super().__init__("; ".join(self.lines()))

    def lines(self) -> list[str]:
        """One line for each problem, with its path."""
        return [f"{path}: {what}" if path else what for path, what in self.problems]

    def within(self, name: str) -> Unreadable:
        """The same problems, seen from outside of ``name``."""
        return Unreadable(*((_joined(name, path), what) for path, what in self.problems))


def _joined(name: str, path: str) -> str:
    return f"{name}{path}" if path.startswith("[") or not path else f"{name}.{path}"


class Step(NamedTuple):
    """One field of the reader: the published field it comes from, and what its value becomes."""

    name: str
    source: str
    convert: Convert | None


def conversion(kind: fields.Kind, hint: hints.Hint) -> Convert | None:
    """What makes a published ``kind`` what ``hint`` asks for; None if it is that already.

    Raises:
        Unreadable: it cannot be made that without loss or guessing.
    """
    match hint:
        case hints.Anything():
            return row_conversion(kind)
        case hints.Given():
            return _given(kind, hint)
        case hints.Scalar():
            return _scalar(kind, hint)
        case hints.Names():
            return _named(kind, hint)
        case hints.NumpyArray():
            return _array(kind, hint)
        case hints.Items():
            return _items(kind, hint)
        case hints.Nested():
            return _nested(kind, hint)
        case hints.Picture() if isinstance(kind, fields.Image):
            return lambda image: image.pillow()
        case hints.Encoded() if isinstance(kind, type(hint.kind)):
            return None
        case hints.Four() if isinstance(kind, fields.Box):
            return None
        case hints.Document() if isinstance(kind, fields.Json | fields.Struct):
            return None
    raise _differs(hint, kind)


def row_conversion(kind: fields.Kind) -> Convert | None:
    """What makes a decoded value what a row holds: labels get their names, structs become rows."""
    match kind:
        case fields.Label():
            table = [LabelIndex(index, name) for index, name in enumerate(kind.names)]
            return lambda index: table[index]
        case fields.List():
            item = row_conversion(kind.item)
            return None if item is None else lambda values: _each(item, values)
        case fields.Struct():
            inner = {field.name: row_conversion(field.kind) for field in kind.fields}
            return lambda value: Row(
                {
                    name: convert(part) if part is not None and (convert := inner[name]) else part
                    for name, part in value.items()
                }
            )
        case _:
            return None


def _scalar(kind: fields.Kind, hint: hints.Scalar) -> Convert | None:
    if hint.dtype is not None:
        if isinstance(kind, fields.Int | fields.Float) and promotes(kind.dtype, hint.dtype):
            return hint.type
        raise _differs(hint, kind)
    name = hint.type.__name__
    match name, kind:
        case "int", fields.Int() | fields.Label():
            return None
        case "float", fields.Float():
            return None
        case "float", fields.Int():
            return float if kind.bits <= 32 else _exact_float
        case "str", fields.Label():
            return kind.names.__getitem__
        case "bytes", fields.Image() | fields.Audio() | fields.Video():
            return _encoded
    if isinstance(kind, _PLAIN.get(name, ())):
        return None
    raise _differs(hint, kind)


def promotes(published: str, wanted: str) -> bool:
    """Whether every value of one dtype is exactly a value of the other.

    numpy calls 64-bit integers safe in a float64, though most of them are not.
    """
    wide = np.dtype(published).kind in "iu" and np.dtype(published).itemsize == 8
    lossy = wide and np.dtype(wanted).kind in "fc"
    return np.can_cast(published, wanted, "safe") and not lossy


def _encoded(media: Any) -> bytes:
    data: bytes = media.bytes
    return data


def _exact_float(number: int) -> float:
    """An integer as a float, if the float is that very number: all are up to 2^53."""
    made = float(number)
    if int(made) != number:
        raise Unreadable(f"expected an integer that a float can hold exactly, found {number}")
    return made


def _named(kind: fields.Kind, hint: hints.Names) -> Convert:
    if not isinstance(kind, fields.Label):
        raise _differs(hint, kind)
    _all_known(kind.names, hint.names)
    return kind.names.__getitem__


def _all_known(published: tuple[str, ...], wanted: tuple[str, ...]) -> None:
    unknown = [name for name in published if name not in set(wanted)]
    if unknown:
        shown = ", ".join(map(ascii, unknown[:5])) + (" …" if len(unknown) > 5 else "")
        raise Unreadable(f"expected labels among {len(wanted)} names, found also {shown}")


def _array(kind: fields.Kind, hint: hints.NumpyArray) -> Convert | None:
    if isinstance(kind, fields.Image):
        return _pixels(kind, hint)
    if isinstance(kind, fields.Audio):
        return _sound(kind, hint)
    if not isinstance(kind, fields.Array):
        raise _differs(hint, kind)
    if hint.dtype is not None and not promotes(kind.dtype, hint.dtype):
        raise Unreadable(
            f"expected {describe_hint(hint)}, found {describe(kind)}: "
            f"{kind.dtype} does not fit into {hint.dtype}"
        )
    published, wanted = kind.dims, hint.dims
    if published and wanted:
        _check_dims(kind, hint)
    fixed = all(dim.size is not None for dim in published) if published else not wanted
    check = None if fixed or not wanted else _shape_check(hint)
    if hint.dtype in (None, kind.dtype):
        return check
    dtype = np.dtype(hint.dtype)
    if check is None:
        return lambda array: array.astype(dtype)
    return lambda array: check(array).astype(dtype)


def _check_dims(kind: fields.Array, hint: hints.NumpyArray) -> None:
    pairs = list(zip(kind.dims, hint.dims, strict=False))
    differ = any(None not in (one.size, two.size) and one.size != two.size for one, two in pairs)
    if differ or len(kind.dims) != len(hint.dims):
        raise Unreadable(
            f"expected the shape {describe_dims(hint.dims)}, found {describe_dims(kind.dims)}"
        )


def _shape_check(hint: hints.NumpyArray) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """For shapes that the schema left open: each array is looked at."""
    sizes = tuple(dim.size for dim in hint.dims)

    def check(array: NDArray[Any]) -> NDArray[Any]:
        fits = len(sizes) == array.ndim
        fits = fits and all(s in (None, n) for s, n in zip(sizes, array.shape, strict=True))
        if not fits:
            shape = describe_dims(hint.dims)
            raise Unreadable(f"expected an array of shape {shape}, found {array.shape}")
        return array

    return check


def _pixels(kind: fields.Image, hint: hints.NumpyArray) -> Convert:
    """An image as RGB: uint8 (height, width, 3)."""
    if hint.dtype not in (None, "uint8"):
        raise Unreadable(
            f"expected {describe_hint(hint)}, found {describe(kind)}: pixels are uint8"
        )
    width, height = kind.size or (None, None)
    decoded = fields.Array("uint8", (height, width, 3))  # type: ignore[arg-type]
    if not hint.dims:
        return lambda image: image.decode()
    _check_dims(decoded, hint)
    check = _shape_check(hint)
    return lambda image: check(image.decode())


def _sound(kind: fields.Audio, hint: hints.NumpyArray) -> Convert:
    """A sound as its samples: float32 (frames, channels)."""
    if hint.dtype not in (None, "float32"):
        raise Unreadable(
            f"expected {describe_hint(hint)}, found {describe(kind)}: samples are float32"
        )
    if not hint.dims:
        return lambda audio: audio.decode()
    _check_dims(fields.Array("float32", (fields.Dim("frames"), fields.Dim("channels"))), hint)
    check = _shape_check(hint)
    return lambda audio: check(audio.decode())


def _items(kind: fields.Kind, hint: hints.Items) -> Convert | None:
    if not isinstance(kind, fields.List):
        raise _differs(hint, kind)
    try:
        item = conversion(kind.item, hint.item)
    except Unreadable as error:
        raise error.within("[]") from None
    build = hint.build
    if item is None:
        return None if build is list else build
    return lambda values: build(_each(item, values))


def _each(convert: Convert, values: list[Any]) -> list[Any]:
    made: list[Any] = []
    try:
        for value in values:
            made.append(convert(value))
    except Unreadable as error:
        raise error.within(f"[{len(made)}]") from None
    return made


def _given(kind: fields.Kind, hint: hints.Given) -> Convert | None:
    """``Annotated[T, kind]``: the published kind must fit the named one, and then be read as T."""
    _check_promotes(kind, hint.kind)
    inner = hint.hint
    if isinstance(kind, fields.Label) and isinstance(hint.kind, fields.Label):
        if inner == hints.Scalar(int) and kind.names != hint.kind.names:
            places = {name: index for index, name in enumerate(hint.kind.names)}
            return [places[name] for name in kind.names].__getitem__
        return conversion(kind, inner)
    if isinstance(hint.kind, fields.Box) and not isinstance(inner, hints.Anything):
        return _box(inner)
    if isinstance(hint.kind, fields.Array):
        return _array(kind, hints.NumpyArray(hint.kind.dtype, hint.kind.dims))
    return conversion(kind, inner)


def _box(inner: hints.Hint) -> Convert | None:
    if isinstance(inner, hints.Items):
        return inner.build
    if isinstance(inner, hints.NumpyArray):
        return lambda box: np.array(box, dtype=inner.dtype or "float64")
    if isinstance(inner, hints.Four):
        return None
    raise Unreadable(f"expected {describe_hint(inner)}, found box")


def _check_promotes(kind: fields.Kind, wanted: fields.Kind) -> None:
    """Refuse a published kind that the kind which the class names cannot hold."""
    match kind, wanted:
        case fields.Int() | fields.Float(), fields.Int() | fields.Float():
            if promotes(kind.dtype, wanted.dtype):
                return
        case fields.Label(), fields.Label():
            return _all_known(kind.names, wanted.names)
        case fields.String() | fields.Text(), fields.String() | fields.Text():
            return
        case fields.Box(), fields.Box() if kind.format == wanted.format:
            return
        case _ if type(kind) is type(wanted) and not isinstance(kind, fields.Box):
            return
    raise Unreadable(f"expected {describe(wanted)}, found {describe(kind)}")


def _nested(kind: fields.Kind, hint: hints.Nested) -> Convert:
    if not isinstance(kind, fields.Struct):
        raise _differs(hint, kind)
    steps = match_members(kind.fields, hint.members)
    return lambda value: hint.cls(**take(steps, value))


def _differs(hint: hints.Hint, kind: fields.Kind) -> Unreadable:
    return Unreadable(f"expected {describe_hint(hint)}, found {describe(kind)}")


# ------------------------------------------------------------------ fields of a class


def match_members(
    published: tuple[fields.Field, ...], wanted: tuple[hints.Member, ...]
) -> tuple[Step, ...]:
    """A step for each member that is published.

    Raises:
        Unreadable: with every member that does not fit.
    """
    steps: list[Step] = []
    problems: list[tuple[str, str]] = []
    for member in wanted:
        source = find(published, member)
        if source is None:
            if not member.optional:
                names = ", ".join(field.name for field in published)
                problems.append((member.name, f"expected, but not published; there are {names}"))
            continue
        if source.optional and not member.optional:
            problems.append((member.name, "may be missing from a sample: give it a default"))
        if source.nullable and not member.nullable:
            problems.append((member.name, "may be null: annotate it as … | None"))
        try:
            steps.append(Step(member.name, source.name, conversion(source.kind, member.hint)))
        except Unreadable as error:
            problems.extend(error.within(member.name).problems)
    if problems:
        raise Unreadable(*problems)
    return tuple(steps)


def find(published: tuple[fields.Field, ...], member: hints.Member) -> fields.Field | None:
    """The published field: by name, then by an alias of the class, then by a published alias."""
    by_name = {field.name: field for field in published}
    for name in (member.name, *member.about.aliases):
        if name in by_name:
            return by_name[name]
    return next((field for field in published if member.name in field.aliases), None)


def take(steps: tuple[Step, ...], sample: Mapping[str, Any]) -> dict[str, Any]:
    """The values of one sample, or of a struct in it, by the reader's names.

    Raises:
        Unreadable: with the name of the field.
    """
    values: dict[str, Any] = {}
    for name, source, convert in steps:
        if source not in sample:
            continue
        value = sample[source]
        if convert is not None and value is not None:
            try:
                value = convert(value)
            except Unreadable as error:
                raise error.within(name) from None
        values[name] = value
    return values
