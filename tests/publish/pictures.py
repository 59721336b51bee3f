"""Image files for tests: small, and with the metadata that a test asks for."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

GPS = 0x8825


def pixels(seed: int = 0, side: int = 16) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (side, side, 3), dtype=np.uint8)


def exif(*, place: bool = True, orientation: int | None = None) -> Image.Exif:
    found = Image.Exif()
    found[0x010F] = "A Camera"
    if orientation is not None:
        found[0x0112] = orientation
    if place:
        found.get_ifd(GPS).update({1: "N", 2: (52.0, 31.0, 12.0), 3: "E", 4: (13.0, 24.0, 18.0)})
    return found


def encoded(form: str = "PNG", seed: int = 0, **options: Any) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels(seed)).save(out, form, **options)
    return out.getvalue()


def put(path: Path, form: str = "PNG", seed: int = 0, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(form, seed, **options))
    return path


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image
