"""What one run is to bring about: from what is published, by what is staged, to a release.

Belongs here: `Goal`, which the steps of a run hand on, and what follows from it alone.
"""

from __future__ import annotations

from dataclasses import dataclass

from atd.manifest import Manifest
from atd.protocol.cbor import Cid
from atd_daemon.publishing.current import Current
from atd_daemon.publishing.destinations.base import Destination


@dataclass(frozen=True)
class Goal:
    """Where a run starts, and what is to be there in the end.

    Args:
        current: what is published under the name, proved.
        staged: what was packed for it.
        manifest: all that the release is to hold: what is staged, after what it is appended to.
        destination: where all of its shards are to be.
    """

    current: Current
    staged: Manifest
    manifest: Manifest
    destination: Destination

    @property
    def old(self) -> frozenset[Cid]:
        """The digests of the shards of the latest release, wherever those are."""
        return frozenset(entry.digest for _, entry in self.current.entries())

    @property
    def new(self) -> frozenset[Cid]:
        """The digests of the shards that the latest release does not have."""
        return frozenset(shard.digest for shard in self.manifest.shards) - self.old

    @property
    def here(self) -> frozenset[Cid]:
        """The digests of the shards of the latest release that are at the destination."""
        return frozenset(
            entry.digest
            for part, entry in self.current.entries()
            if self.destination.has(part, entry)
        )
