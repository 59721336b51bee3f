"""A few samples as JSON, small enough to be looked at before anything is fetched.

Belongs here: what a value of each kind becomes. Numbers, labels and short text stay what they are;
long text is cut; arrays are summarised by their first elements; sounds and films are facts alone;
images become thumbnails, drawn anew from their pixels, so that nothing else of the file (EXIF,
profiles, comments) travels with them. What cannot be decoded is facts alone, too.
"""

from __future__ import annotations

import base64
import importlib
import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import numpy as np

from atd.errors import AtdError
from atd.schema import fields
from atd.schema.fields import Schema
from atd.shards import media
from atd.shards.documents import json_text
from atd.shards.unfit import Undecodable

EXAMPLES: Final = 10
MAX_TEXT: Final = 500
MAX_ITEMS: Final = 8
MAX_FIELDS: Final = 50
THUMBNAIL: Final = 96
"""Pixels of the longer side of a thumbnail."""

_MAX_PIXELS: Final = 32 * 2**20
"""Larger pictures get no thumbnail: decoding them would take seconds."""


def example(sample: Mapping[str, Any], schema: Schema) -> dict[str, Any]:
    """The sample as JSON: its first `MAX_FIELDS` fields."""
    return _fields(sample, schema.fields)


def _fields(sample: Mapping[str, Any], members: tuple[fields.Field, ...]) -> dict[str, Any]:
    shown = [one for one in members if one.name in sample][:MAX_FIELDS]
    return {one.name: example_value(sample[one.name], one.kind) for one in shown}


def example_value(value: Any, kind: fields.Kind) -> Any:
    """One value of ``kind`` as JSON; null stays null."""
    if value is None:
        return None
    match kind:
        case fields.Bool() | fields.Int():
            return value
        case fields.Float():
            return number(float(value))
        case fields.Label():
            return kind.names[value]
        case fields.String() | fields.Text():
            return cut(value)
        case fields.Timestamp():
            assert isinstance(value, datetime)
            return value.isoformat()
        case fields.Json():
            return cut(json_text(value))
        case fields.Box():
            return [number(float(side)) for side in value]
        case fields.List():
            items = [example_value(item, kind.item) for item in value[:MAX_ITEMS]]
            return items if len(value) <= MAX_ITEMS else {"items": items, "length": len(value)}
        case fields.Struct():
            return _fields(value, kind.fields)
        case fields.Array():
            return _array(value)
        case fields.Media():
            return _file(value)
        case _:
            return {"bytes": len(value)}


def number(value: float) -> float | str:
    """``value``, or its name where JSON has none."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def cut(text: str) -> str | dict[str, Any]:
    """``text``, or its beginning and its length in characters."""
    return text if len(text) <= MAX_TEXT else {"text": text[:MAX_TEXT], "length": len(text)}


def _array(value: Any) -> dict[str, Any]:
    array = np.asarray(value)
    first = array.reshape(-1)[:MAX_ITEMS]
    shown = [_element(one) for one in first.tolist()]
    return {"dtype": array.dtype.name, "shape": list(array.shape), "values": shown}


def _element(value: Any) -> Any:
    if isinstance(value, complex):
        return str(value)
    return number(value) if isinstance(value, float) else value


def _file(value: media.Media) -> dict[str, Any]:
    facts: dict[str, Any] = {"bytes": len(value), "mediaType": value.media_type or "unknown"}
    try:
        if isinstance(value, media.Image):
            width, height = value.size
            facts |= {"width": width, "height": height, "mode": value.mode}
            if width * height <= _MAX_PIXELS:
                facts["thumbnail"] = base64.b64encode(_thumbnail(value)).decode("ascii")
        elif isinstance(value, media.Audio):
            frames, rate = value.frames, value.rate
            facts |= {"rate": rate, "channels": value.channels, "seconds": frames / max(rate, 1)}
    except (AtdError, Undecodable):
        pass
    return facts


def _thumbnail(image: media.Image) -> bytes:
    """A JPEG of at most `THUMBNAIL` pixels a side, of the pixels alone."""
    # By name: samples without pictures never pay for Pillow.
    made: bytes = importlib.import_module("atd.shards.pillow").thumbnail(image.bytes, THUMBNAIL)
    return made
