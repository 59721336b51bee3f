"""Shards as files of a folder on this machine, for a web server or a synchronised disk to serve.

Each data set has a folder of its own below the given one, so that it can be loaded from there too:
``atd.json`` is written beside the shards. Files appear by rename, whole or not at all; one that is
there already is read and compared, never trusted by its name. What was hashed once, while it was
written or compared, is not hashed again as long as nobody touched it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path

from atd.disk import storing, sync_folder
from atd.errors import DigestMismatch
from atd.files import FileIdentity, hash_file, look
from atd.manifest import Manifest, ManifestShard, hash_shard
from atd.records import BlobRef, ShardEntry, ShardPart
from atd_daemon.network.fetch import Fetcher
from atd_daemon.publishing.destinations.base import Placed, Staged, based, probe


class Folder:
    """The folder ``root / name``, served at ``base`` where that is known."""

    max_shard_bytes = None
    early = True

    def __init__(
        self, fetcher: Fetcher, root: Path, name: str, base_url: str | None, manifest: Manifest
    ) -> None:
        self.folder = root / name
        self.base = None if base_url is None else f"{base_url}{name}/"
        self.place_key = str(self.folder)
        self._fetcher = fetcher
        self._manifest = manifest
        self._right: dict[str, FileIdentity] = {}
        """What the files looked like that were found to be right."""

    @property
    def warning(self) -> str | None:
        """See `Destination.warning`."""
        if self.base is None:
            return (
                f"the shards are in {self.folder} and nowhere else: nobody can fetch them until "
                "they are published again with --base-url, saying where the folder is served"
            )
        return None

    def has(self, part: ShardPart, entry: ShardEntry) -> bool:
        """See `Destination.has`: recorded for this base, and here."""
        path = self.folder / entry.name
        return based(self.base, part, entry) and entry.blob is None and path.is_file()

    async def place(self, staged: Staged, known: BlobRef | None) -> Placed:
        """See `Destination.place`."""
        return Placed(sent=await asyncio.to_thread(self._copy, staged))

    async def check(self, shard: ManifestShard) -> None:
        """See `Destination.check`; without a base there is nobody to ask."""
        await asyncio.to_thread(self._known_right, shard)
        if self.base is not None:
            await probe(self._fetcher, self.base + shard.name, shard.size)

    async def finish(self) -> None:
        """Write ``atd.json``, so that the folder can be loaded as it is."""
        await asyncio.to_thread(self._manifest.save, self.folder)

    def _copy(self, staged: Staged) -> bool:
        """Copy the file unless the same one is there; whether it was copied."""
        target, shard = self.folder / staged.shard.name, staged.shard
        with storing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        if target.exists():
            try:
                self._known_right(shard)
                return False
            except DigestMismatch:
                pass  # cut short or altered: replaced below, by rename
        draft = target.with_name(f".{target.name}.tmp")
        try:
            with storing(target):
                _copy_hashed(staged.path, draft, shard)
                draft.replace(target)
                sync_folder(self.folder)
                self._right[shard.name] = FileIdentity.of(look(target))
        finally:
            with contextlib.suppress(FileNotFoundError):
                draft.unlink()
        return True

    def _known_right(self, shard: ManifestShard) -> None:
        """Hash the file, unless it looks as it did when it was found to be right."""
        path = self.folder / shard.name
        with storing(path):
            before = FileIdentity.of(look(path))
        if self._right.get(shard.name) != before:
            hash_shard(path, shard.digest, shard.size)
            self._right[shard.name] = before


def _copy_hashed(source: Path, target: Path, shard: ManifestShard) -> None:
    """Copy the file and wait until the disk has it; what is written is hashed on the way."""
    descriptor = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with target.open("wb") as out:
            digest, size = hash_file(descriptor, size=shard.size + 1, each=out.write)
            out.flush()
            os.fsync(out.fileno())
    finally:
        os.close(descriptor)
    if (digest, size) != (shard.digest, shard.size):
        raise DigestMismatch(
            f"{source}: expected {shard.size} bytes with the digest {shard.digest}, found {size} "
            f"with {digest}"
        )
