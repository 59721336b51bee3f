"""Many strings of a shard decoded at once.

Belongs here: from spans of UTF-8 in a map to a list of ``str``. Two ways, which the tests compare:

- `texts_by_hand` slices and decodes one by one: about 150 ns a string of 20 characters;
- through an Arrow array of ``string_view``, 16 bytes a string that numpy fills in and that point
  into the map, whose conversion to a list runs in C++: half of that or less. pyarrow is no
  dependency; it is used where it is installed, once so many strings were read that it pays.

Both decode strictly. The layout of a view is that of the Arrow columnar format, 1.4: int32 length,
then up to 12 bytes of text, or 4 bytes of it, int32 buffer number and int32 offset.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from types import ModuleType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from atd.shards.gather import Octets, Offsets, Owners, rows

INLINE: Final = 12
MAX_MAP: Final = 2**31 - 1
"""Bytes that an Arrow view can point into."""

_WORTH_IMPORTING: Final = 20_000
_FEW: Final = 8


def texts_by_hand(octets: Octets, offsets: Offsets, lengths: Offsets) -> list[str]:
    """The strings at ``offsets``, one by one.

    Raises:
        UnicodeDecodeError: one of them is not UTF-8.
    """
    source = _sliceable(octets)
    ends = (offsets + lengths).tolist()
    return [source[start:end].decode() for start, end in zip(offsets.tolist(), ends, strict=True)]


def texts_across(
    maps: Sequence[Octets], owners: Owners, offsets: Offsets, lengths: Offsets
) -> list[str]:
    """`texts_by_hand`, string ``i`` out of map ``owners[i]``."""
    sources = [_sliceable(octets) for octets in maps]
    spans = zip(owners.tolist(), offsets.tolist(), (offsets + lengths).tolist(), strict=True)
    return [sources[owner][start:end].decode() for owner, start, end in spans]


def _sliceable(octets: Octets) -> Any:
    """What gives bytes at once when it is sliced; an array or a view gives an object more."""
    return octets.base.obj if isinstance(octets.base, memoryview) else octets.tobytes()


class Decoded:
    """How many strings were read in this process, to know when Arrow is worth its import."""

    count = 0


def worth_arrow(count: int) -> bool:
    """Whether ``count`` more strings are to be decoded through Arrow views."""
    Decoded.count += count
    return count >= _FEW and Decoded.count >= _WORTH_IMPORTING and _arrow() is not None


def wrapped(maps: Sequence[Octets]) -> list[Any]:
    """The maps, each of less than 2 GiB, as buffers that Arrow views may point into."""
    arrow: Any = _arrow()
    return list(map(arrow.py_buffer, maps))


def listed(views: NDArray[Any], buffers: Sequence[Any]) -> list[str]:
    """The strings of Arrow views that point into ``buffers`` of `wrapped`.

    Raises:
        UnicodeDecodeError: one of them is not UTF-8.
    """
    arrow: Any = _arrow()
    parts = [None, arrow.py_buffer(views), *buffers]
    made: list[str] = arrow.Array.from_buffers(arrow.string_view(), len(views), parts).to_pylist()
    return made


def string_views(octets: Octets, offsets: Offsets, lengths: Offsets) -> NDArray[np.int32]:
    """The (n, 4) array of Arrow views for the strings at ``offsets`` of the one buffer."""
    views = np.zeros((len(offsets), 4), np.int32)
    views[:, 0] = lengths
    long = lengths > INLINE
    if long.any():
        begin = offsets[long]
        views[long, 1] = rows(octets, begin, 4).view(np.int32)[:, 0]
        views[long, 3] = begin
    if not long.all():
        short = ~long
        # Near the end of the map a window is moved back and the text within it forward.
        begin, size = offsets[short], lengths[short]
        start = np.minimum(begin, len(octets) - INLINE)
        text = rows(octets, start, INLINE)
        if (start != begin).any():
            at = np.minimum(np.arange(INLINE) + (begin - start)[:, None], INLINE - 1)
            text = np.take_along_axis(text, at, axis=1)
        text[np.arange(INLINE) >= size[:, None]] = 0
        views[short, 1:] = text.view(np.int32)
    return views


_found: list[ModuleType | None] = []


def _arrow() -> ModuleType | None:
    """pyarrow where it is installed and knows string views; looked for once."""
    if not _found:
        there = importlib.util.find_spec("pyarrow") is not None
        module = importlib.import_module("pyarrow") if there else None
        _found.append(module if module is not None and hasattr(module, "string_view") else None)
    return _found[0]
