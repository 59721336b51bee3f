"""What the command line prints, and where.

stdout carries the answer alone: text for people, or one JSON object with ``--json``. Everything
else (progress, questions, warnings, errors) goes to stderr. Text that came from a record is
hostile: `clean` takes control and direction-changing characters away before a terminal sees it.
"""

from __future__ import annotations

import json
import sys
import time
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TextIO

from atd.errors import AtdError

_REDRAW_S = 0.1
_BAR_CELLS = 24
_UNITS = ("B", "KB", "MB", "GB", "TB", "PB")


def clean(text: object) -> str:
    """``text`` without control, format and surrogate characters (ANSI escapes, RTL overrides)."""
    return "".join(
        c if c == " " or unicodedata.category(c)[0] not in "CZ" else " "
        for c in str(text).replace("\n", " ")
    )


def clean_lines(text: object) -> str:
    """As `clean`, but line breaks stay."""
    return "\n".join(clean(line) for line in str(text).splitlines())


def say(text: str = "") -> None:
    """One line of the answer, on stdout."""
    print(text)


def note(text: str) -> None:
    """One line beside the answer, on stderr."""
    print(text, file=sys.stderr)


def emit(value: Mapping[str, Any]) -> None:
    """The answer as one JSON object, on stdout, with stable key order."""
    json.dump(value, sys.stdout, ensure_ascii=False, indent=2)
    sys.stdout.write("\n")


def human_bytes(count: int) -> str:
    """``count`` bytes in the unit that reads best, powers of 1,000: ``1.5 MB``."""
    amount = float(count)
    for unit in _UNITS:
        if amount < 1000 or unit == _UNITS[-1]:
            break
        amount /= 1000
    return f"{count} B" if unit == "B" else f"{amount:.1f} {unit}"


def plural(count: int, noun: str) -> str:
    """``1 shard``, ``2 shards``, ``12,345 samples``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def table(rows: Sequence[Sequence[object]], headings: Sequence[str]) -> None:
    """Rows in aligned columns under their headings; every cell cleaned."""
    cells = [[clean(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in [list(headings), *cells]) for i in range(len(headings))]
    for row in [[h.upper() for h in headings], *cells]:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        say(line.rstrip())


def fields(pairs: Iterable[tuple[str, object]], indent: str = "") -> None:
    """``label  value`` lines, labels aligned; pairs whose value is None or empty are left out."""
    shown = [(label, value) for label, value in pairs if value not in (None, "", [], ())]
    width = max((len(label) for label, _ in shown), default=0)
    for label, value in shown:
        say(f"{indent}{label.ljust(width)}  {clean(value)}")


def fail(error: AtdError) -> None:
    """What went wrong and what to do next, as at most two lines on stderr."""
    note(f"atd: {clean(error.message)}")
    if error.next_step:
        note(f"     {clean(error.next_step)}")


class Progress:
    """A progress line on stderr while work runs; silent where stderr is not a terminal.

    Where it is not, each phase is announced once, so that a log says what happened.
    """

    def __init__(self, stream: TextIO | None = None, *, quiet: bool = False) -> None:
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty() and not quiet
        self._quiet = quiet
        self._phase = ""
        self._drawn_at = 0.0
        self._width = 0

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    def show(self, event: Mapping[str, Any]) -> None:
        """Draw one event: ``phase``, and where known ``done``, ``total``, ``unit``, ``message``."""
        phase = clean(event.get("phase", ""))
        if not self._live:
            if phase != self._phase and not self._quiet:
                print(phase, file=self._stream)
            self._phase = phase
            return
        now = time.monotonic()
        done, total = event.get("done"), event.get("total")
        finished = total is not None and done == total
        if phase == self._phase and not finished and now - self._drawn_at < _REDRAW_S:
            return
        self._phase, self._drawn_at = phase, now
        self._draw(f"{phase} {self._amount(event)}".rstrip())

    def done(self, name: object, detail: object = None) -> None:
        """Leave a line that says what was done."""
        if self._quiet:
            return
        self.clear()
        tail = f": {clean(detail)}" if detail else ""
        print(f"{clean(name)}{tail}", file=self._stream)

    def clear(self) -> None:
        """Take the progress line away."""
        if self._live and self._width:
            self._draw("")
            self._stream.write("\r")
            self._stream.flush()

    def _amount(self, event: Mapping[str, Any]) -> str:
        done, total, message = event.get("done"), event.get("total"), event.get("message")
        tail = f" {clean(message)}" if message else ""
        if done is None:
            return tail
        number = human_bytes if event.get("unit") == "bytes" else "{:,}".format
        if not total:
            return f"{number(done)}{tail}"
        filled = min(_BAR_CELLS, _BAR_CELLS * done // total)
        bar = "█" * filled + "░" * (_BAR_CELLS - filled)
        return f"{bar} {number(done)} / {number(total)}{tail}"

    def _draw(self, line: str) -> None:
        line = line[:110]
        self._stream.write("\r" + line.ljust(self._width))
        self._stream.flush()
        self._width = len(line)
