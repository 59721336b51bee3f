"""What image files say beside their pixels: find it, and take it out without touching a pixel.

Belongs here: the segments of JPEG (ITU-T T.81), the chunks of PNG (W3C PNG, third edition) and
WebP (RFC 9649), and as much TIFF (revision 6.0) as finds a position in EXIF (CIPA DC-008). Pure
functions over bytes; nothing is decoded or recompressed.

Rules. `strip` keeps what the picture needs to look the same: colour profiles, and the orientation
that EXIF held, rewritten alone. Everything else that is not pixels goes, bytes after the end of
the picture too: phones append films and second pictures there, each with metadata of its own.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

_EXIF: Final = b"Exif\0\0"
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_PNG_WORDS: Final = (b"eXIf", b"tEXt", b"zTXt", b"iTXt", b"tIME")
_WEBP_WORDS: Final = (b"EXIF", b"XMP ")
_JPEG_KEPT: Final = (0xE0, 0xE2, 0xEE)
"""APP0 (JFIF), APP2 (colour profile), APP14 (Adobe: which colour space the samples are in)."""
_GPS_TAG: Final = 0x8825
_ORIENTATION_TAG: Final = 0x0112


class CannotStrip(ValueError):
    """The file is of a format, or in a state, that metadata cannot be taken out of."""


@dataclass(frozen=True, slots=True)
class Found:
    """What an image file carries beside its pixels.

    ``words``: EXIF, XMP, IPTC, comments or text chunks. ``place``: a position on Earth among them.
    """

    words: bool
    place: bool


def look(data: bytes) -> Found:
    """What the JPEG, PNG, WebP or TIFF file ``data`` carries; other formats: nothing known."""
    try:
        notes = list(_notes(data))
    except (CannotStrip, struct.error, IndexError):
        notes = []
    return Found(bool(notes), any(_has_place(note) for note in notes))


def strip(data: bytes) -> bytes:
    """The same picture without metadata; byte for byte the same where there was none.

    Raises:
        CannotStrip: neither JPEG, PNG, WebP nor BMP, or its structure is damaged.
    """
    try:
        if data.startswith(b"\xff\xd8"):
            return _strip_jpeg(data)
        if data.startswith(_PNG):
            return _strip_png(data)
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return _strip_webp(data)
    except (struct.error, IndexError):
        raise CannotStrip("its structure is damaged") from None
    if data.startswith(b"BM"):
        return data  # a format without room for metadata
    raise CannotStrip("only JPEG, PNG, WebP and BMP files can be stripped")


def _notes(data: bytes) -> Iterator[bytes]:
    """The payload of everything that is not the picture."""
    if data.startswith(b"\xff\xd8"):
        for marker, segment, _ in _segments(data):
            if _is_note(marker, segment):
                yield segment[4:]
    elif data.startswith(_PNG):
        for name, chunk in _chunks(data):
            if name in _PNG_WORDS:
                yield chunk[8:-4]
    elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        for name, chunk in _riff(data):
            if name in _WEBP_WORDS:
                yield chunk[8:]
    elif data[:4] in (b"II*\0", b"MM\0*"):
        yield data


def _has_place(note: bytes) -> bool:
    exif = note.removeprefix(_EXIF)
    if exif[:4] in (b"II*\0", b"MM\0*"):
        return _tag(exif, _GPS_TAG) is not None or b"GPSLatitude" in exif
    return b"GPSLatitude" in note  # the XMP packet spells it out


def _tag(tiff: bytes, wanted: int) -> int | None:
    """The value (or offset) of a tag in the first directory of a TIFF file, or None."""
    try:
        order: Literal["<", ">"] = "<" if tiff[:2] == b"II" else ">"
        (at,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, at)
        for entry in range(at + 2, at + 2 + 12 * count, 12):
            tag, kind, _ = struct.unpack_from(f"{order}HHI", tiff, entry)
            if tag == wanted:
                form = "H" if kind == 3 else "I"
                value: int = struct.unpack_from(f"{order}{form}", tiff, entry + 8)[0]
                return value
    except struct.error:
        pass
    return None


def _orientation(exif: bytes) -> bytes | None:
    """EXIF that says nothing but how to turn the picture; None where it stands upright."""
    value = _tag(exif, _ORIENTATION_TAG)
    if value is None or not 2 <= value <= 8:
        return None
    return b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, _ORIENTATION_TAG, 3, 1, value, 0, 0)


# ------------------------------------------------------------------ JPEG


def _is_note(marker: int, segment: bytes) -> bool:
    if marker == 0xE2:
        return not segment[4:].startswith(b"ICC_PROFILE\0")
    return marker == 0xFE or (0xE0 <= marker <= 0xEF and marker not in _JPEG_KEPT)


def _segments(data: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Marker, bytes and end of every segment up to the end of the image; scans go with SOS."""
    at = 2
    while True:
        if data[at] != 0xFF:
            raise CannotStrip(f"expected a JPEG marker at byte {at}")
        while data[at + 1] == 0xFF:
            at += 1  # fill bytes
        marker = data[at + 1]
        if marker == 0xD9:
            yield marker, data[at : at + 2], at + 2
            return
        end = at + 2 + struct.unpack_from(">H", data, at + 2)[0]
        if marker == 0xDA:
            end = _end_of_scan(data, end)
        if end > len(data):
            raise CannotStrip("a JPEG segment runs past the end of the file")
        yield marker, data[at:end], end
        at = end


