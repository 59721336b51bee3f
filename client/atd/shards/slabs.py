"""Memory in which encoded samples wait until their shard is written.

Belongs here: `Slabs`, a queue of tar members. An encoded sample is copied once, to where it stands
in its shard: its members with room for their headers before them and zeros behind them. A shard
is then a few long runs of bytes, which are hashed and written in a few calls, outside of the
interpreter; and there is no object per member for the garbage collector to visit.

The memory is used again and again, since the system clears fresh memory page by page. It
is not safe for threads: whoever adds samples also takes runs and gives them back; only what is done
with the bytes of a run may happen elsewhere.
"""

from __future__ import annotations

import mmap
from collections import deque
from dataclasses import dataclass
from typing import Final

import numpy as np

from atd.shards import tar
from atd.shards.layout import Stored

SLAB: Final = 32 << 20
"""Bytes of a slab: so many that few calls hash a shard; a thread waits for its turn after each."""

_LARGE: Final = 4
"""A sample of more than this part of a slab gets one of its own, which is not kept."""
_BLANK: Final = bytes(tar.BLOCK)


class _Slab:
    """Some memory: how much of it is still to be given back, and whether more will be added."""

    __slots__ = ("closed", "kept", "memory", "waiting")

    def __init__(self, size: int, *, kept: bool) -> None:
        self.memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        if hasattr(mmap, "MADV_HUGEPAGE"):
            self.memory.madvise(mmap.MADV_HUGEPAGE)
        self.kept = kept
        self.closed = False
        self.waiting = 0


@dataclass(frozen=True, slots=True)
class _Run:
    slab: _Slab
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Batch:
    """The members of one shard, whose headers are still blank.

    Args:
        names: of the members.
        sizes: of their payloads, in bytes.
        blocks: where they lie, in order; no member lies in two of these.
    """

    names: list[str]
    sizes: list[int]
    blocks: list[memoryview]
    runs: tuple[_Run, ...]


class Slabs:
    """Samples are put in at one end and taken out, as shards, at the other."""

    def __init__(self, size: int = SLAB) -> None:
        self._size = max(size - size % tar.BLOCK, 2 * tar.BLOCK)
        self._free: list[_Slab] = []
        self._runs: deque[_Run] = deque()
        self._names: list[str] = []
        self._sizes: list[int] = []
        self._slab = _Slab(self._size, kept=True)
        self._start = 0
        self._room = self._size

    def put(self, key: str, stored: Stored, size: int) -> None:
        """Add a sample of ``size`` bytes (`atd.shards.writer.stored_size`)."""
        if size <= self._room:
            memory = self._slab.memory
            self._room -= size
        else:
            memory = self._elsewhere(size)
        for suffix, payload in stored:
            length = len(payload)
            memory.write(_BLANK)
            memory.write(payload)
            memory.write(tar.PADDING[length % tar.BLOCK])
            self._names.append(f"{key}.{suffix}")
            self._sizes.append(length)

    def _elsewhere(self, size: int) -> mmap.mmap:
        """Memory for ``size`` bytes that the slab in use has no room for."""
        self._end_run()
        if size * _LARGE > self._size:
            own = _Slab(size, kept=False)
            self._runs.append(_Run(own, 0, size))
            return own.memory
        full = self._slab
        full.closed = True
        self._recycle(full)
        self._slab = self._free.pop() if self._free else _Slab(self._size, kept=True)
        self._slab.closed = False
        self._slab.memory.seek(0)
        self._start, self._room = 0, self._size - size
        return self._slab.memory

    def _end_run(self) -> None:
        end = self._size - self._room
        if end > self._start:
            self._runs.append(_Run(self._slab, self._start, end))
            self._slab.waiting += end - self._start
            self._start = end

    def take(self, size: int) -> Batch:
        """The samples that were put in first, which take ``size`` bytes together."""
        self._end_run()
        runs: list[_Run] = []
        left = size
        while left:
            run = self._runs.popleft()
            cut = min(run.end, run.start + left)
            if cut < run.end:
                self._runs.appendleft(_Run(run.slab, cut, run.end))
            runs.append(_Run(run.slab, run.start, cut))
            left -= cut - run.start
        ends = np.cumsum(tar.member_sizes(np.array(self._sizes, np.int64)))
        count = int(np.searchsorted(ends, size)) + 1 if size else 0
        names, sizes = self._names[:count], self._sizes[:count]
        del self._names[:count], self._sizes[:count]
        blocks = [memoryview(run.slab.memory)[run.start : run.end] for run in runs]
        return Batch(names, sizes, blocks, tuple(runs))

    def give_back(self, batch: Batch) -> None:
        """Use the memory of ``batch`` again: its shard is written."""
        for run in batch.runs:
            run.slab.waiting -= run.end - run.start
            self._recycle(run.slab)

    def _recycle(self, slab: _Slab) -> None:
        if slab.kept and slab.closed and not slab.waiting:
            self._free.append(slab)
