"""MDS folders, which MosaicML's ``streaming`` writes: ``index.json`` and its shards.

Belongs here: the index, the shards, and samples out of them; how one column is encoded is in
`atd.publishing.sources.mds_columns`. A shard is the number of samples, where each begins and the
last ends (all u32, little-endian), a header that repeats the index, and the samples; a sample is
the sizes of its columns of no fixed size, then the columns.

Rules. Read strictly, and without ``streaming``: nothing is read outside a file, nothing may be left
over, digests that the index has are compared. A column of pickled objects is refused. Shards may be
packed with gzip, which Python can undo; other compressions are named. Every sample is decoded once
before anything is published. The key of a sample is its number, counted from 0 in each split.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import tempfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final

import numpy as np

from atd.disk import storing
from atd.errors import BadSource, LocalError
from atd.protocol.syntax import quote
from atd.publishing.infer import infer
from atd.publishing.sources import files, mds_columns
from atd.publishing.sources.bad import Bad, settle_bad
from atd.publishing.sources.csv_table import field_name
from atd.publishing.sources.given import Given
from atd.publishing.sources.keys import row_key
from atd.publishing.sources.mds_columns import Column, Damaged
from atd.publishing.sources.source import Pair, Source, SplitSource, shown
from atd.schema.fields import Field, Schema

INDEX: Final = "index.json"
MAX_SHARD: Final = 2**32
"""Bytes of a shard, at most: places in it have 32 bits."""

_PIECE: Final = 1024**2
_CHECKED: Final = ("sha256", "sha512", "sha1", "md5", "blake2b", "sha3_256")
_NEXT: Final = "write the folder again with streaming.MDSWriter"


@dataclass(frozen=True)
class _Shard:
    """One entry of an index."""

    path: Path
    columns: tuple[Column, ...]
    samples: int
    size: int
    hashes: Mapping[str, str]
    packed: bool
    out: frozenset[int] | None = frozenset()
    """Samples that are left out, by their number; None: all are."""

    @property
    def kept(self) -> int:
        """How many samples are not left out."""
        return 0 if self.out is None else self.samples - len(self.out)

    def read(self) -> Iterator[dict[str, Any]]:
        """Every sample, by field name.

        Raises:
            Damaged: the file is not what its index says.
        """
        data = self._bytes()
        if len(data) < 4 * (self.samples + 2):
            raise Damaged(f"{len(data)} bytes are too few for {self.samples} samples")
        words = np.frombuffer(data[: 4 * (self.samples + 2)], "<u4").tolist()
        count, places = words[0], words[1:]
        if count != self.samples or places != sorted(places) or places[-1] != len(data):
            raise Damaged("where its samples are contradicts the index")
        if places[0] < 4 * (self.samples + 2):
            raise Damaged("its first sample overlaps the header")
        for number in range(self.samples):
            try:
                yield self._sample(data[places[number] : places[number + 1]])
            except Damaged as error:
                raise Damaged(f"sample {number}: {error}") from None

    def _sample(self, data: memoryview) -> dict[str, Any]:
        head = 4 * sum(column.size is None for column in self.columns)
        if len(data) < head:
            raise Damaged("it ends in the sizes of its columns")
        stated = iter(np.frombuffer(data[:head], "<u4").tolist())
        sizes = [next(stated) if one.size is None else one.size for one in self.columns]
        if head + sum(sizes) != len(data):
            raise Damaged(f"its columns take {head + sum(sizes)} bytes, it has {len(data)}")
        sample, at = {}, head
        for column, size in zip(self.columns, sizes, strict=True):
            sample[column.field] = column.read(data[at : at + size])
            at += size
        return sample

    def _bytes(self) -> memoryview:
        """The shard, mapped: it may be of 4 GB."""
        with files.opened(self.path) as file:
            whole = _unpacked(file, self.size) if self.packed else file
            size = os.fstat(whole.fileno()).st_size
            if size != self.size:
                raise Damaged(f"expected {self.size} bytes, found {size}")
            # Not closed: arrays are views of it.
            data = memoryview(mmap.mmap(whole.fileno(), 0, access=mmap.ACCESS_READ))
        for name in _CHECKED:
            wanted = self.hashes.get(name)
            if wanted and not self.packed and hashlib.new(name, data).hexdigest() != wanted:
                raise Damaged(f"its {name} is not the one in the index")
        return data


def open_given(given: Given) -> Source:
    """The samples below a folder with an ``index.json``, or with one in the folder of each split.

    Raises:
        BadSource: no such index, shards that are not what it says, pickled columns.
    """
    indexes = [one for one in given.found if one.name == INDEX]
    if not indexes:
        raise BadSource(f"{shown(given.path)} has shards of MDS and no {INDEX}", next_step=_NEXT)
    splits: dict[str, list[_Shard]] = {}
    for index in indexes:
        found = splits.setdefault(files.split_of(index, given.split), [])
        found += _shards(given.at(index), shown(index))
    first = next((one for found in splits.values() for one in found), None)
    if first is None:
        raise BadSource(f"{shown(given.path)}: the index lists no shards")
    bad = Bad()
    checked = _checked(given, splits, first.columns, bad)
    skipped = settle_bad(bad, "shards or samples cannot be published", _NEXT, skip=given.skip_bad)
    good = [one for found in checked.values() for one in found if one.kept]
    if not good:
        raise BadSource(f"{shown(given.path)} holds no samples that can be published")
    schema = _schema(first.columns, good)
    return Source(
        what="MDS folder",
        origin=str(given.path),
        schema=schema,
        splits={
            name: SplitSource(
                partial(_samples, checked[name]), count=sum(one.kept for one in checked[name])
            )
            for name in files.in_order(iter(checked))
            if any(one.kept for one in checked[name])
        },
        travels=(f"every column: {', '.join(shown(one.name) for one in first.columns)}",),
        skipped=skipped,
        exact=True,
    )


def _checked(
    given: Given, splits: Mapping[str, list[_Shard]], columns: tuple[Column, ...], bad: Bad
) -> dict[str, list[_Shard]]:
    """Decode every sample; the shards with what is to be left out of them, which is named."""
    total, done = sum(map(len, splits.values())), 0
    checked: dict[str, list[_Shard]] = {}
    for name, shards in splits.items():
        for shard in shards:
            given.progress("checking shards", done, total)
            done += 1
            checked.setdefault(name, []).append(replace(shard, out=_bad_in(shard, columns, bad)))
    return checked


def _bad_in(shard: _Shard, columns: tuple[Column, ...], bad: Bad) -> frozenset[int] | None:
    """The samples whose pictures do not decode; None if the shard is not what its index says."""
    out: set[int] = set()
    try:
        if [one.said for one in shard.columns] != [one.said for one in columns]:
            raise Damaged(f"it has the columns {_said(shard.columns)}, not {_said(columns)}")
        for number, sample in enumerate(shard.read()):
            try:
                mds_columns.check(sample, number)
            except Damaged as error:
                bad.add(f"{shown(shard.path.name)} ({error})")
                out.add(number)
    except (Damaged, LocalError) as error:
        bad.add(f"{shown(shard.path.name)} ({error})")
        return None
    return frozenset(out)


def _said(columns: tuple[Column, ...]) -> str:
    return ", ".join(f"{shown(one.name)} {shown(one.encoding)}" for one in columns)


def _schema(columns: tuple[Column, ...], shards: Sequence[_Shard]) -> Schema:
    """What the columns are; of arrays that each sample describes, by all samples."""
    known = [Field(one.field, one.kind) for one in columns if one.kind is not None]
    if len(known) == len(columns):
        return Schema(tuple(known))
    open_ended = {one.field for one in columns if one.kind is None}
    seen = infer(
        {name: value for name, value in sample.items() if name in open_ended}
        for shard in shards
        for number, sample in enumerate(shard.read())
        if number not in (shard.out or ())
    )
    kinds = {one.name: one.kind for one in (*known, *seen)}
    return Schema(tuple(Field(one.field, kinds[one.field]) for one in columns))


def _samples(shards: Sequence[_Shard], schema: Schema) -> Iterator[Pair]:
    begin = 0
    for shard in shards:
        try:
            for row, sample in enumerate(shard.read() if shard.kept else ()):
                if row not in (shard.out or ()):
                    yield row_key(begin + row), {k: v for k, v in sample.items() if k in schema}
        except Damaged as error:
            raise BadSource(f"{shown(shard.path)} changed while it was read: {error}") from None
        begin += shard.samples


# ------------------------------------------------------------------ the index


def _shards(path: Path, where: str) -> Iterator[_Shard]:
    try:
        index = json.loads(files.read(path))
        listed = index["shards"]
        if index["version"] != 2 or not isinstance(listed, list):
            raise ValueError
    except (ValueError, KeyError, TypeError, RecursionError):
        raise BadSource(f"{where} is no index of MDS shards, version 2", next_step=_NEXT) from None
    for number, one in enumerate(listed):
        try:
            yield _shard(path.parent, one)
        except (KeyError, TypeError, ValueError, AttributeError):
            raise BadSource(f"{where}: shard {number} is not described", next_step=_NEXT) from None
        except LocalError as error:
            raise BadSource(
                f"{where}: shard {number}: {error.message}", next_step=error.next_step or _NEXT
            ) from None


def _shard(folder: Path, said: Mapping[str, Any]) -> _Shard:
    if (said["format"], said["version"]) != ("mds", 2):
        raise LocalError(f"expected the format mds version 2, found {quote(said['format'])}")
    raw, packed = said["raw_data"], said.get("zip_data")
    there = (folder / _plain(raw["basename"])).is_file()
    compression = str(said.get("compression") or "").partition(":")[0]
    if packed and not there and compression != "gz":
        raise LocalError(
            f"it is compressed with {quote(compression)}, which Python cannot undo by itself",
            next_step="decompress the shards beside their index (keep_zip=False), or use gz",
        )
    samples, size = said["samples"], raw["bytes"]
    if type(samples) is not int or type(size) is not int or not 0 <= samples < size <= MAX_SHARD:
        raise LocalError(f"{quote(samples)} samples in {quote(size)} bytes")
    entry = raw if there or not packed else packed
    return _Shard(
        folder / _plain(entry["basename"]),
        tuple(_columns(said)),
        samples,
        size,
        dict(raw.get("hashes") or {}),
        packed=entry is packed,
    )


def _columns(said: Mapping[str, Any]) -> Iterator[Column]:
    taken: set[str] = set()
    described = zip(
        said["column_names"], said["column_encodings"], said["column_sizes"], strict=True
    )
    for number, (name, encoding, size) in enumerate(described, start=1):
        field = field_name(str(name), number, taken)
        taken.add(field)
        yield mds_columns.column(str(name), field, str(encoding), size)


def _plain(name: str) -> str:
    if PurePosixPath(name).name != name or name in ("", ".."):
        raise LocalError(f"expected the plain name of a file, found {quote(name)}")
    return name


def _unpacked(file: IO[bytes], size: int) -> IO[bytes]:
    """gzip undone, into a temporary file without a name, up to what the index says.

    A bomb does not go off: neither the memory nor the disk takes more than that.
    """
    undo, left = zlib.decompressobj(wbits=31), size + 1
    with storing(Path(tempfile.gettempdir())):
        made = tempfile.TemporaryFile()  # noqa: SIM115  (mapped by the caller)
        while left and not undo.eof and (piece := undo.unconsumed_tail or file.read(_PIECE)):
            try:
                data = undo.decompress(piece, min(left, _PIECE))
            except zlib.error:
                raise Damaged("it is no gzip file") from None
            left -= made.write(data)
        made.flush()
    return made
