"""How far ahead of its reader a flow fetches: enough to keep a line busy, and no more.

The chunk of samples that comes next is always asked for whole, by `atd.dataset.cursor`. It may be a
fraction of a shard, so the shards after it are asked for too, a few and up to so many bytes,
whatever the order is: it is a pure function, so where it leads can be looked up.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from atd.dataset.flow import Flow
from atd.dataset.order import Indices

SHARDS: Final = 4
"""Shards asked for beyond the next chunk."""

BYTES: Final = 256 << 20
"""How far beyond it they are looked for, in bytes of samples."""

_PROBES: Final = 64


def beyond(flow: Flow, position: int, ends: Indices) -> list[int]:
    """The shards that a reader at ``position`` comes to next, in its order.

    Args:
        ends: samples in the shards up to and with each.
    """
    total = flow.selection.total
    if position >= total:
        return []
    shards = flow.source.shards
    sample = max(1, sum(shard.size for shard in shards) // max(1, int(ends[-1])))
    stop = min(total, position + max(1, BYTES // sample))
    probes = np.arange(position, stop, max(1, -(-(stop - position) // _PROBES)), dtype=np.int64)
    found = np.searchsorted(ends, flow.selection.pick(probes), side="right")
    return list(dict.fromkeys(found.tolist()))
