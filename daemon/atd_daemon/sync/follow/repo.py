"""One followed publisher while the daemon runs: its state, its head, what is due, what is held.

Plain values: who changes them is `board` (states, needs), `intake` (holding) and `tending`.
Everything here belongs to the event loop's thread.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from atd.errors import AtdError
from atd.protocol.frames import CommitMessage, SyncMessage
from atd.protocol.identity import Identity
from atd.protocol.syntax import Did, Tid
from atd_daemon.catalog.following import Head
from atd_daemon.sync.follow.states import State

MAX_HELD: Final = 500
MAX_HELD_BYTES: Final = 16 * 1024 * 1024
MAX_HOST_HELD_BYTES: Final = 32 * 1024 * 1024
MAX_ALL_HELD_BYTES: Final = 128 * 1024 * 1024
"""Of the events of one repository that wait for its resync, of those that one host told, and of
those of all repositories."""
_EVENT_BYTES: Final = 1000
_OP_BYTES: Final = 500
"""What an event, and an operation of it, take beside blocks and paths."""

SETTLED: Final = frozenset(
    {State.SYNCHRONIZED, State.INACTIVE, State.UNREACHABLE, State.FAILED},
)
"""States in which the first question after following somebody has its answer."""


class Need(IntEnum):
    """What a repository needs done, first things first."""

    IDENTITY = 0
    """Resolve it anew: key, PDS and handles may have changed."""
    DOCUMENT = 1
    """Look whether its document changed, though nobody told."""
    STATUS = 2
    """Ask its PDS whether the account is active."""
    CHECK = 3
    """Ask its PDS for its head, and compare."""
    RESYNC = 4
    """Read all of it again."""


@dataclass(frozen=True, slots=True)
class Held:
    """An event that waits for the end of a resync: which one, and of which host's stream."""

    origin: str
    message: CommitMessage | SyncMessage

    @property
    def size(self) -> int:
        """About what it takes in memory."""
        message = self.message
        ops = message.ops if isinstance(message, CommitMessage) else ()
        return len(message.blocks) + sum(len(op.path) + _OP_BYTES for op in ops) + _EVENT_BYTES


@dataclass(slots=True, eq=False)
class Repo:
    """One followed publisher.

    ``behind`` is a revision that its PDS showed and that we do not have yet; ``missed`` says that
    events about it may have gone by unheard, by nobody's fault; ``failures`` counts resyncs in a
    row that failed or had to be done again, ``synced_at`` is when the last one that did not was
    done; ``task`` tends it. ``claimed_active`` and ``claimed_handle`` are what unsigned messages
    said and its source has not confirmed.
    """

    did: Did
    state: State
    head: Head | None = None
    host: str | None = None
    identity: Identity | None = None
    identity_at: float | None = None
    document_at: float | None = None
    due: dict[Need, float] = field(default_factory=dict)
    held: deque[Held] = field(default_factory=deque)
    held_bytes: int = 0
    behind: Tid | None = None
    missed: bool = False
    failures: int = 0
    synced_at: float | None = None
    claimed_active: tuple[str, bool] | None = None
    claimed_handle: tuple[str, str] | None = None
    asked_at: dict[Need, float] = field(default_factory=dict)
    error: AtdError | None = None
    tended: bool = False
    task: asyncio.Task[None] | None = None

    def take_due(self, now: float) -> Need | None:
        """The first thing that is due, which is then no longer noted as due."""
        for need in Need:
            if self.due.get(need, now + 1) <= now:
                del self.due[need]
                return need
        return None

    def hold(self, event: Held) -> None:
        """Keep an event for later."""
        self.held.append(event)
        self.held_bytes += event.size

    def release(self) -> Held:
        """The oldest event that was kept."""
        event = self.held.popleft()
        self.held_bytes -= event.size
        return event

    def first_held(self, origin: str) -> int | None:
        """The sequence number of the oldest event of a host that waits here."""
        return next((held.message.seq for held in self.held if held.origin == origin), None)
