"""From what Python programs hand in to the one plain value that a field stores.

Belongs here: which Python types each kind takes, and every range and shape check made on writing.
One function per kind, chosen once per schema by `fitter`; what comes out is *plain*: bool, int,
float, str, bytes, ndarray (C order, the schema's dtype), list, dict, None. The same sample gives
the same plain value in any process: no set order, no hash seed, no time zone of the machine.

====================  =======================================================  ==================
kind                  taken                                                    plain
====================  =======================================================  ==================
bool int float        Python and numpy scalars; an int where a float is asked  bool int float
string text           str                                                      str
bytes audio video     bytes, bytearray, memoryview, `Media`                    bytes
image                 the same, untouched; an array or a PIL image as PNG      bytes
timestamp             aware datetime, numpy datetime64 (UTC), RFC 3339 text    str, in UTC
json                  None, bool, int, float, str, list, dict, numpy scalars   the same
array                 arrays and nested lists, if the cast loses nothing       ndarray
label                 an index or a name                                       int
box                   four numbers                                             list of four floats
list struct           lists, tuples, arrays; mappings, dataclass instances     list, dict
====================  =======================================================  ==================
"""

from __future__ import annotations

import dataclasses
import math
import re
import struct
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from atd.errors import ShardError
from atd.schema import fields
from atd.shards import media
from atd.shards.unfit import Undecodable, Unfit, describe, wanted
from atd.shards.unpack import MAX_JSON_DEPTH

Plain: TypeAlias = Any
"""None, bool, int, float, str, bytes, ndarray, or a list or dict of them: see the table above."""
Fit: TypeAlias = Callable[[object], Plain]

_INT64: Final = range(-(2**63), 2**64)
_OUTERMOST: Final = (1, 9999)
_RFC3339: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?"
    r"(?:[Zz]|[+-][0-9]{2}:[0-9]{2})"
)


class Fitter:
    """Samples of a schema, or values of a struct, as dicts of plain values in schema order."""

    def __init__(self, members: tuple[fields.Field, ...]) -> None:
        self._plan = [(field, fitter(field.kind)) for field in members]
        self._names = frozenset(field.name for field in members)

    def __call__(self, sample: object) -> dict[str, Plain]:
        """The plain values of ``sample``; missing optional fields stay missing.

        Raises:
            Unfit: with the path of the field that does not fit.
        """
        given = _as_mapping(sample)
        out: dict[str, Plain] = {}
        for field, fit in self._plan:
            name = field.name
            if name not in given:
                if not field.optional:
                    raise Unfit(wanted(field.kind), "nothing", name)
                continue
            value = given[name]
            if value is None and (field.nullable or not isinstance(field.kind, fields.Json)):
                if not field.nullable:
                    raise Unfit(f"{wanted(field.kind)}, not null", "null", name)
                out[name] = None
                continue
            try:
                out[name] = fit(value)
            except Unfit as error:
                raise error.within(name) from None
        if len(out) != len(given):
            self._refuse_extra(given)
        return out

    def _refuse_extra(self, given: Mapping[str, object]) -> None:
        extra = next((name for name in given if name not in self._names), None)
        if extra is not None:
            raise Unfit("no such field: the schema has none", describe(given[extra]), str(extra))


def _as_mapping(sample: object) -> Mapping[str, object]:
    if isinstance(sample, Mapping):
        return sample
    if dataclasses.is_dataclass(sample) and not isinstance(sample, type):
        return {name: getattr(sample, name) for name in _field_names(type(sample))}
    named = getattr(sample, "_asdict", None)
    if isinstance(sample, tuple) and named is not None:
        return dict(named())
    raise Unfit("a mapping or a dataclass instance", describe(sample))


@lru_cache(maxsize=256)
def _field_names(cls: type[Any]) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(cls))


def fitter(kind: fields.Kind) -> Fit:
    """The function that makes a plain value of ``kind`` from a Python value, or raises `Unfit`."""
    match kind:
        case fields.Int():
            return _int(kind)
        case fields.Float():
            return _float(kind)
        case fields.Array():
            return _array(kind)
        case fields.Label():
            return _label(kind)
        case fields.Image():
            return _image(kind)
        case fields.Audio() | fields.Video():
            return _media(kind)
        case fields.List():
            return _list(kind)
        case fields.Struct():
            return Fitter(kind.fields)
        case fields.Box():
            return lambda value: _box(kind, value)
        case _:
            return _SIMPLE[type(kind)]


