"""Whether what is to be appended is what the latest release appended already.

Belongs here: `repeats`. Rows are numbered on, so a command that is run again after it succeeded, by
a job that lost the answer, say, would find free numbers and add every sample twice. What a sample
holds does not depend on its number, so the samples that the latest release added, whatever their
keys, are compared with those that were just packed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from atd.manifest import Manifest
from atd.publishing.previous import OldShard, Previous, marks
from atd.shards.reader import ShardFile


def repeats(previous: Previous, manifest: Manifest, folder: Path) -> bool:
    """Whether ``previous`` added just these samples to the release before it.

    Samples are compared only where the numbers of samples agree, and nothing is fetched for it.

    Args:
        manifest: of what is to be appended, whose shards are in ``folder``; all of its samples are
            numbered.
    """
    before = previous.predecessor()
    added = None if before is None else _added(before.splits, previous.splits)
    if added is None:
        return False
    counts = [
        {name: sum(one.samples for one in shards) for name, shards in splits.items()}
        for splits in (added, manifest.splits)
    ]
    if counts[0] != counts[1]:
        return False
    if not all(previous.readable(name, added[name], manifest.splits[name]) for name in added):
        return False
    return all(
        sorted(mark for shard in added[name] for _, mark in marks(previous.open(shard)))
        == sorted(
            mark
            for shard in manifest.splits[name]
            for _, mark in marks(ShardFile(folder / shard.name, manifest.schema, manifest.layout))
        )
        for name in added
    )


def _added(
    old: Mapping[str, Sequence[OldShard]], new: Mapping[str, Sequence[OldShard]]
) -> dict[str, Sequence[OldShard]] | None:
    """The shards that stand after the old ones, by split; None where it was no append."""
    digests = {
        name: [[one.digest for one in splits.get(name, ())] for splits in (old, new)]
        for name in {**old, **new}
    }
    if any(now[: len(then)] != then for then, now in digests.values()):
        return None
    tails = {name: shards[len(old.get(name, ())) :] for name, shards in new.items()}
    return {name: shards for name, shards in tails.items() if shards}
