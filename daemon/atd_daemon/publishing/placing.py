"""Shards on their way to the destination, each journaled as soon as it is there.

Belongs here: which shards have to be sent at all, sending them one after the other, and asking for
them as strangers would. What a release refers to is there; what the journal remembers may have
been thrown away by a PDS that saw no record refer to it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from atd.manifest import ManifestShard
from atd.protocol.cbor import Cid
from atd.records import BlobRef
from atd_daemon.publishing.destinations.base import Destination, Staged
from atd_daemon.publishing.destinations.blobs import MIME
from atd_daemon.publishing.goal import Goal
from atd_daemon.publishing.patience import Listener, Patience
from atd_daemon.publishing.tools import Tools
from atd_daemon.publishing.words import counted


@dataclass(frozen=True)
class Placing:
    """The shards of one publication, ``id``, whose files are in ``folder``."""

    tools: Tools
    goal: Goal
    id: str
    folder: Path
    patience: Patience
    listener: Listener

    @property
    def _destination(self) -> Destination:
        return self.goal.destination

    async def place(self, *, anew: bool = False) -> dict[Cid, BlobRef]:
        """Every shard at the destination; returns the blobs of those that are blobs.

        Args:
            anew: believe only what a release refers to, not what the journal remembers.
        """
        destination = self._destination
        published = {
            entry.digest: entry
            for part, entry in self.goal.current.entries()
            if destination.has(part, entry)
        }
        blobs = {digest: one.blob for digest, one in published.items() if one.blob is not None}
        shards = self.goal.manifest.shards
        missing = {one.digest: one for one in shards if one.digest not in published}
        if anew:
            self.tools.journal.forget_uploads(destination.place_key, missing)
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
        for shard in {one.digest: one for one in self.goal.manifest.shards}.values():
            if shard.digest not in old:
                await self._check(shard)

    async def _place(self, shard: ManifestShard) -> BlobRef | None:
        """One shard at its destination; checked, where strangers can have it at once."""
        key = self._destination.place_key
        staged = Staged(self.folder / shard.name, shard)
        known = self.tools.journal.uploaded(key, shard.digest)
        placed = await self.patience.harmless(
            f"uploading {shard.name}", lambda: self._destination.place(staged, known)
        )
        if placed.sent:
            self.tools.checkpoint("sent a shard")
            blob = placed.blob or BlobRef(shard.digest, MIME, shard.size)
            self.tools.journal.remember_upload(key, self.id, blob)
        if self._destination.early:
            await self._check(shard)
        self.tools.checkpoint("placed a shard")
        return placed.blob

    async def _check(self, shard: ManifestShard) -> None:
        await self.patience.harmless(
            f"asking for {shard.name}", lambda: self._destination.check(shard)
        )
