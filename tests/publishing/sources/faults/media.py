"""Faults of folders of images and sounds, and of the tables beside them."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

from publish import pictures
from publishing.sources.faults.case import Case, Cell, Not
from publishing.sources.faults.forms import Form, cells_of
from publishing.sources.test_media_folders import sound

Folder = Callable[[Path], Path]


def bomb_picture() -> bytes:
    """60,000 x 60,000 pixels by its header."""
    data = bytearray(pictures.encoded())
    data[16:24] = (60_000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    return bytes(data)


def whole_flac() -> bytes:
    """A short sound."""
    out = io.BytesIO()
    soundfile.write(out, np.zeros((400, 1)), 8000, format="FLAC")
    return out.getvalue()


def bomb_sound() -> bytes:
    """The same with 2^35 frames by its header, which has them in 36 bits that end at byte 26."""
    data = bytearray(whole_flac())
    data[21] |= 0x08
    return bytes(data)


def written(data: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(data)


def _halved(cells: dict[str, Cell]) -> dict[str, Cell]:
    """The cells of files of one sample each."""
    return {
        fault: Case(
            one.make,
            one.names,
            None if one.kept is None else one.kept // 2,
            one.why,
            one.after,
        )
        if isinstance(one, Case)
        else one
        for fault, one in cells.items()
    }


def _twice(suffix: str, data: bytes) -> Folder:
    def make(folder: Path) -> Path:
        for path in (folder / "rose" / f"1{suffix}", folder / "train" / "rose" / f"1{suffix}"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return folder

    return make


def _pictures_of_all_sorts(folder: Path) -> Path:
    (folder / "rose").mkdir(parents=True)
    for name, mode in (("1.png", "RGB"), ("2.jpg", "L"), ("3.gif", "P"), ("4.webp", "RGBA")):
        Image.new(mode, (9, 7)).save(folder / "rose" / name)
    return folder


def _sounds_of_all_sorts(folder: Path) -> Path:
    (folder / "dog").mkdir(parents=True)
    for name, channels in (("1.wav", 1), ("2.flac", 2), ("3.ogg", 1)):
        soundfile.write(folder / "dog" / name, np.zeros((800, channels)), 8000)
    return folder


ONE_EACH = Not("a file is a sample: see corrupt")
NOTHING_INSIDE = Not("no name in such a file is followed")

_PICTURES = Form(".png", written(pictures.encoded()), written(pictures.encoded()[:90]), "rose")
_SOUNDS = Form(".wav", written(sound()), written(sound()[:60]), "dog")

IMAGES: dict[str, Cell] = {
    **_halved(cells_of(_PICTURES)),
    "bad row": ONE_EACH,
    "mixed schemas": Case(_pictures_of_all_sorts, (), 4),
    "duplicate keys": Case(
        _twice(".png", pictures.encoded()), (r"train/rose/1\.png \(it would be the same",), 1
    ),
    "slip": NOTHING_INSIDE,
    "bomb": Case(
        _PICTURES.beside(written(bomb_picture())), (r"test-1\.png \(.*3600000000 pixels",), 1
    ),
}

SOUNDS: dict[str, Cell] = {
    **_halved(cells_of(_SOUNDS)),
    "bad row": ONE_EACH,
    "mixed schemas": Case(_sounds_of_all_sorts, (), 3),
    "duplicate keys": Case(
        _twice(".wav", sound()), (r"train/rose/1\.wav \(it would be the same",), 1
    ),
    "slip": NOTHING_INSIDE,
    "bomb": Case(
        Form(".flac", written(whole_flac()), written(b"")).beside(written(bomb_sound())),
        (r"test-1\.flac \(.*a sound of 343",),
        1,
    ),
}
