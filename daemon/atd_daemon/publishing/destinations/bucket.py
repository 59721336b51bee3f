"""Shards as objects of an S3-compatible bucket, below ``s3://bucket/prefix/NAME/``.

What was sent is vouched for by the bucket, which checked the signed SHA-256; an object is taken to
be there if the journal knows of sending it and its size is right. Others fetch by plain https.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from atd.manifest import ManifestShard
from atd.records import BlobRef, ShardEntry, ShardPart
from atd_daemon.network.fetch import Fetcher
from atd_daemon.publishing.destinations.base import Placed, Staged, based, probe


class ObjectStore(Protocol):
    """What is needed of `atd_daemon.network.s3.Bucket`."""

    @property
    def public_base(self) -> str: ...

    async def size(self, key: str) -> int | None: ...

    async def put(self, key: str, path: Path, sha256: str) -> None: ...


class Objects:
    """The objects of one data set."""

    warning = None
    early = True

    def __init__(
        self,
        fetcher: Fetcher,
        bucket: ObjectStore,
        name: str,
        base_url: str | None,
        max_shard_bytes: int,
    ) -> None:
        self.max_shard_bytes = max_shard_bytes
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
