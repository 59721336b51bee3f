"""How packing and verifying tell of what they do: events like the daemon's.

Belongs here: from what `Source`s and engines call to what a user's ``on_progress`` hears.
"""

from __future__ import annotations

from atd.engines.foreman import Note
from atd.publishing.sources.source import Progress
from atd.service import OnProgress


def telling(on_progress: OnProgress | None) -> Progress | None:
    """What opening and packing call, so that ``on_progress`` hears events like the daemon's."""
    if on_progress is None:
        return None

    def tell(what: str, done: int, total: int | None) -> None:
        state = {"name": what, "done": done, "total": total or 0, "unit": "samples"}
        on_progress({"progress": state})

    return tell


def noting(on_progress: OnProgress | None) -> Note | None:
    """What packing calls to tell of what happened, so that ``on_progress`` hears of a step."""
    if on_progress is None:
        return None
    return lambda name, detail: on_progress({"step": {"name": name, "detail": detail}})
