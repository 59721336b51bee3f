"""Holding back what a repository is asked for, and counting questions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from following import Following, until
from world import Answer, Call, World


class Gate:
    """Keeps the answers to getRepo, or to another question, back until it is opened."""

    def __init__(self, world: World, path: str = "sync.getRepo?") -> None:
        self._world = world
        self._open = False
        self._asked = 0
        world.lie(self._tell, path=path)

    async def _tell(self, call: Call, answer: Callable[[], Awaitable[Answer]]) -> Answer:
        told = await answer()
        self._asked += 1
        await until(lambda: self._open, "the gate is opened")
        return told

    async def asked(self, times: int = 1) -> None:
        """Wait until somebody asked."""
        await until(lambda: self._asked >= times, "a repository is asked for")

    def open(self) -> None:
        """Let the answers go."""
        self._open = True


def asked(daemon: Following, method: str) -> int:
    """How often a method was called."""
    return sum(f"{method}?" in call.url for call in daemon.world.calls)
