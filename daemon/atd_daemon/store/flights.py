"""Many who want the same shard, one download: who waits, who listens, when to give up.

A flight is one running download of one (digest, size). It goes on as long as somebody waits for it
and is cancelled with the last one who does; nobody may join a flight that is being given up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from atd.protocol.cbor import Cid
from atd_daemon.store.download import Progress, Report
from atd_daemon.store.sources import ShardWant

Fetch = Callable[[ShardWant, Report], Coroutine[Any, Any, Path]]
_Key = tuple[Cid, int]


class Flight:
    """One download that several tasks may wait for. Made by `Flights.start`."""

    def __init__(self, want: ShardWant, fetch: Fetch, give_up: Callable[[Flight], None]) -> None:
        self.want = want
        self._waiting = 0
        self._listeners: list[Report] = []
        self._give_up = give_up
        self.task = asyncio.create_task(fetch(want, self._report))

    async def join(self, progress: Report | None) -> Path:
        """Wait for the file, hearing how it gets on; raises what the download raises."""
        self._waiting += 1
        if progress is not None:
            self._listeners.append(progress)
        try:
            return await asyncio.shield(self.task)
        finally:
            self._waiting -= 1
            if progress is not None:
                self._listeners.remove(progress)
            if not self._waiting and not self.task.done():
                self._give_up(self)
                self.task.cancel()
                await asyncio.wait([self.task])

    def _report(self, progress: Progress) -> None:
        for listener in tuple(self._listeners):
            listener(progress)


class Flights:
    """The downloads that are running."""

    def __init__(self) -> None:
        self._running: dict[_Key, Flight] = {}

    def of(self, want: ShardWant) -> Flight | None:
        """The download that ``want`` may join, if one is running."""
        return self._running.get((want.digest, want.size))

    def start(self, want: ShardWant, fetch: Fetch) -> Flight:
        """Begin to download ``want``."""
        flight = Flight(want, fetch, self._remove)
        self._running[want.digest, want.size] = flight

        def landed(task: asyncio.Task[Path]) -> None:
            self._remove(flight)
            if not task.cancelled():
                task.exception()  # every waiter raises it; with none left nobody needs it

        flight.task.add_done_callback(landed)
        return flight

    async def close(self) -> None:
        """Cancel all of them and wait until they let go of their files."""
        tasks = [flight.task for flight in self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _remove(self, flight: Flight) -> None:
        key = (flight.want.digest, flight.want.size)
        if self._running.get(key) is flight:
            del self._running[key]
