"""Streaming answers: one JSON object a line, the last one a result or an error.

A handler gets `Events` and says what happens; the writer sends it. Progress is a state, not a
history: only the newest is kept, and sent a few times a second. Steps are kept in order. When the
client goes away the handler's task is cancelled; what it did is journaled, so it can go on later.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiohttp import web

from atd import api
from atd.errors import AtdError

PROGRESS_EVERY_S: Final = 0.1
LOOK_EVERY_S: Final = 1.0
KEEPALIVE_S: Final = 10.0

_log = logging.getLogger(__name__)


class Events:
    """What a streaming handler has to say. Belongs to the event loop's thread."""

    def __init__(self) -> None:
        self._steps: deque[dict[str, Any]] = deque()
        self._progress: dict[str, Any] | None = None
        self._news = asyncio.Event()

    def progress(self, **values: Any) -> None:
        """How far it is now; replaces what was said before and not yet sent."""
        self._progress = values
        self._news.set()

    def step(self, **values: Any) -> None:
        """Something that happened once; every step is sent, in order.

        How far it was before that is not said any more: it would come after the step.
        """
        self._steps.append(values)
        self._progress = None
        self._news.set()

    def wake(self) -> None:
        """Make the writer look again."""
        self._news.set()

    async def wait(self, timeout_s: float) -> None:
        """Wait for news, but not longer than ``timeout_s``."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._news.wait()
        self._news.clear()

    def take(self) -> list[dict[str, Any]]:
        """The events to send now, progress after the steps that led to it."""
        taken = [{"step": step} for step in self._steps]
        self._steps.clear()
        if self._progress is not None:
            taken.append({"progress": self._progress})
            self._progress = None
        return taken


Run = Callable[[Events], Awaitable[dict[str, Any]]]


async def stream(request: web.Request, run: Run) -> web.StreamResponse:
    """Answer ``request`` with the events of ``run`` and its result or error."""
    response = web.StreamResponse(headers={"Content-Type": api.JSONL})
    await response.prepare(request)
    events = Events()
    task = asyncio.ensure_future(run(events))
    task.add_done_callback(lambda _: events.wake())
    try:
        await _relay(request, response, events, task)
    except ConnectionError:
        _log.info("%s: the client went away", request.path)
    finally:
        await _cancel(task)
    return response


async def _relay(
    request: web.Request,
    response: web.StreamResponse,
    events: Events,
    task: asyncio.Future[dict[str, Any]],
) -> None:
    """Send events until the task is done and everything was sent."""
    clock = asyncio.get_running_loop().time
    sent_at = clock()
    while True:
        await events.wait(LOOK_EVERY_S)
        finished = task.done()
        if request.transport is None or request.transport.is_closing():
            raise ConnectionResetError
        lines = events.take()
        if finished:
            lines = [line for line in lines if "progress" not in line] + [outcome(task)]
        if lines or clock() - sent_at > KEEPALIVE_S:
            data = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
            await response.write(data or b"\n")
            sent_at = clock()
        if finished:
            await response.write_eof()
            return
        if lines:
            await asyncio.sleep(PROGRESS_EVERY_S)


def outcome(task: asyncio.Future[dict[str, Any]]) -> dict[str, Any]:
    """The last line of a stream whose task is done."""
    if task.cancelled():
        return {"error": "DaemonAway", "message": "the daemon is stopping", "nextStep": ""}
    error = task.exception()
    if error is None:
        return {"result": task.result()}
    return error_body(error)


def error_body(error: BaseException) -> dict[str, Any]:
    """The error object for ``error``; a defect is logged and told apart from what atd raises."""
    if isinstance(error, AtdError):
        return api.error_to_wire(error)
    _log.error("a defect", exc_info=error)
    return {
        "error": "InternalServerError",
        "message": f"a defect in the daemon: {type(error).__name__}",
        "nextStep": "see: atd daemon logs; please report it",
    }


async def _cancel(task: asyncio.Future[Any]) -> None:
    """End ``task`` and wait until it is over, however it ends."""
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled():
        task.exception()  # retrieved: it was sent, or nobody is left to hear it
