"""What a release changes, and what of that nobody does unasked.

Belongs here: from what is published and what is staged to `atd.comparing.Changes`, the refusal of a
release that takes much away and that nobody agreed to, and of one that was made for another release
than the one that is published now.
"""

from __future__ import annotations

from atd.comparing import Changes, differences, schema_step, split_changes
from atd.errors import Conflict, NeedsConsent
from atd.manifest import Manifest
from atd_daemon.publishing.current import Current
from atd_daemon.publishing.decide import Decision


def changes_of(current: Current, manifest: Manifest, decision: Decision) -> Changes | None:
    """What ``decision`` changes; None where it writes no release, or there is none to compare."""
    resolved = current.resolved
    if resolved is None or decision.version is None:
        return None
    old, new = resolved.schema.record.schema, manifest.schema
    published = {
        split.split.name: [shard.entry for shard in split.shards] for split in resolved.splits
    }
    return Changes(
        before=resolved.release.record.version,
        after=decision.version,
        step=decision.step,
        schema_step=schema_step(old, new),
        schema=differences(old, new),
        splits=split_changes(published, manifest.splits),
    )


def refuse_unasked(changes: Changes, name: str) -> None:
    """Refuse what takes much away: nobody agreed to it.

    Raises:
        NeedsConsent: with all of it.
    """
    if changes.consequences:
        raise NeedsConsent(
            f"{name} {changes.before} would be followed by {changes.after}, where "
            f"{'; '.join(changes.consequences)}",
            next_step="if that is meant, pass --yes",
        )


def check_unmoved(current: Current, previous: str | None, name: str) -> None:
    """Refuse to follow another release than the one that the publication began with.

    Args:
        previous: the CID of that release; None: there was none that could be used.

    Raises:
        Conflict: somebody published meanwhile.
    """
    now = None if current.resolved is None else str(current.resolved.release.cid)
    if now != previous:
        raise Conflict(
            f"{name} was published by another process meanwhile: its latest release is "
            f"{current.version}",
            next_step="run the same command again: it is compared with that release",
        )
