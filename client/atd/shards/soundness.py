"""Whether the file of a picture is whole, told from its structure, without a pixel.

Belongs here: the markers of JPEG (ITU-T T.81), the chunks of PNG (W3C PNG, third edition) and WebP
(RFC 9649), the blocks of GIF (89a). Pure functions over bytes; loads no library.

What happens to files is found: they are cut short, empty, zeros from some byte on, of another type
than they say, or claim more pixels than their bytes can hold. What a flipped bit does to the pixels
is found in PNG (CRC-32), and hardly in the others; nor would decoders complain about most of it.

Rules. Nothing that a decoder takes is refused, but for files without their end. What is merely rare
(`check` says False) is left to the decoder. Time is bounded by the size: bytes of pictures are
passed over by C code, and no file has more than `MAX_PARTS` parts.
"""

from __future__ import annotations

import re
import struct
import zlib
from typing import Final

from atd.shards.unfit import Undecodable

MAX_PARTS: Final = 2**20
"""Segments, chunks or frames of one file, at most; sub-blocks of GIF may be eight times as many."""

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_DEPTHS: Final = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
"""Bits of a sample that PNG has for each type of colour."""
_SAMPLES: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_MOST_DEFLATED: Final = 1032
"""Bytes that one byte of a deflate stream stands for, at most (RFC 1951: 258 for two bits)."""
_NAME: Final = re.compile(rb"[A-Za-z]{4}")
_RIFF_NAME: Final = re.compile(rb"[ -~]{4}")

_FILL: Final = re.compile(rb"\xff+")
_SCAN_END: Final = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
"""In the bytes of a scan: a marker that is neither a stuffed byte nor a restart."""
_TRAILING_ZEROS: Final = 512
"""Zeros at the end of WebP's entropy-coded bytes that no encoder writes: 4,096 bits, each of which
stands for some hundred macroblocks of the same colour (RFC 6386, section 7)."""


def check(data: bytes) -> bool:
    """Whether the structure of the file ``data`` says that it is whole.

    Returns:
        True: it is. False: nothing is known of such files here; decode it.

    Raises:
        Undecodable: it is not.
    """
    try:
        if data.startswith(b"\xff\xd8"):
            return _jpeg(data)
        if data.startswith(_PNG):
            return _png(data)
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return _webp(data)
        if data[:6] in (b"GIF87a", b"GIF89a"):
            return _gif(data)
    except (struct.error, IndexError):
        raise Undecodable("the picture is cut short") from None
    return False


# ------------------------------------------------------------------ JPEG


def _jpeg(data: bytes) -> bool:
    """Segments and scans up to the end of the image; what comes after that is none of it."""
    at, tables, frame, coded = 2, set[int](), b"", 0
    for _ in range(MAX_PARTS):
        at = _marker(data, at)
        if at < 0:
            return False
        marker = data[at + 1]
        if marker == 0xD9:
            return _frame(frame, tables, coded)
        if marker <= 0x01 or 0xD0 <= marker <= 0xD8:
            return _leave(data, at + 2)
        (length,) = struct.unpack_from(">H", data, at + 2)
        end = at + 2 + length
        if length < 2 or end > len(data):
            raise Undecodable(f"a segment of the JPEG at byte {at} runs past the end of the file")
        if marker == 0xDA:
            if not frame:
                raise Undecodable("the JPEG has a scan before its header")
            found = _SCAN_END.search(data, end)
            if found is None:
                raise Undecodable("the JPEG is cut short: it has no end of image")
            coded += found.start() - end
            end = found.start()
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            if frame:
                return _leave(data, end)
            frame = data[at + 1 : end]
        tables.add(marker)
        at = end
    raise Undecodable(f"the JPEG has more than {MAX_PARTS} segments")


def _marker(data: bytes, at: int) -> int:
    """Where the marker at ``at`` begins, after fill bytes; -1 where there is something else."""
    if data[at] != 0xFF:
        _leave(data, at)
        return -1
    fill = _FILL.match(data, at)
    assert fill is not None
    return fill.end() - 1


def _leave(data: bytes, at: int) -> bool:
    """Leave an unusual JPEG to the decoder, which takes one without an end, too."""
    if data.find(b"\xff\xd9", at) < 0:
        raise Undecodable("the JPEG is cut short: it has no end of image")
    return False


