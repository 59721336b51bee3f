"""Seeing to it that every task gets done: one at a time again, until it is, or the data are wrong.

Belongs here: which failures are worth another try, how many tries there are, and what is told of
them. Knows engines by their contract alone.

A task whose worker died, or that met something that may pass (a full disk, a network folder that
is away, whatever an engine's own machinery raises), is submitted again. One that says that the
data or the request are wrong is not: a `BadSource` is the same on every machine. A task that cannot
be sent is done here, in this process.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

from atd.engines.engine import Engine, Function, Outcome, Unsendable, done_here
from atd.engines.here import Here
from atd.errors import (
    AtdError,
    Busy,
    DaemonError,
    EngineFault,
    StorageFault,
    Unreachable,
    rebuild,
)

ATTEMPTS: Final = 3
"""Times that a task is begun, at most."""

_PAUSE_S: Final = 0.2
"""Before a task is tried again while nothing else is to be done; doubled each time."""

_MAY_PASS: Final = (StorageFault, Busy, Unreachable, DaemonError)

Note = Callable[[str, str], None]
"""Told what happened that the user should know of: in a word or two, and in a sentence."""


class Task(Protocol):
    """What the foreman needs of a task: ``what`` it is in words, for the user."""

    @property
    def what(self) -> str:
        """Such as ``part 3 of 8 of the split train``."""


AnyTask = TypeVar("AnyTask", bound=Task)


@dataclass
class _Underway:
    number: int
    task: Any
    attempt: int


class Foreman:
    """Has tasks carried out by an engine.

    Args:
        attempts: times that each is begun, at most.
        note: told of each that is tried again, and of tasks that cannot be sent.
    """

    def __init__(
        self, engine: Engine, note: Note | None = None, *, attempts: int = ATTEMPTS
    ) -> None:
        self._engine = engine
        self._note = note
        self._attempts = attempts
        self._told_unsendable = False
        self._here: list[Outcome] = []

    def carry_out(
        self, function: Function, tasks: Iterable[AnyTask]
    ) -> Iterator[tuple[int, AnyTask, Any]]:
        """The number and the result of each task, in the order in which they end.

        Tasks are taken from ``tasks`` as the engine has room for them.

        Raises:
            AtdError: a task says that something is wrong which trying again does not change, or
                failed as often as it may; the error names it.
        """
        coming = enumerate(tasks)
        again: deque[_Underway] = deque()
        underway: dict[int, _Underway] = {}
        ticket = 0
        while True:
            while len(underway) < self._engine.slots:
                following = again.popleft() if again else self._next(coming)
                if following is None:
                    break
                if following.attempt > 1 and not underway:
                    time.sleep(_PAUSE_S * 2 ** (following.attempt - 2))
                underway[ticket] = following
                self._submit(ticket, function, following.task)
                ticket += 1
            if not underway:
                return
            outcome = self._here.pop() if self._here else self._engine.wait()
            one = underway.pop(outcome.ticket)
            if isinstance(outcome.error, Unsendable):
                self._tell_unsendable(outcome.error)
                outcome = done_here(outcome.ticket, function, one.task)
            if outcome.error is None and outcome.lost is None:
                yield one.number, one.task, outcome.value
            else:
                again.append(self._tried_again(one, outcome))

    def _submit(self, ticket: int, function: Function, task: Any) -> None:
        try:
            self._engine.submit(ticket, function, task)
        except Unsendable as error:
            self._here.append(Outcome(ticket, error=error))

    @property
    def here(self) -> bool:
        """Whether tasks are done by this process, so that it can look on."""
        return isinstance(self._engine, Here)

    def note(self, name: str, detail: str) -> None:
        """Tell the user, if anybody listens."""
        if self._note is not None:
            self._note(name, detail)

    @staticmethod
    def _next(coming: Iterator[tuple[int, Any]]) -> _Underway | None:
        for number, task in coming:
            return _Underway(number, task, 1)
        return None

    def _tried_again(self, one: _Underway, outcome: Outcome) -> _Underway:
        """The task for another try, unless there is no sense in that: then its error."""
        error = outcome.error
        if isinstance(error, AtdError) and not isinstance(error, _MAY_PASS):
            raise error
        why = outcome.lost or said(error)
        if one.attempt >= self._attempts:
            raise _given_up(one, why, error)
        left = self._attempts - one.attempt
        self.note("trying again", f"{one.task.what}: {why} ({left} left)")
        return _Underway(one.number, one.task, one.attempt + 1)

    def _tell_unsendable(self, error: Unsendable) -> None:
        if not self._told_unsendable:
            self.note("done in this process", str(error))
        self._told_unsendable = True


def _given_up(one: _Underway, why: str, error: Exception | None) -> AtdError:
    message = f"{one.task.what} failed {one.attempt} times; the last time: {why}"
    if isinstance(error, AtdError):
        return rebuild(type(error).__name__, message, error.next_step)
    raised = EngineFault(message)
    raised.__cause__ = error
    return raised


def said(error: BaseException | None) -> str:
    """An error in a line."""
    if isinstance(error, AtdError):
        return error.message
    text = " ".join(str(error).split())[:300]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
