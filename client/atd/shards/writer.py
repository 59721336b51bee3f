"""Writing one shard: encoded samples in, a finished file and its digest out.

Belongs here: the file. It is written under a temporary name in its own folder, hashed on the way,
flushed to the disk, and renamed; so a shard is there whole, or not there. The same samples in the
same order give the same bytes, whatever the process, its hash seed, its clock or its locale.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from atd.disk import storing, sync_folder
from atd.errors import BadSource
from atd.protocol.cbor import RAW, Cid
from atd.records import Layout
from atd.schema.fields import Schema
from atd.shards import tar
from atd.shards.layout import SampleWriter, Stored
from atd.shards.slabs import Batch

_CHUNK: Final = 1 << 20
_LARGE_PIECE: Final = 1 << 16
"""Pieces of this mean size cost more to join than to take one by one."""
_MOST_PIECES: Final = 512
"""Pieces in one call; POSIX promises no more than 16, Linux takes 1024."""


@dataclass(frozen=True, slots=True)
class ShardInfo:
    """A finished shard.

    Args:
        path: where it is.
        name: its file name.
        digest: CID (raw, SHA-256) of its bytes.
        size: in bytes.
        samples: how many it holds.
        members: bytes that their members take; the rest of ``size`` ends the archive.
    """

    path: Path
    name: str
    digest: Cid
    size: int
    samples: int
    members: int


def stored_size(stored: Stored) -> int:
    """Bytes that the members of a sample take in an archive."""
    if len(stored) == 1:
        return tar.member_size(len(stored[0][1]))
    return sum(tar.member_size(len(payload)) for _, payload in stored)


class ShardFileWriter:
    """A shard file in the making, for samples that are already encoded (`Stored`).

    Raises:
        StorageFault: the folder cannot be written to, or the disk is full; nothing is left behind.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._temporary = folder / f".shard-{os.getpid()}-{secrets.token_hex(6)}.tmp"
        self._digest = hashlib.sha256()
        self._pending: list[bytes | memoryview] = []
        self._pending_size = 0
        self._tar = tar.TarWriter(self)
        self.samples = 0
        with storing(self._temporary):
            self._file = self._temporary.open("xb", buffering=0)

    @property
    def size(self) -> int:
        """Bytes of the archive if it ended here."""
        return tar.archive_size(self._tar.position)

    def write(self, data: bytes | memoryview, /) -> None:
        """Take bytes of the archive; for the tar writer."""
        self._pending.append(data)
        self._pending_size += len(data)
        if self._pending_size >= _CHUNK:
            self._flush()

    def _flush(self) -> None:
        pieces: list[bytes | memoryview] = self._pending
        if self._pending_size < _LARGE_PIECE * len(pieces):
            pieces = [b"".join(pieces)]
        for piece in pieces:
            self._digest.update(piece)
        with storing(self._temporary):
            for at in range(0, len(pieces), _MOST_PIECES):
                _write_all(self._file.fileno(), pieces[at : at + _MOST_PIECES])
        self._pending.clear()
        self._pending_size = 0

    def add_all(self, batch: Batch, samples: int) -> None:
        """Append the members of many samples, which lie ready but for their headers.

        When this returns the file has them, and the memory may be used for others.
        """
        try:
            self._tar.add_all(batch.names, batch.sizes, batch.blocks)
            self._flush()
        except BaseException:
            self.abort()
            raise
        self.samples += samples

    def add(self, key: str, stored: Stored) -> None:
        """Append one sample: its members, adjacent."""
        try:
            for suffix, payload in stored:
                self._tar.add(f"{key}.{suffix}", payload)
        except BaseException:
            self.abort()
            raise
        self.samples += 1

    def finish(self, name_of: Callable[[str], str]) -> ShardInfo:
        """End the archive and give it its name, which may depend on its SHA-256 in hex.

        An older file of that name is replaced; who has it mapped keeps the old bytes.
        """
        try:
            members = self._tar.position
            size = self._tar.finish()
            self._flush()
            name = name_of(self._digest.hexdigest())
            path = self._folder / name
            with storing(path):
                os.fsync(self._file.fileno())
                self._file.close()
                self._temporary.replace(path)
                sync_folder(self._folder)
        except BaseException:
            self.abort()
            raise
        digest = Cid.from_digest(self._digest.digest(), RAW)
        return ShardInfo(path, name, digest, size, self.samples, members)

    def abort(self) -> None:
        """Give up: nothing is left in the folder. Safe to call twice."""
        self._file.close()
        self._temporary.unlink(missing_ok=True)


def _write_all(descriptor: int, pieces: Sequence[bytes | memoryview]) -> None:
    """Write every byte of ``pieces``, however many the system takes at a time."""
    left = [memoryview(piece) for piece in pieces if piece]
    while left:
        taken = os.writev(descriptor, left)
        while left and taken >= len(left[0]):
            taken -= len(left.pop(0))
        if taken:
            left[0] = left[0][taken:]


class ShardWriter:
    """Writes samples to the shard at ``path``; as a context manager it closes or gives up.

    Args:
        path: the finished file; its folder must exist.
        schema: what the samples are.
        layout: how they lie in the shard; see `atd.shards.layout.default_layout`.
    """

    def __init__(self, path: Path | str, schema: Schema, layout: Layout) -> None:
        self.path = Path(path)
        self._encode = SampleWriter(schema, layout)
        self._file = ShardFileWriter(self.path.parent)
        self._keys: set[str] = set()
        self.info: ShardInfo | None = None

    @property
    def size(self) -> int:
        """Bytes of the shard if it ended here."""
        return self._file.size

    @property
    def samples(self) -> int:
        """Samples so far."""
        return self._file.samples

    def add(self, key: str, sample: object) -> None:
        """Append one sample: a mapping, or an instance of a dataclass.

        Raises:
            SchemaMismatch: it does not fit the schema.
            InvalidSyntax: the key cannot be written.
            BadSource: the key was used before.
            StorageFault: the disk is full or the folder not writable.
        """
        stored = self._encode(key, sample)
        if key in self._keys:
            raise repeated(key)
        self._keys.add(key)
        self._file.add(key, stored)

    def close(self) -> ShardInfo:
        """End the shard; it appears under its name whole. Calling it again changes nothing."""
        if self.info is None:
            self.info = self._file.finish(lambda _: self.path.name)
        return self.info

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()
        elif self.info is None:
            self._file.abort()


def repeated(key: str) -> BadSource:
    """The error for a key that two samples have."""
    return BadSource(
        f"sample {key}: expected each key once, found it twice",
        next_step="give every sample of a split a key of its own",
    )
