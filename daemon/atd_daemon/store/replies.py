"""Judging what a server answered to a request for a shard or the rest of one. Pure.

A resumed download may never become a mixture of two objects. Which *version* of the object we have
the beginning of is remembered by its validators; the rest is asked for under the condition that it
is still that version, and whatever does not say exactly what was asked for is not appended.

Source: RFC 9110, 13.1.5 (If-Range), 14.4 (Content-Range), 15.5.17 (416).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from atd.errors import Absent, DigestMismatch, Unreachable
from atd.protocol.syntax import quote
from atd.validators import Version

_CONTENT_RANGE: Final = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19}|\*)")
_UNSATISFIED: Final = re.compile(r"bytes \*/([0-9]{1,19})")
_LENGTH: Final = re.compile(r"[0-9]{1,19}")
# "We asked, and the answer is no"; getBlob says 400 where it means that there is no such blob.
_NOT_THERE: Final = frozenset({400, 401, 402, 403, 404, 410, 451})


class StartAnewError(Exception):
    """What was answered cannot be appended to what we have: ask again, for the whole."""


def start_of(
    status: int, headers: Mapping[str, str], *, offset: int, size: int, version: Version
) -> int:
    """Where in the object the body of a reply starts: at 0 or at ``offset``.

    Args:
        status: the reply's status.
        headers: the reply's headers, names in lower case.
        offset: the first byte that was asked for; 0 if the whole was asked for.
        size: how many bytes the object has, as its record says.
        version: the version that our first ``offset`` bytes are of.

    Raises:
        StartAnewError: it is not the continuation that was asked for.
        DigestMismatch: it says that the object has another size.
        Absent: it says that the object is not there, or not for us.
        Unreachable: it is no answer to what was asked.
    """
    if status == 200:
        length = content_length(headers)
        if length is not None and length != size:
            raise DigestMismatch(f"offers {length} bytes where {size} were signed")
        return 0
    if status == 206 and offset > 0:
        _check_continuation(headers, offset, size, version)
        return offset
    if status == 416 and offset > 0:
        match = _UNSATISFIED.fullmatch(headers.get("content-range", ""))
        if match is not None and int(match[1]) != size:
            raise DigestMismatch(f"offers {match[1]} bytes where {size} were signed")
        raise StartAnewError("cannot continue where we stopped")
    if status in _NOT_THERE:
        raise Absent(f"answered {status}: not there, or not for us")
    raise Unreachable(f"answered {status} to a request for {_asked(offset)}")


def content_length(headers: Mapping[str, str]) -> int | None:
    """The length that ``headers`` declare for the body; None if they do not."""
    text = headers.get("content-length", "").strip()
    return int(text) if _LENGTH.fullmatch(text) else None


def _check_continuation(
    headers: Mapping[str, str], offset: int, size: int, version: Version
) -> None:
    """Check that a 206 carries the bytes from ``offset`` on, of the same version."""
    said = headers.get("content-range", "")
    match = _CONTENT_RANGE.fullmatch(said.strip())
    if match is None:
        raise StartAnewError(f"answered 206 with the Content-Range {quote(said)}")
    first, last = int(match[1]), int(match[2])
    if match[3] != "*" and int(match[3]) != size:
        raise StartAnewError(f"now has {match[3]} bytes where {size} were signed")
    length = content_length(headers)
    if first != offset or not first <= last < size or length not in (None, last - first + 1):
        raise StartAnewError(f"answered {_asked(offset)} with the Content-Range {quote(said)}")
    if version.contradicts(Version.of(headers)):
        raise StartAnewError("continued with another version of the object")


def _asked(offset: int) -> str:
    return f"the bytes from {offset} on" if offset else "the whole"
