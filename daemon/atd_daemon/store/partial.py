"""A download that is not finished: the bytes so far, their hash, and where they came from.

One file per digest and source, beside a journal that says which version of which object the bytes
are the beginning of. The journal is written before the first byte and the file is emptied before
the journal changes, so bytes never stand beside the journal of another object, whenever the process
is killed. What the machine itself loses in a power cut is found by the digest.

Everything here blocks and belongs in a thread; one `Partial` is used by one task at a time.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from atd.files import hash_file
from atd.protocol.cbor import RAW, Cid
from atd.validators import Version
from atd_daemon.store.layout import storing
from atd_daemon.store.sources import ShardWant, Source

_FORMAT: Final = 1
_MAX_JOURNAL_BYTES: Final = 16 * 1024


class Partial:
    """The beginning of the shard ``want``, as ``source`` sent it.

    ``at`` is how many bytes there are, never more than ``want.size``; ``version`` is what they are
    the beginning of. `open` before all else, `close` in the end.
    """

    def __init__(self, path: Path, want: ShardWant, source: Source) -> None:
        self.path = path
        self.journal = path.with_name(f"{path.name}.json")
        self.at = 0
        self.version = Version()
        self._want = want
        self._source = source
        self._handle = -1
        self._state = hashlib.sha256()

    def open(self) -> None:
        """Take up what an earlier attempt left, or begin with nothing.

        Raises:
            StorageFault: the files cannot be read or written.
        """
        with storing(self.path):
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            self._handle = os.open(self.path, flags, 0o600)
            length = os.fstat(self._handle).st_size
            version = self._journaled()
            if version is None or length > self._want.size:
                length = 0
            os.ftruncate(self._handle, length)
            hash_file(self._handle, size=length, each=self._state.update)
        self.at = length
        self.version = version or Version()

    def begin(self, version: Version) -> None:
        """Throw away what there is and begin with ``version`` of the object."""
        with storing(self.path):
            os.ftruncate(self._handle, 0)
            draft = self.journal.with_name(f"{self.journal.name}.new")
            draft.write_text(json.dumps(self._entry(version)))
            os.rename(draft, self.journal)
        self.at = 0
        self.version = version
        self._state = hashlib.sha256()

    def append(self, piece: bytes) -> None:
        """Write ``piece`` behind what there is.

        Raises:
            StorageFault: the disk did not take it; what it took stays, and counts.
            ValueError: it would be more than was signed (the caller has to look first).
        """
        if self.at + len(piece) > self._want.size:
            raise ValueError("a partial file never grows beyond the declared size")
        view = memoryview(piece)
        with storing(self.path):
            while view:
                count = os.pwrite(self._handle, view, self.at)
                self._state.update(view[:count])
                self.at += count
                view = view[count:]

    def digest(self) -> Cid:
        """The digest of the bytes so far."""
        return Cid.from_digest(self._state.digest(), RAW)

    def close(self) -> None:
        """Let go of the file; it stays for the next attempt."""
        if self._handle >= 0:
            handle, self._handle = self._handle, -1
            os.close(handle)

    def discard(self) -> None:
        """Remove the file and its journal."""
        self.close()
        with storing(self.path):
            self.path.unlink(missing_ok=True)
            self.journal.unlink(missing_ok=True)

    def _entry(self, version: Version) -> dict[str, Any]:
        return {
            "format": _FORMAT,
            "digest": str(self._want.digest),
            "size": self._want.size,
            "source": self._source.url,
            "version": asdict(version),
        }

    def _journaled(self) -> Version | None:
        """The version that the journal names; None if it is torn or about another thing."""
        try:
            with self.journal.open("rb") as file:
                entry = json.loads(file.read(_MAX_JOURNAL_BYTES))
            version = Version(**entry["version"])
        except (FileNotFoundError, ValueError, TypeError, KeyError):
            return None
        return version if entry == self._entry(version) else None
