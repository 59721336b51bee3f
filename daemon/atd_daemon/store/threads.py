"""Disk work in threads, none of which outlives the task that began it.

A cancelled task stops waiting for its thread, and the thread writes on, perhaps to a file that was
closed meanwhile and whose number is another file's now. So here a cancellation waits until the
thread has returned.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def to_the_end(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run ``function`` in a thread; a cancellation waits until it has returned."""
    work = asyncio.ensure_future(asyncio.to_thread(function, *args, **kwargs))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        while not work.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([work])
        if not work.cancelled():
            work.exception()  # the cancellation is what the caller hears of
        raise


class WriteBehind:
    """One thing at a time done in a thread, while its task goes on.

    `finish` must be the last call, also after an error, so that nothing is left running.
    """

    def __init__(self) -> None:
        self._running: asyncio.Task[Any] | None = None

    async def start(self, function: Callable[..., Any], *args: Any) -> None:
        """Begin ``function`` once what was begun before is done; raises what that raised."""
        await self.finish()
        self._running = asyncio.create_task(to_the_end(function, *args))

    async def finish(self) -> None:
        """Wait for what was begun; raises what it raised."""
        while self._running is not None:
            work = self._running
            try:
                await asyncio.shield(work)
            finally:
                if work.done():
                    self._running = None
