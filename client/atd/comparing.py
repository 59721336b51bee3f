"""What changed from one release to the next, as values: for whoever publishes, before and after.

Belongs here: `Changes`, its JSON (``network.atd.publishing.defs#changes``), making it of two lists
of shards and two schemas, and what of it is too much to be done unasked. Pure. How schemas differ
field by field is `atd.schema.differences`, how large a step is comes from `atd.schema.evolve`: the
history of an index (``atd log``) speaks of releases by the same two.

A shard is known by its digest, so kept, new and gone are exact whatever the shards hold. How many
samples came, went and changed is known only to those who read the shards that differ: `KeyCounts`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

from atd.protocol.cbor import Cid
from atd.schema.differences import Difference, in_words, schema_differences
from atd.schema.evolve import Change, change
from atd.schema.fields import Schema
from atd.versions import Step


class ShardLike(Protocol):
    """A shard of a manifest or of a release; ``size`` in bytes."""

    @property
    def digest(self) -> Cid: ...

    @property
    def size(self) -> int: ...

    @property
    def samples(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Amount:
    """So many shards of so many bytes."""

    shards: int = 0
    size: int = 0

    @classmethod
    def of(cls, shards: Sequence[ShardLike]) -> Self:
        """All of ``shards``."""
        return cls(len(shards), sum(shard.size for shard in shards))

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.shards + other.shards, self.size + other.size)

    def to_json(self) -> dict[str, int]:
        """``shards`` and ``bytes``."""
        return {"shards": self.shards, "bytes": self.size}

    @classmethod
    def from_json(cls, value: Mapping[str, int]) -> Self:
        """From `to_json`."""
        return cls(value["shards"], value["bytes"])


@dataclass(frozen=True, slots=True)
class KeyCounts:
    """Samples by their keys: new keys, keys that are gone, keys whose sample has other bytes."""

    added: int
    removed: int
    changed: int


@dataclass(frozen=True)
class SplitChange:
    """What happened to one split.

    Args:
        before: samples that it had; 0: the split is new.
        after: samples that it has; 0: the split is gone; None: not known before it is packed.
        kept, new, gone: its shards; None where it is not packed yet.
        keys: its samples, where the shards that differ could be read.
    """

    name: str
    before: int
    after: int | None
    kept: Amount | None = None
    new: Amount | None = None
    gone: Amount | None = None
    keys: KeyCounts | None = None

    @property
    def differs(self) -> bool:
        """Whether anything of it is known to have changed."""
        return self.before != self.after or any(
            part.shards for part in (self.new, self.gone) if part
        )

    @property
    def lost(self) -> int:
        """Samples that are known to be gone."""
        if self.keys is not None:
            return self.keys.removed
        return 0 if self.after is None else max(self.before - self.after, 0)

    def to_json(self) -> dict[str, Any]:
        """``network.atd.publishing.defs#splitChange``."""
        amounts = {"kept": self.kept, "new": self.new, "gone": self.gone}
        keys = self.keys
        return {
            "name": self.name,
            "samplesBefore": self.before,
            **({} if self.after is None else {"samplesAfter": self.after}),
            **{name: one.to_json() for name, one in amounts.items() if one is not None},
            **({} if keys is None else {"added": keys.added, "removed": keys.removed}),
            **({} if keys is None else {"changed": keys.changed}),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """From `to_json`."""
        amounts = {
            name: Amount.from_json(value[name]) for name in ("kept", "new", "gone") if name in value
        }
        counts = [value.get(name) for name in ("added", "removed", "changed")]
        keys = None if None in counts else KeyCounts(*(int(count or 0) for count in counts))
        before, after = value["samplesBefore"], value.get("samplesAfter")
        return cls(value["name"], before, after, **amounts, keys=keys)


@dataclass(frozen=True)
class Changes:
    """What changed from release ``before`` to release ``after``.

    Args:
        after: None where it is not decided yet.
        step: of the whole; None: nothing changed that makes a release.
        schema_step: of the schema alone.
        schema: its differences, field by field.
        splits: every split of either release, in order.
    """

    before: str
    after: str | None
    step: Step | None
    schema_step: Step | None
    schema: tuple[Difference, ...]
    splits: tuple[SplitChange, ...]

    @property
    def consequences(self) -> tuple[str, ...]:
        """What nobody may want who publishes the wrong data under this name: a line each.

        A schema that old readers cannot read, a split that is gone, more than half of the samples
        gone.
        """
        found = []
        if self.schema_step is Step.MAJOR:
            found.append(f"code for the samples of {self.before} does not read these")
        found += [
            f"the split {one.name} ({one.before} samples) is gone"
            for one in self.splits
            if one.after == 0
        ]
        lost, before = sum(one.lost for one in self.splits), sum(one.before for one in self.splits)
        if 2 * lost > before:
            found.append(f"{lost} of {before} samples are gone")
        return tuple(found)

    @property
    def shards(self) -> dict[str, Amount]:
        """``kept``, ``new`` and ``gone`` over all splits; empty where they are not packed yet."""
        splits = self.splits
        if any(None in (one.kept, one.new, one.gone) for one in splits):
            return {}
        return {
            name: sum((getattr(one, name) for one in splits), Amount())
            for name in ("kept", "new", "gone")
        }

    @property
    def summary(self) -> str:
        """In one line: versions, step, samples, shards."""
        parts = [f"{one.name} {_samples(one)}" for one in self.splits if one.differs]
        if self.schema:
            parts.append(f"schema {in_words(self.schema)}")
        parts += [
            f"{amount.shards} shard{'' if amount.shards == 1 else 's'} {name}"
            for name, amount in self.shards.items()
        ]
        step = "" if self.step is None else f" ({self.step.name.lower()})"
        return f"{self.before} -> {self.after or '?'}{step}: {', '.join(parts)}"

    def with_keys(self, counts: Mapping[str, KeyCounts]) -> Self:
        """With what is known of the samples of some splits."""
        splits = (replace(one, keys=counts.get(one.name, one.keys)) for one in self.splits)
        return replace(self, splits=tuple(splits))

    def to_json(self) -> dict[str, Any]:
        """``network.atd.publishing.defs#changes``."""
        return {
            "before": self.before,
            **({} if self.after is None else {"after": self.after}),
            "step": _word(self.step),
            "schemaStep": _word(self.schema_step),
            "schema": [one.to_json() for one in self.schema],
            "splits": [one.to_json() for one in self.splits],
            "consequences": list(self.consequences),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """From `to_json`."""
        return cls(
            before=value["before"],
            after=value.get("after"),
            step=_step(value["step"]),
            schema_step=_step(value["schemaStep"]),
            schema=tuple(Difference.from_json(one) for one in value["schema"]),
            splits=tuple(SplitChange.from_json(one) for one in value["splits"]),
        )


def split_changes(
    old: Mapping[str, Sequence[ShardLike]], new: Mapping[str, Sequence[ShardLike]]
) -> tuple[SplitChange, ...]:
    """What happened to each split: those of ``new`` in their order, then those that are gone."""
    names = (*new, *(name for name in old if name not in new))
    return tuple(_split_change(name, old.get(name, ()), new.get(name, ())) for name in names)


def _split_change(name: str, old: Sequence[ShardLike], new: Sequence[ShardLike]) -> SplitChange:
    there, here = ({shard.digest for shard in shards} for shards in (old, new))
    return SplitChange(
        name,
        before=sum(shard.samples for shard in old),
        after=sum(shard.samples for shard in new),
        kept=Amount.of([shard for shard in new if shard.digest in there]),
        new=Amount.of([shard for shard in new if shard.digest not in there]),
        gone=Amount.of([shard for shard in old if shard.digest not in here]),
    )


def schema_step(old: Schema, new: Schema) -> Step | None:
    """The step from one schema to the other; None: none."""
    size = change(old, new)
    return {Change.NONE: None, Change.MINOR: Step.MINOR, Change.MAJOR: Step.MAJOR}[size]


def differences(old: Schema, new: Schema) -> tuple[Difference, ...]:
    """How they differ, field by field."""
    return tuple(schema_differences(old, new))


def _samples(one: SplitChange) -> str:
    if one.after == 0:
        return "gone"
    after = "?" if one.after is None else f"{one.after}"
    return f"{one.before} -> {after} samples" if one.before else f"new, {after} samples"


def _word(step: Step | None) -> str:
    return "none" if step is None else step.name.lower()


def _step(word: str) -> Step | None:
    return None if word == "none" else Step[word.upper()]
