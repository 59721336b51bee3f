"""What a data set holds, in numbers: statistics of its fields, and a few samples to look at.

::

    shard file ── shard_statistics ──▶ Partial ─┐
    shard file ── shard_statistics ──▶ Partial ─┴─ merge ──▶ summary ──▶ Preview ──▶ preview.json

Statistics are made where the shards are made, stored with the release, and read without fetching a
shard. They are a function of the samples alone: the same data give the same document byte for byte,
however many shards there are and whoever read them, so `shard_statistics` may run anywhere.

Making them needs numpy; `document`, `values` and `hostile` (reading them) do not, and a daemon
imports only those.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from atd.statistics.asking import ReleaseStatistics, stats
    from atd.statistics.document import Preview
    from atd.statistics.making import preview_of
    from atd.statistics.shard import Partial, merge, shard_statistics

__all__ = [
    "Partial",
    "Preview",
    "ReleaseStatistics",
    "merge",
    "preview_of",
    "shard_statistics",
    "stats",
]

_WHERE: Final = {
    "Partial": "atd.statistics.shard",
    "Preview": "atd.statistics.document",
    "ReleaseStatistics": "atd.statistics.asking",
    "merge": "atd.statistics.shard",
    "preview_of": "atd.statistics.making",
    "shard_statistics": "atd.statistics.shard",
    "stats": "atd.statistics.asking",
}


def __getattr__(name: str) -> Any:
    """The public names, each from its module (PEP 562)."""
    if name in _WHERE:
        return getattr(importlib.import_module(_WHERE[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
