"""Shards as blobs of the publisher's own PDS.

A blob is taken to be there if a release of ours refers to it or the journal knows that it was
uploaded; a PDS throws away what no record refers to after a while, and says so when the records
come (`BlobNotFound`), whereupon everything that only the journal vouched for is uploaded again.
"""

from __future__ import annotations

from typing import Final

from atd.errors import Absent, DigestMismatch
from atd.manifest import ManifestShard
from atd.protocol.identity import Identity
from atd.records import BlobRef, ShardEntry, ShardPart
from atd_daemon.network.account import Accounts
from atd_daemon.network.fetch import host_of
from atd_daemon.network.pds import PdsReader
from atd_daemon.publishing.destinations.base import Placed, Staged

MIME: Final = "application/x-tar"
DEFAULT_LIMIT: Final = 5 * 1024 * 1024
"""What a PDS takes if it does not say: the reference implementation's own default."""


class Blobs:
    """The PDS of ``identity``."""

    base = None
    warning = None
    early = False

    def __init__(
        self,
        accounts: Accounts,
        reader: PdsReader,
        identity: Identity,
        limit: int,
    ) -> None:
        self.max_shard_bytes = limit
        self.place_key = f"{identity.pds} {identity.did}"
        self._accounts = accounts
        self._reader = reader
        self._identity = identity

    def has(self, part: ShardPart, entry: ShardEntry) -> bool:
        """See `Destination.has`."""
        return entry.blob is not None

    async def place(self, staged: Staged, known: BlobRef | None) -> Placed:
        """See `Destination.place`."""
        if known is not None:
            return Placed(known)
        value = await self._accounts.upload_blob(self._identity.did, staged.path, MIME)
        return Placed(BlobRef.from_value(value), sent=True)

    async def check(self, shard: ManifestShard) -> None:
        """See `Destination.check`."""
        async with self._reader.blob(self._identity, shard.digest) as reply:
            where = host_of(self._identity.pds)
            if reply.status != 200:
                raise Absent(f"{where} answered {reply.status} for the blob {shard.digest}")
            length = reply.headers.get("content-length")
            if length is not None and length != str(shard.size):
                raise DigestMismatch(
                    f"expected {shard.size} bytes of the blob {shard.digest} from {where}, "
                    f"found {length}"
                )
            async for _ in reply.chunks:
                break

    async def finish(self) -> None:
        """See `Destination.finish`."""
