"""msgpack read piece by piece, without trust: the primitives below the codec.

Belongs here: what a tag is, where a value ends, and values that need no schema. Each function takes
a buffer and a position and returns the value and the position after it. Lengths are checked against
what is left before anything is made of them; `skip` uses no recursion. Where the buffer ends inside
a tag, IndexError or struct.error is raised: callers turn them into `Unfit` once per sample.

Source: github.com/msgpack/msgpack/blob/master/spec.md. Extension types are refused.
"""

from __future__ import annotations

import struct
from math import isfinite
from typing import Any, Final

from atd.shards.room import LARGE, MAX_VALUES, check_room
from atd.shards.unfit import Unfit, describe, shown

MAX_JSON_DEPTH: Final = 64
"""Levels of lists and maps in a JSON value."""

NIL: Final = 0xC0
STR: Final = {0xD9: struct.Struct(">B"), 0xDA: struct.Struct(">H"), 0xDB: struct.Struct(">I")}
BIN: Final = {0xC4: struct.Struct(">B"), 0xC5: struct.Struct(">H"), 0xC6: struct.Struct(">I")}
LIST: Final = {0xDC: struct.Struct(">H"), 0xDD: struct.Struct(">I")}
MAP: Final = {0xDE: struct.Struct(">H"), 0xDF: struct.Struct(">I")}
INT: Final = {
    0xCC: struct.Struct(">B"),
    0xCD: struct.Struct(">H"),
    0xCE: struct.Struct(">I"),
    0xCF: struct.Struct(">Q"),
    0xD0: struct.Struct(">b"),
    0xD1: struct.Struct(">h"),
    0xD2: struct.Struct(">i"),
    0xD3: struct.Struct(">q"),
}
FLOAT: Final = {0xCA: struct.Struct(">f"), 0xCB: struct.Struct(">d")}


def _length(
    view: memoryview, at: int, forms: dict[int, struct.Struct], what: str
) -> tuple[int, int]:
    """The length after the tag at ``at``, which must be one of ``forms``, and where it ends."""
    form = forms.get(view[at])
    if form is None:
        raise Unfit(what, _tag(view, at))
    length: int = form.unpack_from(view, at + 1)[0]
    return length, at + 1 + form.size


def _span(view: memoryview, at: int, length: int, what: str) -> int:
    """Where ``length`` bytes from ``at`` end, if they are there."""
    if length > len(view) - at:
        raise Unfit(f"{what} of {length} bytes", f"{len(view) - at} bytes before the end")
    return at + length


def read_str(view: memoryview, at: int) -> tuple[str, int]:
    """A msgpack string."""
    if view[at] & 0xE0 == 0xA0:
        length, at = view[at] & 0x1F, at + 1
    else:
        length, at = _length(view, at, STR, "text")
    end = _span(view, at, length, "text")
    if length >= LARGE:
        check_room(length)
    try:
        return str(view[at:end], "utf-8"), end
    except UnicodeDecodeError:
        raise Unfit("text in UTF-8", describe(bytes(view[at : at + 20]))) from None


def read_bin(view: memoryview, at: int) -> tuple[memoryview, int]:
    """A msgpack byte string, as a view."""
    length, at = _length(view, at, BIN, "bytes")
    end = _span(view, at, length, "bytes")
    return view[at:end], end


def read_int(view: memoryview, at: int) -> tuple[int, int]:
    """A msgpack integer, of whatever width."""
    tag = view[at]
    if tag < 0x80:
        return tag, at + 1
    if tag >= 0xE0:
        return tag - 256, at + 1
    form = INT.get(tag)
    if form is None:
        raise Unfit("an integer", _tag(view, at))
    return form.unpack_from(view, at + 1)[0], at + 1 + form.size


def read_number(view: memoryview, at: int) -> tuple[float, int]:
    """A msgpack number as a float, integers included."""
    form = FLOAT.get(view[at])
    if form is None:
        number, at = read_int(view, at)
        return float(number), at
    return form.unpack_from(view, at + 1)[0], at + 1 + form.size


def read_bool(view: memoryview, at: int) -> tuple[bool, int]:
    """A msgpack boolean."""
    if view[at] not in (0xC2, 0xC3):
        raise Unfit("true or false", _tag(view, at))
    return view[at] == 0xC3, at + 1