def _bool(value: object) -> bool:
    if isinstance(value, bool | np.bool_):
        return bool(value)
    raise Unfit("true or false", describe(value))


def _int(kind: fields.Int) -> Fit:
    low, high = kind.limits

    def fit(value: object) -> int:
        if isinstance(value, int | np.integer) and not isinstance(value, bool):
            number = int(value)
            if low <= number <= high:
                return number
        raise Unfit(wanted(kind), describe(value))

    return fit


def _float(kind: fields.Float) -> Fit:
    form = {16: struct.Struct("<e"), 32: struct.Struct("<f"), 64: struct.Struct("<d")}[kind.bits]

    def fit(value: object) -> float:
        known = isinstance(value, float | int | np.floating | np.integer)
        if not known or isinstance(value, bool):
            raise Unfit(wanted(kind), describe(value))
        try:
            number = float(value)  # type: ignore[arg-type]
            rounded: float = form.unpack(form.pack(number))[0]
        except OverflowError:
            raise Unfit(wanted(kind), describe(value)) from None
        return math.nan if rounded != rounded else rounded

    return fit


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise Unfit("text", describe(value))
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Unfit("text that UTF-8 can carry", describe(value)) from None
    return str(value)


def _bytes(value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    if isinstance(value, media.Media):
        return value.bytes
    raise Unfit("bytes", describe(value))


def read_moment(text: str) -> datetime:
    """The aware ``datetime`` that RFC 3339 ``text`` names; digits past microseconds are cut."""
    try:
        if _RFC3339.fullmatch(text):
            moment = datetime.fromisoformat(text.upper())
            if moment.year in _OUTERMOST:
                moment.astimezone(UTC)  # which may be in year 0 or 10000
            return moment
    except (ValueError, OverflowError):
        pass
    raise Unfit(wanted(fields.Timestamp()), describe(text))


def _timestamp(value: object) -> str:
    if isinstance(value, np.datetime64):
        value = value.astype("datetime64[us]").item()
        value = value.replace(tzinfo=UTC) if isinstance(value, datetime) else value
    if isinstance(value, str):
        value = read_moment(value)
    # pandas' NaT calls itself a datetime, and differs from itself.
    if not isinstance(value, datetime) or value != value:
        raise Unfit(wanted(fields.Timestamp()), describe(value))
    if value.utcoffset() is None:
        raise Unfit("a moment with its offset from UTC", f"{value!s}, which has none")
    try:
        moment = value.astimezone(UTC).replace(tzinfo=None)
    except OverflowError:
        raise Unfit("a moment from year 1 to 9999", f"{value!s}") from None
    return f"{moment.isoformat()}Z"


def _json(value: object, depth: int = 0) -> Plain:
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int) and value in _INT64:
        return int(value)
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    if isinstance(value, np.ndarray):
        value = value.tolist()
        return _json(value, depth)
    if depth >= MAX_JSON_DEPTH:
        raise Unfit(f"JSON at most {MAX_JSON_DEPTH} levels deep", "more")
    if isinstance(value, list | tuple):
        return [_json(item, depth + 1) for item in value]
    if isinstance(value, Mapping) or dataclasses.is_dataclass(value):
        return _json_object(_as_mapping(value), depth)
    raise Unfit("a JSON value", describe(value))


def _json_object(value: Mapping[str, object], depth: int) -> dict[str, Plain]:
    for key in value:
        if not isinstance(key, str):
            raise Unfit("an object whose keys are strings", f"the key {describe(key)}")
    return {_text(key): _json(value[key], depth + 1) for key in sorted(value)}


def _array(kind: fields.Array) -> Fit:
    dtype = np.dtype(kind.dtype)
    sizes = tuple(dim.size for dim in kind.dims)

    def fit(value: object) -> NDArray[Any]:
        array = value if isinstance(value, np.ndarray) else _nested(kind, value)
        if array.dtype != dtype:
            array = _cast(kind, dtype, array, measured=isinstance(value, np.ndarray))
        if sizes and (
            len(sizes) != array.ndim
            or any(want not in (None, have) for want, have in zip(sizes, array.shape, strict=True))
        ):
            raise Unfit(wanted(kind), describe(array))
        return np.asarray(array, order="C")

    return fit


def _nested(kind: fields.Array, value: object) -> NDArray[Any]:
    """Lists and numbers, and whatever else speaks ``__array__``, as an array."""
    if not isinstance(value, list | tuple | int | float | complex | np.generic) and not hasattr(
        value, "__array__"
    ):
        raise Unfit(wanted(kind), describe(value))
    try:
        return np.asarray(value)
    except (ValueError, TypeError, OverflowError):
        raise Unfit(wanted(kind), f"{describe(value)} that numpy cannot take") from None


