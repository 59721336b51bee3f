"""Samples as msgpack with arrays in the atdata package's compact form, for loaders of bytes.

Written without atd, because the loaders that use it run where atd is not installed.
"""

from __future__ import annotations

import struct
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray


def packed(sample: dict[str, Any]) -> bytes:
    """``sample`` as msgpack; an array becomes ``u8 L | dtype | u8 ndim | ndim x i64 | raw``."""
    x = sample.get("x")
    if isinstance(x, np.ndarray):
        code = x.dtype.str.encode()
        head = struct.pack(f"<B{len(code)}sB{x.ndim}q", len(code), code, x.ndim, *x.shape)
        sample = {**sample, "x": head + x.tobytes()}
    data: bytes = msgpack.packb(sample)
    return data


def array(data: bytes) -> NDArray[Any]:
    """The array in ``data``, as a view."""
    size = data[0]
    code = data[1 : 1 + size].decode()
    ndim, at = data[1 + size], 2 + size
    shape = struct.unpack_from(f"<{ndim}q", data, at)
    return np.frombuffer(data, code, offset=at + 8 * ndim).reshape(shape)
