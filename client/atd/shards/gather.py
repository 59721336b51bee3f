"""Many pieces of a shard copied at once: the few unusual steps that make batches fast.

Belongs here: copying ``n`` rows of equal length out of a map, and buffers that are used again. Each
step is a few lines of numpy with its reasoning, and `rows_by_hand` is the slow twin that the tests
compare it with. Nothing here knows msgpack or schemas. Every offset is checked by numpy against the
map (an IndexError, never a stray read); callers have checked them before, for the better message.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Octets: TypeAlias = NDArray[np.uint8]
Offsets: TypeAlias = NDArray[np.int64]

Owners: TypeAlias = NDArray[Any]
"""The number of the map that each row is in; unsigned, of as few bits as will do."""

LONG_ROW: Final = 4 * 1024
"""Bytes of a row from which one copy in a loop of slices beats two in C."""

LARGE_ROW: Final = 64 * 1024
"""Bytes of a row from which a buffer that is used again beats one copy in C into new memory."""

POOLED: Final = 128 * 1024
"""Bytes of a block from which its memory is used again: what malloc asks the system for."""


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


def rows_into(octets: Octets, offsets: Offsets, out: Octets, even: Octets | None) -> None:
    """`rows`, into ``out`` (n, width), which is contiguous.

    Rows at equal distances are one view, copied at once. Others, where they are long, row by row:
    the copy itself takes so long then that Python's part does not matter.

    Args:
        even: what `strided` gives for these rows.
    """
    width = out.shape[1]
    element = f"V{width}"
    if even is not None:
        np.copyto(out.view(element), even.view(element))
    elif width < LONG_ROW:
        out.view(element)[:, 0] = windows(octets, width)[offsets]
    else:
        # Slices of memory views are the cheapest copy that Python can say.
        source, target = octets.data, out.reshape(-1).data
        for place, offset in zip(range(0, out.size, width), offsets.tolist(), strict=True):
            target[place : place + width] = source[offset : offset + width]


def rows_across(maps: Sequence[Octets], owners: Owners, offsets: Offsets, out: Octets) -> None:
    """Row ``i`` out of map ``owners[i]``, at ``offsets[i]``, to row ``i`` of ``out`` (n, width).

    An index reaches into one array, so small rows are copied twice: together out of each map, and
    from there to their places. Both copies are one memcpy a row, in C. (One array over all maps
    would save one of them: with a pooled ``out`` that was a tenth.)
    """
    width = out.shape[1]
    if not len(offsets):
        return
    if int(offsets.min()) < 0:
        raise IndexError("a row before the start of a map")
    if width < LONG_ROW:
        # numpy sorts 8 and 16 bits by radix.
        order = np.argsort(owners, kind="stable")
        bounds = [0, *np.cumsum(np.bincount(owners, minlength=len(maps))).tolist()]
        sorted_offsets, target = offsets.take(order), out.view(f"V{width}")[:, 0]
        for octets, (begin, end) in zip(maps, pairwise(bounds), strict=True):
            if begin < end:
                found = windows(octets, width)[sorted_offsets[begin:end]]
                target[order[begin:end]] = found
        return
    views = [octets.data for octets in maps]
    flat = out.reshape(-1).data
    begins = range(0, out.size, width)
    for place, owner, offset in zip(begins, owners.tolist(), offsets.tolist(), strict=True):
        flat[place : place + width] = views[owner][offset : offset + width]


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
    if count > 2 and (np.diff(offsets) != step).any():
        return None
    return spaced(octets, int(offsets[0]), step, count, width)


def spaced(octets: Octets, first: int, step: int, count: int, width: int) -> Octets | None:
    """``count`` rows at ``first``, ``first + step`` … as a read-only view of the map; None if they
    overlap or leave the map."""
    if step < width or first < 0 or first + (count - 1) * step + width > len(octets):
        return None
    return np.ndarray((count, width), np.uint8, octets.data, first, (step, 1))


class Pool:
    """Large buffers that are used again once nobody holds an array of them.

    The first touch of 50 MB of fresh memory costs as much as the copy into it. A buffer is free
    when it has no more references than when it was made: every array that is a view of it, however
    indirect, holds one (numpy's ``base``), and so does a tensor made of such an array.

    Args:
        keep: buffers of each name that are kept.
    """

    def __init__(self, keep: int = 3) -> None:
        self._keep = keep
        self._buffers: dict[str, list[Octets]] = {}
        self._idle = 0
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type[Pool], tuple[int]]:
        return type(self), (self._keep,)

    def take(self, size: int, name: str = "") -> Octets:
        """A buffer of ``size`` bytes of any content; new memory where it would not pay.

        Args:
            name: what it is for; buffers of one name are of about one size.
        """
        if size < POOLED:
            return np.empty(size, np.uint8)
        with self._lock:
            return self._large(size, name)

    def _large(self, size: int, name: str) -> Octets:
        known = self._buffers.get(name, [])
        for at in range(len(known)):
            if sys.getrefcount(known[at]) <= self._idle and len(known[at]) >= size:
                return known[at][:size]
        known = [b for b in known if len(b) >= size][-self._keep + 1 :]
        known.append(np.empty(size, np.uint8))
        self._buffers[name] = known
        # Measured rather than known: how many references a call itself adds differs by version.
        self._idle = sys.getrefcount(known[-1])
        return known[-1][:]