def _cast(
    kind: fields.Array, dtype: np.dtype[Any], array: NDArray[Any], *, measured: bool
) -> NDArray[Any]:
    """``array`` as ``dtype``: a safe cast; for Python numbers also one that keeps every value.

    A list of floats is rounded to the field's precision, because a list has none of its own.
    """
    if np.can_cast(array.dtype, dtype, "safe") or (array.size == 0 and not measured):
        return array.astype(dtype)
    pair = array.dtype.kind + dtype.kind
    if not measured and pair in _KEEPING:
        with np.errstate(over="ignore", invalid="ignore"):
            cast = array.astype(dtype)
        rounds = pair[0] in "fc"
        if (np.isfinite(cast) == np.isfinite(array) if rounds else cast == array).all():
            return cast
    raise Unfit(wanted(kind), describe(array))


def _label(kind: fields.Label) -> Fit:
    index = {name: at for at, name in enumerate(kind.names)}

    def fit(value: object) -> int:
        if isinstance(value, str):
            value = index.get(value, value)
        number = isinstance(value, int | np.integer) and not isinstance(value, bool)
        if number and 0 <= value < len(index):  # type: ignore[operator]
            return int(value)  # type: ignore[call-overload,no-any-return]
        raise Unfit(wanted(kind), describe(value))

    return fit


def _image(kind: fields.Image) -> Fit:
    of_media = _media(kind)

    def fit(value: object) -> bytes:
        drawn = isinstance(value, np.ndarray) or media.is_pillow(value)
        data = _png(kind, value) if drawn else of_media(value)
        if kind.mode is not None or kind.size is not None:
            _check_picture(kind, media.Image(data))
        return data

    return fit


def _png(kind: fields.Image, value: object) -> bytes:
    try:
        return media.encode_png(value)
    except Undecodable as error:
        raise Unfit(wanted(kind), str(error)) from None


def _check_picture(kind: fields.Image, image: media.Image) -> None:
    try:
        width, height, mode = image.header()
    except ShardError as error:
        raise Unfit(wanted(kind), str(error)) from None
    size = (width, height)
    if kind.mode not in (None, mode) or kind.size not in (None, size):
        expected = f"an image of mode {kind.mode or 'any'} and size {kind.size or 'any'}"
        raise Unfit(expected, f"mode {mode} and size {size}")


def _media(kind: fields.Image | fields.Audio | fields.Video) -> Fit:
    known = all(name in media.SUFFIXES for name in kind.media_types)
    allowed = kind.media_types if known else ()

    def fit(value: object) -> bytes:
        try:
            data = _bytes(value)
        except Unfit:
            raise Unfit(wanted(kind), describe(value)) from None
        if not data:
            raise Unfit(wanted(kind), "0 bytes")
        found = media.sniff(data)
        if allowed and found is not None and found not in allowed:
            raise Unfit(f"{wanted(kind)} of type {' or '.join(allowed)}", found)
        return data

    return fit


def _list(kind: fields.List) -> Fit:
    fit_item = fitter(kind.item)

    def fit(value: object) -> list[Plain]:
        if isinstance(value, np.ndarray) and value.ndim:
            value = list(value)
        if not isinstance(value, list | tuple):
            raise Unfit("a list", describe(value))
        out: list[Plain] = []
        try:
            for item in value:
                out.append(fit_item(item))
        except Unfit as error:
            raise error.within(f"[{len(out)}]") from None
        return out

    return fit


def _box(kind: fields.Box, value: object) -> list[float]:
    given = value.tolist() if isinstance(value, np.ndarray) else value
    if isinstance(given, list | tuple) and len(given) == 4:
        corners = [_SIDE(item) for item in given]
        if all(math.isfinite(corner) for corner in corners):
            return corners
    raise Unfit(wanted(kind), describe(value))


_KEEPING: Final = frozenset(("ii", "iu", "ui", "uu", "if", "uf", "ic", "uc", "ff", "fc", "cc"))
_SIDE: Final = _float(fields.Float())
_SIMPLE: Final[dict[type[Any], Fit]] = {
    fields.Bool: _bool,
    fields.String: _text,
    fields.Text: _text,
    fields.Bytes: _bytes,
    fields.Timestamp: _timestamp,
    fields.Json: _json,
}
