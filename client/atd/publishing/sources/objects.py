"""Python objects as sources: iterables of samples, splits of them, dicts of arrays.

Belongs here: what may be handed to ``atd.publish`` from a program. A sample is a dict, a dataclass
instance or a named tuple; its key is its number, or what it says itself: as ``(key, sample)`` or
under ``__key__``, as webdataset has it. A generator is read once; without a schema its first
`LOOKED_AT` samples decide, and one that does not fit them later is an error.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

from atd.errors import BadSource
from atd.protocol.syntax import quote
from atd.publishing.infer import as_mapping, infer
from atd.publishing.sources import arrays, files, kinds, torch_samples
from atd.publishing.sources.bad import Bad, settle_bad
from atd.publishing.sources.keys import row_key
from atd.publishing.sources.source import Faulty, Item, Pair, Source, SplitSource
from atd.schema.classes import schema_of
from atd.schema.fields import Schema
from atd.shards.keys import safe_key

LOOKED_AT: Final = 1_000
"""Samples of each split that are looked at to infer a schema, at most."""

_KEY: Final = "__key__"
_EXTRA: Final = frozenset({_KEY, "__url__", "__local_path__"})


def open_object(
    what: object, default: str, schema: Schema | None, *, skip_bad: bool = False
) -> Source:
    """The samples in a Python object.

    Args:
        default: the split of samples that come without one.
        schema: what they fit; None to infer it.
        skip_bad: leave out rows of tables that cannot be published.

    Raises:
        BadSource: the object is no source, or its samples fit no schema.
    """
    if torch_samples.is_map_style(what):
        return torch_samples.open_map_style(what, default, schema, skip_bad=skip_bad)
    if torch_samples.is_iterable(what):
        return _of_splits({default: torch_samples.samples_of(what)}, schema, skip_bad=skip_bad)
    frames = _frames(what, default)
    if frames:
        opener = kinds.door("frames", "pyarrow", "arrow").open_frames
        source: Source = opener(*frames, skip_bad=skip_bad)
        return source
    if isinstance(what, Mapping):
        if what and all(hasattr(value, "dtype") for value in what.values()):
            return arrays.from_arrays(what, default, "dict of arrays", "a dict")
        if not what or not all(_is_iterable(value) for value in what.values()):
            raise BadSource(
                "a dict to publish holds arrays by field name, or iterables of samples by split",
                next_step="pass a list of dicts to publish samples",
            )
        named = {files.split_name(str(name)): one for name, one in what.items()}
        return _of_splits(named, schema, skip_bad=skip_bad)
    if _is_iterable(what):
        return _of_splits({default: what}, schema, skip_bad=skip_bad)
    raise BadSource(
        f"cannot publish a {type(what).__name__}",
        next_step="pass a path, an iterable of samples, a DataFrame, or a dict of arrays",
    )


_FRAMES: Final = {
    ("pandas", "DataFrame"): "pandas DataFrame",
    ("polars", "DataFrame"): "polars DataFrame",
    ("pyarrow", "Table"): "Arrow table",
    ("datasets", "Dataset"): "Hugging Face data set",
}
"""Tables of other libraries, by the names of the library and the type: none is imported for it."""


def _frames(what: object, default: str) -> tuple[dict[str, Any], str] | None:
    """A table, or a dict of them by split, and what it is in words; None if it is neither."""
    given = what if isinstance(what, Mapping) else {default: what}
    found = {_FRAMES.get(_type(one), "") for one in given.values()}
    if len(found) != 1 or found == {""}:
        return None
    splits = {files.split_name(str(name)): one for name, one in given.items()}
    return {name: splits[name] for name in files.in_order(iter(splits))}, found.pop()


def _type(value: object) -> tuple[str, str]:
    """Library and name of the type of ``value``, or of what it is derived from."""
    names = [(cls.__module__.partition(".")[0], cls.__name__) for cls in type(value).__mro__]
    return next((name for name in names if name in _FRAMES), names[0])


def _is_iterable(value: object) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, str | bytes | bytearray)


def _of_splits(given: Mapping[str, Any], schema: Schema | None, *, skip_bad: bool) -> Source:
    parts = {name: _Samples(given[name]) for name in files.in_order(iter(given))}
    heads = {name: part.head() for name, part in parts.items()}
    empty = [name for name, head in heads.items() if not head]
    if empty:
        raise BadSource(f"expected samples, found none in {', '.join(empty)}")
    seen = [sample for head in heads.values() for _, sample in head]
    bad = Bad(one.error.message for one in seen if isinstance(one, Faulty))
    settle_bad(bad, "samples cannot be published", "correct them", skip=skip_bad)
    found = schema or _schema([one for one in seen if not isinstance(one, Faulty)])
    return Source(
        what="Python samples",
        origin=", ".join(dict.fromkeys(type(one).__name__ for one in given.values())),
        schema=found,
        splits={name: part.split() for name, part in parts.items()},
        travels=(f"the fields {', '.join(found.names)} of every sample",),
        inferred=schema is None,
        once=not all(isinstance(one, Sequence) for one in given.values()),
    )


def _schema(samples: list[Any]) -> Schema:
    """The schema of samples: their class's, where all are of one dataclass; else inferred."""
    classes = {type(sample) for sample in samples}
    if len(classes) == 1 and dataclasses.is_dataclass(cls := classes.pop()):
        return schema_of(cls)
    return infer(samples)


