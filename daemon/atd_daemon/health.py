"""Is the daemon alive, can it do its work, and is what it knows true? Three answers with reasons.

::

    live    it answers, and its event loop was not held up just now
    ready   index and store can be read and written, and nothing of it has stopped working
    fresh   every followed publisher was heard of or asked, with proof, within ``within_s``

They are apart because what to do differs: restart what is not live, send nobody to what is not
ready, and ask what is not fresh *what it does not know*: it names those publishers, each with its
state and the last error in words. An inactive account is fresh as long as its server was asked
lately and said so. Who follows nobody is fresh, and says that too.

What is judged is what the index has written down, so a restart makes nothing look newer than it is.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from atd.errors import AtdError
from atd.protocol.syntax import Did
from atd_daemon.catalog import Catalog
from atd_daemon.catalog.following import Followed
from atd_daemon.sync.follow.states import State

MIN_FREE_BYTES: Final = 64 * 2**20
"""Less free space than this, and a download or a write will soon fail."""
BEAT_S: Final = 1.0
HELD_UP_S: Final = 5.0
_KEPT_BEATS: Final = 60


@dataclass(frozen=True, slots=True)
class Verdict:
    """One answer; without a reason it is yes. ``notes`` are worth knowing and no reason."""

    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether it is yes."""
        return not self.reasons


@dataclass(frozen=True, slots=True)
class Stale:
    """A followed publisher of whom the newest is not known; ``known_at`` None: it never was."""

    did: Did
    state: str
    known_at: float | None
    reason: str


@dataclass(frozen=True, slots=True)
class Health:
    """The three answers; ``followed`` counts publishers, ``stale`` are those that are not fresh."""

    live: Verdict
    ready: Verdict
    fresh: Verdict
    followed: int
    stale: tuple[Stale, ...]
    within_s: float


class Pulse:
    """Measures how late the event loop comes round: whoever holds it up holds up everybody."""

    def __init__(self, clock: Callable[[], float] | None = None) -> None:
        self._late: list[float] = [0.0]
        self._clock = clock

    @property
    def worst_s(self) -> float:
        """The latest it was in the last minute."""
        return max(self._late)

    def beat(self, late_s: float) -> None:
        """It came round, ``late_s`` seconds later than it should have."""
        self._late = [*self._late[1 - _KEPT_BEATS :], max(0.0, late_s)]

    async def run(self) -> None:
        """Measure until cancelled."""
        now = self._clock or asyncio.get_running_loop().time
        while True:
            due = now() + BEAT_S
            await asyncio.sleep(BEAT_S)
            self.beat(now() - due)


class HealthWatch:
    """Looks at a daemon's parts. Changes nothing.

    Args:
        folders: what must be writable with space left, each with what it is for.
        troubles: what has stopped working, in words; asked each time.
        within_s: how long ago a followed publisher may have been verified.
    """

    def __init__(
        self,
        catalog: Catalog,
        pulse: Pulse,
        folders: Iterable[tuple[str, Path]],
        troubles: Callable[[], Iterable[str]],
        clock: Callable[[], float],
        *,
        within_s: float,
    ) -> None:
        self.within_s = within_s
        self.pulse = pulse
        self._catalog = catalog
        self._folders = tuple(folders)
        self._troubles = troubles
        self._clock = clock

    async def look(self) -> Health:
        """The three answers now."""
        try:
            rows = await asyncio.to_thread(self._read)
            unreadable: tuple[str, ...] = ()
        except AtdError as error:
            rows, unreadable = [], (error.message,)
        space = await asyncio.to_thread(lambda: tuple(_space(*one) for one in self._folders))
        reasons = (*unreadable, *(one for one in space if one), *self._troubles())
        now_s = self._clock()
        stale = tuple(one for row in rows if (one := judged(row, now_s, self.within_s)))
        return Health(
            live=_live(self.pulse.worst_s),
            ready=Verdict(reasons),
            fresh=_fresh(len(rows), stale, self.within_s, unreadable),
            followed=len(rows),
            stale=stale,
            within_s=self.within_s,
        )

    def _read(self) -> list[Followed]:
        return self._catalog.following.rows()


def judged(row: Followed, now_s: float, within_s: float) -> Stale | None:
    """What is not fresh about a followed publisher; None if nothing is. Pure."""
    moments = [at for at in (row.verified_at, row.checked_at) if at is not None]
    known_at = max(moments, default=None)
    settled = row.state in (State.SYNCHRONIZED, State.INACTIVE)
    if row.state == State.INACTIVE:
        known_at = row.checked_at
    if known_at is None:
        return Stale(row.did, row.state, None, _why(row, "nothing of it was proved yet"))
    age_s = now_s - known_at
    if age_s > within_s:
        return Stale(row.did, row.state, known_at, _why(row, f"last known {age_s:.0f} s ago"))
    behind_s = None if row.behind_at is None else now_s - row.behind_at
    if behind_s is not None and behind_s > within_s:
        why = _why(row, f"its server has something newer since {behind_s:.0f} s")
        return Stale(row.did, row.state, known_at, why)
    if not settled and row.message is not None:
        return Stale(row.did, row.state, known_at, _why(row, "its last resync failed"))
    return None


def _why(row: Followed, otherwise: str) -> str:
    """The last error in words, else what is known."""
    return otherwise if row.message is None else f"{otherwise}: {row.message}"


def _live(worst_s: float) -> Verdict:
    if worst_s <= HELD_UP_S:
        return Verdict()
    return Verdict(notes=(f"the event loop was held up for {worst_s:.1f} s in the last minute",))


def _fresh(
    followed: int, stale: tuple[Stale, ...], within_s: float, unreadable: tuple[str, ...]
) -> Verdict:
    if unreadable:
        return Verdict(unreadable)
    if not followed:
        return Verdict(notes=("nobody is followed",))
    if not stale:
        return Verdict()
    return Verdict(
        (f"{len(stale)} of {followed} followed publishers not verified within {within_s:.0f} s",)
    )


def _space(what: str, folder: Path) -> str | None:
    """Why a folder cannot take more, if it cannot."""
    try:
        found = os.statvfs(folder)
    except OSError as error:
        return f"the folder of the {what}, {folder}, cannot be used: {error.strerror}"
    if not os.access(folder, os.W_OK | os.X_OK):
        return f"the folder of the {what}, {folder}, cannot be written"
    free = found.f_bavail * found.f_frsize
    if free < MIN_FREE_BYTES:
        return f"the disk of the {what}, {folder}, has {free} bytes left"
    return None
