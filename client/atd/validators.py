"""Which version of an object a server has: what a resumed download may be continued with. Pure.

The beginning that one has is remembered by the validators of the reply that it came with; the rest
is asked for under the condition that it is still that version.

Source: RFC 9110, 8.8 (validators), 13.1.5 (If-Range).
"""

from __future__ import annotations

import email.utils
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_MAX_VALIDATOR: Final = 512
# Last-Modified has a resolution of one second and a clock of its own: it tells two versions apart
# only when the reply was made well after it.
_SETTLED_S: Final = 60


@dataclass(frozen=True, slots=True)
class Version:
    """Which version of an object a reply is of, as far as its server says."""

    etag: str | None = None
    modified: str | None = None
    settled: bool = False

    @classmethod
    def of(cls, headers: Mapping[str, str]) -> Version:
        """The validators among ``headers`` (names in lower case)."""
        modified = _bounded(headers.get("last-modified"))
        settled = False
        if modified is not None:
            made, changed = _seconds(headers.get("date")), _seconds(modified)
            settled = made is not None and changed is not None and made - changed >= _SETTLED_S
        return cls(_bounded(headers.get("etag")), modified, settled)

    @property
    def condition(self) -> str | None:
        """The strong validator to send as If-Range; None if the server gave none."""
        if self.etag is not None and not self.etag.startswith("W/"):
            return self.etag
        return self.modified if self.settled and self.etag is None else None

    def contradicts(self, other: Version) -> bool:
        """Whether both name a version and do not name the same one."""
        etags = self.etag is not None and other.etag is not None and self.etag != other.etag
        dates = None not in (self.modified, other.modified) and self.modified != other.modified
        return etags or dates


def _bounded(text: str | None) -> str | None:
    """A validator that is worth remembering: printable, and not longer than anyone needs."""
    if not text or len(text) > _MAX_VALIDATOR or not text.isascii() or not text.isprintable():
        return None
    return text


def _seconds(text: str | None) -> float | None:
    try:
        return email.utils.parsedate_to_datetime(text or "").timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
