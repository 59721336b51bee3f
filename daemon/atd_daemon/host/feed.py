"""Following the event log live: one subscriber, from its cursor to the newest event and on.

A subscriber reads the log at its own pace, page by page, whether it catches up or is live: nothing
is queued for it in memory. One that was live and falls too far behind, or whose next events were
dropped meanwhile, is told ConsumerTooSlow and must come back with its cursor.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator

from atd_daemon.host.events import Event, EventLog, frame
from atd_daemon.host.limits import HostLimits
from atd_daemon.host.refusal import Refusal


class Feed:
    """The subscribers of one account's event log."""

    def __init__(self, log: EventLog, limits: HostLimits) -> None:
        self._log = log
        self._limits = limits
        self._lock = threading.Lock()
        self._waiting: dict[asyncio.Event, asyncio.AbstractEventLoop] = {}
        self._closed = False

    def announce(self) -> None:
        """Wake the subscribers: there are new events. From any thread."""
        with self._lock:
            for event, loop in self._waiting.items():
                with contextlib.suppress(RuntimeError):  # its loop ended without it
                    loop.call_soon_threadsafe(event.set)

    def close(self) -> None:
        """End every subscription after what it is sending."""
        self._closed = True
        self.announce()

    async def follow(self, cursor: int | None) -> AsyncGenerator[bytes, None]:
        """The frames for a subscriber that saw events up to ``cursor``; never ends by itself.

        Args:
            cursor: see `EventLog.resume`.

        Raises:
            Refusal: FutureCursor or ConsumerTooSlow; TooManySubscribers before anything was sent.
        """
        news = asyncio.Event()
        with self._lock:
            if len(self._waiting) >= self._limits.max_subscribers:
                raise Refusal("TooManySubscribers", "Too many subscribers; try again later")
            self._waiting[news] = asyncio.get_running_loop()
        try:
            seq, outdated = await asyncio.to_thread(self._log.resume, cursor)
            if outdated:
                message = "Requested cursor exceeded limit. Possibly missing events"
                yield frame("#info", {"name": "OutdatedCursor", "message": message})
            live = False
            while not self._closed:
                news.clear()
                events, newest = await asyncio.to_thread(self._next, seq)
                live = live or not events
                _check_pace(events, seq, newest - seq if live else 0, self._limits)
                for event in events:
                    yield event.frame
                    seq = event.seq
                if not events:
                    await news.wait()
        finally:
            with self._lock:
                del self._waiting[news]

    def _next(self, seq: int) -> tuple[list[Event], int]:
        return self._log.after(seq), self._log.newest()


def _check_pace(events: list[Event], seq: int, lag: int, limits: HostLimits) -> None:
    missed = bool(events) and events[0].seq != seq + 1
    if missed or lag > limits.max_lag_events:
        raise Refusal("ConsumerTooSlow", "Stream consumer too slow")
