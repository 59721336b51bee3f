"""What is proved, in the words of the lexicons: pure functions from values to JSON objects."""

from __future__ import annotations

from datetime import UTC, datetime


def moment(value: datetime | float) -> str:
    """A moment (aware, or seconds since 1970) as a lexicon's datetime, in UTC."""
    at = datetime.fromtimestamp(value, UTC) if isinstance(value, float | int) else value
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
