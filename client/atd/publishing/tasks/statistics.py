"""The task of computing the statistics of one shard, and the driver that has it done for all.

Belongs here: only that. What is computed, and why the order does not matter, is in
`atd.statistics.shard`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from atd.engines.foreman import Foreman
from atd.manifest import Manifest
from atd.publishing.sources.source import Progress
from atd.records import Layout
from atd.schema.fields import Schema
from atd.statistics.shard import Partial, shard_statistics

WHAT = "computing statistics"


@dataclass(frozen=True)
class ShardTask:
    """One finished shard of a split, where every worker finds it."""

    path: Path
    schema: Schema
    layout: Layout
    split: str
    samples: int

    @property
    def what(self) -> str:
        """The task in words."""
        return f"the statistics of {self.path.name}"


def summarise_shard(task: ShardTask) -> Partial:
    """What is known of the samples of the shard; raises as `shard_statistics`."""
    return shard_statistics(task.path, task.schema, task.layout)


def summarised(
    manifest: Manifest, folder: Path, foreman: Foreman, progress: Progress | None
) -> Iterator[tuple[str, Partial]]:
    """What is known of each shard in ``folder``, with its split, in the order in which they end.

    Raises:
        AtdError: as `Foreman.carry_out`.
    """
    done = 0
    for _, task, part in foreman.carry_out(summarise_shard, _tasks(manifest, folder)):
        yield task.split, part
        done += task.samples
        if progress is not None:
            progress(WHAT, done, manifest.samples)


def _tasks(manifest: Manifest, folder: Path) -> Iterator[ShardTask]:
    for split, shards in manifest.splits.items():
        for shard in shards:
            path = (folder / shard.name).absolute()
            yield ShardTask(path, manifest.schema, manifest.layout, split, shard.samples)
