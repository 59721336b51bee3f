"""Waiting as told, and trying again: how a publication outlasts a server's bad minutes.

A 429 says until when to wait, and that is done, if it is not longer than ``max_wait_s``; whoever
listens hears how long. No answer, a timeout or a 5xx is tried again a few times, with growing
pauses, but only where trying again is harmless: the caller decides. Nothing else is retried.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Protocol, TypeVar

from atd.errors import Offline, RateLimited, Unreachable

T = TypeVar("T")

MAX_WAIT_S: Final = 3600.0
"""Longest wait that is sat out; beyond it the user is told when to come back."""

MAX_SILENT_WAIT_S: Final = 60.0
"""The same where nobody can be told that there is a wait."""

_UNTOLD_S: Final = 30.0
_PAUSES_S: Final = (0.5, 1.0, 2.0, 4.0, 8.0)
_TELL_S: Final = 5.0
_MAX_WAITS: Final = 20


class Listener(Protocol):
    """Who hears how a publication goes; see `atd_daemon.server.streams.Events`."""

    def progress(self, **values: Any) -> None:
        """How far it is: ``done`` and ``total`` bytes, ``shards`` and ``shardsTotal``, ``name``."""

    def step(self, **values: Any) -> None:
        """Something that was done: ``name``, ``detail``."""


class Nobody:
    """A `Listener` that is not there: the caller waits for one answer."""

    def progress(self, **values: Any) -> None:
        """See `Listener.progress`."""

    def step(self, **values: Any) -> None:
        """See `Listener.step`."""


@dataclass(frozen=True)
class Clock:
    """Time: ``now`` in seconds since 1970, and ``sleep``. Tests have one that does not wait."""

    now: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[None]] = field(default=asyncio.sleep)


class Patience:
    """Asks, waits, asks again."""

    def __init__(self, clock: Clock, listener: Listener, max_wait_s: float = MAX_WAIT_S) -> None:
        self._clock = clock
        self._listener = listener
        self._max_wait_s = max_wait_s

    async def harmless(self, what: str, ask: Callable[[], Awaitable[T]]) -> T:
        """The answer of ``ask``, which may be asked any number of times without harm.

        Args:
            what: what is being done, in words.

        Raises:
            AtdError: what ``ask`` raises; RateLimited and Unreachable only after waiting.
        """
        for pause_s in (*_PAUSES_S, None):
            try:
                return await self.told_to_wait(what, ask)
            except (Offline, RateLimited):
                raise
            except Unreachable:
                if pause_s is None:
                    raise
                await self._again(what, pause_s)
        raise AssertionError("the last round returns or raises")

    async def told_to_wait(self, what: str, ask: Callable[[], Awaitable[T]]) -> T:
        """The answer of ``ask``, after every wait that the other side asks for."""
        for _ in range(_MAX_WAITS):
            try:
                return await ask()
            except RateLimited as error:
                await self._wait(what, error)
        return await ask()

    async def pause(self, what: str, attempt: int) -> None:
        """Wait a little before the attempt after number ``attempt``, counted from 0."""
        await self._again(what, _PAUSES_S[min(attempt, len(_PAUSES_S) - 1)])

    async def _again(self, what: str, pause_s: float) -> None:
        self._listener.progress(name=f"{what}: no answer, trying again", done=0, total=0)
        await self._clock.sleep(pause_s)

    async def _wait(self, what: str, error: RateLimited) -> None:
        wait_s = _UNTOLD_S if error.retry_after_s is None else max(error.retry_after_s, 1.0)
        until = self._clock.now() + wait_s
        when = datetime.fromtimestamp(until, UTC).isoformat(timespec="seconds")
        if wait_s > self._max_wait_s:
            raise RateLimited(
                f"{error.message} (until {when}); what was sent so far is kept",
                retry_after_s=wait_s,
                next_step=f"run the same command again after {when}: it goes on where it was",
            ) from error
        self._listener.step(name="waiting", detail=f"{what}: {error.message}, until {when}")
        while (left := until - self._clock.now()) > 0:
            self._listener.progress(name=f"waiting: {what}", done=0, total=0, waitS=int(left) + 1)
            await self._clock.sleep(min(left, _TELL_S))
