"""The daemon's log: its two forms, and why nobody can make it grow as they like.

What belongs here: how a record becomes a line (text for people, JSON for programs), and `Flood`,
which decides whether it becomes one at all.

Rules. A line is one line: control characters are made visible, what looks like a secret is left
out, and it has an end. What strangers send may be told, but how often it is told is not up to them:
each place in the code that logs has an allowance of its own, which fills up slowly, and all
together have one. What was left out is counted, and said with the next line from that place.
"""

from __future__ import annotations

import json
import logging
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from atd.protocol.syntax import spell_datetime

BURST: Final = 60
"""Lines from one place in the code that are written without pause."""
EVERY_S: Final = 5.0
"""After that, one line from there in so many seconds."""
BURST_ALL: Final = 1_000
EVERY_ALL_S: Final = 0.5
MAX_LINE: Final = 4_000
MAX_TRACE: Final = 20_000
_TEXT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_SECRET: Final = re.compile(
    r"(?i)\bbearer\s+\S+"
    r"|(?:password|jwt|token|secret)[\"']?\s*[:=]\s*[\"']?[^\s\"',}]+"
    r"|\beyJ[\w-]+\.[\w-]+\.[\w-]+"
)


class PlainFormatter(logging.Formatter):
    """One line per line: control characters made visible, what looks like a secret left out."""

    def __init__(self, form: str = _TEXT) -> None:
        super().__init__(form)

    def format(self, record: logging.LogRecord) -> str:
        """The record as text; a traceback keeps its lines, set in: whatever an exception says, it
        makes no line that looks like one of the log's."""
        text = _SECRET.sub("[secret]", super().format(record)) + _left_out(record)
        lines = text[:MAX_TRACE].split("\n")
        if record.exc_info is None:
            lines = ["\\n".join(lines)[:MAX_LINE]]
        return "\n  ".join(
            "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line) for line in lines
        )


class JsonFormatter(logging.Formatter):
    """One JSON object per line: ``at``, ``level``, ``logger``, ``message``; ``error`` (class) and
    ``traceback`` where there is an exception; ``omitted``, lines like it that were left out before.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The record as an ASCII line."""
        said: dict[str, object] = {
            "at": spell_datetime(datetime.fromtimestamp(record.created, UTC)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _SECRET.sub("[secret]", record.getMessage())[:MAX_LINE],
        }
        if record.exc_info is not None and record.exc_info[0] is not None:
            said["error"] = record.exc_info[0].__name__
            trace = self.formatException(record.exc_info)
            said["traceback"] = _SECRET.sub("[secret]", trace)[-MAX_TRACE:]
        omitted = getattr(record, "omitted", 0)
        if omitted:
            said["omitted"] = omitted
        return json.dumps(said)


FORMATTERS: Final[dict[str, Callable[[], logging.Formatter]]] = {
    "text": PlainFormatter,
    "json": JsonFormatter,
}


@dataclass
class _Allowance:
    """So many lines at once, and one more in so many seconds."""

    burst: int
    every_s: float
    left: float
    at_s: float

    def take(self, now_s: float) -> bool:
        """Whether there is one left, which is then taken."""
        self.left = min(self.burst, self.left + (now_s - self.at_s) / self.every_s)
        self.at_s = now_s
        if self.left < 1:
            return False
        self.left -= 1
        return True


class Flood(logging.Filter):
    """Lets through so many lines from each place in the code, and so many in all.

    ``dropped`` counts all that it held back. The number of places is that of the code's own lines,
    so what this remembers is bounded whatever they are told to say. Safe with threads.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        *,
        burst: int = BURST,
        every_s: float = EVERY_S,
        burst_all: int = BURST_ALL,
        every_all_s: float = EVERY_ALL_S,
    ) -> None:
        super().__init__()
        self.dropped = 0
        self._clock = clock
        self._burst, self._every_s = burst, every_s
        self._all = _Allowance(burst_all, every_all_s, burst_all, clock())
        self._places: dict[tuple[str, int], _Allowance] = {}
        self._omitted: dict[tuple[str, int], int] = {}
        self._lock = threading.Lock()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether ``record`` becomes a line; if so it carries how many like it did not."""
        if getattr(record, "judged", None) is not None:
            return bool(record.judged)  # type: ignore[attr-defined]  # by this, for another handler
        place, now_s = (record.pathname, record.lineno), self._clock()
        with self._lock:
            allowance = self._places.get(place)
            if allowance is None:
                allowance = _Allowance(self._burst, self._every_s, self._burst, now_s)
                self._places[place] = allowance
            passes = allowance.take(now_s) and self._all.take(now_s)
            if passes:
                record.omitted = self._omitted.pop(place, 0)
            else:
                self.dropped += 1
                self._omitted[place] = self._omitted.get(place, 0) + 1
        record.judged = passes
        return passes


FLOOD: Final = Flood()
"""The one of this process; `atd_daemon.lifecycle.keep_log` puts it before its handlers."""


def _left_out(record: logging.LogRecord) -> str:
    omitted = getattr(record, "omitted", 0)
    return f" ({omitted} more like this were left out)" if omitted else ""
