"""Shards as files of a folder on this machine, for a web server or a synchronised disk to serve.

Each data set has a folder of its own below the given one, so that it can be loaded from there too:
``atd.json`` is written beside the shards. Files appear by rename, whole or not at all; one that is
there already is read and compared, never trusted by its name.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from pathlib import Path

from atd.disk import storing, sync_folder
from atd.errors import DigestMismatch
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
        await asyncio.to_thread(hash_shard, self.folder / shard.name, shard.digest, shard.size)
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
                hash_shard(target, shard.digest, shard.size)
                return False
            except DigestMismatch:
                pass  # cut short or altered: replaced below, by rename
        draft = target.with_name(f".{target.name}.tmp")
        try:
            with storing(target):
                shutil.copyfile(staged.path, draft)
                hash_shard(draft, shard.digest, shard.size)
                draft.replace(target)
                sync_folder(self.folder)
        finally:
            with contextlib.suppress(FileNotFoundError):
                draft.unlink()
        return True
