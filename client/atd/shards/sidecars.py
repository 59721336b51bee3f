"""Member indexes kept on disk, so that a shard that was opened once opens at once.

What belongs here: where a sidecar lies, how it is written, and why it may be believed. It lies in a
folder of the cache under the digest of its shard, wherever the shard itself is, since a shard may
be in the store or in a user's folder. It holds nothing that depends on a schema or a layout, so the
digest and the version of the format are its whole name.

::

    16 bytes   b"atd-sidecar\\0" + u16 version + 2 zero bytes
    32 bytes   the shard's SHA-256
    the rest   `MemberIndex.to_bytes`, which is sealed by a SHA-256 of its own

Rules. A sidecar is written beside its place, forced to the disk and renamed, never changed. One
that is damaged, cut short, of another shard or version, or that points outside its shard counts as
none, and the next opening replaces it. That it cannot be written is no error: it only saves time.
"""

from __future__ import annotations

import contextlib
import os
import struct
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from atd.disk import write_whole
from atd.errors import ShardError, StorageFault
from atd.files import private_folder
from atd.protocol.cbor import Cid
from atd.shards.index import MemberIndex

FOLDER: Final = "indexes"
"""The folder of sidecars below the cache."""

VERSION: Final = 1
_MAGIC: Final = b"atd-sidecar\0" + struct.pack("<H", VERSION) + bytes(2)
_HEAD: Final = len(_MAGIC) + 32
_CHUNK: Final = 1 << 20
_SPARE: Final = 1 << 16
"""A sidecar is smaller than its shard, whose members take a block each, but for this."""


@dataclass(frozen=True, slots=True)
class Sidecars:
    """The sidecars below ``folder``, which need not exist."""

    folder: Path

    def path(self, digest: Cid) -> Path:
        """Where the sidecar of the shard with ``digest`` is, if there is one."""
        return self.folder / digest.digest[:1].hex() / f"{digest}.v{VERSION}.idx"

    def read(self, digest: Cid, size: int) -> MemberIndex | None:
        """The index of the shard with ``digest`` of ``size`` bytes; None if there is none to trust.

        Its numbers are checked against ``size``: nothing it says leads outside the shard.
        """
        path = self.path(digest)
        try:
            data = _read(path, size + _SPARE)
        except OSError:
            return None
        if data[:_HEAD] != _MAGIC + digest.digest:
            return None
        try:
            return MemberIndex.from_bytes(data[_HEAD:], size, path.name)
        except ShardError:
            return None

    def write(self, digest: Cid, index: MemberIndex) -> None:
        """Keep ``index``, in place of what was there; nothing happens where that cannot be."""
        path = self.path(digest)
        with contextlib.suppress(OSError, StorageFault):
            private_folder(path.parent)
            write_whole(path, _MAGIC + digest.digest + index.to_bytes())

    def keep(self, digest: Cid, index: MemberIndex) -> None:
        """`write`, in a thread that is waited for when the process ends, not before."""
        with contextlib.suppress(RuntimeError):  # the process is just ending
            _thread().submit(self.write, digest, index)


def _read(path: Path, most: int) -> bytes:
    """The file at ``path``; nothing if it is longer than ``most`` bytes."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        data = bytearray()
        while chunk := os.read(descriptor, _CHUNK):
            data += chunk
            if len(data) > most:
                return b""
        return bytes(data)
    finally:
        os.close(descriptor)


_threads: dict[int, ThreadPoolExecutor] = {}
"""By process: a thread does not survive a fork."""


def _thread() -> ThreadPoolExecutor:
    """The one thread of this process that writes sidecars."""
    found = _threads.get(os.getpid())
    if found is None:
        found = ThreadPoolExecutor(1, thread_name_prefix="atd-index")
        found = _threads.setdefault(os.getpid(), found)
    return found
