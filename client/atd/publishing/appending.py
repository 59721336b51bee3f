"""Samples that are added to a release: their schema, their layout and their keys.

Belongs here: making of a `Source` one whose shards can stand after those of the latest release.

Rules. Old shards are not packed again, so old samples must fit the schema that new ones have: a
field that is new is optional, classes of a label are added at the end, and all else stays as it is:
a new sample that does not fit it is refused. Rows without a name of their own are numbered on after
the last number in their split. A key that is in its split already is refused with all others of its
kind, or left out where duplicates are to be left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal, Self, TypeVar

import numpy as np

from atd.errors import BadSource, SchemaMismatch
from atd.manifest import Manifest, ManifestShard
from atd.publishing.previous import Previous
from atd.publishing.repeating import repeats
from atd.publishing.sources.bad import Bad, refuse_all
from atd.publishing.sources.given import silent
from atd.publishing.sources.keys import RowKey, row_key
from atd.publishing.sources.source import Packed, Progress, Source, SplitSource, shown
from atd.records import Layout
from atd.schema.differences import in_words, schema_differences
from atd.schema.evolve import Change, change, fits, settle
from atd.schema.fields import Field, Schema
from atd.shards.keys import key_digest
from atd.shards.layout import default_layout
from atd.shards.reader import ShardFile

T = TypeVar("T")

_ALL_OF_IT = "publish all of the data, without --append"
_DUPLICATES = "samples are there already"
_OTHER_KEYS = "give them other keys; or leave them out with --skip-bad"
_NOTHING_NEW = "nothing need be done; to change samples, publish all of the data, without --append"


@dataclass(frozen=True)
class Addition:
    """What is added to a release.

    Args:
        source: what is to be packed, whose keys are free.
        previous: what it is added to.
        keys: those of each split that is packed.
    """

    source: Source
    previous: Previous
    keys: Mapping[str, _Keys]
    skip_bad: bool

    @classmethod
    def of(
        cls, source: Source, previous: Previous | None, progress: Progress | None, skip_bad: bool
    ) -> Self:
        """``source`` as an addition to ``previous``.

        Args:
            skip_bad: leave out samples whose keys are there already.

        Raises:
            SchemaMismatch: old or new samples do not fit the schema of the others.
            BadSource: archives hold samples that are there already.
        """
        assert previous is not None, "a publication that appends begins with a release"
        tell = progress or silent
        added = cls.expected(source, previous)
        if source.packed is not None:
            packed, skipped = _packed(source.packed, added.schema, previous, tell, skip_bad)
            kept = replace(added, packed=packed, skipped=(*source.skipped, *skipped))
            return cls(kept, previous, {}, skip_bad)
        keys = {name: _Keys(name, previous, tell) for name in source.splits}
        splits = {name: keys[name].over(split) for name, split in source.splits.items()}
        return cls(replace(added, splits=splits), previous, keys, skip_bad)

    @staticmethod
    def expected(source: Source, previous: Previous) -> Source:
        """``source`` under the schema and the layout that it would have; its keys are its own.

        Raises:
            SchemaMismatch: as `of`.
        """
        schema = _fitted(source, previous)
        layout = _extended(previous.layout, schema)
        return replace(source, schema=schema, layout=layout, inferred=False)

    def is_repeated(self, manifest: Manifest, begun: Mapping[str, Any]) -> bool:
        """Whether the latest release added just these samples; only numbered ones can be.

        Args:
            manifest: of what was packed.
        """
        if not self.keys or any(one.named for one in self.keys.values()) or begun["resumed"]:
            return False
        return repeats(self.previous, manifest, Path(begun["staging"]))

    def left_out(self) -> tuple[str, ...]:
        """What was left out, in words, once all is packed.

        Raises:
            BadSource: samples are there already, and were not to be left out.
        """
        found = [line for one in self.keys.values() for line in one.duplicates]
        if not self.skip_bad:
            refuse_all(Bad(found), _DUPLICATES, _OTHER_KEYS)
        return (*self.source.left_out, *(f"left out: {line}" for line in found))


# ------------------------------------------------------------------ the schema


def _fitted(source: Source, previous: Previous) -> Schema:
    """A schema of old and new samples."""
    old, schema = previous.schema, source.schema
    own = source.packed is None or source.packed.refitted is not None
    if source.inferred or not own:
        schema = Schema(tuple(_held(one, old) for one in settle(schema, old)))
    if fits(old, schema) and (own or _reads(source.schema, schema)):
        return schema
    lines = in_words(schema_differences(old, schema))
    raise SchemaMismatch(
        f"{shown(source.origin)} cannot be appended to {previous.version}: old and new samples "
        f"do not fit one schema: {lines}",
        next_step=f"bring the new data into the published schema, or {_ALL_OF_IT}",
    )


def _held(field: Field, old: Schema) -> Field:
    """``field`` as old samples can have it, else as it was: packing finds what does not fit."""
    if field.name not in old:
        return replace(field, optional=True)
    before = old[field.name]
    return field if fits(Schema((before,)), Schema((field,))) else before


def _reads(written: Schema, schema: Schema) -> bool:
    """Whether shards of ``written`` can be read as ``schema``, whatever may be missing in them."""
    bare = [
        [Field(one.name, one.kind) for one in part if one.name in written]
        for part in (written, schema)
    ]
    return change(Schema(tuple(bare[0])), Schema(tuple(bare[1]))) is not Change.MAJOR


def _extended(layout: Layout, schema: Schema) -> Layout:
    """``layout`` with a place for each field that it has none for."""
    new = [one for one in schema if one.name not in layout.members]
    if not new or not layout.members:
        return layout
    usual = default_layout(Schema(tuple(new)), layout.kind).members
    taken = set(layout.members.values())
    places = {
        name: f"{name}.{place}".lower() if layout.kind == "members" and place in taken else place
        for name, place in usual.items()
    }
    return Layout(layout.kind, {**layout.members, **places})


# ------------------------------------------------------------------ shards that exist already


def _packed(
    packed: Packed, schema: Schema, previous: Previous, progress: Progress, skip_bad: bool
) -> tuple[Packed, tuple[str, ...]]:
    """Shards as they are under the common schema, but for those whose samples are published."""
    old = previous.layout
    given = packed.manifest.layout
    present = Schema(tuple(one for one in schema if one.name in (given.members or schema.names)))
    read = packed if packed.refitted is None else packed.refitted(present)
    if given.members or old.members:
        here = {name: given.members.get(name, name) for name in present.names}
        there = {name: old.members.get(name, name) for name in previous.schema.names}
        moved = [name for name in here if there.get(name, here[name]) != here[name]]
    else:
        here, there, moved = {}, {}, []
    if given.kind != old.kind or moved:
        raise SchemaMismatch(
            f"the samples lie otherwise in their shards than those of {previous.version}: "
            f"{given.kind} {dict(given.members)} instead of {old.kind} {dict(old.members)}",
            next_step="publish the files that the shards were made of, with --append",
        )
    layout = Layout(old.kind, {**there, **here})
    kept, skipped = _fresh_shards(read, previous, progress, skip_bad)
    splits = {name: shards for name, shards in kept.items() if shards}
    if not splits:
        raise BadSource(
            "every sample is there already: nothing is left to append", next_step=_NOTHING_NEW
        )
    manifest = read.manifest
    whole = Manifest(schema, layout, manifest.cuts, splits, manifest.name)
    names = {shard.name for shard in whole.shards}
    files = {name: path for name, path in read.files.items() if name in names}
    return Packed(whole, files), skipped


def _fresh_shards(
    packed: Packed, previous: Previous, progress: Progress, skip_bad: bool
) -> tuple[dict[str, tuple[ManifestShard, ...]], tuple[str, ...]]:
    kept: dict[str, tuple[ManifestShard, ...]] = {}
    found: list[str] = []
    for split, shards in packed.manifest.splits.items():
        keys = _Keys(split, previous, progress)
        for shard in shards:
            path = packed.files[shard.name]
            names = ShardFile(path, packed.manifest.schema, packed.manifest.layout).index.keys
            twice = [key for key in names if keys.knows(key)]
            if twice:
                found.append(f"{shown(path)} ({len(twice)} of its samples, such as {twice[0]})")
            else:
                kept[split] = (*kept.get(split, ()), shard)
    if not skip_bad:
        refuse_all(Bad(found), "archives hold samples that are there already", _OTHER_KEYS)
    return kept, tuple(found)


# ------------------------------------------------------------------ keys


@dataclass
class _Keys:
    """The keys of one split: which are taken, and which come next."""

    split: str
    previous: Previous
    progress: Progress
    duplicates: list[str] = field(default_factory=list)
    named: bool = False
    """Whether a sample came with a name of its own."""

    def over(self, split: SplitSource) -> SplitSource:
        """``split`` under keys that are free."""
        stream, items = split.stream, split.items
        return SplitSource(
            None if stream is None else lambda schema: self._fresh(stream(schema)),
            None if items is None else lambda schema: self._fresh(items(schema)),
            split.count,
        )

    def _fresh(self, pairs: Iterator[tuple[str, T]]) -> Iterator[tuple[str, T]]:
        self.duplicates.clear()
        some = False
        for key, value in pairs:
            self.named = self.named or not isinstance(key, RowKey)
            if isinstance(key, RowKey):
                yield row_key(int(key) + self._start), value
            elif self.knows(key):
                self.duplicates.append(f"{key} of {self.split}")
                continue
            else:
                yield key, value
            some = True
        if self.duplicates and not some:
            raise BadSource(
                f"every sample for {self.split} is there already, such as {self.duplicates[0]}: "
                "nothing is left to append",
                next_step=_NOTHING_NEW,
            )

    def knows(self, key: str) -> bool:
        """Whether a sample with this key is published in the split."""
        return key in self._known

    @cached_property
    def _start(self) -> int:
        return self.previous.next_row(self.split, self.progress)

    @cached_property
    def _known(self) -> _Taken:
        return _Taken(key for keys in self.previous.keys(self.split, self.progress) for key in keys)


class _Taken:
    """A set of keys by half of their SHA-256: 16 bytes each, where texts would take a hundred."""

    def __init__(self, keys: Iterable[str]) -> None:
        marks = np.frombuffer(b"".join(key_digest(key)[:16] for key in keys), ">u8")
        halves = marks.reshape(-1, 2).astype(np.uint64)
        order = np.argsort(halves[:, 0])
        self._first = halves[order, 0]
        self._second = halves[order, 1]

    def __contains__(self, key: str) -> bool:
        digest = key_digest(key)
        first = np.uint64(int.from_bytes(digest[:8], "big"))
        start, end = (int(np.searchsorted(self._first, first, side)) for side in _SIDES)
        return int.from_bytes(digest[8:16], "big") in self._second[start:end].tolist()


_SIDES: Final[tuple[Literal["left"], Literal["right"]]] = ("left", "right")
