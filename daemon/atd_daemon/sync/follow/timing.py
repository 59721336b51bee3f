"""The clock, the waiting and the dice: what following needs of time, in one value.

Tests bring a `Time` of their own, whose clock they turn by hand; nothing in this room reads another
clock or sleeps in another way.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

HOUR_S: Final = 3600.0


class Time(Protocol):
    """A clock (seconds since 1970), a way to wait, and a number from 0 up to 1 by chance."""

    def now(self) -> float:
        """The time."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...

    def chance(self) -> float:
        """A number from 0 up to, not including, 1."""
        ...


class WallTime:
    """Waiting as it is, by the clock of this machine or another one."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock

    def now(self) -> float:
        """See `Time.now`."""
        return self._clock()

    async def sleep(self, seconds: float) -> None:
        """See `Time.sleep`."""
        await asyncio.sleep(seconds)

    def chance(self) -> float:
        """See `Time.chance`."""
        return random.random()  # noqa: S311 - spreads load, hides nothing


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before trying again: doubled with each failure, up to ``longest_s``.

    Between half of it and all of it, by chance: many who failed at one moment do not return at one.
    """

    first_s: float
    longest_s: float

    def delay_s(self, failures: int, chance: float) -> float:
        """The wait after so many failures in a row (0: after the first)."""
        full = min(self.longest_s, self.first_s * 2.0 ** min(failures, 30))
        return full * (0.5 + chance / 2)


HOST: Final = Backoff(first_s=1.0, longest_s=300.0)
"""Between two connections to the event stream of a host."""
UNREACHABLE: Final = Backoff(first_s=5.0, longest_s=900.0)
"""Between two resyncs that got no answer."""
REFUSED: Final = Backoff(first_s=30.0, longest_s=HOUR_S)
"""Between two resyncs that did not prove."""
GAPS: Final = Backoff(first_s=1.0, longest_s=300.0)
"""Between two resyncs of a repository whose chain breaks again and again."""
