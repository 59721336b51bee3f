"""Sounds decoded: WAV by `atd.shards.wav`, the rest by a library, loaded when it is needed.

Sounds come from strangers: nothing is decoded whose header claims more than `MAX_NUMBERS`, and only
files that begin as one of `FORMATS` reach the library, by its door `atd.shards.soundfile_door`.
"""

from __future__ import annotations

import importlib
from typing import Any, Final, NamedTuple

from numpy.typing import NDArray

from atd.errors import LocalError
from atd.shards.unfit import Undecodable
from atd.shards.wav import read_wave

FORMATS: Final = {"audio/flac": "FLAC", "audio/ogg": "OGG", "audio/mpeg": "MP3"}
"""What the library is asked to decode: the media type by the first bytes, and its name of it."""

MAX_NUMBERS: Final = 2**28
"""Numbers in one decoded sound, at most: 1 GiB as float32, 50 minutes of stereo at 44.1 kHz."""


class Header(NamedTuple):
    """What a sound says of itself: frames a second, channels, frames."""

    rate: int
    channels: int
    frames: int

    def checked(self) -> Header:
        """Itself, unless it is more than is read."""
        if self.frames * self.channels > MAX_NUMBERS:
            raise Undecodable(
                f"a sound of {self.frames} frames of {self.channels} channels; at most"
                f" {MAX_NUMBERS} numbers are read"
            )
        return self


def header(data: bytes, media_type: str | None) -> Header:
    """Rate, channels and length, without decoding.

    Raises:
        Undecodable: no sound of an accepted format.
        LocalError: it needs soundfile, which is not installed.
    """
    if media_type == "audio/wav":
        wave = read_wave(data)
        return Header(wave.rate, wave.channels, wave.frames).checked()
    return _library("header", data, media_type)  # type: ignore[no-any-return]


def decode(data: bytes, media_type: str | None) -> NDArray[Any]:
    """The samples: float32 (frames, channels), from -1 to 1. Raises as `header` does."""
    if media_type == "audio/wav":
        wave = read_wave(data)
        Header(wave.rate, wave.channels, wave.frames).checked()
        return wave.samples()
    return _library("decode", data, media_type)  # type: ignore[no-any-return]


def _library(what: str, data: bytes, media_type: str | None) -> Any:
    """What the library says of a file of a format that it may see."""
    form = FORMATS.get(media_type or "")
    if form is None:
        known = ", ".join(("WAV", *FORMATS.values()))
        raise Undecodable(f"not a decodable sound (none of {known})")
    try:
        door = importlib.import_module("atd.shards.soundfile_door")
    except (ModuleNotFoundError, OSError) as error:  # OSError: it found no libsndfile
        raise LocalError(
            "this sound needs soundfile, which is not installed; WAV is read without it",
            next_step="install it with: pip install 'atd-catalog[audio]'",
        ) from error
    return getattr(door, what)(data, form)
