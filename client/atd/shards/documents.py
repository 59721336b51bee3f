"""Values as JSON documents: text on the way out, checked values on the way in.

Belongs here: JSON text that is the same for the same value, its strict reading, and the two
directions for the kinds that JSON can hold. NaN and the infinities, which JSON lacks, are the
strings ``"NaN"``, ``"Infinity"`` and ``"-Infinity"`` in a field of kind float, as in the JSON form
of protocol buffers.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from typing import Any, Final, NoReturn, TypeAlias

from atd.schema import fields
from atd.shards.fit import Plain, fitter, read_moment
from atd.shards.room import MAX_VALUES
from atd.shards.unfit import Unfit, describe, shown
from atd.shards.unpack import MAX_JSON_DEPTH

Convert: TypeAlias = Callable[[Any], Any]

INT_MIN: Final = -(2**63)
INT_MAX: Final = 2**64 - 1
_UNWRITABLE: Final = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def json_text(value: Any) -> str:
    """A JSON value as text: sorted keys, no spaces, UTF-8 left as it is."""
    return json.dumps(
        value, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")
    )


def parse_json(text: str) -> Any:
    """The value of JSON ``text``, if it is one that we would write.

    Finite numbers, integers of 64 bits, each key once, text that UTF-8 can carry, at most
    `MAX_JSON_DEPTH` levels and `MAX_VALUES` values (counted by its commas and brackets before
    anything is made of it): what one reader takes for one value and another for another is refused.

    Raises:
        Unfit: it is none.
    """
    if len(text) > MAX_VALUES and sum(map(text.count, ",[{")) > MAX_VALUES:
        raise Unfit(f"JSON of at most {MAX_VALUES} values", "more")
    try:
        value = json.loads(text, parse_constant=_refuse, object_pairs_hook=_each_once)
    except (ValueError, RecursionError):
        raise Unfit("JSON text", describe(text)) from None
    _check_parts((value,), MAX_JSON_DEPTH)
    if "\\ud" in text or "\\uD" in text:
        _check_unicode(value)
    return value


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        seen: set[str] = set()
        for twice, _ in pairs:
            if twice in seen:
                break
            seen.add(twice)
        raise Unfit("each key of a JSON object once", f"{shown(twice)} twice")
    return made


def _check_parts(parts: Iterable[Any], levels: int) -> None:
    """Refuse numbers that JSON readers differ about, and lists and dicts beyond ``levels``."""
    for part in parts:
        kind = type(part)
        if kind is int:
            if not INT_MIN <= part <= INT_MAX:
                raise Unfit("a JSON integer of at most 64 bits", "a larger one")
        elif kind is float:
            if not math.isfinite(part):
                raise Unfit("a JSON number that a float can hold", "a larger one")
        elif kind is list or kind is dict:
            if not levels:
                raise Unfit(f"JSON at most {MAX_JSON_DEPTH} levels deep", "more")
            _check_parts(part if kind is list else part.values(), levels - 1)


def _check_unicode(value: Any) -> None:
    """Refuse half of a surrogate pair, which JSON can spell."""
    try:
        json_text(value).encode()
    except UnicodeEncodeError:
        raise Unfit("text that UTF-8 can carry", "half of a surrogate pair") from None


def _refuse(name: str) -> NoReturn:
    raise ValueError(name)


def to_document(kind: fields.Kind) -> Convert:
    """From a plain value of ``kind`` to the JSON value that stands for it."""
    return _through(kind, _write_float)


def from_document(kind: fields.Kind) -> Convert:
    """From a JSON value to what a sample gives, or `Unfit`.

    It takes what `atd.shards.fit.fitter` takes, so a label may stand in a document by name.
    """
    revive = _through(kind, _read_float)
    fit = fitter(kind)
    return lambda value: present(kind, fit(revive(value)))


def _write_float(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def _read_float(value: Any) -> Any:
    return _UNWRITABLE.get(value, value) if isinstance(value, str) else value


def _through(kind: fields.Kind, convert: Convert) -> Convert:
    """``convert`` applied to every float field below ``kind``; other values pass as they are."""
    match kind:
        case fields.Float():
            return convert
        case fields.List():
            item = _through(kind.item, convert)
            return lambda value: [*map(item, value)] if isinstance(value, list) else value
        case fields.Struct():
            inner = {field.name: _through(field.kind, convert) for field in kind.fields}
            return lambda value: _each_field(inner, value)
        case _:
            return _as_it_is


def _each_field(inner: dict[str, Convert], value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {name: inner.get(name, _as_it_is)(part) for name, part in value.items()}


def _as_it_is(value: Any) -> Any:
    return value


def present(kind: fields.Kind, plain: Plain) -> Any:
    """A plain value as a sample gives it: timestamps and boxes become what they mean."""
    if plain is None:
        return None
    match kind:
        case fields.Timestamp():
            return read_moment(plain)
        case fields.Box():
            return tuple(plain)
        case fields.List():
            return [present(kind.item, item) for item in plain]
        case fields.Struct():
            return {
                field.name: present(field.kind, plain[field.name])
                for field in kind.fields
                if field.name in plain
            }
        case _:
            return plain
