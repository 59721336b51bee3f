"""What the command line prints, and where.

stdout carries the answer alone: text for people, or one JSON object with ``--json``. Everything
else (progress, questions, warnings, errors) goes to stderr.

Rules. Text that came from a record is hostile: `clean` takes out of it whatever a terminal would
obey (escape sequences, changes of direction, line breaks) before it is printed. JSON keeps every
character, but as an escape. A stdout that takes no more is an error like any other: the reader of a
pipe that went away is `ReaderGone`, a full disk `StorageFault`.
"""

from __future__ import annotations

import errno
import json
import os
import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from atd.errors import AtdError, StorageFault

_UNITS: Final = ("B", "KB", "MB", "GB", "TB", "PB")
_MAX_CELL: Final = 72
_UNPRINTABLE: Final = re.compile(r"[^\n -~]")


class ReaderGone(Exception):
    """Whoever read stdout went away (``atd ls | head -1``): there is nobody left to tell."""


# ------------------------------------------------------------------ text


def clean(text: object) -> str:
    """``text`` without control, format and surrogate characters (ANSI escapes, RTL overrides).

    Each becomes one space, so that nothing that was apart is joined.
    """
    return "".join(
        c if c == " " or unicodedata.category(c)[0] not in "CZ" else " " for c in str(text)
    )


def clean_lines(text: object) -> str:
    """As `clean`, but line breaks stay."""
    return "\n".join(clean(line) for line in str(text).splitlines())


def json_text(value: object) -> str:
    """``value`` as JSON that is safe to print: what `clean` would take out is an escape instead."""

    def escaped(match: re.Match[str]) -> str:
        character = match[0]
        if character.isprintable():
            return character
        return json.dumps(character)[1:-1]

    return _UNPRINTABLE.sub(escaped, json.dumps(value, ensure_ascii=False, indent=2))


def human_bytes(count: int) -> str:
    """``count`` bytes in the unit that reads best, powers of 1,000: ``1.5 MB``."""
    amount = float(count)
    for unit in _UNITS:
        if amount < 999.95 or unit == _UNITS[-1]:
            break
        amount /= 1000
    return f"{count} B" if unit == "B" else f"{amount:.1f} {unit}"


def plural(count: int, noun: str) -> str:
    """``1 shard``, ``2 shards``, ``12,345 samples``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


# ------------------------------------------------------------------ stdout


def say(text: str = "") -> None:
    """One line of the answer, on stdout."""
    _write(text + "\n")


def emit(value: Mapping[str, Any]) -> None:
    """The answer as one JSON object, on stdout."""
    _write(json_text(value) + "\n")


def table(rows: Sequence[Sequence[object]], headings: Sequence[str]) -> None:
    """Rows in aligned columns under their headings; every cell cleaned, only the last one cut."""
    cells = [[clean(cell) for cell in row] for row in rows]
    cells = [[*row[:-1], _cut(row[-1])] for row in cells]
    heads = [heading.upper() for heading in headings]
    for line in columns([heads, *cells]):
        say(line)


def columns(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Lines of rows whose cells, which are clean already, stand below each other."""
    widths = [max(map(_width, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        padded = (
            cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True)
        )
        yield "  ".join(padded).rstrip()


def fields(pairs: Iterable[tuple[str, object]], indent: str = "") -> None:
    """``label  value`` lines, labels aligned; pairs whose value is None or empty are left out."""
    shown = [(clean(label), value) for label, value in pairs if value not in (None, "", [], ())]
    width = max((_width(label) for label, _ in shown), default=0)
    for label, value in shown:
        say(f"{indent}{label}{' ' * (width - _width(label))}  {clean(value)}")


def finish() -> None:
    """Have everything that was said written, so that what goes wrong is noticed here."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except (OSError, ValueError) as error:
        _lost(error)


def _write(text: str) -> None:
    if sys.stdout is None:  # it was closed before we began (``>&-``): nobody wants to know
        return
    try:
        sys.stdout.write(text)
    except (OSError, ValueError) as error:
        _lost(error)


def _lost(error: Exception) -> None:
    """Give up stdout: what is left in its buffer would fail once more when Python ends."""
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    if isinstance(error, OSError) and error.errno == errno.EPIPE:
        raise ReaderGone from None
    reason = error.strerror if isinstance(error, OSError) else "it is closed"
    raise StorageFault(
        f"cannot write the answer to stdout: {reason}",
        next_step="send it somewhere else, then run the same command again",
    ) from None


def _width(text: str) -> int:
    """How many columns of a terminal ``text`` takes (Unicode annex 11; marks take none)."""
    return sum(
        0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF")
        for c in text
    )


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_CELL else text[: _MAX_CELL - 1] + "…"


# ------------------------------------------------------------------ stderr


def note(text: str) -> None:
    """One line beside the answer, on stderr; lost where nobody takes it."""
    if sys.stderr is None:  # closed before we began; print would take stdout instead
        return
    try:
        print(text, file=sys.stderr, flush=True)
    except (OSError, ValueError):
        return


def fail(error: AtdError, help_command: str = "atd --help") -> None:
    """What went wrong and what to do next: two lines on stderr.

    Args:
        help_command: the advice for an error that has none of its own.
    """
    note(f"atd: {clean(error.message)}")
    note(f"     {clean(error.next_step or f'see: {help_command}')}")