def _frame(frame: bytes, tables: set[int], coded: int) -> bool:
    """The header of the frame, and whether ``coded`` bytes of scans can hold what it claims."""
    if 0xDA not in tables:
        raise Undecodable("the JPEG holds no scan")
    sort, _, _, height, width, count = struct.unpack_from(">BHBHHB", frame)
    if len(frame) != 9 + 3 * count:
        raise Undecodable("the header of the JPEG is damaged")
    if sort > 0xC2 or not height or not {0xDB, 0xC4} <= tables:
        return False  # arithmetic or lossless coding, DNL, tables from elsewhere
    factors = [(one >> 4, one & 15) for one in frame[10::3]]
    if not width or not count or not all(h and v for h, v in factors):
        raise Undecodable("the header of the JPEG claims a picture without pixels")
    if sort == 0xC2:
        return True  # a run of one code may end any number of blocks
    widest, highest = max(h for h, _ in factors), max(v for _, v in factors)
    blocks = sum(
        -(-width * h // (8 * widest)) * -(-height * v // (8 * highest)) for h, v in factors
    )
    if 4 * coded < blocks:  # a block is two codes, of a bit at least
        raise Undecodable(f"the JPEG claims {width} x {height} pixels, and holds {coded} bytes")
    return True


# ------------------------------------------------------------------ PNG


def _png(data: bytes) -> bool:
    """Chunks up to IEND, each with its CRC."""
    view, at, last = memoryview(data), len(_PNG), b""
    most, deflated = 0, 0
    for _ in range(MAX_PARTS):
        length, name = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if _NAME.fullmatch(name) is None:
            raise Undecodable(f"what stands at byte {at} of the PNG is no chunk")
        if end > len(data):
            raise Undecodable(f"a chunk of the PNG at byte {at} runs past the end of the file")
        if zlib.crc32(view[at + 4 : end - 4]) != struct.unpack_from(">I", data, end - 4)[0]:
            raise Undecodable(f"the checksum of a chunk of the PNG at byte {at} is wrong")
        if not last:
            most = _header(name, view[at + 8 : end - 4])
        if name == b"IDAT":
            deflated += length
        if name == b"IEND":
            if not deflated or most > _MOST_DEFLATED * deflated:
                raise Undecodable("the PNG claims more pixels than it holds")
            return True
        at, last = end, name
    raise Undecodable(f"the PNG has more than {MAX_PARTS} chunks")


def _header(name: bytes, body: memoryview) -> int:
    """The bytes of the pixels that IHDR claims, before they were deflated."""
    if name != b"IHDR" or len(body) != 13:
        raise Undecodable("the PNG does not begin with its header")
    width, height, depth, colour, packing, filters, woven = struct.unpack(">IIBBBBB", body)
    sane = depth in _DEPTHS.get(colour, ()) and packing == filters == 0 and woven <= 1
    if not sane or not width or not height:
        raise Undecodable("the header of the PNG says what PNG does not have")
    return int(height * -(-width * depth * _SAMPLES[colour] // 8))


# ------------------------------------------------------------------ WebP


def _webp(data: bytes) -> bool:
    """Chunks up to the length that the file says; one of them is the picture."""
    at, end = 12, 8 + int(struct.unpack_from("<I", data, 4)[0])
    if end > len(data):
        raise Undecodable(f"the WebP is cut short: {len(data)} bytes of {end}")
    drawn = False
    for _ in range(MAX_PARTS):
        if at >= end:
            if not drawn:
                raise Undecodable("the WebP holds no picture")
            return True
        name, length = struct.unpack_from("<4sI", data, at)
        after = at + 8 + length
        if _RIFF_NAME.fullmatch(name) is None:
            raise Undecodable(f"what stands at byte {at} of the WebP is no chunk")
        if after > end:
            raise Undecodable(f"a chunk of the WebP at byte {at} runs past its end")
        if name in (b"VP8 ", b"VP8L", b"ANMF"):
            drawn = True
            if not length or data.endswith(bytes(_TRAILING_ZEROS), at + 8, after):
                raise Undecodable("the WebP is cut short: its pixels end in zeros")
        at = after + length % 2
    raise Undecodable(f"the WebP has more than {MAX_PARTS} chunks")


# ------------------------------------------------------------------ GIF


def _gif(data: bytes) -> bool:
    """Blocks up to the trailer."""
    at, drawn = 13 + _colours(data[10]), False
    left = 8 * MAX_PARTS
    for _ in range(MAX_PARTS):
        sort = data[at]
        if sort == 0x3B:
            if not drawn:
                raise Undecodable("the GIF holds no picture")
            return True
        if sort == 0x21:
            at += 2
        elif sort == 0x2C:
            at += 11 + _colours(data[at + 9])  # the size of the codes is the last of these
            drawn = True
        else:
            raise Undecodable(f"what stands at byte {at} of the GIF is no block")
        while size := data[at]:
            at += size + 1
            left -= 1
            if not left:
                raise Undecodable(f"the GIF has more than {8 * MAX_PARTS} sub-blocks")
        at += 1
    raise Undecodable(f"the GIF has more than {MAX_PARTS} blocks")


def _colours(flags: int) -> int:
    """The bytes of the table of colours that ``flags`` announce."""
    return 6 << (flags & 7) if flags & 0x80 else 0
