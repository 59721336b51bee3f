"""The schema of shards that came without one: WebDataset tars from anywhere, read as they are.

Belongs here: kinds by suffix for members, kinds by msgpack tag for packed samples, over a spread of
samples. A field that some of them lack is optional. What has no certain kind stays bytes.
"""

from __future__ import annotations

import itertools
import keyword
import mmap
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from atd.errors import LocalError, ShardError
from atd.records import Layout
from atd.schema import fields, limits
from atd.schema.evolve import joined
from atd.schema.fields import Field, Kind, Schema
from atd.shards import unpack
from atd.shards.arrays import read_array, read_npy
from atd.shards.index import MemberIndex
from atd.shards.layout import PACKED
from atd.shards.unfit import Unfit

SAMPLES_PER_SHARD: Final = 64
"""Samples looked at in each shard, spread over it."""

_IMAGES: Final = {"jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "img", "image"}
_SOUNDS: Final = {"wav", "flac", "mp3", "ogg", "opus", "m4a"}
_FILMS: Final = {"mp4", "webm", "mkv", "avi", "mov"}
_TEXTS: Final = {"txt", "text", "transcript"}
_NUMBERS: Final = {"cls", "cls2", "index", "inx", "id"}


@dataclass(frozen=True)
class Inferred:
    """What shards without a schema turned out to be; ``counts`` is samples in each shard."""

    schema: Schema
    layout: Layout
    counts: tuple[int, ...]


@dataclass
class _Seen:
    kind: Kind
    present: int = 0
    nullable: bool = False


@dataclass
class _Fields:
    """What is known so far, by the suffix or the msgpack key that holds it."""

    samples: int = 0
    seen: dict[str, _Seen] = field(default_factory=dict)

    def add(self, values: Mapping[str, Kind | None]) -> None:
        """Count one sample: the kind of each of its values, None for a null."""
        self.samples += 1
        for name, kind in values.items():
            known = self.seen.setdefault(name, _Seen(kind or fields.Json()))
            if kind is None:
                known.nullable = True
            elif not known.present - known.nullable:
                known.kind = kind
            else:
                known.kind = joined(known.kind, kind) or fields.Json()
            known.present += 1

    def schema(self) -> tuple[Schema, dict[str, str]]:
        """The schema, and where each field lies."""
        places: dict[str, str] = {}
        for place in self.seen:
            name = _field_name(place)
            # "a-b" and "a.b" are different suffixes and the same identifier.
            others = (f"{name}_{number}" for number in itertools.count(2))
            places[next(n for n in itertools.chain([name], others) if n not in places)] = place
        return Schema(
            tuple(
                Field(
                    name,
                    self.seen[place].kind,
                    optional=self.seen[place].present < self.samples,
                    nullable=self.seen[place].nullable,
                )
                for name, place in places.items()
            )
        ), places


def infer_shards(paths: Sequence[Path], samples: int = SAMPLES_PER_SHARD) -> Inferred:
    """What the shards at ``paths`` are, by ``samples`` of each.

    Raises:
        ShardError: one is no shard, or they hold nothing.
    """
    found = _Fields()
    counts, packed = [], True
    for path in paths:
        with path.open("rb") as file:
            if not path.stat().st_size:
                raise ShardError(f"{path.name}: expected a tar archive, found 0 bytes")
            view = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        index = MemberIndex.of(view, path.name)
        counts.append(len(index))
        packed = packed and index.suffixes == (PACKED,)
        for members in _spread(index, view, samples):
            try:
                found.add(_packed(members[PACKED]) if packed else _members(members))
            except (Unfit, IndexError, struct.error) as error:
                raise ShardError(f"{path.name}: cannot tell what a sample is: {error}") from None
    if not found.samples:
        raise ShardError("expected samples, found none in any shard")
    try:
        schema, places = found.schema()
        layout = Layout("packed" if packed else "members", places)
    except LocalError as error:
        raise ShardError(f"{paths[0].name}: cannot make a schema: {error.message}") from error
    return Inferred(schema, layout, tuple(counts))


def _spread(index: MemberIndex, view: memoryview, samples: int) -> Iterator[dict[str, memoryview]]:
    """The members of samples spread over a shard, by suffix."""
    step = max(1, len(index) // samples)
    for sample in range(0, len(index), step):
        members = range(int(index.first[sample]), int(index.first[sample + 1]))
        yield {
            index.suffixes[index.suffix[at]]: view[
                int(index.offsets[at]) : int(index.offsets[at] + index.sizes[at])
            ]
            for at in members
        }


def _members(members: Mapping[str, memoryview]) -> dict[str, Kind | None]:
    return {suffix: _by_suffix(suffix, data) for suffix, data in members.items()}


def _by_suffix(suffix: str, data: memoryview) -> Kind:
    ending = suffix.rpartition(".")[2]
    if ending in _IMAGES:
        return fields.Image()
    if ending in _SOUNDS:
        return fields.Audio()
    if ending in _FILMS:
        return fields.Video()
    if ending in _TEXTS:
        return fields.Text()
    if ending in _NUMBERS:
        return fields.Int()
    if ending == "json":
        return fields.Json()
    if ending == "npy":
        return _array(read_npy(data))
    return fields.Bytes()


def _packed(data: memoryview) -> dict[str, Kind | None]:
    count, at = unpack.read_count(data, 0, 0x80, unpack.MAP)
    values: dict[str, Kind | None] = {}
    for _ in range(count):
        name, at = unpack.read_str(data, at)
        end = unpack.skip(data, at)
        values[name] = _by_tag(data, at)
        at = end
    return values


def _by_tag(data: memoryview, at: int) -> Kind | None:
    tag = data[at]
    if tag == unpack.NIL:
        return None
    if tag in (0xC2, 0xC3):
        return fields.Bool()
    if tag in unpack.FLOAT:
        return fields.Float()
    if 0xA0 <= tag < 0xC0 or tag in unpack.STR:
        return fields.String()
    if tag in unpack.BIN:
        try:
            return _array(read_array(unpack.read_bin(data, at)[0]))
        except Unfit:
            return fields.Bytes()
    if tag < 0x80 or tag >= 0xE0 or tag in unpack.INT:
        return fields.Int()
    return fields.Json()


def _array(array: Any) -> Kind:
    """The kind of an array: its sizes where every sample has them (`joined` drops the others)."""
    if array.dtype.name not in limits.DTYPES:
        return fields.Bytes()
    dims = tuple(fields.Dim(size=int(n) or None) for n in array.shape)
    return fields.Array(array.dtype.name, dims)


def _field_name(place: str) -> str:
    """A suffix or a msgpack key as the name of a field."""
    name = "".join(c if c.isascii() and (c.isalnum() or c == "_") else "_" for c in place)
    name = f"f_{name}" if name[:1].isdigit() else name
    return limits.field_name(f"{name}_" if keyword.iskeyword(name) or name == "mro" else name)
