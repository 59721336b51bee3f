"""Shards that are served already, at ``https://base/`` under their names.

Nothing is sent. Before any record is written each file is read to its end, as a stranger, and
compared with the manifest: a release never names a place that has other bytes.
"""

from __future__ import annotations

import hashlib

from atd.errors import BadSource, DigestMismatch
from atd.manifest import ManifestShard
from atd.protocol.cbor import RAW, Cid
from atd.records import BlobRef, ShardEntry, ShardPart
from atd_daemon.network.fetch import Fetcher, host_of
from atd_daemon.publishing.destinations.base import Placed, Staged, based, probe


class Web:
    """The files below ``base``."""

    max_shard_bytes = None
    warning = None
    early = True

    def __init__(self, fetcher: Fetcher, base: str) -> None:
        self.base = self.place_key = base
        self._fetcher = fetcher

    def has(self, part: ShardPart, entry: ShardEntry) -> bool:
        """See `Destination.has`."""
        return based(self.base, part, entry)

    async def place(self, staged: Staged, known: BlobRef | None) -> Placed:
        """See `Destination.place`: it is read there, every byte of it."""
        shard = staged.shard
        url = self.base + shard.name
        digest, size = hashlib.sha256(), 0
        async with self._fetcher.stream("GET", url, max_bytes=shard.size + 1) as reply:
            if reply.status != 200:
                raise BadSource(
                    f"{host_of(url)} answered {reply.status} for {url}, "
                    f"where a shard of {shard.size} bytes should be",
                    next_step="upload the packed folder there first, readable by everyone",
                )
            async for chunk in reply.chunks:
                digest.update(chunk)
                size += len(chunk)
        found = Cid.from_digest(digest.digest(), RAW)
        if (found, size) != (shard.digest, shard.size):
            raise DigestMismatch(
                f"expected {shard.size} bytes with the digest {shard.digest} at {url}, "
                f"found {size} bytes with {found}",
                next_step="upload the packed folder there again",
            )
        return Placed()

    async def check(self, shard: ManifestShard) -> None:
        """See `Destination.check`."""
        await probe(self._fetcher, self.base + shard.name, shard.size)

    async def finish(self) -> None:
        """See `Destination.finish`."""
