"""Shards as objects of an S3-compatible bucket, below ``s3://bucket/prefix/NAME/``.

What was sent is vouched for by the bucket, which checked the signed SHA-256; an object is taken to
be there if the journal knows of sending it and its size is right. Others fetch by plain https.
"""

from __future__ import annotations

from atd.manifest import ManifestShard
from atd.records import BlobRef, ShardEntry, ShardPart
from atd_daemon.network.fetch import Fetcher
from atd_daemon.network.s3 import MAX_PUT_BYTES, Bucket
from atd_daemon.publishing.destinations.base import Placed, Staged, based, probe


class Objects:
    """The objects of one data set."""

    warning = None
    early = True
    max_shard_bytes = MAX_PUT_BYTES

    def __init__(self, fetcher: Fetcher, bucket: Bucket, name: str, base_url: str | None) -> None:
        self.base = f"{base_url or bucket.public_base}{name}/"
        self.place_key = f"{bucket.public_base}{name}/"
        self._fetcher = fetcher
        self._bucket = bucket
        self._name = name

    def has(self, part: ShardPart, entry: ShardEntry) -> bool:
        """See `Destination.has`."""
        return based(self.base, part, entry)

    async def place(self, staged: Staged, known: BlobRef | None) -> Placed:
        """See `Destination.place`."""
        key = f"{self._name}/{staged.shard.name}"
        if known is not None and await self._bucket.size(key) == staged.shard.size:
            return Placed(known)
        await self._bucket.put(key, staged.path, staged.shard.digest.digest.hex())
        return Placed(sent=True)

    async def check(self, shard: ManifestShard) -> None:
        """See `Destination.check`."""
        await probe(self._fetcher, self.base + shard.name, shard.size)

    async def finish(self) -> None:
        """See `Destination.finish`."""
