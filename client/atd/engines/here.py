"""The engine that is no engine: this process alone, one task after the other.

Belongs here: only that. It is `atd.engines.local` with one worker, and what does tasks for which
starting a process does not pay.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final

from atd.engines.engine import Function, Outcome, done_here

NAME: Final = "local"


class Here:
    """This process alone, one task after the other."""

    name = NAME
    slots = 1

    def __init__(self) -> None:
        self._waiting: deque[tuple[int, Function, Any]] = deque()

    def submit(self, ticket: int, function: Function, task: Any) -> None:
        """Take a task."""
        self._waiting.append((ticket, function, task))

    def wait(self) -> Outcome:
        """Do the next task."""
        return done_here(*self._waiting.popleft())

    def close(self) -> None:
        """Nothing to let go of."""
        self._waiting.clear()
