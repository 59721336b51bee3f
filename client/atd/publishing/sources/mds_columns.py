"""How one column of an MDS sample is encoded, and what it is.

Belongs here: the encodings by name, after ``streaming``'s own: which kind each is, and its bytes as
a value. Pickled objects are refused: to read them is to run what they say.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np

from atd.errors import LocalError, ShardError
from atd.protocol.syntax import quote
from atd.schema.fields import Array, Bytes, Dim, Float, Image, Int, Json, Kind, List, String
from atd.shards import media
from atd.shards.documents import parse_json
from atd.shards.unfit import Undecodable, Unfit

Read = Callable[[memoryview], Any]

_VALUE_TYPES: Final = {
    8: "uint8", 9: "int8", 16: "uint16", 17: "int16", 18: "float16", 32: "uint32", 33: "int32",
    34: "float32", 64: "uint64", 65: "int64", 66: "float64",
}  # fmt: skip
_MODES: Final = {"L": 1, "RGB": 3, "RGBA": 4}


class Damaged(Exception):
    """A shard is not what its index says, in words."""


@dataclass(frozen=True)
class Column:
    """One column.

    Args:
        name: as the index has it; ``field``: as a field is called.
        encoding: its name.
        size: bytes in every sample; None where each says its own.
        kind: None where each sample says what it holds (arrays).
        read: from bytes to a value; raises `Damaged`.
    """

    name: str
    field: str
    encoding: str
    size: int | None
    kind: Kind | None
    read: Read

    @property
    def said(self) -> tuple[str, str, int | None]:
        """What the index says of it."""
        return self.name, self.encoding, self.size


def column(name: str, field: str, encoding: str, size: object) -> Column:
    """The column that an index describes so.

    Raises:
        LocalError: pickled objects, an unknown encoding, or a size that is none.
    """
    if size is not None and (type(size) is not int or not 0 < size < 2**32):
        raise LocalError(f"column {quote(name, 60)}: a size of {quote(size)}")
    if encoding == "pkl":
        raise LocalError(
            f"column {quote(name, 60)} holds pickled objects, which run code when they are read",
            next_step="write it with another encoding: json, ndarray, bytes",
        )
    kind, read = _encoding(name, encoding)
    fixed = size if isinstance(size, int) else None
    return Column(name, field, encoding, fixed, kind, _guarded(read))


def check(sample: Mapping[str, Any], number: int) -> None:
    """Decode every picture of a sample, or `Damaged`."""
    for name, value in sample.items():
        for one in value if isinstance(value, list) else (value,):
            if isinstance(one, media.Image):
                try:
                    one.decode()
                except ShardError as error:
                    raise Damaged(f"sample {number}: {name}: {error.message}") from None


def _encoding(name: str, encoding: str) -> tuple[Kind | None, Read]:
    if encoding.partition(":")[0] == "ndarray":
        return _array(name, encoding)
    if encoding in _KNOWN:
        return _KNOWN[encoding]
    if encoding.startswith("list[") and (inner := _KNOWN.get(encoding[5:-1])) is not None:
        kind, read = inner
        if isinstance(kind, Image):
            return List(kind), partial(_list, read, 4)
    raise LocalError(
        f"column {quote(name, 60)}: the encoding {quote(encoding, 60)} is not known here",
        next_step=f"known are: {', '.join((*_KNOWN, 'ndarray', 'list[jpeg]'))}",
    )


def _guarded(read: Read) -> Read:
    def guarded(data: memoryview) -> Any:
        try:
            return read(data)
        except (ValueError, IndexError, KeyError, OverflowError) as error:
            raise Damaged(f"cannot be read: {quote(str(error), 80)}") from None
        except (Unfit, Undecodable) as error:
            raise Damaged(str(error)) from None

    return guarded


# ------------------------------------------------------------------ values


def _scalar(dtype: str, data: memoryview) -> Any:
    (value,) = np.frombuffer(data, dtype)
    return value.item()


def _text(data: memoryview) -> str:
    return str(data, "utf-8")


def _int(data: memoryview) -> int:
    if len(data) > 24:
        raise Damaged("an integer of more than 64 bits")
    return int(_text(data))


def _pil(data: memoryview) -> media.Image:
    """A picture as raw pixels: kept as PNG, which loses nothing."""
    width, height, length = np.frombuffer(data[:12], "<u4").tolist()
    mode = _text(data[12 : 12 + length])
    channels = _MODES.get(mode)
    pixels = data[12 + length :]
    if channels is None or len(pixels) != width * height * channels:
        raise Damaged(f"a raw picture of {width} x {height}, mode {quote(mode, 20)}")
    shape = (height, width) if channels == 1 else (height, width, channels)
    return media.Image(media.encode_png(np.frombuffer(pixels, np.uint8).reshape(shape)))


def _list(read: Read, at: int, data: memoryview) -> list[Any]:
    """Items after their number and sizes (u32), which stand at ``at``."""
    (count,) = np.frombuffer(data[at : at + 4], "<u4").tolist()
    begin = at + 4 + 4 * count
    if begin > len(data):
        raise Damaged(f"a list of {count} items in {len(data)} bytes")
    sizes = np.frombuffer(data[at + 4 : begin], "<u4").tolist()
    if begin + sum(sizes) != len(data):
        raise Damaged("a list whose items do not fill it")
    items = []
    for size in sizes:
        items.append(read(data[begin : begin + size]))
        begin += size
    return items


def _encoded(data: memoryview) -> media.Image:
    return media.Image(bytes(data))


def _array(name: str, encoding: str) -> tuple[Kind | None, Read]:
    _, _, rest = encoding.partition(":")
    dtype, _, dims = rest.partition(":")
    if dtype and dtype not in _VALUE_TYPES.values():
        raise LocalError(f"column {quote(name, 60)}: arrays of {quote(dtype, 60)}")
    try:
        shape = tuple(int(dim) for dim in dims.split(",")) if dims else None
    except ValueError:
        raise LocalError(f"column {quote(name, 60)}: arrays of shape {quote(dims, 60)}") from None
    kind = Array(dtype, tuple(Dim(size=one) for one in shape)) if dtype and shape else None
    return kind, partial(_read_array, dtype, shape)


def _read_array(dtype: str, shape: tuple[int, ...] | None, data: memoryview) -> Any:
    at = 0
    if not dtype:
        dtype, at = _VALUE_TYPES[data[0]], 1
    if shape is None:
        dims, width = data[at] >> 2, 1 << (data[at] & 3)
        at += 1
        shape = tuple(np.frombuffer(data[at : at + dims * width], f"<u{width}").tolist())
        if len(shape) != dims:
            raise Damaged("an array that ends in its shape")
        at += dims * width
    wanted = math.prod(shape) * np.dtype(dtype).itemsize
    if wanted != len(data) - at:
        raise Damaged(f"an array {shape} of {dtype} takes {wanted} bytes, not {len(data) - at}")
    return np.frombuffer(data[at:], np.dtype(dtype).newbyteorder("<")).reshape(shape)


_JPEG: Final = (Image(("image/jpeg",)), _encoded)
_PNG: Final = Image(("image/png",))
_KNOWN: Final[dict[str, tuple[Kind, Read]]] = {
    "bytes": (Bytes(), bytes),
    "str": (String(), _text),
    "int": (Int(), partial(_scalar, "<i8")),
    **{f"int{n}": (Int(n), partial(_scalar, f"<i{n // 8}")) for n in (8, 16, 32, 64)},
    **{f"uint{n}": (Int(n, False), partial(_scalar, f"<u{n // 8}")) for n in (8, 16, 32, 64)},
    **{f"float{n}": (Float(n), partial(_scalar, f"<f{n // 8}")) for n in (16, 32, 64)},
    "str_int": (Int(), _int),
    "str_float": (Float(), lambda data: float(_text(data))),
    "str_decimal": (String(), _text),
    "json": (Json(), lambda data: parse_json(_text(data))),
    "jpeg": _JPEG,
    "png": (_PNG, _encoded),
    "pil": (_PNG, _pil),
    "jpeg_array": (List(_JPEG[0]), partial(_list, _encoded, 0)),
    "jpegarray": (List(_JPEG[0]), partial(_list, _encoded, 0)),
}
