"""How large a value may be that is made in memory.

Belongs here: what this process can hold at most, and the refusal of a value that is larger, before
a byte of it is asked for. Arrays and encoded media are views of the mapped shard and cost nothing;
text, bytes and documents are copies, and a shard may claim one of any size.
"""

from __future__ import annotations

import os
import resource
from functools import cache
from pathlib import Path
from typing import Final

from atd.shards.unfit import Unfit

LARGE: Final = 1 << 26
"""Bytes from which it is asked at all whether a value fits: 64 MiB."""

MAX_VALUES: Final = 1 << 22
"""Values in one JSON document, list or struct: each may take a byte in a shard and 70 in memory."""

_CONTAINER_LIMIT: Final = Path("/sys/fs/cgroup/memory.max")


def check_room(size: int) -> None:
    """Refuse a value of ``size`` bytes that this process can never hold.

    Raises:
        Unfit: it is larger than the memory of the machine, or of what limits this process.
    """
    if size >= LARGE and size > memory_limit():
        raise Unfit(f"at most {memory_limit()} bytes, the memory there is", f"{size} bytes")


@cache
def memory_limit() -> int:
    """Bytes that this process could have if it had everything: the least of all limits."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for what in (resource.RLIMIT_AS, resource.RLIMIT_DATA):
        soft, _ = resource.getrlimit(what)
        if soft != resource.RLIM_INFINITY:
            limits.append(soft)
    try:
        said = _CONTAINER_LIMIT.read_text("ascii").strip()
    except OSError:
        said = "max"
    if said.isdecimal():
        limits.append(int(said))
    return min(limits)
