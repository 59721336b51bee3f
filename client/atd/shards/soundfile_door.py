"""The door of soundfile (libsndfile): the only module that imports it.

Memory grows with what is really in a file and not with what its header claims, a file must be of
the format that it begins as, and whatever the library raises comes out as `Undecodable`.
"""

from __future__ import annotations

import io
from typing import Any, Final

import numpy as np
import soundfile
from numpy.typing import NDArray

from atd.shards.sound import Header
from atd.shards.unfit import Undecodable

_BLOCK: Final = 2**20
"""Frames decoded at once."""

_INEXACT: Final = ("MP3", "MPEG")
"""Formats whose headers only estimate how long they are."""


def header(data: bytes, form: str) -> Header:
    """Rate, channels and length of the file, which is of the format ``form``."""
    with _opened(data, form) as file:
        return _header(file)


def decode(data: bytes, form: str) -> NDArray[Any]:
    """Its samples: float32 (frames, channels)."""
    with _opened(data, form) as file:
        claimed = _header(file)
        blocks: list[NDArray[Any]] = [np.zeros((0, claimed.channels), np.float32)]
        came = 0
        try:
            while len(block := file.read(_BLOCK, dtype="float32", always_2d=True)):
                blocks.append(block)
                came += len(block)
                claimed._replace(frames=came).checked()
        except (RuntimeError, ValueError) as error:
            raise _undecodable(error) from error
        if came < claimed.frames and file.format not in _INEXACT:
            raise Undecodable(f"a sound that claims {claimed.frames} frames and has {came}")
    return np.concatenate(blocks)


def _header(file: Any) -> Header:
    return Header(file.samplerate, file.channels, file.frames).checked()


def _opened(data: bytes, form: str) -> Any:
    try:
        file = soundfile.SoundFile(io.BytesIO(data))
    except (RuntimeError, ValueError, TypeError) as error:
        raise _undecodable(error) from error
    if file.format != form and not {file.format, form} <= set(_INEXACT):
        found = file.format
        file.close()
        raise Undecodable(f"not a decodable sound (it begins as {form} and is {found!a})")
    return file


def _undecodable(error: Exception) -> Undecodable:
    return Undecodable(f"not a decodable sound ({ascii(str(error))[:120]})")
