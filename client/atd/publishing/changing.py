"""What a publication changes, told before it is carried out.

Belongs here: asking the daemon what committing would change, counting samples where that costs
nothing, telling the user; and the same of a dry run, as far as it is known before
anything is packed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atd import api
from atd.comparing import Changes, KeyCounts, SplitChange, differences, schema_step, split_changes
from atd.errors import AtdError
from atd.manifest import Manifest
from atd.publishing.previous import Previous
from atd.publishing.sources.source import Source
from atd.service import OnProgress
from atd.versions import Step, claimed, following


@dataclass(frozen=True)
class Comparison:
    """What would change: by the daemon, and what was counted here."""

    changes: Changes
    keys: Mapping[str, KeyCounts]

    def completed(self, said: Mapping[str, Any]) -> dict[str, Any]:
        """What the daemon says in the end (``commit#published``), with what was counted here."""
        if "changes" not in said:
            return dict(said)
        changes = Changes.from_json(said["changes"]).with_keys(self.keys)
        return {**said, "changes": changes.to_json()}


def compare(
    begun: Mapping[str, Any], manifest: Manifest, previous: Previous, *, append: bool
) -> Comparison | None:
    """What committing ``manifest`` would change; None: nothing.

    Args:
        append: ``manifest`` is what is added: no shard goes.

    Raises:
        Conflict: it cannot be committed so: the version says too little, somebody else published.
    """
    answer = previous.connection.call(api.COMPARE, input={"id": begun["id"]})
    if "changes" not in answer:
        return None
    changes = Changes.from_json(answer["changes"])
    keys = _appended(manifest) if append else _counted(previous, manifest, Path(begun["staging"]))
    return Comparison(changes.with_keys(keys), keys)


def tell(changes: Changes, on_progress: OnProgress | None) -> None:
    """Say what changes, before it does."""
    if on_progress is not None:
        on_progress({"step": {"name": "changes", "detail": changes.summary}})


def _appended(manifest: Manifest) -> dict[str, KeyCounts]:
    samples = {name: sum(one.samples for one in shards) for name, shards in manifest.splits.items()}
    return {name: KeyCounts(count, 0, 0) for name, count in samples.items()}


def _counted(previous: Previous, manifest: Manifest, folder: Path) -> dict[str, KeyCounts]:
    try:
        return previous.count(manifest, folder)
    except AtdError:
        return {}  # an old shard that cannot be read is no reason not to publish new ones


def expected(
    source: Source, previous: Previous, *, append: bool, version: str | None
) -> tuple[Changes, tuple[str, ...]]:
    """What publishing ``source`` would change, before it is packed, and what to warn of.

    Args:
        version: that was asked for.
    """
    packed = source.packed
    if packed is not None and not append:
        splits = split_changes(previous.splits, packed.manifest.splits)
    else:
        splits = _by_counts(source, previous, append=append)
    schema = schema_step(previous.schema, source.schema)
    sure = append or schema is not None or any(one.differs for one in splits)
    step = max(schema or Step.PATCH, Step.MINOR) if sure else None
    changes = Changes(
        before=previous.version,
        after=version or (None if step is None else following(previous.version, step)),
        step=step,
        schema_step=schema,
        schema=differences(previous.schema, source.schema),
        splits=splits,
    )
    if version is None or step is None or claimed(previous.version, version) >= step:
        return changes, ()
    least = following(previous.version, step)
    return changes, (
        f"version {version} says less than what changes since {previous.version} "
        f"({step.name.lower()}) and will be refused: {least} would do",
    )


def _by_counts(source: Source, previous: Previous, *, append: bool) -> tuple[SplitChange, ...]:
    before = {name: sum(one.samples for one in shards) for name, shards in previous.splits.items()}
    counts = {name: split.count for name, split in source.splits.items()}
    found = []
    for name in {**(before if append else {}), **counts, **before}:
        old, new = before.get(name, 0), counts.get(name, 0)
        after = None if new is None else new + (old if append else 0)
        found.append(SplitChange(name, old, after))
    return tuple(found)
