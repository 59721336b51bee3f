"""What a #commit means to a repository of which some head is known: pure functions, no clock.

These are the rules of the message checklist that need memory. They are asked twice: `before_proof`
looks at what the message claims, so that nothing old is proved again; `after_proof` at what was
proved. A message that is neither news nor covered has a reason of `atd.protocol.rejects`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from atd.protocol.cbor import Cid
from atd.protocol.live import VerifiedDiff
from atd.protocol.rejects import Reject
from atd.protocol.syntax import Tid
from atd_daemon.catalog.following import Head


class Meaning(Enum):
    """What a message is that breaks no rule."""

    NEWS = "news"
    """Later than everything that is known."""
    COVERED = "covered"
    """What a resync, or the stream before it was cut, brought already."""


@dataclass(frozen=True, slots=True)
class Told:
    """The newest commit of a repository that one connection of a host told and that was proved."""

    rev: Tid
    commit: Cid


def before_proof(
    head: Head | None, told: Told | None, rev: Tid, commit: Cid, latest_s: float
) -> Meaning | Reject:
    """What a message about ``commit`` at ``rev`` claims to be.

    That a host tells something twice within one connection is its fault. That it tells what a
    resync brought already is not: the two race.

    Args:
        head: the newest commit that was taken in.
        told: the newest one that this connection told.
        latest_s: revisions later than this moment (seconds since 1970) lie in the future.
    """
    if rev.micros / 1e6 > latest_s:
        return Reject.FUTURE_REV
    if told is not None and rev <= told.rev:
        if rev < told.rev:
            return Reject.STALE_REV
        return Reject.DUPLICATE if commit == told.commit else Reject.EQUIVOCATION
    if head is None or rev > head.rev:
        return Meaning.NEWS
    if rev == head.rev and commit != head.commit:
        return Reject.EQUIVOCATION
    return Meaning.COVERED


def after_proof(head: Head | None, diff: VerifiedDiff) -> Reject | None:
    """Whether a proved commit continues ``head``: None if it does."""
    before = (None, None) if head is None else (head.rev, head.data)
    return None if (diff.since, diff.prev_data) == before else Reject.BROKEN_CHAIN
