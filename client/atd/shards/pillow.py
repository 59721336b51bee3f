"""The door of Pillow: the only module that imports it, and the limits it works under.

Pictures come from strangers. Only the formats of `FORMATS` are tried, nothing is decoded whose
header claims more than `MAX_PIXELS`, and whatever Pillow raises on damaged bytes comes out as
`Undecodable`.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import wraps
from typing import Any, Final, ParamSpec, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from atd.shards import soundness
from atd.shards.unfit import Undecodable

FORMATS: Final = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
MAX_PIXELS: Final = 2**28 // 3
"""Pixels of one picture, at most: 256 MiB as RGB. Larger claims are refused by their header."""

_LOSSLESS: Final = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")
_ARRAY_MODES: Final = {
    ("uint8", 1): "L",
    ("uint8", 2): "LA",
    ("uint8", 3): "RGB",
    ("uint8", 4): "RGBA",
    ("uint16", 1): "I;16",
}

Picture: TypeAlias = Image.Image
"""Pillow's own image, for those who hand one on."""

P = ParamSpec("P")
R = TypeVar("R")


def _guarded(function: Callable[P, R]) -> Callable[P, R]:
    """Damaged bytes make Pillow raise nearly anything: all of it means that they do not decode."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except Undecodable:
            raise
        except UnidentifiedImageError as error:  # its own words name an object in memory
            raise Undecodable(f"not a decodable picture (none of {', '.join(FORMATS)})") from error
        except Exception as error:
            what = f"{type(error).__name__}: {ascii(str(error))[:120]}"
            raise Undecodable(f"not a decodable picture ({what})") from error

    return call


def _open(data: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(data), formats=FORMATS)
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise Undecodable(f"a picture of {width} x {height} pixels; at most {MAX_PIXELS} are read")
    return picture


@_guarded
def header(data: bytes) -> tuple[int, int, str]:
    """Width, height in pixels and mode, without decoding."""
    picture = _open(data)
    return picture.width, picture.height, picture.mode


@_guarded
def load(data: bytes) -> Image.Image:
    """The decoded picture in its own mode."""
    picture = _open(data)
    picture.load()
    return picture


@_guarded
def check(data: bytes) -> tuple[int, int, str]:
    """What `header` says, of a picture that is whole by the structure of its file.

    Files of which `atd.shards.soundness` knows nothing are decoded.
    """
    found = header(data)
    if not soundness.check(data):
        load(data)
    return found


@_guarded
def decode(data: bytes) -> NDArray[Any]:
    """The pixels as RGB: ``uint8`` (height, width, 3)."""
    picture = _open(data)
    if picture.mode.startswith("I;16"):
        # convert() would clip 16-bit grey at 255; its high byte is the picture.
        grey = (np.asarray(picture).astype(np.uint16) >> 8).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    return np.array(picture.convert("RGB"), dtype=np.uint8)


@_guarded
def encode_png(picture: object) -> bytes:
    """A Pillow image or an array of pixels as PNG, with a fixed effort and no metadata."""
    image = _from_array(picture) if isinstance(picture, np.ndarray) else picture
    if not isinstance(image, Image.Image) or image.mode not in _LOSSLESS:
        mode = getattr(image, "mode", type(image).__name__)
        raise Undecodable(f"a picture of mode {mode}, which PNG cannot hold without loss")
    out = io.BytesIO()
    image.save(out, format="PNG", compress_level=6, optimize=False)
    return out.getvalue()


@_guarded
def thumbnail(data: bytes, side: int) -> bytes:
    """The picture as a small RGB JPEG, at most ``side`` pixels wide and high.

    It is drawn anew from the pixels: no EXIF, profile, comment or other part of the file is in it.
    """
    picture = _open(data)
    picture.draft("RGB", (side, side))  # a JPEG is decoded at a fraction of its size
    if picture.mode.startswith("I;16"):
        small = Image.fromarray((np.asarray(picture).astype(np.uint16) >> 8).astype(np.uint8))
    else:
        small = picture.convert("RGB")
    small.thumbnail((side, side))
    small = small.convert("RGB")
    bare = Image.frombytes("RGB", small.size, small.tobytes())
    out = io.BytesIO()
    bare.save(out, format="JPEG", quality=75)
    return out.getvalue()


def _from_array(pixels: NDArray[Any]) -> Image.Image:
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    mode = _ARRAY_MODES.get((pixels.dtype.name, channels))
    if pixels.ndim not in (2, 3) or mode is None or 0 in pixels.shape:
        raise Undecodable(
            f"an array {pixels.dtype.name} {pixels.shape}; a picture is uint8 (height, width)"
            " or (height, width, 1 to 4), or uint16 (height, width)"
        )
    flat = pixels[:, :, 0] if pixels.ndim == 3 and channels == 1 else pixels
    raw = np.ascontiguousarray(flat.astype(flat.dtype.newbyteorder("<")))
    return Image.frombytes(mode, (pixels.shape[1], pixels.shape[0]), raw.tobytes())