def _end_of_scan(data: bytes, at: int) -> int:
    """Where the entropy-coded bytes end: at a marker that is neither stuffing nor a restart."""
    while (at := data.find(b"\xff", at)) >= 0:
        if at + 1 < len(data) and data[at + 1] != 0 and not 0xD0 <= data[at + 1] <= 0xD7:
            return at
        at += 2
    raise CannotStrip("the JPEG has no end")


def _strip_jpeg(data: bytes) -> bytes:
    kept: list[bytes] = []
    turn: bytes | None = None
    for marker, segment, _ in _segments(data):
        if not _is_note(marker, segment):
            kept.append(segment)
        elif marker == 0xE1 and segment[4:].startswith(_EXIF) and turn is None:
            turn = _orientation(segment[4 + len(_EXIF) :])
    exif = b"" if turn is None else _EXIF + turn
    note = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif if exif else b""
    # JFIF wants its APP0 first, right after the start of the image.
    first = 1 if kept and kept[0][1] == 0xE0 else 0
    return b"\xff\xd8" + b"".join(kept[:first]) + note + b"".join(kept[first:])


# ------------------------------------------------------------------ PNG and WebP


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and bytes of every PNG chunk up to IEND."""
    at, name = len(_PNG), b""
    while name != b"IEND":
        length, name = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data):
            raise CannotStrip("a PNG chunk runs past the end of the file")
        yield name, data[at:end]
        at = end


def _strip_png(data: bytes) -> bytes:
    parts = [_PNG]
    for name, chunk in _chunks(data):
        if name == b"eXIf" and (turn := _orientation(chunk[8:-4])) is not None:
            body = name + turn
            parts.append(struct.pack(">I", len(turn)) + body + struct.pack(">I", zlib.crc32(body)))
        elif name not in _PNG_WORDS:
            parts.append(chunk)
    return b"".join(parts)


def _riff(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and bytes (padding included) of every chunk of a RIFF file."""
    at, end = 12, 8 + int(struct.unpack_from("<I", data, 4)[0])
    if end > len(data):
        raise CannotStrip("the WebP file is shorter than it says")
    while at < end:
        name, length = struct.unpack_from("<4sI", data, at)
        after = at + 8 + length + length % 2
        if after > end:
            raise CannotStrip("a WebP chunk runs past the end of the file")
        yield name, data[at:after]
        at = after


def _strip_webp(data: bytes) -> bytes:
    parts: list[bytes] = []
    turned = False
    for name, chunk in _riff(data):
        if name == b"EXIF" and (turn := _orientation(chunk[8:].removeprefix(_EXIF))) is not None:
            parts.append(b"EXIF" + struct.pack("<I", len(turn)) + turn)
            turned = True
        elif name not in _WEBP_WORDS:
            parts.append(chunk)
    for at, chunk in enumerate(parts):
        if chunk[:4] == b"VP8X":
            flags = (chunk[8] & ~0b1100) | (0b1000 if turned else 0)
            parts[at] = chunk[:8] + bytes([flags]) + chunk[9:]
    body = b"WEBP" + b"".join(parts)
    return b"RIFF" + struct.pack("<I", len(body)) + body
