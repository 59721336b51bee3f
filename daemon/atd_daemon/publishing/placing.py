"""Shards on their way to the destination, each journaled as soon as it is there.

Belongs here: which shards have to be sent at all, sending them one after the other, and asking for
them as strangers would. What a release refers to is there; what the journal remembers may have
been thrown away by a PDS that saw no record refer to it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from atd.manifest import Manifest, ManifestShard
from atd.protocol.cbor import Cid
from atd.records import BlobRef
from atd_daemon.publishing.current import Current
from atd_daemon.publishing.destinations.base import Destination, Staged
from atd_daemon.publishing.destinations.blobs import MIME
from atd_daemon.publishing.journal import Journal
from atd_daemon.publishing.patience import Listener, Patience
from atd_daemon.publishing.sending import Checkpoint
from atd_daemon.publishing.words import counted


@dataclass
class Placing:
    """The shards of one publication, ``id``, whose files are in ``folder``."""

    destination: Destination
    journal: Journal
    id: str
    folder: Path
    current: Current
    manifest: Manifest
    patience: Patience
    listener: Listener
    checkpoint: Checkpoint

    async def place(self, *, anew: bool = False) -> dict[Cid, BlobRef]:
        """Every shard at the destination; returns the blobs of those that are blobs.

        Args:
            anew: believe only what a release refers to, not what the journal remembers.
        """
        destination = self.destination
        published = {
            entry.digest: entry
            for part, entry in self.current.entries()
            if destination.has(part, entry)
        }
        blobs = {digest: one.blob for digest, one in published.items() if one.blob is not None}
        missing = {one.digest: one for one in self.manifest.shards if one.digest not in published}
        if anew:
            self.journal.forget_uploads(destination.place_key, missing)
        total, done = sum(shard.size for shard in missing.values()), 0
        for number, shard in enumerate(missing.values()):
            self.listener.progress(
                name=shard.name, done=done, total=total, shards=number, shardsTotal=len(missing)
            )
            blob = await self._place(shard)
            if blob is not None:
                blobs[shard.digest] = blob
            done += shard.size
        await destination.finish()
        if missing:
            detail = f"{counted(len(missing), 'shard')}, {total} bytes, at {destination.place_key}"
            self.listener.step(name="placed", detail=detail)
        return blobs

    async def check(self, old: Collection[Cid]) -> None:
        """Ask for every shard that is not among ``old``."""
        for shard in {one.digest: one for one in self.manifest.shards}.values():
            if shard.digest not in old:
                await self._check(shard)

    async def _place(self, shard: ManifestShard) -> BlobRef | None:
        """One shard at its destination; checked, where strangers can have it at once."""
        key = self.destination.place_key
        staged = Staged(self.folder / shard.name, shard)
        known = self.journal.uploaded(key, shard.digest)
        placed = await self.patience.harmless(
            f"uploading {shard.name}", lambda: self.destination.place(staged, known)
        )
        if placed.sent:
            self.checkpoint("sent a shard")
            blob = placed.blob or BlobRef(shard.digest, MIME, shard.size)
            self.journal.remember_upload(key, self.id, blob)
        if self.destination.early:
            await self._check(shard)
        self.checkpoint("placed a shard")
        return placed.blob

    async def _check(self, shard: ManifestShard) -> None:
        await self.patience.harmless(
            f"asking for {shard.name}", lambda: self.destination.check(shard)
        )
