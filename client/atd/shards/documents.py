"""Values as JSON documents: text on the way out, checked values on the way in.

Belongs here: JSON text that is the same for the same value, its strict reading, and the two
directions for the kinds that JSON can hold. NaN and the infinities, which JSON lacks, are the
strings ``"NaN"``, ``"Infinity"`` and ``"-Infinity"`` in a field of kind float, as in the JSON form
of protocol buffers.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any, Final, NoReturn, TypeAlias

from atd.schema import fields
from atd.shards.fit import Plain, fitter, read_moment
from atd.shards.unfit import Unfit, describe
from atd.shards.unpack import MAX_JSON_DEPTH

Convert: TypeAlias = Callable[[Any], Any]

_UNWRITABLE: Final = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def json_text(value: Any) -> str:
    """A JSON value as text: sorted keys, no spaces, UTF-8 left as it is."""
    return json.dumps(
        value, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")
    )


def parse_json(text: str) -> Any:
    """The value of JSON ``text``; no NaN, no numbers of thousands of digits, bounded depth.

    Raises:
        Unfit: it is none.
    """
    try:
        value = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise Unfit("JSON text", describe(text)) from None
    if text.count("[") + text.count("{") > MAX_JSON_DEPTH and _is_deep(value):
        raise Unfit(f"JSON at most {MAX_JSON_DEPTH} levels deep", "more")
    return value


def _is_deep(value: Any) -> bool:
    """Whether lists and dicts nest beyond `MAX_JSON_DEPTH`, looked for level by level."""
    level = [value]
    for _ in range(MAX_JSON_DEPTH):
        held = [part for part in level if isinstance(part, list | dict)]
        level = [
            item for part in held for item in (part.values() if isinstance(part, dict) else part)
        ]
    return any(isinstance(part, list | dict) for part in level)


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
