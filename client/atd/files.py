"""Shard files on this disk: opened under a lock, hashed, and known again without hashing.

What belongs here: the one place where the bytes of a file are hashed after it was written
(`hash_file`), and what makes that unnecessary: a `FileIdentity` says what a file looked like when
its bytes were found to be right, and while it looks like that, one stat is enough. `COUNTS` says
how often either was done in this process, so that a promise about it can be checked.

An identity guards against accidents, and against programs that write where they should not. Who can
write here as the same user can also set the clock back and write a seal: where that matters, hash.

Light: standard library only, so that the daemon and every loader worker may have it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, Final

from atd.errors import Busy, StorageFault
from atd.protocol.cbor import RAW, Cid

_READ_BYTES: Final = 1 << 20
_NO_LOCKS: Final = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
_MAX_SEALS_BYTES: Final = 64 << 20


@dataclass
class Counts:
    """What this process did to trust its shards: bytes hashed, and stats to know a file again."""

    hashed_bytes: int = 0
    stats: int = 0


COUNTS: Final = Counts()


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


def look(file: int | Path) -> os.stat_result:
    """The one stat by which a file is known again; of a path, a link is not followed."""
    COUNTS.stats += 1
    return os.stat(file, follow_symlinks=isinstance(file, int))


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
    COUNTS.hashed_bytes += at
    return Cid.from_digest(state.digest(), RAW), at


def open_shared(path: Path) -> int:
    """A descriptor of ``path`` for reading that holds the readers' lock until its last duplicate,
    a map for instance, is gone.

    Raises:
        FileNotFoundError: it is not there.
        Busy: it is just being removed.
        StorageFault: it cannot be opened.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StorageFault(f"cannot open the shard {path}: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise Busy(f"the shard {path} is just being removed") from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            os.close(descriptor)
            raise StorageFault(f"cannot lock the shard {path}: {error.strerror}") from error
    return descriptor


class SealBook:
    """Which files of one folder were verified, and what they looked like then.

    A file of lines that is only ever appended to, one short write a line, so that processes may
    share it; a torn or odd line is passed over, and the last line about a name counts. Losing it
    costs hashing, never trust, so nothing here waits for the disk or insists on being written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: dict[str, tuple[str, FileIdentity]] | None = None

    def holds(self, name: str, digest: Cid, identity: FileIdentity) -> bool:
        """Whether the file called ``name`` had ``digest`` while it looked like ``identity``."""
        wanted = (str(digest), identity)
        if self._known is None or self._known.get(name) != wanted:
            # Another process may have verified it since: reading costs less than hashing.
            self._known = _read_seals(self.path)
        return self._known.get(name) == wanted

    def digest(self, name: str, identity: FileIdentity) -> str | None:
        """The digest that the file called ``name`` had while it looked like ``identity``."""
        if self._known is None:
            self._known = _read_seals(self.path)
        digest, known = self._known.get(name, (None, None))
        return digest if known == identity else None

    def set(self, name: str, digest: Cid, identity: FileIdentity) -> None:
        """Remember that the file called ``name`` had ``digest`` while it looked like that."""
        self._known = {} if self._known is None else self._known
        self._known[name] = (str(digest), identity)
        # The line feed comes first, so that half a line of somebody killed spoils no other.
        line = "\n" + json.dumps([name, str(digest), astuple(identity)])
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        with contextlib.suppress(OSError):
            private_folder(self.path.parent)
            descriptor = os.open(self.path, flags, 0o600)
            try:
                os.write(descriptor, line.encode("ascii"))
            finally:
                os.close(descriptor)


def private_folder(folder: Path) -> None:
    """Make ``folder`` and what is missing above it, for their owner alone.

    Raises:
        OSError: it cannot be made.
    """
    missing = [folder, *folder.parents]
    for part in reversed([part for part in missing if not part.exists()]):
        part.mkdir(mode=0o700, exist_ok=True)


def _read_seals(path: Path) -> dict[str, tuple[str, FileIdentity]]:
    """What the book at ``path`` says; nothing where it cannot be read."""
    known: dict[str, tuple[str, FileIdentity]] = {}
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_SEALS_BYTES)
    except OSError:
        return known
    for line in text.splitlines():
        try:
            name, digest, numbers = _line(json.loads(line))
        except (ValueError, TypeError, RecursionError):
            continue
        known[name] = (digest, FileIdentity(*numbers))
    return known


def _line(value: Any) -> tuple[str, str, list[int]]:
    name, digest, numbers = value
    if not isinstance(name, str) or not isinstance(digest, str) or len(numbers) != 5:
        raise ValueError(value)
    if not all(type(number) is int for number in numbers):
        raise ValueError(value)
    return name, digest, numbers
