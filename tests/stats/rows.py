"""Samples of every kind, made by a seed, and folders of shards made of them."""

from __future__ import annotations

import io
import math
import wave
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from atd.manifest import Manifest
from atd.publishing.packing import pack
from atd.publishing.sources.opening import open_source
from atd.records import CutParameters
from atd.schema import fields
from atd.schema.fields import Field, Schema

SCHEMA = Schema(
    (
        Field("truth", fields.Bool()),
        Field("whole", fields.Int(64)),
        Field("year", fields.Int(16, signed=False)),
        Field("real", fields.Float(64), nullable=True),
        Field("half", fields.Float(16), optional=True),
        Field("name", fields.String()),
        Field("city", fields.String(), nullable=True),
        Field("caption", fields.Text()),
        Field("at", fields.Timestamp()),
        Field("raw", fields.Bytes()),
        Field("doc", fields.Json(), optional=True),
        Field("label", fields.Label("rose", "tulip", "a" * 100)),
        Field("box", fields.Box()),
        Field("pixels", fields.Array("uint8", (4, 5))),
        Field("signal", fields.Array("float32", (None,))),
        Field("words", fields.List(fields.String())),
        Field("place", fields.Struct((Field("x", fields.Float()), Field("n", fields.Int())))),
        Field("photo", fields.Image()),
        Field("sound", fields.Audio()),
    )
)


def picture(width: int, height: int, mode: str = "RGB", form: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    PIL.Image.new(mode, (width, height)).save(out, form, **options)
    return out.getvalue()


def sound(frames: int, rate: int = 8000, channels: int = 1) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(b"\0\0" * frames * channels)
    return out.getvalue()


def row(at: int) -> dict[str, Any]:
    """Sample ``at``: the same each time."""
    rng = np.random.default_rng(at)
    made = {
        "truth": at % 3 == 0,
        "whole": int(rng.integers(-(2**63), 2**63 - 1)),
        "year": 1990 + at % 35,
        "real": None if at % 7 == 0 else math.nan if at % 11 == 0 else float(rng.normal(3, 2)),
        "name": f"person {at}",
        "city": None if at % 5 == 0 else ("Rome", "Oslo", "Kyōto")[at % 3],
        "caption": "é" * (at % 40),
        "at": datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=at * 60),
        "raw": b"x" * (at % 9),
        "label": at % 2,
        "box": [float(at), 0.5, 1.5, 2.5],
        "pixels": rng.integers(0, 255, (4, 5), dtype=np.uint8),
        "signal": rng.normal(size=at % 6 + 1).astype(np.float32),
        "words": [f"w{n}" for n in range(at % 4)],
        "place": {"x": at / 2, "n": at % 10},
        "photo": picture(8 + at % 3, 6, "L" if at % 2 else "RGB"),
        "sound": sound(800 * (1 + at % 2)),
    }
    if at % 4:
        made["half"] = float(np.float16(rng.normal()))
    if at % 2:
        made["doc"] = {"n": at}
    return made


def packed(folder: Path, samples: Any, schema: Schema | None = None, **cuts: Any) -> Manifest:
    """A folder of shards of these samples."""
    source = open_source(samples, schema=schema)
    return pack(source, folder, CutParameters(**cuts) if cuts else None)
