"""WAV files read by hand: what a stranger's header claims is checked before a sample is made.

Belongs here: the chunks of a RIFF/WAVE file, and samples as numpy has them. PCM of 8, 16, 24 and 32
bits and IEEE floats of 32 and 64 bits, plain or WAVE_FORMAT_EXTENSIBLE; other codecs are refused.
Every size must lie within what is around it: the file, the chunk, the frame.

Source: Multimedia Programming Interface and Data Specifications 1.0 (IBM, Microsoft, 1991), WAVE;
Microsoft, "Multiple Channel Audio Data and WAVE Files".
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from atd.shards.unfit import Undecodable

_PCM: Final = 1
_FLOAT: Final = 3
_EXTENSIBLE: Final = 0xFFFE
_GUID: Final = bytes.fromhex("000000001000800000aa00389b71")
"""How the identifier of a format goes on after its number, in the extensible form."""
_FORM: Final = struct.Struct("<HHIIHH")
_CHUNK: Final = struct.Struct("<4sI")
_MAX_CHUNKS: Final = 1000
"""Real files have a dozen. Each takes eight bytes of a file and thirty times that in memory."""
_WIDTHS: Final = {_PCM: (8, 16, 24, 32), _FLOAT: (32, 64)}


@dataclass(frozen=True, slots=True)
class Wave:
    """What a WAV file holds.

    Args:
        rate: frames in a second.
        channels: numbers in a frame.
        bits: of each number.
        floats: whether they are floats.
        data: the frames.
    """

    rate: int
    channels: int
    bits: int
    floats: bool
    data: memoryview

    @property
    def frames(self) -> int:
        """How many frames there are."""
        return len(self.data) // (self.channels * self.bits // 8)

    def samples(self) -> NDArray[Any]:
        """float32 (frames, channels), from -1 to 1."""
        flat: NDArray[Any]
        match self.bits, self.floats:
            case width, True:
                flat = np.frombuffer(self.data, f"<f{width // 8}").astype(np.float32)
            case 8, _:
                flat = (np.frombuffer(self.data, np.uint8).astype(np.float32) - 128) / 128
            case 24, _:
                wide = np.zeros((len(self.data) // 3, 4), np.uint8)
                wide[:, 1:] = np.frombuffer(self.data, np.uint8).reshape(-1, 3)
                flat = wide.view("<i4")[:, 0].astype(np.float32) / 2**31
            case width, _:
                whole = np.frombuffer(self.data, f"<i{width // 8}")
                flat = whole.astype(np.float32) / np.float32(2 ** (width - 1))
        return flat.reshape(-1, self.channels)


def read_wave(data: bytes) -> Wave:
    """The WAV file ``data``, with nothing made of its frames yet.

    Raises:
        Undecodable: no WAV file, of a codec that is not read, or a size in it is not true.
    """
    chunks = _chunks(data)
    form, frames = chunks.get(b"fmt "), chunks.get(b"data")
    if form is None or frames is None or len(form) < _FORM.size:
        raise Undecodable("a WAV file without its format or its data")
    tag, channels, rate, _, step, bits = _FORM.unpack_from(form)
    if tag == _EXTENSIBLE and len(form) >= 40 and form[26:40] == _GUID:
        tag = int.from_bytes(form[24:26], "little")
    if bits not in _WIDTHS.get(tag, ()):
        raise Undecodable(f"a WAV file of codec {tag} with {bits} bits; PCM and floats are read")
    if not channels or not rate or step != channels * bits // 8:
        raise Undecodable(
            f"a WAV file of {channels} channels, {rate} Hz and frames of {step} bytes"
        )
    if len(frames) % step:
        raise Undecodable(f"{len(frames)} bytes of frames of {step} bytes: cut short?")
    return Wave(rate, channels, bits, tag == _FLOAT, frames)


def _chunks(data: bytes) -> dict[bytes, memoryview]:
    """The first chunk of each name."""
    view = memoryview(data)
    if len(data) < 12 or data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise Undecodable("not a WAV file")
    end = 8 + int.from_bytes(data[4:8], "little")
    if end > len(data) + 1:  # a last odd chunk may lack its padding
        raise Undecodable(f"a WAV file that claims {end} bytes and has {len(data)}")
    found: dict[bytes, memoryview] = {}
    at, count = 12, 0
    while at + _CHUNK.size <= min(end, len(data)):
        name, size = _CHUNK.unpack_from(data, at)
        at += _CHUNK.size
        if size > len(data) - at:
            raise Undecodable(
                f"a WAV chunk {name!a} of {size} bytes, of which {len(data) - at} came"
            )
        count += 1
        if count > _MAX_CHUNKS:
            raise Undecodable(f"a WAV file of more than {_MAX_CHUNKS} chunks")
        found.setdefault(name, view[at : at + size])
        at += size + size % 2
    return found
