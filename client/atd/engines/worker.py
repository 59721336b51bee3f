"""The life of a worker process of `atd.engines.local`: tasks in, outcomes out.

Belongs here: only that. It ends when the driver closes its end of the socket, or is gone itself:
then after the task in hand, which is harmless to finish.
"""

from __future__ import annotations

from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from typing import Any

from atd.engines.engine import Outcome, Unsendable, done_here
from atd.engines.foreman import said
from atd.errors import EngineFault


def work(descriptor: int) -> None:
    """Do what comes through the socket until its other end is closed."""
    with Connection(descriptor) as pipe:
        while True:
            try:
                message = pipe.recv_bytes()
                pipe.send_bytes(_answer(_outcome(message)))
            except (EOFError, OSError):
                return


def _outcome(message: bytes) -> Outcome:
    try:
        function, task = ForkingPickler.loads(message)
    except Exception as error:  # unpickling imports, and runs, what the task is made of
        return Outcome(0, error=Unsendable(f"a worker cannot make sense of samples: {said(error)}"))
    return done_here(0, function, task)


def _answer(outcome: Outcome) -> Any:
    """The value and the error, pickled; an error that cannot be is told in words."""
    try:
        return ForkingPickler.dumps((outcome.value, outcome.error))
    except Exception as error:  # whatever the user's own exception does when it is pickled
        shown = said(outcome.error or error)
        return ForkingPickler.dumps((None, EngineFault(f"a worker raised {shown}")))
