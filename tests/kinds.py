"""Samples with a field of every kind, packed for real."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import atd
from atd.schema import fields


@atd.sample
class Spot:
    place: int
    point: Annotated[NDArray[np.float32], atd.Shape(2)]


@atd.sample(kw_only=True)
class Everything:
    small: np.int8
    large: np.uint64
    half: np.float16
    odd: bool
    grid: Annotated[NDArray[np.float32], atd.Shape(2, 3)]
    flags: Annotated[NDArray[np.bool_], atd.Shape(3)]
    waves: Annotated[NDArray[np.complex64], atd.Shape(2)]
    rows: Annotated[NDArray[np.uint8], atd.Shape(None, 2)]
    any: NDArray[np.int16]
    kind: Literal["oak", "elm"]
    image: atd.Image
    sound: Annotated[bytes, fields.Audio()]
    when: datetime
    document: Any
    raw: bytes
    box: tuple[float, float, float, float]
    tags: list[str]
    spots: list[Spot]
    spot: Spot
    maybe: int | None
    perhaps: Annotated[NDArray[np.int32], atd.Shape(2)] | None
    note: str | None = None


BEGINNING = datetime(2020, 1, 1, tzinfo=UTC)


def picture(n: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (4 + n % 2, 3), (n, 0, 0)).save(out, "PNG")
    return out.getvalue()


def everything(n: int) -> Everything:
    """Sample ``n``, 0 to 99."""
    return Everything(
        small=np.int8(n - 5),
        large=np.uint64(2**64 - 1 - n),
        half=np.float16(n / 2),
        odd=bool(n % 2),
        grid=np.full((2, 3), n, np.float32),
        flags=np.array([True, False, n % 2 == 1]),
        waves=np.array([n, 1j], np.complex64),
        rows=np.arange(2 * n, dtype=np.uint8).reshape(n, 2),
        any=np.full((n,) * (n % 3), n, np.int16),
        kind="elm" if n % 2 else "oak",
        image=atd.Image(picture(n)),
        sound=b"RIFF %d" % n,
        when=BEGINNING + timedelta(hours=n),
        document={"n": [n, None]},
        raw=b"%d" % n,
        box=(0.0, 1.0, 2.0, float(n)),
        tags=["tag"] * (n % 4),
        spots=[spot(n)] * (n % 3),
        spot=spot(n),
        maybe=None if n % 2 else n,
        perhaps=None if n % 2 else np.array([n, n], np.int32),
        note=f"note {n}" if n % 3 else None,
    )


def spot(n: int) -> Spot:
    return Spot(n, np.array([n, n + 1], np.float32))


def pack_everything(folder: Path, count: int = 10) -> Path:
    """A folder of samples 0 to ``count`` in order, in shards of at most 4."""
    samples = (everything(n) for n in range(count))
    atd.pack(samples, folder, name="everything", schema=Everything, order="keep")
    return folder
