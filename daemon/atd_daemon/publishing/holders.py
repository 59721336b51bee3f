"""Who holds a publication: a process, told apart from a later one with the same id.

A publication lasts as long as its caller packs, which may be hours, so no lease by time would do:
a process that is gone holds nothing, and one that is there holds what it began.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that publishes: its id, when it started, and which of its calls this is.

    ``pid`` 0 means that it is not known: such a publication can be taken over at any time that
    nothing of it is being sent.
    """

    pid: int = 0
    started: str = ""
    call: str = ""

    @classmethod
    def of(cls, pid: int, call: str) -> Holder:
        """The process with this id, as it is now."""
        return cls(pid, started_at(pid), call)

    @classmethod
    def read(cls, text: str | None) -> Holder:
        """The holder that `spelt` gave."""
        return cls() if text is None else cls(*json.loads(text))

    def spelt(self) -> str | None:
        """The holder as text, for the journal; None where it is not known."""
        return json.dumps([self.pid, self.started, self.call]) if self.pid else None

    def alive(self) -> bool:
        """Whether that very process still runs; an id that another process got does not count."""
        return self.pid > 0 and bool(self.started) and started_at(self.pid) == self.started


def started_at(pid: int) -> str:
    """When the process with this id started, in the kernel's own ticks; empty: there is none.

    Field 22 of ``/proc/PID/stat`` (proc(5)). Where there is no ``/proc``, that it runs must do.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text("ascii", "replace")
    except OSError:
        if os.path.isdir("/proc/self"):
            return ""
        return "?" if _runs(pid) else ""
    return text.rpartition(")")[2].split()[19]


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it is another user's, so it runs
    return True
