"""What a publication would be, before anything is written: ``atd publish --dry-run``.

Belongs here: the plan as a value, and estimating the shards of a source by encoding some of its
samples. Writes nothing anywhere.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from atd.comparing import Changes
from atd.publishing.cards import Settled
from atd.publishing.sources.source import Source
from atd.records import CutParameters
from atd.schema.evolve import Change, change
from atd.schema.export import to_python
from atd.schema.fields import Schema
from atd.shards import tar
from atd.shards.layout import SampleWriter, default_layout
from atd.shards.writer import stored_size

LOOKED_AT: Final = 64
"""Samples that are encoded to estimate how large all are, at most."""


@dataclass(frozen=True)
class Plan:
    """What would be published.

    Args:
        source: what it is made from, in words; ``origin``: where that is.
        splits: samples of each split; None where the source does not say.
        size: bytes of all shards, estimated; exact where the source is packed already.
        shards: how many, likewise.
        card: what would be said of the data set, each field with who says it.
        travels: what goes public with the samples: file names, places in EXIF.
        account: who would publish: ``did``, ``handle``, ``pds``; empty where nobody is logged in.
        first: whether nothing is published under the name yet; None where that is not known.
        previous: the latest release: ``version``, ``samples``, ``shards`` …
        step: how far the schema is from that release's: none, minor, major.
        changes: what it changes, as far as that is known; None where it follows no release.
    """

    name: str
    source: str
    origin: str
    schema: Schema
    splits: Mapping[str, int | None]
    size: int | None
    shards: int | None
    store: str
    card: Settled
    travels: tuple[str, ...]
    warnings: tuple[str, ...]
    account: Mapping[str, Any] = field(default_factory=dict)
    first: bool | None = None
    previous: Mapping[str, Any] | None = None
    step: str | None = None
    changes: Changes | None = None

    @property
    def license(self) -> str | None:
        """The licence that the card would have."""
        said = self.card.fields.get("license")
        return None if said is None else said.value

    @property
    def python(self) -> str:
        """The schema as the source of a Python class."""
        return to_python(self.schema, self.name)

    @property
    def samples(self) -> int | None:
        """Samples in all splits, where that is known."""
        counts = list(self.splits.values())
        return None if None in counts else sum(count or 0 for count in counts)

    def to_json(self) -> dict[str, Any]:
        """The plan as JSON values, for ``--dry-run --json``."""
        return {
            "name": self.name,
            "source": self.source,
            "origin": self.origin,
            "fields": self.schema.to_value(),
            "python": self.python,
            "splits": dict(self.splits),
            "samples": self.samples,
            "bytes": self.size,
            "shards": self.shards,
            "store": self.store,
            "license": self.license,
            "card": self.card.to_json(),
            "travels": list(self.travels),
            "warnings": list(self.warnings),
            "account": dict(self.account),
            "first": self.first,
            "previous": None if self.previous is None else dict(self.previous),
            "schemaChange": self.step,
            "changes": None if self.changes is None else self.changes.to_json(),
        }


@dataclass(frozen=True, slots=True)
class Estimate:
    """How many shards there would be, and their bytes; None where the source does not say."""

    shards: int | None
    size: int | None


def estimate(source: Source, cuts: CutParameters) -> Estimate:
    """The shards that packing ``source`` would give, from some of its samples.

    Raises:
        SchemaMismatch: a sample does not fit the schema.
    """
    if source.packed is not None:
        manifest = source.packed.manifest
        return Estimate(len(manifest.shards), manifest.size)
    if source.count is None:
        return Estimate(None, None)
    shards = size = 0
    for name, split in source.splits.items():
        samples = split.count or 0
        payload = math.ceil(_mean_size(source, name) * samples)
        target = min(cuts.target_bytes, cuts.max_bytes)
        # Shards come out between half full and full: three quarters, on the whole.
        full = max(math.ceil(payload / target), math.ceil(samples / cuts.max_samples), 1)
        count = full if full == 1 else math.ceil(full * 4 / 3)
        shards += count
        size += count * tar.archive_size(payload // count)
    return Estimate(shards, size)


def _mean_size(source: Source, split: str) -> float:
    """Bytes that a sample takes in a shard, by a few of them."""
    encode = SampleWriter(source.schema, default_layout(source.schema))
    pairs = itertools.islice(source.splits[split].samples(source.schema), LOOKED_AT)
    sizes = [stored_size(encode(key, sample)) for key, sample in pairs]
    return sum(sizes) / max(len(sizes), 1)


def step_between(previous: Schema | None, schema: Schema) -> str | None:
    """How far ``schema`` is from the last release's: ``none``, ``minor``, ``major``."""
    if previous is None:
        return None
    size: Change = change(previous, schema)
    return size.name.lower()
