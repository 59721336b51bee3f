"""The shards a process has open, and the ones it will need next.

What belongs here: opening a shard when it is first needed, keeping a bounded number of maps open,
and fetching ahead in the background. A shelf belongs to one process and is never pickled: a loader
worker makes its own. All that read one source in a process share its shelf (`shelf_of`), so a shard
is proved and indexed once, not once an epoch; the shelf goes when the source does.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import OrderedDict
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import accumulate
from pathlib import Path
from typing import Final

from atd.dataset.source import ShardSource
from atd.errors import ShardError
from atd.shards.reader import ShardFile

MAX_OPEN: Final = 128
"""Shards mapped at once; each holds one file descriptor for its lock."""

FETCH_THREADS: Final = 2


class Shelf:
    """Opens the shards of ``source``, each file proved before it is mapped. Safe with threads."""

    def __init__(self, source: ShardSource) -> None:
        # Weak, or the shelf would keep alive the source that keeps the shelf.
        self._source = weakref.ref(source)
        self._process = os.getpid()
        self.ends = list(accumulate(source.counts))
        """Samples in the shards up to and with each."""
        self._open: OrderedDict[int, ShardFile] = OrderedDict()
        self._coming: dict[int, Future[Path]] = {}
        self._threads: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()

    @property
    def usable(self) -> bool:
        """Whether this is still the process that made it."""
        return self._process == os.getpid()

    def after_fork(self, source: ShardSource) -> Shelf:
        """A shelf for this process with the shards that its parent had open: maps survive a fork,
        threads and locks do not."""
        fresh = Shelf(source)
        fresh._open = OrderedDict(self._open)
        return fresh

    def shard(self, number: int) -> ShardFile:
        """Shard ``number``, open; waits until it is there.

        Raises:
            AtdError: it cannot be had, is not what was signed, or is not a shard.
        """
        with self._lock:
            found = self._open.get(number)
            if found is None:
                found = self._opened(number)
                self._open[number] = found
                if len(self._open) > MAX_OPEN:
                    self._open.popitem(last=False)
            else:
                self._open.move_to_end(number)
            return found

    def _opened(self, number: int) -> ShardFile:
        source = self._source()
        if source is None:
            raise ReferenceError("the source of this shelf is gone")
        coming = self._coming.pop(number, None)
        path = source.path(number) if coming is None else coming.result()
        shard = source.shards[number]
        found = ShardFile(path, source.schema, source.layout, name=shard.name)
        if len(found) != shard.samples:
            raise ShardError(
                f"{shard.name}: expected {shard.samples} samples, as was signed, found {len(found)}"
            )
        return found

    def expect(self, numbers: Iterable[int]) -> None:
        """Begin to fetch the shards that will be needed next, in this order."""
        source = self._source()
        missing = [n for n in numbers if n not in self._open and n not in self._coming]
        if source is None or not missing:
            return
        with self._lock:
            for number in missing:
                if self._threads is None:
                    self._threads = ThreadPoolExecutor(
                        FETCH_THREADS, thread_name_prefix="atd-fetch"
                    )
                self._coming[number] = self._threads.submit(source.path, number)

    def close(self) -> None:
        """Let go of every shard; arrays that are views of one keep its map alive."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._threads = None
        self._coming.clear()
        self._open.clear()


_shelves: dict[int, Shelf] = {}
"""By the identity of their source: sources compare by value, which would be slow and too broad."""


def shelf_of(source: ShardSource) -> Shelf:
    """The shelf of ``source`` in this process."""
    shelf = _shelves.get(id(source))
    if shelf is not None and shelf.usable:
        return shelf
    if shelf is None:
        fresh = Shelf(source)
        weakref.finalize(source, _forget, id(source)).atexit = False
    else:
        fresh = shelf.after_fork(source)
    # Two threads may both get here; the one that is too late takes the other's.
    if shelf is None:
        return _shelves.setdefault(id(source), fresh)
    _shelves[id(source)] = fresh
    return fresh


def _forget(identity: int) -> None:
    shelf = _shelves.pop(identity, None)
    if shelf is not None and shelf.usable:
        shelf.close()
