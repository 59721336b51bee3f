"""What an engine is: it takes tasks, and gives their outcomes as they come.

Belongs here: the contract between the foreman and an engine, which others may implement too (entry
points of the group ``atd.engines``; see `atd.engines.choosing`).

Rules. An engine never tries again by itself where it can be told not to: how often, and what the
user hears of it, is the foreman's (`atd.engines.foreman`). What a task raises is an outcome, and so
is the death of the worker that had it. An engine belongs to one thread.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

Function: TypeAlias = Callable[[Any], Any]
"""What is done with a task: a function of a module, so that a worker finds it by its name."""


class Unsendable(Exception):
    """A task cannot go to another process: it must be done in this one. No user sees this."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one task.

    Args:
        ticket: by which it was submitted.
        value: what the function returned.
        error: what it raised instead.
        lost: how the worker ended before it could say either, in words.
    """

    ticket: int
    value: Any = None
    error: Exception | None = None
    lost: str | None = None


def done_here(ticket: int, function: Function, task: Any) -> Outcome:
    """The outcome of a task that this process does, at once."""
    try:
        return Outcome(ticket, value=function(task))
    except Exception as error:  # whatever a task raises is its outcome
        return Outcome(ticket, error=error)


class Engine(Protocol):
    """Carries out tasks.

    ``name`` is that by which the user chose it; ``slots`` how many tasks are worth submitting
    before one has ended.
    """

    name: str
    slots: int

    def submit(self, ticket: int, function: Function, task: Any) -> None:
        """Take a task; `wait` will give its outcome under ``ticket``.

        Raises:
            Unsendable: it cannot be sent to where the workers are.
        """

    def wait(self) -> Outcome:
        """The outcome of whichever submitted task ends next; there is at least one."""

    def close(self) -> None:
        """Give up what is under way, and let go of every worker that this engine started."""
