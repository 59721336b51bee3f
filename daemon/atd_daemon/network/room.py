"""How much of what hosts send may be kept in memory at once, over all of them."""

from __future__ import annotations

import threading
import weakref

from atd.errors import Unreachable


class Room:
    """A number of things for all who hold some; safe for threads.

    Args:
        most: how many may be held at once.
        what: what they are, in words.
    """

    def __init__(self, most: int, what: str) -> None:
        self._most, self._what = most, what
        self._held = 0
        # An owner may be found gone while the lock is held, in the same thread.
        self._lock = threading.RLock()

    def share(self, owner: object) -> Share:
        """What ``owner`` holds, given back when it is gone."""
        share = Share(self)
        weakref.finalize(owner, share.grow, 0)
        return share

    def move(self, before: int, now: int) -> None:
        """Somebody holds ``now`` instead of ``before``.

        Raises:
            Unreachable: that is more than there is room for.
        """
        with self._lock:
            if now > before and self._held + now - before > self._most:
                raise Unreachable(
                    f"there is no room for more than {self._most} {self._what} at once",
                    next_step="try again when other large repositories have been read",
                )
            self._held += now - before


class Share:
    """A part of a `Room`."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._held = 0

    def grow(self, now: int) -> None:
        """Hold ``now`` from here on; raises as `Room.move`."""
        self._room.move(self._held, now)
        self._held = now
