"""Requests that are being answered: a listener that closes waits for each of them.

aiohttp forgets a connection that was lost, lets its handler go on, and may wait for the rest of a
body that cannot come any more. Closing its server then waits for nobody, and the parts that a
handler works with would be closed under it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiohttp import web

LEFT_S: Final = 1.0
"""How long to wait for requests that nobody hears the answer of: a write comes to its end."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class InFlight:
    """Those of one application, and the connections that they came by. Belongs to the event loop's
    thread.
    """

    def __init__(self, app: web.Application) -> None:
        """Note every request of ``app``, which has not been started."""
        self._answering: set[asyncio.Task[Any]] = set()
        self._connections: set[asyncio.Task[Any]] = set()

        @web.middleware
        async def noted(request: web.Request, handler: Handler) -> web.StreamResponse:
            task = asyncio.current_task()
            assert task is not None, "aiohttp handles each request in a task"
            self._answering.add(task)
            if request.task not in self._connections:
                self._connections.add(request.task)
                request.task.add_done_callback(self._connections.discard)
            try:
                return await handler(request)
            finally:
                self._answering.discard(task)

        app.middlewares.insert(0, noted)

    async def end(self, grace_s: float = LEFT_S) -> None:
        """Wait until all is answered, for ``grace_s``; cancel what is left, and wait as long again.

        For when the application's runner was cleaned up: what came by a connection that is open
        has ended then. What does not end even so is given up when the parts close.
        """
        if self._answering:
            await asyncio.wait(self._answering, timeout=grace_s)
        left = self._answering | self._connections
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=grace_s)
