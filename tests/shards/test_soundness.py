"""Files of pictures that are whole pass, and every way in which files break is told of theirs."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from atd.errors import ShardError
from atd.shards import soundness
from atd.shards.media import Image
from atd.shards.unfit import Undecodable

NOISE = np.random.default_rng(4).integers(0, 255, (40, 56, 3), dtype=np.uint8)


def saved(form: str, picture: Pillow.Image | None = None, **said: Any) -> bytes:
    out = io.BytesIO()
    (picture or Pillow.fromarray(NOISE)).save(out, form, **said)
    return out.getvalue()


def exif_with_thumbnail() -> bytes:
    """EXIF with a small JPEG in it, which has a start and an end of its own."""
    small = saved("JPEG", Pillow.fromarray(NOISE[:8, :8]))
    tiff = b"II*\0" + struct.pack("<IHI", 8, 0, 14) + small
    return b"Exif\0\0" + tiff


SIGNATURES = {"JPEG": 2, "PNG": 8, "WebP": 12, "GIF": 6}
"""Bytes that say which format it is."""
FRAMES = [Pillow.fromarray(np.roll(NOISE, at, 0)) for at in range(3)]
WHOLE = {
    "baseline JPEG": saved("JPEG"),
    "progressive JPEG": saved("JPEG", progressive=True),
    "JPEG with a thumbnail": saved("JPEG", exif=exif_with_thumbnail()),
    "JPEG with restarts": saved("JPEG", restart_marker_blocks=2),
    "JPEG with an end in its comment": saved("JPEG", comment=b"\xff\xd9\xff\xd9"),
    "grey JPEG": saved("JPEG", Pillow.fromarray(NOISE[:, :, 0])),
    "CMYK JPEG": saved("JPEG", Pillow.fromarray(NOISE).convert("CMYK")),
    "PNG": saved("PNG"),
    "PNG with a palette": saved("PNG", Pillow.fromarray(NOISE).convert("P")),
    "lossy WebP": saved("WEBP"),
    "lossless WebP": saved("WEBP", lossless=True),
    "WebP with EXIF": saved("WEBP", exif=exif_with_thumbnail()),
    "moving WebP": saved("WEBP", save_all=True, append_images=FRAMES),
    "GIF": saved("GIF"),
    "moving GIF": saved("GIF", save_all=True, append_images=FRAMES),
}


@pytest.mark.parametrize("what", WHOLE)
def test_a_whole_file_passes_and_each_of_its_beginnings_does_not(what: str) -> None:
    data = WHOLE[what]
    assert soundness.check(data)
    known = next(size for form, size in SIGNATURES.items() if form in what)
    for end in range(known, len(data)):
        with pytest.raises(Undecodable):
            soundness.check(data[:end])
    for end in (0, 1, known - 1, known, len(data) // 2, len(data) - 1):
        with pytest.raises(ShardError):
            Image(data[:end]).check()


@pytest.mark.parametrize("what", WHOLE)
def test_a_tail_of_zeros_is_refused(what: str) -> None:
    data = WHOLE[what]
    drawn = data.index(b"EXIF") if what == "WebP with EXIF" else len(data)
    least = 512 if "WebP" in what else 1  # WebP has no mark at its end
    for kept in (40, drawn // 2, drawn - least):
        with pytest.raises(Undecodable):
            soundness.check(data[:kept].ljust(len(data), b"\0"))


@pytest.mark.parametrize("what", WHOLE)
def test_what_follows_the_end_of_a_picture_is_none_of_it(what: str) -> None:
    assert soundness.check(WHOLE[what] + WHOLE["progressive JPEG"] + b"\0" * 700)


def everything_that_pillow_writes() -> Iterator[tuple[str, bytes]]:
    modes = {
        "JPEG": ("L", "RGB", "CMYK"),
        "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
        "WEBP": ("RGB", "RGBA"),
        "GIF": ("L", "P", "RGB", "RGBA"),
        "TIFF": ("1", "L", "RGB", "I;16"),
        "BMP": ("1", "L", "P", "RGB"),
    }
    said: dict[str, list[dict[str, Any]]] = {
        "JPEG": [
            {"quality": quality, "progressive": scans, "optimize": best, "subsampling": sampling}
            for quality in (1, 75, 100)
            for scans in (False, True)
            for best in (False, True)
            for sampling in (0, 1, 2)
        ],
        "PNG": [{}, {"compress_level": 9}, {"compress_level": 0}, {"optimize": True}],
        "WEBP": [
            {"quality": 1},
            {"quality": 100},
            {"lossless": True},
            {"lossless": True, "method": 0},
        ],
        "GIF": [{}, {"interlace": 0, "comment": b"words"}],
    }
    flat = Pillow.new("RGB", (700, 900), (255, 255, 255))
    for form, each in modes.items():
        for mode in each:
            for name, picture in (("noise", Pillow.fromarray(NOISE)), ("flat", flat)):
                drawn = (picture.convert("L") if mode == "I;16" else picture).convert(mode)
                for words in said.get(form, [{}]):
                    yield f"{form} {mode} {name} {words}", saved(form, drawn, **words)


def test_every_file_that_pillow_writes_passes() -> None:
    count = 0
    for what, data in everything_that_pillow_writes():
        known = soundness.check(data)
        assert known is not what.startswith(("TIFF", "BMP")), what
        picture = Image(data)
        assert picture.check() == picture.check(decode=True) == picture.header(), what
        count += 1
    assert count > 100


def png(width: int, height: int, packed: bytes, colour: int = 2) -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    return b"".join(
        (b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", header), chunk(b"IDAT", packed), chunk(b"IEND", b""))
    )


def test_a_header_that_claims_more_than_the_bytes_can_hold() -> None:
    assert soundness.check(png(3000, 3000, zlib.compress(bytes(3000 * 9001), 9)))
    with pytest.raises(Undecodable, match="more pixels than it holds"):
        soundness.check(png(9000, 9000, zlib.compress(bytes(3000 * 9001), 9)))
    with pytest.raises(Undecodable, match="more pixels than it holds"):
        soundness.check(png(3, 3, b""))
    with pytest.raises(Undecodable, match="what PNG does not have"):
        soundness.check(png(3, 3, b"x", colour=5))
    data = bytearray(WHOLE["baseline JPEG"])
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", 9000, 9000)
    with pytest.raises(Undecodable, match="claims 9000 x 9000 pixels"):
        soundness.check(bytes(data))


def test_a_bomb_is_refused_by_its_header() -> None:
    with pytest.raises(ShardError, match=r"3600000000 pixels|60000 x 60000"):
        Image(png(60_000, 60_000, bytes(12_000_000))).check()


def test_one_flipped_bit_of_a_png_is_found() -> None:
    data = bytearray(WHOLE["PNG"])
    data[len(data) // 2] ^= 4
    with pytest.raises(Undecodable, match="checksum"):
        soundness.check(bytes(data))


def test_a_rare_jpeg_is_left_to_the_decoder() -> None:
    data = WHOLE["baseline JPEG"]
    at = data.index(b"\xff\xdb")
    assert not soundness.check(data[:at] + b"\0\0\0" + data[at:])  # libjpeg passes over it
    assert Image(data[:at] + b"\0\0\0" + data[at:]).check()[:2] == (56, 40)
    with pytest.raises(Undecodable, match="no end of image"):
        soundness.check(data[:at] + b"\0\0\0" + data[at:-2])


HOSTILE = {
    "fill": b"\xff\xd8" + b"\xff" * 3_000_000,
    "stuffing": WHOLE["baseline JPEG"][:-2] + b"\xff\0" * 2_000_000,
    "fill and stuffing": WHOLE["baseline JPEG"][:-2] + b"\xff\xff\0" * 1_000_000,
    "segments": b"\xff\xd8" + b"\xff\xfe\0\2" * 1_200_000,
    "scans": WHOLE["baseline JPEG"][:-2] + b"\xff\xda\0\2" * 1_200_000,
    "RIFF chunks": b"RIFF" + struct.pack("<I", 9_000_004) + b"WEBP" + b"abcd\0\0\0\0" * 1_125_000,
    "GIF blocks": b"GIF89a" + bytes(7) + b"!\0\0" * 1_200_000,
    "GIF sub-blocks": b"GIF89a" + bytes(7) + b"!\0" + b"\1\1" * 8_500_000,
}


@pytest.mark.parametrize("what", HOSTILE)
def test_files_of_countless_parts_are_refused(what: str) -> None:
    with pytest.raises(Undecodable):
        soundness.check(HOSTILE[what])
