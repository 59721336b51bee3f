"""Going on without samples that fit no shard, for any source.

Belongs here: what ``skip_bad`` means sample by sample, wherever a reader has not made sure of that
itself: objects of a program, of whose samples some were looked at; tables read by the publisher's
own schema. Each sample is encoded as packing will do it, and one that cannot be is left out.

Rules. What can be read twice is looked through beforehand, so that a plan says what is left out. A
generator cannot: what is left out of that is known when it was packed (`Source.left_out`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from atd.errors import BadSource, InvalidSyntax, SchemaMismatch, ShardError
from atd.publishing.sources.bad import Bad
from atd.publishing.sources.source import Faulty, Item, Pair, Progress, Source, SplitSource, shown
from atd.schema.fields import Schema
from atd.shards.encode import Encode
from atd.shards.keys import check_key
from atd.shards.layout import default_layout


def fitting(source: Source, progress: Progress) -> Source:
    """``source`` without the samples that cannot be packed.

    Raises:
        BadSource: none can.
    """
    if source.packed is not None:
        return source
    bad = Bad()
    if source.once:
        splits = {
            name: replace(one, stream=partial(_good, one, bad, name), count=None)
            for name, one in source.splits.items()
        }
        return replace(source, splits=splits, late=bad)
    splits = {}
    for name, split in source.splits.items():
        out = _look(split, source.schema, bad, name, progress)
        if split.count is not None and len(out) == split.count:
            continue
        splits[name] = _without(split, out) if out else split
    if not splits:
        said = "; ".join(bad.listed(3))
        raise BadSource(f"{shown(source.origin)} holds no sample that can be published: {said}")
    return replace(source, splits=splits, skipped=(*source.skipped, *bad.listed()))


class _Trial:
    """Encodes samples one after the other, and says what is wrong with each that cannot be."""

    def __init__(self, schema: Schema, split: str) -> None:
        self._encode = Encode(schema, default_layout(schema))
        self._keys: set[str] = set()
        self._split = split

    def wrong(self, key: str, load: Callable[[], Any]) -> str | None:
        """What is wrong with a sample; None if it can be packed."""
        try:
            sample = load()
            if isinstance(sample, Faulty):
                return sample.error.message
            check_key(key)
            self._encode(key, sample)
        except (BadSource, SchemaMismatch, InvalidSyntax, ShardError) as error:
            said = error.message
            return said if key in said else f"{self._split}, sample {key}: {said}"
        if key in self._keys:
            return f"{self._split}, sample {key}: the key comes twice"
        self._keys.add(key)
        return None


def _look(
    split: SplitSource, schema: Schema, bad: Bad, name: str, progress: Progress
) -> frozenset[int]:
    """The samples that cannot be packed, by their place; each is named in ``bad``."""
    trial, out = _Trial(schema, name), set()
    for at, (key, load) in enumerate(_loads(split, schema)):
        if at % 1000 == 0:
            progress("checking samples", at, split.count)
        if (wrong := trial.wrong(key, load)) is not None:
            bad.add(wrong)
            out.add(at)
    return frozenset(out)


def _loads(split: SplitSource, schema: Schema) -> Iterator[Item]:
    if split.items is not None:
        yield from split.items(schema)
    elif split.stream is not None:
        for key, sample in split.stream(schema):
            yield key, partial(_same, sample)


def _same(sample: Any) -> Any:
    return sample


def _without(split: SplitSource, out: frozenset[int]) -> SplitSource:
    count = None if split.count is None else split.count - len(out)
    if split.items is not None:
        return SplitSource(items=partial(_kept, split.items, out), count=count)
    assert split.stream is not None
    return SplitSource(stream=partial(_kept, split.stream, out), count=count)


def _kept(
    samples: Callable[[Schema], Iterator[Any]], out: frozenset[int], schema: Schema
) -> Iterator[Any]:
    return (one for at, one in enumerate(samples(schema)) if at not in out)


def _good(split: SplitSource, bad: Bad, name: str, schema: Schema) -> Iterator[Pair]:
    """The samples of a stream that comes once, but for those that cannot be packed."""
    assert split.stream is not None
    trial = _Trial(schema, name)
    for key, sample in split.stream(schema):
        if (wrong := trial.wrong(key, partial(_same, sample))) is None:
            yield key, sample
        else:
            bad.add(wrong)
