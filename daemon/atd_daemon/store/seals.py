"""Remembering which files were verified, so that a warm read hashes nothing.

A seal is a small file beside the shard that says what the shard's inode looked like right after
its bytes were hashed and found to be what the name says. While the file still looks like that, one
stat is enough; once anything differs (another inode, size, time of modification or of change), the
seal is worthless and the file is hashed again. Losing a seal costs one hashing, never trust.

A seal guards against accidents, and against programs that write to the store by mistake. Whoever
can write here as the same user can also write a seal: `hash_file` is for those who want certainty.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Final

from atd.protocol.cbor import RAW, Cid

_VERSION: Final = 1
_READ_BYTES: Final = 1024 * 1024
_MAX_SEAL_BYTES: Final = 1024


@dataclass(frozen=True, slots=True)
class FileIdentity:
    """What tells one state of one file from every other."""

    device: int
    inode: int
    size: int
    modified_ns: int
    changed_ns: int

    @classmethod
    def of(cls, found: os.stat_result) -> FileIdentity:
        """The identity of the file that ``found`` describes."""
        return cls(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)

    def same_content(self, other: FileIdentity) -> bool:
        """Whether nobody wrote between the two: a rename or a change of mode is allowed."""
        mine = (self.device, self.inode, self.size, self.modified_ns)
        return mine == (other.device, other.inode, other.size, other.modified_ns)


def hash_file(
    handle: int, *, size: int | None = None, each: Callable[[bytes], object] | None = None
) -> tuple[Cid, int]:
    """Hash an open file from its start to its end.

    Args:
        handle: a file descriptor open for reading.
        size: stop after this many bytes; None reads to the end.
        each: called with every piece that was read, for copying while hashing.

    Returns:
        The digest, and the number of bytes hashed.
    """
    state, at = hashlib.sha256(), 0
    while size is None or at < size:
        count = _READ_BYTES if size is None else min(_READ_BYTES, size - at)
        piece = os.pread(handle, count, at)
        if not piece:
            break
        state.update(piece)
        if each is not None:
            each(piece)
        at += len(piece)
    return Cid.from_digest(state.digest(), RAW), at


class Seals:
    """The seals of one store: on disk for every process, in memory for this one."""

    def __init__(self) -> None:
        self._known: dict[Path, FileIdentity] = {}

    def holds(self, seal: Path, identity: FileIdentity) -> bool:
        """Whether the file was verified while it looked like ``identity``."""
        if self._known.get(seal) == identity:
            return True
        written = _read(seal)
        if written is None or written != identity:
            return False
        self._known[seal] = written
        return True

    def set(self, seal: Path, identity: FileIdentity) -> None:
        """Remember that the file was verified while it looked like ``identity``.

        Written by rename, so that no reader meets half a seal; neither forced to the disk nor
        insisted upon when the disk is full, because a lost seal only costs a hashing.
        """
        self._known[seal] = identity
        draft = seal.with_name(f"{seal.name}.{os.getpid()}")
        with contextlib.suppress(OSError):
            draft.write_text(json.dumps({"version": _VERSION, "identity": astuple(identity)}))
            os.rename(draft, seal)

    def drop(self, seal: Path) -> None:
        """Forget the file."""
        self._known.pop(seal, None)
        seal.unlink(missing_ok=True)


def _read(seal: Path) -> FileIdentity | None:
    """The identity written in ``seal``; None if it is missing, torn or of another version."""
    try:
        with seal.open("rb") as file:
            value = json.loads(file.read(_MAX_SEAL_BYTES))
        if value["version"] != _VERSION:
            return None
        numbers = value["identity"]
        if not all(type(number) is int for number in numbers):
            return None
        return FileIdentity(*numbers)
    except (OSError, ValueError, TypeError, KeyError):
        return None
