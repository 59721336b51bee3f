"""Many pieces of a shard copied at once: the few unusual steps that make batches fast.

Belongs here: copying ``n`` rows of equal length out of a map, and buffers that are used again. Each
step is a few lines of numpy with its reasoning, and `rows_by_hand` is the slow twin that the tests
compare it with. Nothing here knows msgpack or schemas. Every offset is checked by numpy against the
map (an IndexError, never a stray read); callers have checked them before, for the better message.
"""

from __future__ import annotations

import sys
import threading
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Octets: TypeAlias = NDArray[np.uint8]
Offsets: TypeAlias = NDArray[np.int64]

Part: TypeAlias = tuple[Octets, Offsets, slice | Offsets]
"""A map, offsets in it, and the places of those rows among all."""

LARGE_ROW: Final = 32 * 1024
"""Bytes of a row from which a loop of slices is as fast as anything."""

_SCATTERED: Final = 8 * 1024
"""Bytes of a row up to which two copies in C beat one in a loop."""

POOLED: Final = 1 << 20
"""Bytes of a block from which its memory is used again."""


def windows(octets: Octets, width: int) -> NDArray[Any]:
    """Every ``width`` neighbouring bytes as one element: item ``i`` starts at byte ``i``.

    The elements are of a void dtype, so an index into this array copies a whole row by one memcpy
    in C. As a two-dimensional array of bytes the same index would copy byte by byte.
    """
    return np.ndarray((max(0, len(octets) - width + 1),), f"V{width}", octets.data, 0, (1,))


def rows(octets: Octets, offsets: Offsets, width: int) -> Octets:
    """The ``width`` bytes (1 or more) at each of ``offsets``: a new array (n, width)."""
    found: Octets = windows(octets, width)[offsets].view(np.uint8).reshape(len(offsets), width)
    return found


def rows_into(octets: Octets, offsets: Offsets, out: Octets) -> None:
    """`rows`, into ``out`` (n, width), which is contiguous.

    Long rows at equal distances are one strided view, copied at once; others row by row, where the
    copy itself takes so long that Python's part does not matter.
    """
    width = out.shape[1]
    if width < LARGE_ROW:
        out[...] = rows(octets, offsets, width)
        return
    even = strided(octets, offsets, width)
    if even is not None:
        np.copyto(out, even)
    else:
        rows_to(octets, offsets, out, np.arange(len(offsets)))


def rows_to(octets: Octets, offsets: Offsets, out: Octets, places: Offsets) -> None:
    """Row ``i`` to row ``places[i]`` of ``out`` (m, width), which is contiguous."""
    width = out.shape[1]
    if width < _SCATTERED:
        out.view(f"V{width}")[places, 0] = windows(octets, width)[offsets]
        return
    # Slices of memory views are the cheapest copy that Python can say.
    source, target = octets.data, out.reshape(-1).data
    for place, offset in zip((places * width).tolist(), offsets.tolist(), strict=True):
        target[place : place + width] = source[offset : offset + width]


def rows_across(parts: list[Part], width: int, count: int) -> Octets:
    """Rows of several maps, each to its place in a new array (count, width).

    The places of all parts together are each of ``range(count)`` once.

    Raises:
        IndexError: an offset is outside of its map.
    """
    out = np.empty((count, width), np.uint8)
    for octets, offsets, places in parts:
        last = len(octets) - width
        if len(offsets) and not 0 <= int(offsets.min()) <= int(offsets.max()) <= last:
            raise IndexError(f"a row of {width} bytes outside of a map of {len(octets)}")
        rows_to(octets, offsets, out, np.arange(count)[places])
    return out


def rows_by_hand(octets: Octets, offsets: Offsets, out: Octets) -> None:
    """`rows_into` in the plainest way."""
    width = out.shape[1]
    for at, offset in enumerate(offsets.tolist()):
        out[at] = octets[offset : offset + width]


def strided(octets: Octets, offsets: Offsets, width: int) -> Octets | None:
    """The rows as a read-only view of the map, if they lie at equal distances; else None."""
    count = len(offsets)
    if not count:
        return None
    step = int(offsets[1] - offsets[0]) if count > 1 else width
    first, last = int(offsets[0]), int(offsets[-1])
    inside = first >= 0 and last + width <= len(octets)
    if step < width or not inside or (count > 2 and (np.diff(offsets) != step).any()):
        return None
    return np.ndarray((count, width), np.uint8, octets.data, first, (step, 1))


class Pool:
    """Large buffers that are used again once nobody holds an array of them.

    The first touch of 50 MB of fresh memory costs as much as the copy into it. A buffer is free
    when it has no more references than when it was made: every array that is a view of it, however
    indirect, holds one (numpy's ``base``), and so does a tensor made of such an array.
    """

    def __init__(self, keep: int = 3) -> None:
        self._keep = keep
        self._buffers: list[Octets] = []
        self._idle = 0
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type[Pool], tuple[int]]:
        return type(self), (self._keep,)

    def take(self, size: int) -> Octets:
        """A buffer of ``size`` bytes of any content; new memory where it would not pay."""
        if size < POOLED:
            return np.empty(size, np.uint8)
        with self._lock:
            return self._large(size)

    def _large(self, size: int) -> Octets:
        for at in range(len(self._buffers)):
            if sys.getrefcount(self._buffers[at]) <= self._idle and len(self._buffers[at]) >= size:
                return self._buffers[at][:size]
        self._buffers = [b for b in self._buffers if len(b) >= size][-self._keep + 1 :]
        self._buffers.append(np.empty(size, np.uint8))
        # Measured rather than known: how many references a call itself adds differs by version.
        self._idle = sys.getrefcount(self._buffers[-1])
        return self._buffers[-1][:]
