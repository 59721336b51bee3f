"""Taking metadata out of the images of any source, on their way to the shards.

Belongs here: what ``strip_metadata`` means where images are fields of samples rather than files of
a folder (`atd.publishing.sources.images` sees to those itself, and looks at each beforehand).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from atd.errors import BadSource
from atd.publishing.infer import as_mapping
from atd.publishing.sources import metadata
from atd.publishing.sources.loading import files_read
from atd.publishing.sources.source import Faulty, Item, Pair, Source, SplitSource
from atd.schema.fields import Image, Schema
from atd.shards import media


def carries_images(source: Source) -> bool:
    """Whether samples have images that are published as the encoded files that they are."""
    return any(isinstance(field.kind, Image) for field in source.schema)


def stripped(source: Source) -> Source:
    """``source`` with the metadata taken out of every image.

    Raises:
        BadSource: it is packed already; later, an image is of a format that cannot be stripped.
    """
    if source.packed is not None:
        raise BadSource(
            "the shards of this folder are packed already: their images cannot be stripped",
            next_step="pack the images again, with --strip-metadata",
        )
    return replace(source, splits={name: _split(one) for name, one in source.splits.items()})


def _split(split: SplitSource) -> SplitSource:
    if split.items is not None:
        return replace(split, items=partial(_items, split.items))
    assert split.stream is not None
    return replace(split, stream=partial(_stream, split.stream))


def _items(items: Callable[[Schema], Iterator[Item]], schema: Schema) -> Iterator[Item]:
    names = _names(schema)
    for key, load in items(schema):
        known = files_read(load) is not None
        yield key, (_Stripped if known else _Load)(key, load, names)


@dataclass(frozen=True, slots=True)
class _Load:
    """A loader whose images are stripped."""

    key: str
    load: Callable[[], Any]
    names: list[str]

    def __call__(self) -> Any:
        return _sample(self.key, self.load(), self.names)


@dataclass(frozen=True, slots=True)
class _Stripped(_Load):
    """One whose sample is known again."""

    @property
    def reads(self) -> tuple[Path, ...]:
        """The files that the sample is made of."""
        return files_read(self.load) or ()


def _stream(stream: Callable[[Schema], Iterator[Pair]], schema: Schema) -> Iterator[Pair]:
    names = _names(schema)
    for key, sample in stream(schema):
        try:
            yield key, sample if isinstance(sample, Faulty) else _sample(key, sample, names)
        except BadSource as error:
            yield key, Faulty(error)


def _names(schema: Schema) -> list[str]:
    return [field.name for field in schema if isinstance(field.kind, Image)]


def _sample(key: str, sample: Any, names: list[str]) -> Any:
    values = dict(as_mapping(sample))
    for name in names:
        value = values.get(name)
        data = value.bytes if isinstance(value, media.Media) else value
        if isinstance(data, bytes | bytearray | memoryview):
            try:
                values[name] = metadata.strip(bytes(data))
            except metadata.CannotStrip as error:
                raise BadSource(
                    f"sample {key}: {name}: {error}",
                    next_step="convert the image, or publish without --strip-metadata",
                ) from None
    return values
