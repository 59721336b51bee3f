"""What a followed repository can be, and what may happen to it: one table, and nothing else.

::

                     ┌──────────── GAP ─────────────┐
                     ▼                              │
    followed ─▶ DESYNCHRONIZED ── BEGUN ──▶ SYNCING ┴─ CAUGHT_UP ──▶ SYNCHRONIZED ── GAP ─┐
                     ▲  ▲                    │   │                                        │
                     │  └────────────────────│───│────────────────────────────────────────┘
                     │              NO_ANSWER│   │REFUSED
                     │                       ▼   ▼
                  RETURNED        UNREACHABLE     FAILED ── BEGUN ──▶ SYNCING
                     │
                  INACTIVE ◀── LEFT ── (any)

Every pair of state and event is in `TRANSITIONS`: that something cannot be is said by leaving the
state as it is, never by leaving it out. The daemon keeps the state in its index; what is neither
`SYNCHRONIZED` nor `INACTIVE` there begins anew after a restart.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class State(StrEnum):
    """What is known of a followed repository, as lists show it."""

    DESYNCHRONIZED = "desynchronized"
    """The index may lack something: a resync is due."""
    SYNCING = "syncing"
    """A resync is under way; live events are held until it is done."""
    SYNCHRONIZED = "synchronized"
    """The index holds what the publisher had signed when it was last heard of or asked."""
    INACTIVE = "inactive"
    """Deactivated, suspended, taken down or deleted, confirmed by its PDS: listed no more."""
    UNREACHABLE = "unreachable"
    """The last resync got no usable answer: it is tried again."""
    FAILED = "failed"
    """The last resync got an answer that does not prove: it is tried again, less often."""


class Event(StrEnum):
    """What may happen to a followed repository."""

    BEGUN = "begun"
    """A resync begins."""
    CAUGHT_UP = "caught_up"
    """A resync was stored, and every event that was held meanwhile is processed."""
    GAP = "gap"
    """Something is missing: a broken chain, another head, too many held events, another PDS."""
    NO_ANSWER = "no_answer"
    """A resync could not be had."""
    REFUSED = "refused"
    """What a resync gave does not prove, or is older than what is known."""
    LEFT = "left"
    """Its PDS confirms that the account is not active."""
    RETURNED = "returned"
    """Its PDS confirms that the account is active."""


def _table() -> Mapping[tuple[State, Event], State]:
    s, e = State, Event
    desync, syncing, synced = s.DESYNCHRONIZED, s.SYNCING, s.SYNCHRONIZED
    gone, away, failed = s.INACTIVE, s.UNREACHABLE, s.FAILED
    rows: dict[Event, tuple[State, ...]] = {
        #             desync   syncing  synced   gone    away     failed
        e.BEGUN: (syncing, syncing, syncing, gone, syncing, syncing),
        e.CAUGHT_UP: (desync, synced, synced, gone, away, failed),
        e.GAP: (desync, desync, desync, gone, away, failed),
        e.NO_ANSWER: (away, away, away, gone, away, away),
        e.REFUSED: (failed, failed, failed, gone, failed, failed),
        e.LEFT: (gone, gone, gone, gone, gone, gone),
        e.RETURNED: (desync, syncing, synced, desync, away, failed),
    }
    columns = (desync, syncing, synced, gone, away, failed)
    return MappingProxyType(
        {
            (before, event): after
            for event, row in rows.items()
            for before, after in zip(columns, row, strict=True)
        }
    )


TRANSITIONS: Final = _table()


def after(state: State, event: Event) -> State:
    """The state that follows on ``state`` when ``event`` happens."""
    return TRANSITIONS[state, event]
