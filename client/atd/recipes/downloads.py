"""One download: from the first address that gives the right bytes, resumed where it stopped.

What comes is written to ``X.part-HASH``, one for each address, so that bytes of two servers never
meet; beside it lies which version of the object they are of. The rest of an object is asked for
under the condition that it is still that version; where the server names none, it is asked for only
if a declared sha-256 would find a mixture out. The digest decides at the end: what was put together
from several replies and is wrong is fetched once more from its first byte, and what is wrong then
is thrown away and its address is blamed.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO, Final

from atd.disk import storing, sync_folder
from atd.errors import Absent, AtdError, DigestMismatch, Offline, RateLimited, Unreachable
from atd.protocol.syntax import quote
from atd.recipes.access import Access
from atd.recipes.fetching import RefusedError, Reply, asked
from atd.validators import Version

MAX_DOWNLOAD_BYTES: Final = 1 << 40
TRIES: Final = 4
PAUSE_S: Final = 0.5
LONGEST_WAIT_S: Final = 60.0
PROGRESS_BYTES: Final = 1 << 20

_CONTENT_RANGE: Final = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)")
_READ_BYTES: Final = 1 << 20
_MAX_NOTE_BYTES: Final = 1 << 16

Report = Callable[[int, int | None], None]
"""Told how many bytes are there, and of how many where that is known; may raise to stop."""


@dataclass(frozen=True, slots=True)
class Got:
    """What was downloaded: its hash, its size and from where."""

    sha256: str
    size: int
    url: str


class _StartAnewError(Exception):
    """What was answered cannot be appended to what we have."""


def download(
    urls: Sequence[str],
    target: Path,
    *,
    sha256: str | None,
    size: int | None,
    access: Access,
    report: Report,
) -> Got:
    """Get the file at one of ``urls`` to ``target``: there whole and right, or not there.

    Args:
        sha256, size: what it must have, where that is declared.

    Raises:
        DigestMismatch, Absent, Unreachable: no address gave it; names each and what it did.
        Offline: the network is switched off. StorageFault: it cannot be written.
        TooLarge: it takes more disk than it may.
    """
    faults: list[tuple[str, AtdError]] = []
    for url in urls:
        attempt = _Attempt(url, target, sha256, size, access, report)
        try:
            got = attempt.run()
        except Offline:
            raise
        except (DigestMismatch, Absent, Unreachable, RefusedError) as fault:
            faults.append((url, fault.error if isinstance(fault, RefusedError) else fault))
            attempt.forget_nothing()
            continue
        with storing(target):
            os.replace(attempt.part, target)
            sync_folder(target.parent)
            for rest in target.parent.glob(f"{glob.escape(target.name)}.part-*"):
                rest.unlink(missing_ok=True)  # and what other addresses sent so far
        return got
    raise _blame(target, faults)


def _blame(target: Path, faults: Sequence[tuple[str, AtdError]]) -> AtdError:
    """Wrong bytes outweigh silence, and silence outweighs "not there"."""
    named = "; ".join(f"{quote(url, 120)}: {fault}" for url, fault in faults)
    text = f"{target.name} could not be fetched: {named}"
    kinds = [fault for _, fault in faults]
    if any(isinstance(fault, DigestMismatch) for fault in kinds):
        return DigestMismatch(text, next_step="nothing was kept; the file there is another one")
    silent = [fault for fault in kinds if isinstance(fault, Unreachable)]
    if silent:
        return Unreachable(text, next_step=silent[0].next_step)
    return Absent(text, next_step="ask whoever wrote the recipe where the file went")


class _Attempt:
    """One address, until the file is whole and right or the address is given up."""

    def __init__(
        self,
        url: str,
        target: Path,
        sha256: str | None,
        size: int | None,
        access: Access,
        report: Report,
    ) -> None:
        mark = hashlib.sha256(url.encode()).hexdigest()[:12]
        self.part = target.with_name(f"{target.name}.part-{mark}")
        self.note = target.with_name(f"{target.name}.part-{mark}.json")
        self._url, self._sha256, self._access = url, sha256, access
        self._report = report
        self._total = size
        self._declared = size
        self._at = 0
        self._state = hashlib.sha256()
        self._version = Version()
        self._pieces = 0
        self._whole = False  # this server cannot be asked for the rest

    def run(self) -> Got:
        """Leave the part file whole, right and on disk; raises what `download` collects."""
        try:
            with storing(self.part), open(self.part, "a+b") as out:
                self._pick_up(out)
                self._fill(out)
                if self._wrong() and self._pieces > 1:
                    self._begin(out, Version())
                    self._whole, self._pieces = True, 0
                    self._fill(out)
                wrong = self._wrong()
                if wrong is not None:
                    raise DigestMismatch(wrong)
                out.flush()
                os.fsync(out.fileno())
        except DigestMismatch:
            self.part.unlink(missing_ok=True)
            self.note.unlink(missing_ok=True)
            raise
        return Got(self._state.hexdigest(), self._at, self._url)

    def forget_nothing(self) -> None:
        """Remove the part file if nothing is in it."""
        with storing(self.part):
            if self.part.exists() and not self.part.stat().st_size:
                self.part.unlink()
                self.note.unlink(missing_ok=True)

    def _wrong(self) -> str | None:
        """What is wrong with the bytes that came, if anything is."""
        if self._declared is not None and self._at != self._declared:
            return f"sent {self._at} bytes, expected {self._declared}"
        if self._sha256 is not None and self._state.hexdigest() != self._sha256:
            return f"sent bytes with the sha-256 {self._state.hexdigest()}, expected {self._sha256}"
        return None

    def _pick_up(self, out: BinaryIO) -> None:
        """Go on from what an earlier run left, where that can be known to belong together."""
        try:
            text = self.note.read_bytes()[:_MAX_NOTE_BYTES]
            said = json.loads(text)
            version = Version(**{key: said[key] for key in ("etag", "modified", "settled")})
            total = said["total"]
        except (OSError, ValueError, TypeError, KeyError):
            self._begin(out, Version())
            return
        out.seek(0)
        while chunk := out.read(_READ_BYTES):
            self._state.update(chunk)
            self._at += len(chunk)
        self._version, self._pieces = version, 2 if self._at else 0
        if self._total is None and isinstance(total, int):
            self._total = total
        if self._total is not None and self._at > self._total:
            self._begin(out, Version())

    def _begin(self, out: BinaryIO, version: Version) -> None:
        """Forget the bytes; those that come now are of ``version``."""
        out.seek(0)
        out.truncate()
        self._access.allowance.take(-self._at)
        self._at, self._state, self._version = 0, hashlib.sha256(), version
        note = {**asdict(version), "total": self._total}
        self.note.write_text(json.dumps(note), "ascii")

    def _fill(self, out: BinaryIO) -> None:
        """Ask until all bytes are there, or until asking does not get on any more."""
        best, failures = self._at, 0
        while self._total is None or self._at < self._total or not self._pieces:
            fault, wait_s = self._try(out)
            if fault is None:
                return
            if self._at >= best + PROGRESS_BYTES:
                best, failures = self._at, 0
            else:
                failures += 1
            if failures >= TRIES:
                raise fault
            self._sleep(max(PAUSE_S * 2 ** max(failures - 1, 0), wait_s))

    def _sleep(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._report(self._at, self._total)
            time.sleep(min(left, 0.2))

    def _try(self, out: BinaryIO) -> tuple[AtdError | None, float]:
        """One request. Returns why it did not bring everything, and how long to wait."""
        try:
            self._request(out)
        except RateLimited as limit:
            wait_s = limit.retry_after_s or 0.0
            if wait_s > LONGEST_WAIT_S:
                raise
            return limit, wait_s
        except Offline:
            raise
        except Unreachable as fault:
            return fault, 0.0
        except _StartAnewError as odd:
            self._begin(out, Version())
            self._whole, self._pieces = True, 0
            return Unreachable(str(odd)), 0.0
        return None, 0.0

    def _request(self, out: BinaryIO) -> None:
        """Ask for what is missing and append what comes; returns when the object is whole."""
        condition = self._version.condition
        resumable = not self._whole and (condition is not None or self._sha256 is not None)
        offset = self._at if resumable else 0
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        if offset and condition is not None:
            headers["If-Range"] = condition
        with asked(self._url, self._access, headers=headers) as reply:
            start = self._start(reply, offset)
            if start == 0:
                self._total = self._declared if reply.length is None else reply.length
                self._check_total()
                self._begin(out, reply.version)
            self._pieces = self._pieces + 1 if start else 1
            for chunk in reply.chunks:
                self._take(out, chunk)
        if self._total is not None and self._at < self._total:
            raise Unreachable(f"stopped after {self._at} of {self._total} bytes")

    def _take(self, out: BinaryIO, chunk: bytes) -> None:
        if self._at + len(chunk) > (MAX_DOWNLOAD_BYTES if self._total is None else self._total):
            raise DigestMismatch(f"sends more than the {self._total} bytes that were announced")
        self._access.allowance.take(len(chunk))
        out.write(chunk)
        self._state.update(chunk)
        self._at += len(chunk)
        self._report(self._at, self._total)

    def _check_total(self) -> None:
        if self._declared is not None and self._total != self._declared:
            raise DigestMismatch(f"offers {self._total} bytes, expected {self._declared}")
        if self._total is not None and self._total > MAX_DOWNLOAD_BYTES:
            raise DigestMismatch(f"offers {self._total} bytes, the most is {MAX_DOWNLOAD_BYTES}")

    def _start(self, reply: Reply, offset: int) -> int:
        """Where in the object the body starts: at 0 or at ``offset`` (RFC 9110, 14.4, 15.3.7)."""
        if reply.status == 200:
            return 0
        if not offset:
            raise Unreachable(f"answered {reply.status} to a question for the whole")
        if reply.status == 416:
            raise _StartAnewError("it has nothing after what we have")
        match = _CONTENT_RANGE.fullmatch(reply.headers.get("content-range", ""))
        if match is None or int(match[1]) != offset:
            raise _StartAnewError("it answered with another part than the one that was asked for")
        if self._version.contradicts(reply.version):
            raise _StartAnewError("the object changed meanwhile")
        total = None if match[3] == "*" else int(match[3])
        if total is not None and self._total is not None and total != self._total:
            raise _StartAnewError("the object has another size than before")
        if self._total is None:
            self._total = total
            self._check_total()
        return offset