@dataclasses.dataclass
class _Samples:
    """One split: an iterable that is looked into before it is read."""

    given: Iterable[Any]
    _head: list[Pair] = dataclasses.field(default_factory=list)
    _rest: Iterator[Any] | None = None

    def head(self) -> list[Pair]:
        """Some samples: the first of an iterator, spread ones of a sequence."""
        if isinstance(self.given, Sequence):
            step = -(-len(self.given) // LOOKED_AT) or 1
            return [_tried(row, self.given[row]) for row in range(0, len(self.given), step)]
        self._rest = iter(self.given)
        first = itertools.islice(self._rest, LOOKED_AT)
        self._head = [_tried(row, item) for row, item in enumerate(first)]
        return self._head

    def split(self) -> SplitSource:
        """The samples as a split: a sequence by index, an iterator as it comes."""
        if isinstance(self.given, Sequence):
            return SplitSource(items=self.items, count=len(self.given))
        return SplitSource(self.pairs)

    def items(self, schema: Schema) -> Iterator[Item]:
        """Every sample of a sequence: at hand, so that loading is only handing over."""
        for row, item in enumerate(self.given):
            key, sample = _tried(row, item)
            yield key, partial(_same, sample)

    def pairs(self, schema: Schema) -> Iterator[Pair]:
        """Every sample of an iterator with its key; once."""
        head, self._head = self._head, []
        if not head or self._rest is None:
            raise BadSource("the iterator to publish was already used up")
        yield from head
        yield from (_tried(row, item) for row, item in enumerate(self._rest, start=len(head)))


def _same(sample: Any) -> Any:
    if isinstance(sample, Faulty):
        raise sample.error
    return sample


def _tried(row: int, item: Any) -> Pair:
    """The key and the sample in one item; what is wrong with it in the place of the sample."""
    try:
        return _pair(row, item)
    except BadSource as error:
        said = error.message if f"sample {row}" in error.message else f"sample {row}: {error}"
        return row_key(row), Faulty(BadSource(said, next_step=error.next_step))


def _pair(row: int, item: Any) -> Pair:
    """The key and the sample in one item of an iterable."""
    if type(item) is tuple and len(item) == 2 and isinstance(item[0], str):
        return safe_key(item[0]), item[1]
    if isinstance(item, Mapping) and not _EXTRA.isdisjoint(item):
        key = item.get(_KEY, row_key(row))
        if not isinstance(key, str):
            raise BadSource(f"sample {row}: expected {_KEY} as text, found {quote(key, 60)}")
        return safe_key(key), {name: item[name] for name in item if name not in _EXTRA}
    as_mapping(item)
    return row_key(row), item
