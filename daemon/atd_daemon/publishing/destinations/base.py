"""What every destination does, and what they share.

Rules. Placing a shard twice is harmless and sends its bytes once. What is at the destination
already is believed only as far as the destination vouches for it: by digest, or by reading it.
Where a shard is recorded, everyone can be asked for it: `Destination.check` asks as a stranger.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from atd.errors import Absent, DigestMismatch
from atd.manifest import ManifestShard
from atd.records import BlobRef, ShardEntry, ShardPart
from atd_daemon.network.fetch import Fetcher, host_of


@dataclass(frozen=True, slots=True)
class Staged:
    """A shard file that was checked against its manifest."""

    path: Path
    shard: ManifestShard


@dataclass(frozen=True, slots=True)
class Placed:
    """A shard at its destination: its blob, where that is one; ``sent`` says that bytes were."""

    blob: BlobRef | None = None
    sent: bool = False


class Destination(Protocol):
    """One place for shards.

    ``place_key`` names it in the journal. ``base`` is the URL that names of shards are appended to,
    recorded in each shard list; None where shards are blobs, or nowhere that others can reach.
    ``warning`` is for the publisher. ``early`` says that strangers can fetch a shard as soon as it
    is placed, so that this can be checked before any record says so.
    """

    @property
    def place_key(self) -> str: ...

    @property
    def base(self) -> str | None: ...

    @property
    def max_shard_bytes(self) -> int | None: ...

    @property
    def warning(self) -> str | None: ...

    @property
    def early(self) -> bool: ...

    def has(self, part: ShardPart, entry: ShardEntry) -> bool:
        """Whether a published shard is recorded to be here."""
        ...

    async def place(self, staged: Staged, known: BlobRef | None) -> Placed:
        """Put the shard here, unless it is here.

        Args:
            known: what the journal remembers of having put it here once.

        Raises:
            TooLarge, StorageFault, DigestMismatch, Unreachable, …: as they say.
        """
        ...

    async def check(self, shard: ManifestShard) -> None:
        """Ask for the shard as a stranger would.

        Raises:
            Absent, Unreachable, DigestMismatch: it cannot be had.
        """
        ...

    async def finish(self) -> None:
        """Called when all shards are placed, before the records are written."""
        ...


def based(base: str | None, part: ShardPart, entry: ShardEntry) -> bool:
    """Whether a published shard is recorded under its name at ``base``."""
    return base in part.bases and not entry.urls if base is not None else not part.bases


async def probe(fetcher: Fetcher, url: str, size: int) -> None:
    """Ask for the beginning of a file as a stranger would.

    Raises:
        Absent: it is not there, or not for everyone.
        DigestMismatch: it is there with another size.
        Unreachable: it could not be found out.
    """
    async with fetcher.stream("GET", url) as reply:
        if reply.status != 200:
            raise Absent(
                f"{host_of(url)} answered {reply.status} for {url}: others cannot fetch the shard",
                next_step="let everyone read it, then run the same command again",
            )
        length = reply.headers.get("content-length")
        if length is not None and length != str(size):
            raise DigestMismatch(f"expected {size} bytes at {url}, found {length}")
        async for _ in reply.chunks:
            break