def read_count(
    view: memoryview, at: int, fix: int, forms: dict[int, struct.Struct]
) -> tuple[int, int]:
    """The number of entries of the array or map at ``at``; each takes a byte at least."""
    what = "a list" if forms is LIST else "a map"
    if view[at] & 0xF0 == fix:
        count, at = view[at] & 0x0F, at + 1
    else:
        count, at = _length(view, at, forms, what)
    if count > len(view) - at:
        raise Unfit(f"{what} of {count}", f"{len(view) - at} bytes before the end")
    return count, at


def _tag(view: memoryview, at: int) -> str:
    """What the tag at ``at`` starts, in words."""
    tag = view[at]
    if tag < 0x80 or tag >= 0xE0 or tag in INT:
        return "an integer"
    for what, low, forms in (
        ("a map", 0x80, MAP),
        ("a list", 0x90, LIST),
        ("text", 0xA0, STR),
        ("bytes", 0x1FF, BIN),
        ("a number with a fraction", 0x1FF, FLOAT),
    ):
        if tag in forms or low <= tag < low + (32 if forms is STR else 16):
            return what
    return {NIL: "null", 0xC2: "false", 0xC3: "true"}.get(tag, f"msgpack type 0x{tag:02x}")


def skip(view: memoryview, at: int) -> int:
    """The position after the value at ``at``, of any type and depth, without decoding it.

    Values of more than `MAX_VALUES` parts are refused: in memory they are 70 times as large.
    """
    pending, left = 1, MAX_VALUES
    while pending:
        pending -= 1
        tag = view[at]
        if tag < 0x80 or tag >= 0xE0 or tag in (NIL, 0xC2, 0xC3):
            at += 1
        elif tag < 0xA0 or tag in LIST or tag in MAP:
            mapping = tag < 0x90 or tag in MAP
            count, at = read_count(view, at, 0x80 if mapping else 0x90, MAP if mapping else LIST)
            parts = 2 * count if mapping else count
            pending, left = pending + parts, left - parts
            if left < 0:
                raise Unfit(f"a value of at most {MAX_VALUES} parts", "more")
        elif tag < 0xC0:
            at = _span(view, at + 1, tag & 0x1F, "text")
        elif tag in STR or tag in BIN:
            length, at = _length(view, at, STR if tag in STR else BIN, "")
            at = _span(view, at, length, "a value")
        elif tag in INT or tag in FLOAT:
            at = _span(view, at + 1, (INT.get(tag) or FLOAT[tag]).size, "a number")
        else:
            raise Unfit("a msgpack value", _tag(view, at))
    return at


def read_any(view: memoryview, at: int, depth: int = 0) -> tuple[Any, int]:
    """A JSON value written as native msgpack, which other writers do.

    What JSON cannot say is refused: numbers that are not finite, and a key that comes twice.
    """
    tag = view[at]
    if tag == NIL:
        return None, at + 1
    if tag in (0xC2, 0xC3):
        return read_bool(view, at)
    if tag in FLOAT:
        number, at = read_number(view, at)
        if not isfinite(number):
            raise Unfit("a JSON number, which is finite", str(number))
        return number, at
    if 0xA0 <= tag < 0xC0 or tag in STR:
        return read_str(view, at)
    if depth == MAX_JSON_DEPTH:
        raise Unfit(f"JSON at most {MAX_JSON_DEPTH} levels deep", "more")
    if 0x90 <= tag < 0xA0 or tag in LIST:
        count, at = read_count(view, at, 0x90, LIST)
        items = []
        for _ in range(count):
            item, at = read_any(view, at, depth + 1)
            items.append(item)
        return items, at
    if 0x80 <= tag < 0x90 or tag in MAP:
        count, at = read_count(view, at, 0x80, MAP)
        out: dict[str, Any] = {}
        for _ in range(count):
            name, at = read_str(view, at)
            if name in out:
                raise Unfit("each key of a JSON object once", f"{shown(name)} twice")
            out[name], at = read_any(view, at, depth + 1)
        return out, at
    return read_int(view, at)
