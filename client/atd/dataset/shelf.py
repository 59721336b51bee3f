"""The shards a process has open, and the ones it will need next.

What belongs here: opening a shard when it is first needed, keeping a bounded number of maps open,
and fetching ahead in the background. A shelf belongs to one process and is never pickled: a loader
worker makes its own.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from atd.dataset.source import ShardSource
from atd.errors import ShardError
from atd.shards.reader import ShardFile

MAX_OPEN: Final = 128
"""Shards mapped at once; each holds one file descriptor for its lock."""

FETCH_THREADS: Final = 2


class Shelf:
    """Opens the shards of ``source``, each file proved before it is mapped."""

    def __init__(self, source: ShardSource) -> None:
        self._source = source
        self._open: OrderedDict[int, ShardFile] = OrderedDict()
        self._coming: dict[int, Future[Path]] = {}
        self._threads: ThreadPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.close()

    def shard(self, number: int) -> ShardFile:
        """Shard ``number``, open; waits until it is there.

        Raises:
            AtdError: it cannot be had, is not what was signed, or is not a shard.
        """
        if number in self._open:
            self._open.move_to_end(number)
            return self._open[number]
        coming = self._coming.pop(number, None)
        path = self._source.path(number) if coming is None else coming.result()
        shard, source = self._source.shards[number], self._source
        found = ShardFile(path, source.schema, source.layout, name=shard.name)
        if len(found) != shard.samples:
            raise ShardError(
                f"{shard.name}: expected {shard.samples} samples, as was signed, found {len(found)}"
            )
        self._open[number] = found
        if len(self._open) > MAX_OPEN:
            self._open.popitem(last=False)
        return found

    def expect(self, numbers: Iterable[int]) -> None:
        """Begin to fetch the shards that will be needed next, in this order."""
        for number in numbers:
            if number in self._open or number in self._coming:
                continue
            if self._threads is None:
                self._threads = ThreadPoolExecutor(FETCH_THREADS, thread_name_prefix="atd-fetch")
            self._coming[number] = self._threads.submit(self._source.path, number)

    def close(self) -> None:
        """Let go of every shard; arrays that are views of one keep its map alive."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._threads = None
        self._coming.clear()
        self._open.clear()
