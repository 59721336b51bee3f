"""What a publication has to write: nothing, a card, or a release, and of which version.

Belongs here: comparing what is staged with what is published. Pure. The rules:

- The same shards in the same order under the same schema and layout are the same data: nothing is
  written, or only the head where the card says something new.
- Where a destination was asked for by name and the shards are not all there, the next release says
  where they are: a patch.
- Other samples: a minor version; a schema that old readers cannot read: a major one.
- A version that was asked for is newer than the latest, or it is the latest and nothing changed.
  It says at least as much as what changed (`atd.versions.claimed`), unless the publisher insists.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from atd.errors import Conflict
from atd.manifest import Manifest
from atd.names import version_order
from atd.records import Dataset, ShardEntry
from atd.schema.evolve import Change, change
from atd.schema.fields import Schema
from atd.versions import FIRST, Step, claimed, following
from atd_daemon.publishing.asked import Card
from atd_daemon.publishing.current import Current

MEANINGS: Final = {
    Step.PATCH: "the shards are elsewhere, or described otherwise",
    Step.MINOR: "the samples changed, or the schema in a way that old readers still read",
    Step.MAJOR: "readers of the old schema cannot read the new one",
}


@dataclass(frozen=True, slots=True)
class Decision:
    """What to write: a release, if ``version`` is set; else the card, if it changed.

    ``step`` is how large a step the release is; None where there is no release to compare with.
    """

    version: str | None
    card: bool
    same_schema: bool
    step: Step | None = None

    @property
    def nothing(self) -> bool:
        """Whether there is nothing to write."""
        return self.version is None and not self.card


def decide(
    current: Current,
    manifest: Manifest,
    card: Card,
    *,
    asked: str | None,
    elsewhere: bool,
    forced: bool = False,
    recipe: bool = False,
) -> Decision:
    """Compare what is staged with what is published.

    Args:
        asked: the version that was asked for.
        elsewhere: the shards have to be where they are not yet.
        forced: the version that was asked for may say less than what changed.
        recipe: the release has to carry another recipe than the last one.

    Raises:
        Conflict: the version that was asked for exists, is older than the latest, or says less than
            what changed.
    """
    changed = _card_changed(current.dataset, card)
    same_schema = _same_schema(current, manifest)
    same_data = same_schema and _same_data(current, manifest)
    latest = current.version
    if latest is None:
        return Decision(asked or FIRST, True, same_schema)
    if asked is not None and version_order(asked) < version_order(latest):
        raise Conflict(
            f"version {asked} is older than the latest release, {latest}",
            next_step="choose a newer version, or leave it out",
        )
    if asked == latest and not same_data:
        raise Conflict(
            f"version {asked} is published already, with other content",
            next_step="releases never change: choose a newer version, or leave it out",
        )
    if asked == latest and elsewhere:
        raise Conflict(
            f"version {asked} is published already, with its shards in another place",
            next_step="releases never change: leave the version out, or choose a newer one",
        )
    if asked == latest and recipe:
        raise Conflict(
            f"version {asked} is published already, with another recipe",
            next_step="releases never change: leave the version out, or choose a newer one",
        )
    if same_data and not elsewhere and not recipe and asked in (None, latest):
        return Decision(None, changed, same_schema)
    if current.resolved is None:
        return Decision(asked or following(latest, Step.MINOR), changed, same_schema)
    step = step_of(current.resolved.schema.record.schema, manifest.schema, same_data=same_data)
    if asked is not None and asked != latest:
        if not forced:
            _check_claim(latest, asked, step)
        return Decision(asked, changed, same_schema, step)
    return Decision(following(latest, step), changed, same_schema, step)


def _check_claim(latest: str, asked: str, step: Step) -> None:
    """Refuse a version that says less than what changed."""
    if claimed(latest, asked) >= step:
        return
    least = following(latest, step)
    raise Conflict(
        f"version {asked} says less than what changed since {latest}, which is "
        f"{step.name.lower()}: {MEANINGS[step]}",
        next_step=f"choose {least} or later, leave the version out, or insist with --force-version",
    )


def _card_changed(dataset: Dataset | None, card: Card) -> bool:
    return dataset is None or any(
        getattr(dataset, name) != value for name, value in card.over(dataset).items()
    )


def _same_schema(current: Current, manifest: Manifest) -> bool:
    resolved = current.resolved
    return resolved is not None and resolved.schema.record.schema == manifest.schema


def _same_data(current: Current, manifest: Manifest) -> bool:
    resolved = current.resolved
    if resolved is None or resolved.release.record.layout != manifest.layout:
        return False
    published = {
        split.split.name: [_content(shard.entry) for shard in split.shards]
        for split in resolved.splits
    }
    staged = {
        name: [(shard.digest, shard.size, shard.samples) for shard in shards]
        for name, shards in manifest.splits.items()
    }
    return published == staged


def _content(entry: ShardEntry) -> tuple[object, int, int]:
    return entry.digest, entry.size, entry.samples


def step_of(old: Schema, new: Schema, *, same_data: bool) -> Step:
    """How large a step a release is, by its schemas and by whether its shards are others."""
    if change(old, new) is Change.MAJOR:
        return Step.MAJOR
    return Step.PATCH if same_data else Step.MINOR
