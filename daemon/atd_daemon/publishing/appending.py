"""A release and what is added to it: the whole that an appended release is made of.

Belongs here: putting the shards of the latest release and the staged ones together, split by split,
and refusing what does not go together. Nothing of an old shard is needed but its entry: it is
referred to again as it stands, wherever its bytes are.

Rules. Old shards come first, in their order. The schema is one that old and new samples fit, and
each field lies where it lay. All shards are at one destination, because a shard list names one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from atd.errors import AtdError, Conflict, RecordAbsent
from atd.manifest import Manifest, ManifestShard
from atd.records import ShardEntry
from atd.schema.differences import in_words, schema_differences
from atd.schema.evolve import fits
from atd_daemon.publishing.current import Current
from atd_daemon.publishing.destinations.base import Destination

_LEAVE_OUT = "publish all of the data, without --append"


def kept_entries(current: Current) -> dict[str, ShardEntry]:
    """The shards of the latest release by their names."""
    return {entry.name: entry for _, entry in current.entries()}


def appended(current: Current, staged: Manifest, name: str) -> Manifest:
    """What is published and what is staged, as one.

    Raises:
        RecordAbsent: nothing usable is published under ``name``.
        Conflict: the schemas or the layouts do not go together, or a shard is there already.
    """
    resolved = current.resolved
    if resolved is None:
        raise nothing_to_append_to(current, name)
    release, old = resolved.release.record, resolved.schema.record.schema
    if not fits(old, staged.schema):
        lines = in_words(schema_differences(old, staged.schema))
        raise Conflict(
            f"the samples of {name} {release.version} do not fit the schema of the new ones: "
            f"{lines}",
            next_step=_LEAVE_OUT,
        )
    if not _same_places(release.layout.members, staged.layout.members, old.names) or (
        release.layout.kind != staged.layout.kind
    ):
        raise Conflict(
            f"the new samples lie otherwise in their shards than those of {name} "
            f"{release.version}: {staged.layout.kind} {dict(staged.layout.members)} instead of "
            f"{release.layout.kind} {dict(release.layout.members)}",
            next_step=_LEAVE_OUT,
        )
    splits = {
        split.split.name: tuple(_listed(shard.entry) for shard in split.shards)
        for split in resolved.splits
    }
    for split, shards in staged.splits.items():
        splits[split] = (*splits.get(split, ()), *shards)
    try:
        return Manifest(staged.schema, staged.layout, release.cuts or staged.cuts, splits, name)
    except AtdError as error:
        raise Conflict(
            f"cannot append to {name} {release.version}: {error.message}", next_step=_LEAVE_OUT
        ) from error


def nothing_to_append_to(current: Current, name: str) -> RecordAbsent:
    """The refusal where nothing usable is published under ``name``."""
    return RecordAbsent(
        f"there is no release of {name} to append to: {current.trouble or 'none is published'}",
        next_step=_LEAVE_OUT,
    )


def check_reachable(current: Current, destination: Destination, name: str) -> None:
    """Refuse a destination where the old shards are not.

    Raises:
        Conflict: some are elsewhere.
    """
    away = next(_away(current, destination), None)
    if away is not None:
        raise Conflict(
            f"shards of {name} {current.version}, such as {away.name}, are not at "
            f"{destination.place_key}: new ones can only be appended where the old ones are",
            next_step="leave --store out, or publish all of the data there, without --append",
        )


def _away(current: Current, destination: Destination) -> Iterator[ShardEntry]:
    return (entry for part, entry in current.entries() if not destination.has(part, entry))


def _listed(entry: ShardEntry) -> ManifestShard:
    return ManifestShard(entry.name, entry.digest, entry.size, entry.samples)


def _same_places(old: Mapping[str, str], new: Mapping[str, str], names: tuple[str, ...]) -> bool:
    """Whether each of the fields ``names`` lies in the same place; none given: by its name."""
    return all(old.get(name, name) == new.get(name, name) for name in names)
