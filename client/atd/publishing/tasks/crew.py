"""Who does the tasks of one packing: this process for little, an engine for much.

Belongs here: when an engine is worth starting, and that it is started once for all splits.
"""

from __future__ import annotations

from contextlib import ExitStack
from types import TracebackType
from typing import Final, Self

from atd.engines.choosing import check_engine, open_engine
from atd.engines.foreman import Foreman, Note
from atd.engines.here import Here

PAYS_S: Final = 5.0
"""Seconds of processor time from which processes of this machine pay for starting them.

Files that are only copied and hashed take some 1 ms a megabyte, most of it in threads already: two
processes win nothing there (``benchmarks/engines.py``). Decoding takes 20 to 50 times as much.
"""


class Crew:
    """The foreman for each split; as a context manager it lets go of every worker.

    Args:
        engine: ``NAME`` or ``NAME=ADDRESS``; ``local`` where it is None.
        workers: tasks at a time; None: as many as the engine has processors.
        note: told of what the user should know.

    Raises:
        EngineFault: there is no such engine.
    """

    def __init__(self, engine: str | None, workers: int | None, note: Note | None) -> None:
        self._asked = check_engine(engine)
        self._workers = workers
        self._note = note
        self._stack = ExitStack()
        self._engine: Foreman | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    @property
    def chosen(self) -> bool:
        """Whether the user said who is to do the tasks: then also what is little is a task."""
        return self._asked is not None or self._workers is not None

    def stay(self, why: str) -> None:
        """Say that this process does it, to whoever chose another."""
        if self.chosen and self._workers != 1 and self._note is not None:
            self._note("done in this process", why)

    def foreman(self, seconds: float) -> Foreman:
        """Who has tasks done that take one processor so long, about.

        Raises:
            EngineFault: the engine cannot be started.
        """
        if not self.chosen and seconds < PAYS_S:
            return Foreman(Here(), self._note)
        if self._engine is None:
            opened = self._stack.enter_context(open_engine(self._asked, self._workers))
            self._engine = Foreman(opened, self._note)
        return self._engine
