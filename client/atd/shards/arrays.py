"""Arrays as bytes: the compact form that we write, and ``.npy``, which we also read.

Compact (the atdata package, 0.3 and later): ``u8 L | L bytes ASCII numpy dtype.str | u8 ndim |
ndim x i64 little-endian | raw C-order bytes``. ``.npy`` is numpy's format 1.0 to 3.0
(numpy.lib.format), its header read by a parser of our own: no pickle, no ``eval``. The first byte
tells them apart: 0x93 would be a dtype string of 147 characters.

Rules: dtypes come from an allow-list of fixed-width types (never objects), and the payload must
have exactly the size that dtype and shape claim *before* an array is made. What comes out is a
read-only view of the bytes that went in.
"""

from __future__ import annotations

import math
import re
import struct
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from atd.shards.unfit import Unfit, shown

_DTYPE: Final = re.compile(
    r"[<>|=]?(?:b1|\?|[iu][1248]|f[248]|c8|c16|[SU][1-9][0-9]{0,5}"
    r"|[mM]8(?:\[(?:[1-9][0-9]{0,4})?(?:Y|M|W|D|h|m|s|ms|us|ns|ps|fs|as)\])?)"
)
_MAX_NDIM: Final = 32
_MAX_EXTENT: Final = 2**40
_MAGIC: Final = b"\x93NUMPY"
_MAX_HEADER: Final = 4096
_ENTRY: Final = re.compile(
    r""" *(?:(?P<quote>['"])(?P<key>descr|fortran_order|shape)(?P=quote)) *: *"""
    r"""(?:(?P<q>['"])(?P<text>[^'"\\]{1,32})(?P=q)|(?P<flag>True|False)|\((?P<tuple>[0-9, ]*)\))"""
    r""" *(?:,|(?=\})) *"""
)
_SIZE: Final = r" *(?:0|[1-9][0-9]{0,17}) *"
_TUPLE: Final = re.compile(rf" *|{_SIZE}, *|{_SIZE}(?:,{_SIZE})+,? *")


def to_compact(array: NDArray[Any]) -> bytes:
    """``array`` in the compact form; it is copied to C order where it is not."""
    return compact_head(array) + array.tobytes()


def compact_head(array: NDArray[Any]) -> bytes:
    """What stands before the elements of ``array`` in the compact form."""
    code = array.dtype.str.encode("ascii")
    return struct.pack(f"<B{len(code)}sB{array.ndim}q", len(code), code, array.ndim, *array.shape)


def to_npy(array: NDArray[Any]) -> bytes:
    """``array`` as a ``.npy`` file, version 1.0: the same bytes whatever the release of numpy."""
    return npy_head(array) + array.tobytes()


def npy_head(array: NDArray[Any]) -> bytes:
    """What stands before the elements of ``array`` in a ``.npy`` file."""
    shape = repr(tuple(int(size) for size in array.shape))
    text = f"{{'descr': '{array.dtype.str}', 'fortran_order': False, 'shape': {shape}, }}"
    text += " " * (-(len(_MAGIC) + 4 + len(text) + 1) % 64) + "\n"
    return _MAGIC + b"\1\0" + struct.pack("<H", len(text)) + text.encode("ascii")


def read_array(data: memoryview) -> NDArray[Any]:
    """The array that ``data`` holds, compact or ``.npy``, as a read-only view where it can be.

    Raises:
        Unfit: the bytes are no array, or not of the size that their header claims.
    """
    if bytes(data[:6]) == _MAGIC:
        return read_npy(data)
    length = data[0] if len(data) else 0
    code = bytes(data[1 : 1 + length])
    if not length or len(data) < 2 + length:
        raise Unfit("an array", f"{len(data)} bytes that are none")
    ndim = data[1 + length]
    start = 2 + length + 8 * ndim
    if ndim > _MAX_NDIM or start > len(data):
        raise Unfit("an array", f"{len(data)} bytes that claim {ndim} dimensions")
    shape = struct.unpack_from(f"<{ndim}q", data, 2 + length)
    return _view(data, start, code.decode("latin-1"), shape, "C")


def read_npy(data: memoryview) -> NDArray[Any]:
    """The array in the ``.npy`` file ``data``; `Unfit` if it is none, or lies about its size."""
    version = bytes(data[6:8])
    form = {b"\1\0": "<H", b"\2\0": "<I", b"\3\0": "<I"}.get(version)
    if bytes(data[:6]) != _MAGIC or form is None or len(data) < 12:
        raise Unfit("a .npy file of version 1.0 to 3.0", f"{len(data)} bytes that are none")
    start = 8 + struct.calcsize(form)
    length: int = struct.unpack_from(form, data, 8)[0]
    if length > _MAX_HEADER or start + length > len(data):
        raise Unfit(f"a .npy header of at most {_MAX_HEADER} bytes", f"one of {length}")
    text = bytes(data[start : start + length]).decode("latin-1")
    code, shape, order = _npy_header(text)
    return _view(data, start + length, code, shape, order)


def _npy_header(text: str) -> tuple[str, tuple[int, ...], str]:
    """dtype, shape and order out of the dict literal of a ``.npy`` header."""
    body = text.strip(" \n")
    seen: dict[str, re.Match[str]] = {}
    at = 1
    while at < len(body) - 1 and (entry := _ENTRY.match(body, at)) and entry["key"] not in seen:
        seen[entry["key"]] = entry
        at = entry.end()
    complete = len(seen) == 3 and body[0] == "{" and body[at:] == "}"
    descr, flag, shape = (
        seen[key][group] if complete else None
        for key, group in (("descr", "text"), ("fortran_order", "flag"), ("shape", "tuple"))
    )
    if descr is None or flag is None or shape is None or not _TUPLE.fullmatch(shape):
        raise Unfit("a .npy header with descr, fortran_order and shape", shown(text))
    sizes = tuple(int(size) for size in shape.split(",") if size.strip())
    return descr, sizes, "F" if flag == "True" else "C"


def _view(
    data: memoryview, start: int, code: str, shape: tuple[int, ...], order: str
) -> NDArray[Any]:
    if not _DTYPE.fullmatch(code):
        raise Unfit("an element type of a fixed width", shown(code))
    dtype = np.dtype(code)
    if len(shape) > _MAX_NDIM or any(size < 0 for size in shape):
        raise Unfit("an array", f"one that claims the shape {shape!r:.80}")
    claimed = math.prod(shape) * dtype.itemsize
    if claimed != len(data) - start:
        raise Unfit(f"the {claimed} bytes of {code} {shape!r:.80}", f"{len(data) - start} bytes")
    if claimed == 0 and math.prod(size or 1 for size in shape) > _MAX_EXTENT:
        raise Unfit("an empty array", f"one that claims the shape {shape!r:.80}")
    flat = np.frombuffer(data, dtype, math.prod(shape), start) if claimed else np.empty(0, dtype)
    flat.flags.writeable = False
    if dtype == np.bool_ and claimed and flat.view(np.uint8).max() > 1:
        raise Unfit("bytes 0 and 1 in an array of bool", "others")
    return flat.reshape(shape, order="F" if order == "F" else "C")
