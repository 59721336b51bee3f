"""Work that goes on to its end, whoever waits for it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
import weakref

import pytest

from atd.errors import Unreachable
from atd_daemon.sync.together import to_the_end


class Large:
    """Something that should be gone when nobody needs it any more."""


async def test_whoever_is_cancelled_waits_for_the_end() -> None:
    begun, go_on, done = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        go_on.wait(30)
        done.set()

    task = asyncio.ensure_future(to_the_end(asyncio.to_thread(work), give_up=go_on.set))
    await asyncio.to_thread(begun.wait, 30)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done.is_set()


async def test_an_error_keeps_nothing_alive_once_it_was_told() -> None:
    seen: list[weakref.ref[Large]] = []

    def work() -> None:
        large = Large()
        seen.append(weakref.ref(large))
        raise Unreachable("no")

    gc.disable()
    try:
        with contextlib.suppress(Unreachable):
            await to_the_end(asyncio.get_running_loop().run_in_executor(None, work))
        for _ in range(100):  # the thread lets go of its work a moment later
            if seen[0]() is None:
                break
            await asyncio.sleep(0.01)
        assert seen[0]() is None
    finally:
        gc.enable()
