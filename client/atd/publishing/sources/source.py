"""What a source of samples is, whatever it was made from.

Belongs here: the value that every reader of this package returns, and how progress is told. Knows
no file format. What cannot be published is collected in `atd.publishing.sources.bad`.

Rules. Making a `Source` reads enough to know that packing will not stumble: what can be checked
beforehand is checked before anything is written or sent. A sample is a mapping or a dataclass
instance that fits ``schema``; keys are unique in a split and the same on every run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from atd.errors import BadSource, LocalError
from atd.manifest import Manifest
from atd.protocol.syntax import quote
from atd.publishing.sources.bad import Bad
from atd.records import Layout
from atd.schema.evolve import settle
from atd.schema.fields import Schema

Pair = tuple[str, Any]
"""The key of a sample and the sample."""

Item = tuple[str, Callable[[], Any]]
"""The key of a sample and what loads it."""

Tables = Mapping[str, Sequence[Path]]
"""The files of each split, in order."""

Progress = Callable[[str, int, int | None], None]
"""Told what is being done, how much of it is done, and how much there is where that is known."""

MAX_VALUE: Final = 1024**3
"""Bytes of one file or one value of a table, at most: more would not be in one shard anyway."""


@dataclass(frozen=True)
class Faulty:
    """What a stream has in the place of a sample that cannot be made: the reason.

    A stream that raised could not go on; so it gives this, and `SplitSource.samples` raises.
    """

    error: BadSource


@dataclass(frozen=True)
class SplitSource:
    """The samples of one split, as one of two things, each made for the schema to fit.

    Args:
        stream: iterates over (key, sample or `Faulty`), in an order of its own; may be called
            again, unless the source is ``once``.
        items: iterates over (key, what loads the sample): for sources with random access, whose
            samples need not pass through a temporary file to be ordered.
        count: how many samples there are, where that is known beforehand.
    """

    stream: Callable[[Schema], Iterator[Pair]] | None = None
    items: Callable[[Schema], Iterator[Item]] | None = None
    count: int | None = None

    def samples(self, schema: Schema) -> Iterator[Pair]:
        """Every key and sample, whichever way the source has them.

        Raises:
            BadSource: one cannot be read.
        """
        if self.stream is None:
            assert self.items is not None
            yield from ((key, load()) for key, load in self.items(schema))
            return
        for key, sample in self.stream(schema):
            if isinstance(sample, Faulty):
                raise sample.error
            yield key, sample


@dataclass(frozen=True)
class Packed:
    """Shards that exist already.

    Args:
        manifest: what they hold.
        files: the file of each, by the name that the manifest gives it.
        refitted: the same shards read by another schema, for those that bring none of their own.
    """

    manifest: Manifest
    files: Mapping[str, Path]
    refitted: Callable[[Schema], Packed] | None = None

    def served(self) -> Packed:
        """The same shards under the names of their files, for where they are served already.

        Raises:
            BadSource: two files are called alike, or one as no address can end.
        """
        names = {name: path.name for name, path in self.files.items()}
        try:
            manifest = replace(
                self.manifest,
                splits={
                    split: tuple(replace(one, name=names[one.name]) for one in shards)
                    for split, shards in self.manifest.splits.items()
                },
            )
        except LocalError as error:
            raise BadSource(
                f"these shards cannot be told apart where they are served: {error.message}",
                next_step="give each file a plain name of its own, or publish to another store",
            ) from error
        return replace(self, manifest=manifest, files={names[n]: p for n, p in self.files.items()})


@dataclass(frozen=True)
class Source:
    """Samples to publish, with what was learned while opening them.

    Args:
        what: the kind of source in words, such as "folder of images".
        origin: where it is: a path, or the type of a Python object.
        schema: what every sample fits.
        splits: by name.
        travels: what goes public along with the samples, in words: file names, places in EXIF.
        warnings: what the publisher should see before going on.
        inferred: whether ``schema`` was inferred, and so may follow that of the last release.
        once: the samples can be read once only (a generator).
        looked_at: the metadata of every image were looked at, and taken out if that was asked for.
        packed: the shards that this already is; there is nothing to pack then.
        skipped: what was left out because it cannot be published: one line each, with the file.
        layout: how samples are to lie in shards; None: as is usual for ``schema``.
        late: the same of samples that come once, complete when all were packed.
        exact: every value was looked at, so that all samples fit an inferred ``schema``.
    """

    what: str
    origin: str
    schema: Schema
    splits: Mapping[str, SplitSource]
    travels: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    inferred: bool = True
    once: bool = False
    looked_at: bool = False
    packed: Packed | None = None
    skipped: tuple[str, ...] = ()
    layout: Layout | None = None
    late: Bad | None = None
    exact: bool = False

    @property
    def count(self) -> int | None:
        """The number of samples in all splits, or None where one of them does not say."""
        counts = [split.count for split in self.splits.values()]
        known = [count for count in counts if count is not None]
        return sum(known) if len(known) == len(counts) else None

    @property
    def left_out(self) -> tuple[str, ...]:
        """What was left out, in words: a line for each file."""
        late = self.late.listed() if self.late is not None else ()
        return tuple(f"left out: {one}" for one in (*self.skipped, *late))

    def following(self, previous: Schema | None) -> Source:
        """This source with an inferred schema kept as near to the last release's as the data allow.

        So that data of the same shape keep their schema although this time, say, no value is
        missing, and labels keep their numbers when a class is added.
        """
        if previous is None or not self.inferred or self.packed is not None:
            return self
        return replace(self, schema=settle(self.schema, previous))


def shown(name: object) -> str:
    """A file name for a message: as it is where it prints, else escaped."""
    text = str(name)
    return text if text.isprintable() and len(text) <= 200 else quote(text, 200)
