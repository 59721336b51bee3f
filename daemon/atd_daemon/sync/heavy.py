"""Work that a whole repository makes: in threads of its own, one repository of a host at a time.

A repository may be half a gigabyte, and hosts choose what they send. In the threads that answer
users, a few such would keep everybody waiting; here they can only wait for each other, and a host
that has several of them waits for itself first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from atd_daemon.sync.together import to_the_end

T = TypeVar("T")

THREADS: Final = 4


class HeavyWork:
    """Runs functions in `THREADS` threads, one for each host at a time, in the order of asking."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="repository")
        self._turns: dict[str, asyncio.Lock] = {}
        self._asking: dict[str, int] = {}

    async def run(
        self, origin: str, do: Callable[[], T], give_up: Callable[[], object] | None = None
    ) -> T:
        """What ``do`` returns, run when it is the turn of the host at ``origin``.

        Once begun, ``do`` goes on to its end, also if whoever asked is cancelled: ``give_up`` is
        called then, so that it may end early.
        """
        self._asking[origin] = self._asking.get(origin, 0) + 1
        try:
            async with self._turns.setdefault(origin, asyncio.Lock()):
                loop = asyncio.get_running_loop()
                return await to_the_end(loop.run_in_executor(self._threads, do), give_up)
        finally:
            self._asking[origin] -= 1
            if not self._asking[origin]:
                del self._asking[origin], self._turns[origin]
