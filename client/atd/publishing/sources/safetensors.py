"""The safetensors format: a JSON header of names, types and places, then the bytes.

Belongs here: reading one file into arrays, after the format's own description: eight bytes of
length (little-endian), the header, and buffers that follow each other without gaps. Strict, since
files come from anywhere: nothing is read outside the file, nothing overlaps, nothing is left over.
"""

from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

MAX_HEADER: Final = 100_000_000
"""Bytes of the header, at most: the limit of the format's own library."""

_DTYPES: Final = {
    **{f"F{bits}": f"<f{bits // 8}" for bits in (16, 32, 64)},
    **{f"I{bits}": f"<i{bits // 8}" for bits in (8, 16, 32, 64)},
    **{f"U{bits}": f"<u{bits // 8}" for bits in (8, 16, 32, 64)},
    "BOOL": "|b1",
}


def load(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays in ``path`` by name, as read-only views of the mapped file.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no safetensors file, or of a type that numpy has not.
    """
    if path.stat().st_size < 8:
        raise ValueError("shorter than its own header")
    data = np.asarray(np.memmap(path, np.uint8, "r"))
    length = int.from_bytes(data[:8].tobytes(), "little")
    if length > min(MAX_HEADER, len(data) - 8):
        raise ValueError(f"a header of {length} bytes in a file of {len(data)}")
    header = _header(data[8 : 8 + length].tobytes())
    body = data[8 + length :]
    places = sorted((one["data_offsets"][0], one["data_offsets"][1]) for one in header.values())
    ends = [0, *(end for _, end in places)]
    if any(end != begin for end, (begin, _) in zip(ends, places, strict=False)):
        raise ValueError("its tensors overlap, or leave a gap")
    if ends[-1] != len(body) or any(first > second for first, second in pairwise(ends)):
        raise ValueError(f"its tensors take {ends[-1]} bytes, the file has {len(body)}")
    return {name: _tensor(name, one, body) for name, one in header.items()}


def _header(data: bytes) -> dict[str, Any]:
    try:
        header = json.loads(data)
    except RecursionError:
        raise ValueError("a header that nests too deep") from None
    if not isinstance(header, dict):
        raise ValueError("its header is no JSON object")
    header.pop("__metadata__", None)
    for name, one in header.items():
        said = one if isinstance(one, dict) else {}
        if not (_naturals(said.get("data_offsets"), 2) and _naturals(said.get("shape"))):
            raise ValueError(f"the header does not say where {name[:60]!a} is")
    return header


def _naturals(value: Any, count: int | None = None) -> bool:
    listed = isinstance(value, list) and count in (None, len(value))
    return listed and all(type(one) is int and one >= 0 for one in value)


def _tensor(name: str, one: dict[str, Any], body: NDArray[np.uint8]) -> NDArray[Any]:
    begin, end = one["data_offsets"]
    dtype = _DTYPES.get(str(one.get("dtype")))
    if dtype is None:
        raise ValueError(f"{name[:60]!a} is of type {str(one.get('dtype'))[:20]!a}: numpy has none")
    wanted = math.prod(one["shape"]) * np.dtype(dtype).itemsize
    if wanted != end - begin:
        raise ValueError(f"{name[:60]!a} should have {wanted} bytes, and has {end - begin}")
    return body[begin:end].view(dtype).reshape(one["shape"])
