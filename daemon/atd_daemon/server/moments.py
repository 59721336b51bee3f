"""Moments that people type: a date, a part of one, a full datetime, or how long ago. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from atd.errors import InvalidSyntax
from atd.protocol.syntax import quote

_AGO: Final = re.compile(r"(\d{1,5})([hdw])")
_UNITS: Final = {"h": "hours", "d": "days", "w": "weeks"}
_PARTS: Final = re.compile(r"(\d{4})(?:-(\d{2})(?:-(\d{2}))?)?")


def parse_since(text: str, now: float) -> datetime:
    """The moment that ``text`` says, in UTC: the beginning of a year, a month or a day.

    Args:
        text: ``2026``, ``2026-01``, ``2026-01-31``, ``2026-01-31T12:00:00Z`` (without a zone: UTC),
            or ``12h``, ``7d``, ``2w`` before now.
        now: seconds since 1970.

    Raises:
        InvalidSyntax: it is none of these, or no moment.
    """
    try:
        if ago := _AGO.fullmatch(text):
            span = timedelta(**{_UNITS[ago[2]]: int(ago[1])})
            return datetime.fromtimestamp(now, UTC) - span
        if parts := _PARTS.fullmatch(text):
            year, month, day = (int(part) if part else 1 for part in parts.groups())
            return datetime(year, month, day, tzinfo=UTC)
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise InvalidSyntax(
            f"expected a moment, got {quote(text)}",
            next_step="write 2026, 2026-01, 2026-01-31, 2026-01-31T12:00:00Z, or 12h, 7d, 2w",
        ) from None
