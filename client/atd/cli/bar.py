"""The progress line: one line on stderr that says what is going on, how far it is, how fast.

On a terminal it is redrawn in place; elsewhere each phase is announced once, and after that a line
now and then says that work goes on, so that a log tells the story without being one of bars.
"""

from __future__ import annotations

import io
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self, TextIO

from atd.cli.output import clean, human_bytes

_REDRAW_S: Final = 0.1
_ALIVE_S: Final = 30.0
_SETTLED_S: Final = 1.0
_CELLS: Final = 24
_PATIENCE_S: Final = 1.0


@dataclass(frozen=True)
class Moment:
    """How far some work is: ``done`` of ``total`` (0: not known), in bytes or in ``unit``."""

    phase: str
    done: int | None = None
    total: int = 0
    unit: str = "bytes"
    message: str = ""


class Bar:
    """A progress line for the time of a ``with`` block.

    Args:
        stream: where it is drawn; stderr where it is None.
        quiet: draw nothing at all.
    """

    def __init__(self, stream: TextIO | None = None, *, quiet: bool = False) -> None:
        found = stream or sys.stderr
        self._quiet = quiet or found is None
        self._stream: TextIO = found or io.StringIO()
        self._live = self._stream.isatty() and not self._quiet
        self._phase: str | None = None
        self._since = self._drawn_at = 0.0
        self._from = 0
        self._width = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.clear()

    def show(self, moment: Moment) -> None:
        """Draw ``moment``, unless one of the same phase was drawn just now."""
        if self._quiet:
            return
        now = time.monotonic()
        fresh = moment.phase != self._phase
        if fresh:
            self._phase, self._since, self._from = moment.phase, now, moment.done or 0
        pause_s = _REDRAW_S if self._live else _ALIVE_S
        if not fresh and now - self._drawn_at < pause_s:
            return
        self._drawn_at = now
        if self._live:
            self._draw(f"{clean(moment.phase)} {self._amount(moment, now)}".rstrip())
        elif fresh:
            self._line(clean(moment.phase))
        else:
            self._line(f"{clean(moment.phase)}: {self._words(moment, now)}")

    def leave(self, text: str) -> None:
        """Leave a line that stays, such as what was done."""
        if self._quiet:
            return
        self.clear()
        self._line(clean(text))

    def clear(self) -> None:
        """Take the progress line away."""
        if self._live and self._width:
            self._draw("")
            self._put("\r")

    def _amount(self, moment: Moment, now: float) -> str:
        words = self._words(moment, now)
        if moment.done is None or not moment.total:
            return words
        filled = min(_CELLS, _CELLS * moment.done // moment.total)
        full, empty = _glyphs(self._stream)
        return f"{full * filled}{empty * (_CELLS - filled)} {words}"

    def _words(self, moment: Moment, now: float) -> str:
        number = human_bytes if moment.unit == "bytes" else "{:,}".format
        words = []
        if moment.done is not None and (moment.done or moment.total):
            words.append(number(moment.done))
        if words and moment.total:
            words.append(f"of {number(moment.total)}")
        words += [part for part in (self._speed(moment, now), clean(moment.message)) if part]
        return " ".join(words)

    def _speed(self, moment: Moment, now: float) -> str:
        """Rate and time left, once they mean something."""
        spent_s = now - self._since
        made = (moment.done or 0) - self._from
        if spent_s < _SETTLED_S or made <= 0:
            return ""
        rate = made / spent_s
        speed = f"{human_bytes(int(rate))}/s" if moment.unit == "bytes" else f"{rate:,.0f}/s"
        if moment.total <= (moment.done or 0):
            return f"at {speed}"
        return f"at {speed}, {_time((moment.total - (moment.done or 0)) / rate)} left"

    def _draw(self, line: str) -> None:
        line = line[: _columns(self._stream) - 1]
        self._put("\r" + line.ljust(self._width))
        self._width = len(line)

    def _line(self, text: str) -> None:
        self._put(text + "\n")

    def _put(self, text: str) -> None:
        """Write, if somebody takes it: losing the progress line is no reason to lose the work."""
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            self._quiet, self._live = True, False


@contextmanager
def asking(what: str, *, quiet: bool = False) -> Iterator[None]:
    """Say ``what`` is being asked for on a terminal, if the answer takes its time."""
    terminal = sys.stderr is not None and sys.stderr.isatty()
    with Bar(quiet=quiet or not terminal) as bar:
        timer = threading.Timer(_PATIENCE_S, bar.show, [Moment(f"asking {what} …")])
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()


def _glyphs(stream: TextIO) -> tuple[str, str]:
    try:
        "█░".encode(stream.encoding or "ascii")
    except UnicodeEncodeError:
        return "#", "."
    return "█", "░"


def _columns(stream: TextIO) -> int:
    try:
        return max(os.get_terminal_size(stream.fileno()).columns, 20)
    except (OSError, ValueError):
        return 80


def _time(seconds: float) -> str:
    """``40 s``, ``5 min``, ``2 h 10 min``."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
