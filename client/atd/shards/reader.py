"""Reading one shard file: a map, an index, and samples decoded one at a time on demand.

Belongs here: `ShardFile`. It maps the file, so what is read costs memory only in the page cache,
and arrays come out as read-only views of the map. It holds a shared lock on the file for as long as
the map or a view of it lives, so that eviction leaves the file alone. A mapped file is never
truncated or rewritten in place by us, only replaced by rename or unlinked.

The file's digest is the store's business: whoever hands a path over has verified it. This reader
trusts the contents no more for that: a publisher signs what he likes.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atd.errors import SchemaMismatch, ShardError, StorageFault
from atd.files import open_shared
from atd.records import Layout
from atd.schema import fields
from atd.schema.fields import Schema
from atd.shards import media
from atd.shards.columns import Columns, read_columns
from atd.shards.index import MemberIndex
from atd.shards.layout import PACKED, SampleReader, packed_keys
from atd.shards.unfit import Unfit


class ShardFile:
    """The samples of the shard at ``path``, by position.

    Args:
        path: a whole shard, whose digest has been checked by whoever fetched it.
        schema: what its samples are.
        layout: how they lie in it.
        index: its member index, if known; derived from the shard otherwise.
        name: what to call the shard in errors; its file name if not given.
        descriptor: the file, open by `atd.files.open_shared`, which is closed here; the file at
            ``path`` is opened otherwise.
        again: gives the shard anew, its bytes hashed this time, or None if nobody can; asked when
            a sample cannot be decoded, since a disk may lose bits without a trace.

    Raises:
        ShardError: no shard, or not of this layout.
        StorageFault: the file cannot be opened.
        Busy: it is just being removed.
    """

    def __init__(
        self,
        path: Path | str,
        schema: Schema,
        layout: Layout,
        *,
        index: MemberIndex | None = None,
        name: str | None = None,
        descriptor: int | None = None,
        again: Callable[[ShardFile], ShardFile | None] | None = None,
    ) -> None:
        self.path = Path(path)
        self.name = name or self.path.name
        self._view = memoryview(_map(self.path, self.name, descriptor))
        self.schema = schema
        self.layout = layout
        self._again = again
        self._read = SampleReader(schema, layout)
        self._media = frozenset(field.name for field in schema if _holds_media(field.kind))
        self.index = MemberIndex.of(self._view, self.name) if index is None else index
        self._check()

    def _check(self) -> None:
        index = self.index
        if index.size != len(self._view):
            raise ShardError(
                f"{self.name}: expected {index.size} bytes, as its index says, found"
                f" {len(self._view)}"
            )
        if self.layout.kind == "packed" and index.suffixes not in ((PACKED,), ()):
            at = next(
                at for at, number in enumerate(index.suffix) if index.suffixes[number] != PACKED
            )
            key = index.keys[int(np.searchsorted(index.first, at, side="right")) - 1]
            raise ShardError(
                f"{self.name}: sample {key}: expected one member .{PACKED}, found"
                f" .{index.suffixes[index.suffix[at]]!a}"
            )

    @cached_property
    def octets(self) -> NDArray[np.uint8]:
        """The whole shard, read-only."""
        return np.frombuffer(self._view, np.uint8)

    @cached_property
    def columns(self) -> Columns | None:
        """The fields of all samples by column; None in the members layout, which has none."""
        if self.layout.kind != "packed" or not len(self):
            return None
        keys = packed_keys(self.schema, self.layout)
        return read_columns(self.octets, self.index.offsets, self.index.sizes, self.schema, keys)

    def expect(self, samples: int) -> None:
        """Refuse the shard unless it holds ``samples`` samples, as its release says."""
        if len(self) != samples:
            raise ShardError(f"{self.name}: expected {samples} samples, found {len(self)}")

    def __len__(self) -> int:
        return len(self.index)

    def key(self, i: int) -> str:
        """The key of sample ``i``."""
        return self.index.keys[i]

    def members(self, i: int) -> dict[str, memoryview]:
        """The members of sample ``i`` by suffix, as they lie in the shard."""
        if i < 0:
            i += len(self)
        if not 0 <= i < len(self):
            raise IndexError(f"{self.name} has {len(self)} samples, asked for number {i}")
        index = self.index
        begin, end = int(index.first[i]), int(index.first[i + 1])
        found: dict[str, memoryview] = {}
        for number, offset, size in zip(
            index.suffix[begin:end].tolist(),
            index.offsets[begin:end].tolist(),
            index.sizes[begin:end].tolist(),
            strict=True,
        ):
            found[index.suffixes[number]] = self._view[offset : offset + size]
        return found

    def sample(self, i: int, fields: Collection[str] | None = None) -> dict[str, Any]:
        """Sample ``i`` as a dict in schema order; missing optional fields are left out.

        Args:
            fields: decode only these, and leave the others out.

        Returns:
            Python scalars, aware datetimes, lists and dicts; arrays as read-only views of the map;
            `atd.shards.media.Image` and `Media` for encoded files.

        Raises:
            ShardError: the sample does not fit the schema; names shard, key and field.
            AtdError: the bytes are no longer those that were signed, and cannot be had anew.
            SchemaMismatch: ``fields`` names one that the schema has not.
        """
        if fields is not None and not self._read.names.issuperset(fields):
            unknown = sorted(set(fields) - self._read.names)
            raise SchemaMismatch(
                f"no field {', '.join(unknown)}; there are: {', '.join(self.schema.names)}"
            )
        members = self.members(i)
        try:
            sample = self._read(members, fields)
        except Unfit as error:
            wrong = ShardError(f"{self.name}: sample {self.key(i)}: {error}")
        else:
            self._place_media(i, sample)
            return sample
        return self._sample_anew(i, fields, wrong)

    def _place_media(self, i: int, sample: Mapping[str, Any]) -> None:
        for name in self._media:
            if name in sample:
                self._place(i, sample[name], name)

    def _place(self, i: int, value: object, name: str) -> None:
        """Tell the encoded files in a field where they are, and how to have them anew."""
        for path, found in media_in(value):
            inner = "".join(f"[{at}]" if isinstance(at, int) else f".{at}" for at in path)
            found.where = f"{self.name}: sample {self.key(i)}: field {name}{inner}"
            if self._again is not None:
                found.anew = partial(self._media_anew, i, (name, *path))

    def _media_anew(self, i: int, path: tuple[Any, ...]) -> media.Media | None:
        """An encoded file of sample ``i``, out of the shard as it was signed."""
        fresh = None if self._again is None else self._again(self)
        if fresh is None:
            return None
        value: Any = fresh.sample(i, path[:1])
        for at in path:
            value = value[at]
        assert isinstance(value, media.Media), "the schema says so"
        return value

    def _sample_anew(
        self, i: int, fields: Collection[str] | None, wrong: ShardError
    ) -> dict[str, Any]:
        """Sample ``i`` of the shard as it was signed; ``wrong`` if these bytes are just that."""
        try:
            fresh = None if self._again is None else self._again(self)
            if fresh is not None:
                return fresh.sample(i, fields)
        except ShardError:
            pass
        raise wrong

    def quick(self, i: int, names: Collection[str]) -> dict[str, Any] | None:
        """These fields of sample ``i`` from the columns; None if `sample` has to read them."""
        columns = self.columns
        row = -1 if columns is None else i if columns.row is None else int(columns.row[i])
        if columns is None or row < 0 or not self._media.isdisjoint(names):
            return None
        by_name = columns.by_name
        try:
            if columns.whole:
                return {name: by_name[name].get(row) for name in names}
            found = [(name, by_name[name]) for name in names]
            return {
                name: column.get(row)
                for name, column in found
                if column.absent is None or not column.absent[row]
            }
        except (Unfit, UnicodeDecodeError):
            return None

    def value(self, i: int, name: str) -> Any:
        """One field of sample ``i``, from the columns where they have it.

        Raises:
            ShardError: the field, or the structure of the sample around it, does not fit the
                schema; says what and where.
        """
        columns = self.columns
        row = -1 if columns is None else i if columns.row is None else int(columns.row[i])
        if columns is None or row < 0:
            return self.sample(i, (name,)).get(name)
        try:
            value = columns.by_name[name].get(row)
        except (Unfit, UnicodeDecodeError):
            return self.sample(i, (name,))[name]
        if name in self._media:
            self._place(i, value, name)
        return value

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (self.sample(i) for i in range(len(self)))

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self.path, self.schema, self.layout, self.index, self.name)


def _reopen(path: Path, schema: Schema, layout: Layout, index: MemberIndex, name: str) -> ShardFile:
    return ShardFile(path, schema, layout, index=index, name=name)


def _map(path: Path, name: str, descriptor: int | None) -> mmap.mmap:
    """The whole file, read-only; the map keeps the lock after the descriptor is closed."""
    if descriptor is None:
        try:
            descriptor = open_shared(path)
        except FileNotFoundError as error:
            raise StorageFault(f"cannot open the shard {path}: {error.strerror}") from error
    try:
        return mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
    except ValueError:  # mmap's word for a file without bytes
        raise ShardError(f"{name}: expected a tar archive, found 0 bytes") from None
    except OSError as error:
        raise StorageFault(f"cannot map the shard {path}: {error.strerror}") from error
    finally:
        os.close(descriptor)


def _holds_media(kind: fields.Kind) -> bool:
    match kind:
        case fields.Media():
            return True
        case fields.List():
            return _holds_media(kind.item)
        case fields.Struct():
            return any(_holds_media(field.kind) for field in kind.fields)
        case _:
            return False


def media_in(value: object) -> Iterator[tuple[tuple[Any, ...], media.Media]]:
    """Every encoded file in ``value``, with the way to it."""
    if isinstance(value, media.Media):
        yield (), value
    elif isinstance(value, list | dict):
        for at, item in enumerate(value) if isinstance(value, list) else value.items():
            for path, found in media_in(item):
                yield (at, *path), found
