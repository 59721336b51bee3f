"""The shards a process has open, and the ones it will need next.

What belongs here: opening a shard when it is first needed, keeping a bounded number of maps open,
and opening ahead in the background. A shelf belongs to one process and is never pickled: a loader
worker makes its own. All that read one source in a process share its shelf (`shelf_of`), so a shard
is proved and indexed once, not once an epoch; the shelf goes when the source does.

What is opened ahead is opened whole: fetched, proved, locked, mapped and indexed, so that nothing
is left to do when the reader comes to it, and no eviction can come between. The threads that do it
end with the process, whatever they wait for.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import OrderedDict, deque
from collections.abc import Iterable
from concurrent.futures import Future
from functools import partial
from itertools import accumulate
from typing import Final

from atd.dataset.source import ShardSource
from atd.errors import ShardError
from atd.shards.reader import ShardFile
from atd.shards.sidecars import FOLDER, Sidecars

MAX_OPEN: Final = 128
"""Shards mapped at once; each holds one file descriptor for its lock."""

FETCH_THREADS: Final = 3
"""Shards opened ahead at a time."""


class Shelf:
    """Opens the shards of ``source``, each file proved before it is mapped. Safe with threads."""

    def __init__(self, source: ShardSource) -> None:
        # Weak, or the shelf would keep alive the source that keeps the shelf.
        self._source = weakref.ref(source)
        self._process = os.getpid()
        self.ends = list(accumulate(source.counts))
        """Samples in the shards up to and with each."""
        self._open: OrderedDict[int, ShardFile] = OrderedDict()
        self._sizes = [shard.size for shard in source.shards]
        self._most_bytes = source.hold_bytes
        self._soon: tuple[frozenset[int], frozenset[int]] = (frozenset(), frozenset())
        self._coming: dict[int, Future[ShardFile]] = {}
        self._waiting: deque[tuple[int, Future[ShardFile]]] = deque()
        self._threads = 0
        # The first shard is fetched and opened alone: nothing comes earlier by sharing with others.
        self._begun = False
        self._lock = threading.Lock()
        self._doubting = threading.Lock()

    @property
    def usable(self) -> bool:
        """Whether this is still the process that made it."""
        return self._process == os.getpid()

    @property
    def complete(self) -> bool:
        """Whether every shard is open."""
        return len(self._open) == len(self.ends)

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
            if found is not None:
                self._open.move_to_end(number)
                return found
            coming = self._coming.get(number)
            # Nobody began with it; or it failed when nobody waited, and may succeed by now.
            mine = coming is None or coming.cancel() or coming.done()
            if coming is None or mine:
                coming = self._coming[number] = Future()
                coming.set_running_or_notify_cancel()
        if mine:
            self._take(number, coming)
        if not self._begun:
            self._begun = True
            self._start()
        return coming.result()

    def doubted(self, number: int, doubtful: ShardFile) -> ShardFile:
        """Shard ``number``, of which a sample could not be decoded: hashed, and fetched anew if it
        is no longer what was signed. That is done once for all who doubt the same file.

        Raises:
            AtdError: it is not what was signed, and cannot be had anew.
        """
        with self._doubting:
            found = self._open.get(number)
            if found is not None and found is not doubtful:
                return found
            fresh = _read(self._living(), number, suspect=True)
            with self._lock:
                self._open[number] = fresh
                self._make_room()
            return fresh

    def expect(self, numbers: Iterable[int], most: int | None = None) -> None:
        """Begin to open the shards that will be needed next, in this order.

        Args:
            most: how many of them may be under way.
        """
        wanted = list(numbers)
        if most is None:
            self._soon = self._soon[1], frozenset(wanted)
        missing = [number for number in wanted if number not in self._open][:most]
        missing = [number for number in missing if number not in self._coming]
        if not missing:
            return
        with self._lock:
            for number in missing:
                if number not in self._coming:
                    coming = self._coming[number] = Future()
                    self._waiting.append((number, coming))
        if self._begun:
            self._start()

    def close(self) -> None:
        """Let go of every shard; arrays that are views of one keep its map alive."""
        with self._lock:
            for _, coming in self._waiting:
                coming.cancel()
            self._waiting.clear()
            self._coming.clear()
            self._open.clear()

    # -- inside -----------------------------------------------------------------------------

    def _start(self) -> None:
        """Have threads that open what is waiting."""
        with self._lock:
            begin = max(0, min(FETCH_THREADS - self._threads, len(self._waiting)))
            self._threads += begin
        for _ in range(begin):
            # No pool of concurrent.futures: a process waits for those before it ends, and here
            # that may be for a shard that nobody will read.
            threading.Thread(target=self._ahead, name="atd-fetch", daemon=True).start()

    def _ahead(self) -> None:
        """Open what is waiting, until nothing is."""
        while True:
            with self._lock:
                if not self._waiting:
                    self._threads -= 1
                    return
                number, coming = self._waiting.popleft()
            if coming.set_running_or_notify_cancel():
                self._take(number, coming)

    def _take(self, number: int, coming: Future[ShardFile]) -> None:
        """Open a shard and tell all who wait for it."""
        try:
            found = self._opened(number)
        except BaseException as error:
            # Told to those who wait now; who asks after it makes a new attempt.
            coming.set_exception(error)
            return
        with self._lock:
            if self._coming.get(number) is coming:
                del self._coming[number]
                self._open[number] = found
                self._make_room()
        coming.set_result(found)

    def _make_room(self) -> None:
        """Let go of what was not used for the longest, where too much is open.

        Of too many bytes, only what neither this chunk of samples nor the next one needs: to fetch
        a shard again for every chunk would be worse than any quota.
        """
        if len(self._open) > MAX_OPEN:
            self._open.popitem(last=False)
        if self._most_bytes is None:
            return
        held = sum(self._sizes[number] for number in self._open)
        for number in list(self._open)[:-1]:
            if number in self._soon[0] or number in self._soon[1]:
                continue
            if held <= self._most_bytes:
                return
            held -= self._sizes[number]
            del self._open[number]

    def _opened(self, number: int) -> ShardFile:
        source = self._living()
        try:
            return _read(source, number, suspect=False)
        except ShardError:
            # A disk may lose bits without a trace. If the bytes are those that were signed, it is
            # the publisher's fault, and the same error comes again.
            return _read(source, number, suspect=True)

    def _living(self) -> ShardSource:
        source = self._source()
        if source is None:
            raise ReferenceError("the source of this shelf is gone")
        return source


def _read(source: ShardSource, number: int, *, suspect: bool) -> ShardFile:
    """Shard ``number``, with its index from the sidecar or, if there is none, leaving one.

    Raises:
        ShardError: it is no shard, or not of as many samples as was signed.
    """
    shard = source.shards[number]
    place = source.open(number, suspect=suspect)
    sidecars = Sidecars(place.cache / FOLDER)
    index = None if suspect else sidecars.read(shard.digest, shard.size)
    if index is not None and len(index) != shard.samples:
        index = None
    derived = index is None
    found = ShardFile(
        place.path,
        source.schema,
        source.layout,
        index=index,
        name=shard.name,
        descriptor=place.descriptor,
        # What was hashed just now would be the same again.
        again=None if suspect else partial(_anew, weakref.ref(source), number),
    )
    if len(found) != shard.samples:
        raise ShardError(
            f"{shard.name}: expected {shard.samples} samples, as was signed, found {len(found)}"
        )
    if derived:
        sidecars.keep(shard.digest, found.index)
    return found


def _anew(living: weakref.ref[ShardSource], number: int, doubtful: ShardFile) -> ShardFile | None:
    """As `Shelf.doubted`, by the shelf of this process, which may be a fork of the one that opened
    the file; None where the source is gone, so that there is nobody to ask."""
    source = living()
    return None if source is None else shelf_of(source).doubted(number, doubtful)


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
