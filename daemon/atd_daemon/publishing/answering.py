"""What a publication answers: from a release that was read back to `Published`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from atd.protocol.identity import Identity
from atd_daemon.publishing.asked import Published
from atd_daemon.sync.found import ResolvedDataset


def published_of(
    found: ResolvedDataset,
    identity: Identity,
    *,
    unchanged: bool,
    new_shards: int,
    uploaded: int,
    warnings: tuple[str, ...] = (),
    card_changed: bool = False,
    changes: Mapping[str, Any] | None = None,
) -> Published:
    """The answer about the release ``found``, which was read back; see `Published`."""
    release = found.release.record
    return Published(
        release=found.release.ref,
        name=release.name,
        version=release.version,
        handle=identity.handle,
        shards=release.shards,
        samples=release.samples,
        size=release.size,
        unchanged=unchanged,
        new_shards=new_shards,
        uploaded=uploaded,
        card_changed=card_changed,
        rev=None if found.head is None else str(found.head.rev),
        warnings=warnings,
        changes=changes,
    )
