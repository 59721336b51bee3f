"""Maps of several files side by side in memory, so that one index reaches into all of them.

What belongs here: `side_by_side`, which is unusual, and the reasons why it is safe.

An index of numpy reaches into one array. Rows picked out of many files in a random order are
therefore copied twice, or one by one in Python (`atd.shards.gather.rows_across`), although the
pages of all the files are mapped already. Linux can map pages that are mapped once more at an
address of one's choice: ``mremap`` of a shared mapping with an old size of 0 (see its manual page).
So a range of addresses is reserved, and the maps are mapped again into it, one after the other. No
byte is copied, no file is opened, and the array over the range is an ordinary one.

- Every page of the range is mapped and readable: the maps reach to the end of their last page,
  where the rest is zeros. An index that is wrong yet inside the array reads wrong bytes, and never
  memory that is not ours.
- The range belongs to an ordinary `mmap.mmap`, which unmaps all of it when the last array over it
  is gone. It is read-only, and it never changes once it was made.
- Only whole, shared, read-only maps are taken. Like each of them, the range keeps its files, and
  the locks on them, for as long as it lives.
- Where this cannot be had (another system, or one that lacks the call), there is `None`, and the
  rows are copied the slow way, which the tests compare it with.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from atd.shards.gather import Octets

_MAYMOVE_AND_FIXED: Final = 1 | 2


class _Refused:
    """What was reserved and could not be filled. There may be holes in it, which are anybody's by
    now, so it must not be unmapped; and whoever refused once is not asked again."""

    reserved: Final[list[mmap.mmap]] = []


def side_by_side(maps: Sequence[Octets]) -> tuple[Octets, list[int]] | None:
    """One read-only array over all of the maps, and where in it each begins; None if that cannot be
    had.

    Args:
        maps: arrays over whole files, each mapped with ``mmap.ACCESS_READ``.
    """
    if sys.platform != "linux" or _Refused.reserved or not all(map(_is_whole_map, maps)):
        return None
    page = mmap.PAGESIZE
    sizes = [-(-len(octets) // page) * page for octets in maps]
    begins = [sum(sizes[:at]) for at in range(len(sizes))]
    try:
        private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        reserved = mmap.mmap(-1, sum(sizes), flags=private, prot=mmap.PROT_READ)
    except OSError:
        return None  # no room for so many addresses: a limit of the user's
    region = np.frombuffer(reserved, np.uint8)
    remap = _mremap()
    for octets, begin, size in zip(maps, begins, sizes, strict=True):
        wanted = region.ctypes.data + begin
        if remap(octets.ctypes.data, 0, size, _MAYMOVE_AND_FIXED, wanted) != wanted:
            _Refused.reserved.append(reserved)
            return None
    return region, begins


def _is_whole_map(octets: Octets) -> bool:
    view: Any = octets.base
    held = isinstance(view, memoryview) and isinstance(view.obj, mmap.mmap)
    return bool(held and view.readonly and len(octets) == len(view.obj) > 0)


def _mremap() -> Any:
    call = ctypes.CDLL(None).mremap
    call.restype = ctypes.c_void_p
    word = ctypes.c_size_t
    call.argtypes = [ctypes.c_void_p, word, word, ctypes.c_int, ctypes.c_void_p]
    return call
