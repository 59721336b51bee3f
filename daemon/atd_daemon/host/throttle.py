"""How often an address may fail to log in.

Only failures count, and they count by address, so that somebody who guesses does not lock the owner
out. The table is bounded: when it is full the address that failed longest ago is forgotten. In
memory; a restart forgets everything.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final

from atd_daemon.host.refusal import Refusal

_MAX_ADDRESSES: Final = 10_000


class Throttle:
    """Failures of the last ``window_s`` seconds, at most ``limit`` to an address.

    Used from the event loop only.
    """

    def __init__(self, limit: int, window_s: float, clock: Callable[[], float]) -> None:
        self._limit = limit
        self._window_s = window_s
        self._clock = clock
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()

    def check(self, address: str) -> None:
        """Refuse an address that failed too often.

        Raises:
            Refusal: RateLimitExceeded, says how long to wait.
        """
        failures = self._failures.get(address)
        if failures is None:
            return
        now = self._clock()
        while failures and failures[0] <= now - self._window_s:
            failures.popleft()
        if len(failures) >= self._limit:
            wait_s = failures[0] + self._window_s - now
            raise Refusal("RateLimitExceeded", "Rate Limit Exceeded", retry_after_s=wait_s)

    def failed(self, address: str) -> None:
        """Count a failure."""
        self._failures.setdefault(address, deque(maxlen=self._limit)).append(self._clock())
        self._failures.move_to_end(address)
        if len(self._failures) > _MAX_ADDRESSES:
            self._failures.popitem(last=False)

    def succeeded(self, address: str) -> None:
        """Take back one failure: the attempt that was counted beforehand was right."""
        failures = self._failures.get(address)
        if failures:
            failures.pop()
