"""Doing several things at once: all of them, or the first thing that went wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, TypeVar

A = TypeVar("A")
B = TypeVar("B")

AT_ONCE: Final = 6
"""How many requests one question of a user may have under way."""


async def to_the_end(job: Awaitable[A], give_up: Callable[[], object] | None = None) -> A:
    """The result of ``job``, which goes on to its end even if whoever waits for it is cancelled.

    For work in a thread that writes: nobody can stop it, so whoever gives it up waits until it is
    over, and knows then what is written.

    Args:
        give_up: called when the one who waits is cancelled, so that ``job`` may end early.
    """
    future = asyncio.ensure_future(job)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        if give_up is not None:
            give_up()
        await asyncio.wait([future])
        if not future.cancelled():
            future.exception()  # retrieved: nobody is left to hear it
        raise
    finally:
        # An error names this frame, and the frame would name the error: such rings are found late,
        # and this one may hold megabytes.
        del future, job


async def together(
    do: Callable[[A], Awaitable[B]], items: Iterable[A], *, at_once: int = AT_ONCE
) -> list[B]:
    """``do`` for each item, ``at_once`` at a time; the results in the order of the items.

    The first error cancels the rest, is waited out, and is raised as itself (not in a group).
    """
    gate = asyncio.Semaphore(at_once)

    async def one(item: A) -> B:
        async with gate:
            return await do(item)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(item)) for item in items]
    except BaseExceptionGroup as several:
        raise several.exceptions[0] from None
    return [task.result() for task in tasks]
