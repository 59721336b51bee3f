"""Where shards are cut, so that an edit costs one shard, and packing a whole split.

Belongs here: the order of samples, the cuts, and the ways from a source to finished shards. Both
orders give the same shards for the same samples whatever order a source delivers them in (``hash``)
or for the same sequence (``keep``), because every cut depends on keys and sizes alone.

``hash``: samples are ordered by the SHA-256 of their key, and the space of hashes is halved, and
halved again, until each part fits the target. A shard is what lies in one part::

    0────────────────────────────────────────1     all keys by hash: too large, so halved
    0────────────────────┤├───────────────────
                          ├────────┤├─────────     the right half was still too large

A part knows nothing of its neighbours, so adding, changing or removing a sample touches its own
part only: it is rewritten, or halved when it grew too large, or joined with its other half when
both now fit into one. There is no cascade, at any size. Shards are as a rule half full to full.

``keep``: the order is the source's, so only the cuts can depend on content: a sample ends a shard
when the tail of its key's hash falls below a threshold proportional to its size, between a smallest
and a largest shard. After an edit the cuts meet again at the next such sample.

Shards are named ``PREFIX-DIGEST.tar`` with 16 hex digits of their SHA-256: an unchanged shard keeps
its name, which an index in the name would not.
"""

from __future__ import annotations

import itertools
import mmap
import tempfile
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias, TypeVar

from atd.disk import storing
from atd.errors import TooLarge
from atd.records import CutParameters, Layout
from atd.schema.fields import Schema
from atd.shards import tar
from atd.shards.encode import Encode
from atd.shards.keys import check_key, key_digest
from atd.shards.layout import Stored
from atd.shards.parts import WHOLE, Part
from atd.shards.slabs import SLAB, Batch, Slabs
from atd.shards.writer import ShardFileWriter, ShardInfo, repeated, stored_size

Item: TypeAlias = tuple[str, Callable[[], Mapping[str, object] | object]]
"""A sample that is made when its turn comes: its key, and how to load it."""

Placed: TypeAlias = tuple[int, int]
"""What cuts depend on: the place of a sample in hash order, and its size in an archive in bytes."""

_Ready: TypeAlias = tuple[str, int, Stored, int]
"""A sample that is encoded: its key, its place in hash order, its members, their size."""

T = TypeVar("T")
OnShard: TypeAlias = Callable[[ShardInfo], object]

_NAME_DIGITS: Final = 16
_WRITERS: Final = 2
"""Shards that are hashed and written while the samples of the next are encoded."""
_FLUSHERS: Final = 2
"""Shards that are written, no longer in memory, and waited for until the disk has them."""


class Group(NamedTuple):
    """Samples that make a shard: how many of those that come next, and their bytes in it."""

    samples: int
    size: int


def pack(
    items: Iterable[Item],
    schema: Schema,
    layout: Layout,
    cuts: CutParameters,
    folder: Path,
    prefix: str,
    on_shard: OnShard | None = None,
    *,
    part: Part = WHOLE,
) -> list[ShardInfo]:
    """Write the samples of one split as shards below ``folder``.

    Each sample is loaded once, when its turn comes; only keys, and three shards, are in memory: one
    whose samples are encoded, two that are hashed and written meanwhile. For samples that cannot be
    loaded at will see `pack_stream`.

    Args:
        items: keys and loaders, in any order; for ``order="keep"`` in the order to keep.
        prefix: what shard names start with, usually the name of the split.
        on_shard: called with each shard when it is finished.
        part: the part of the space of hashes that all keys lie in, for ``order="hash"``: what is
            cut is this part, as if the halving had come so far.

    Returns:
        The shards in order; none if there are no samples.

    Raises:
        SchemaMismatch: a sample does not fit the schema.
        InvalidSyntax: a key cannot be written.
        BadSource: two samples have the same key.
        TooLarge: a sample does not fit into ``cuts.max_bytes``.
        StorageFault: the disk is full or the folder not writable.
    """
    encode, slabs = _Encoding(schema, layout, cuts), _slabs(cuts)
    if cuts.order == "keep":
        coming = ((key, place, *encode(key, load())) for key, place, load in _distinct(items))
        return _write(by_content(_put(coming, slabs), cuts), slabs, folder, prefix, on_shard)
    # In columns: a tuple for each sample would be more for the garbage collector to visit.
    keys, loads, places = [], [], []
    for key, load in items:
        places.append(place_of(key))
        keys.append(key)
        loads.append(load)
    order = sorted(range(len(keys)), key=places.__getitem__)
    for one, following in itertools.pairwise(order):
        if places[one] == places[following]:
            raise repeated(keys[one])
    coming = ((keys[at], places[at], *encode(keys[at], loads[at]())) for at in order)
    return _write(by_hash(_put(coming, slabs), cuts, part), slabs, folder, prefix, on_shard)


def pack_stream(
    samples: Iterable[tuple[str, object]],
    schema: Schema,
    layout: Layout,
    cuts: CutParameters,
    folder: Path,
    prefix: str,
    on_shard: OnShard | None = None,
) -> list[ShardInfo]:
    """`pack` for samples that come once, in an order of their own, such as from a generator.

    For the order by hash they are encoded as they come into a temporary file in ``folder``, which
    takes as much space as the shards, and written from there.
    """
    if cuts.order == "keep":
        items = ((key, lambda sample=sample: sample) for key, sample in samples)
        return pack(items, schema, layout, cuts, folder, prefix, on_shard)
    encode, slabs = _Encoding(schema, layout, cuts), _slabs(cuts)
    with _Spool(folder) as spool:
        for key, place, sample in _distinct(samples):
            spool.add(key, place, *encode(key, sample))
        encoded = _put(spool.in_order(), slabs)
        return _write(by_hash(encoded, cuts), slabs, folder, prefix, on_shard)


def place_of(key: str) -> int:
    """Where a sample with ``key`` stands in the order by hash."""
    return int.from_bytes(key_digest(check_key(key)), "big")


def _distinct(pairs: Iterable[tuple[str, T]]) -> Iterator[tuple[str, int, T]]:
    seen: set[int] = set()
    for key, value in pairs:
        place = place_of(key)
        if place in seen:
            raise repeated(key)
        seen.add(place)
        yield key, place, value


def _slabs(cuts: CutParameters) -> Slabs:
    """Memory for shards, and not much more of it than the smallest data set needs."""
    return Slabs(min(SLAB, tar.archive_size(cuts.target_bytes)))


def _put(coming: Iterable[_Ready], slabs: Slabs) -> Iterator[Placed]:
    """Samples on their way to a shard, copied to where they wait for it."""
    put = slabs.put
    for key, place, stored, size in coming:
        put(key, stored, size)
        yield place, size


def _write(
    groups: Iterator[Group],
    slabs: Slabs,
    folder: Path,
    prefix: str,
    on_shard: OnShard | None,
) -> list[ShardInfo]:
    shards: list[ShardInfo] = []
    writing: deque[tuple[Future[Future[ShardInfo]], Batch]] = deque()
    flushing: deque[Future[ShardInfo]] = deque()

    def settle(most_writing: int, most_flushing: int) -> None:
        while len(writing) > most_writing:
            written, batch = writing.popleft()
            flushing.append(written.result())
            slabs.give_back(batch)
        while len(flushing) > most_flushing:
            shards.append(flushing.popleft().result())
            if on_shard is not None:
                on_shard(shards[-1])

    # Hashing, writing and waiting for the disk happen outside of the interpreter, so threads help.
    with (
        ThreadPoolExecutor(_FLUSHERS, thread_name_prefix="atd-flush") as flushers,
        ThreadPoolExecutor(_WRITERS, thread_name_prefix="atd-pack") as writers,
    ):
        for group in groups:
            settle(_WRITERS - 1, _FLUSHERS)
            batch = slabs.take(group.size)
            task = writers.submit(_write_shard, batch, group.samples, folder, prefix, flushers)
            writing.append((task, batch))
        settle(0, 0)
    return shards


def _write_shard(
    batch: Batch, samples: int, folder: Path, prefix: str, flushers: ThreadPoolExecutor
) -> Future[ShardInfo]:
    """Hash and write a shard; the memory of ``batch`` is free when this returns.

    The wait for the disk is left to ``flushers``, and is not a wait for memory.
    """
    shard = ShardFileWriter(folder)
    shard.add_all(batch, samples)
    return flushers.submit(shard.finish, lambda digest: f"{prefix}-{digest[:_NAME_DIGITS]}.tar")


class _Encoding:
    """The members of samples and their size, none of which is too large for a shard of its own."""

    def __init__(self, schema: Schema, layout: Layout, cuts: CutParameters) -> None:
        self._encode = Encode(schema, layout)
        self._limit = cuts.max_bytes
        self._largest = tar.largest_members(cuts.max_bytes)

    def __call__(self, key: str, sample: object) -> tuple[Stored, int]:
        stored = self._encode(key, sample)
        size = stored_size(stored)
        if size > self._largest:
            raise TooLarge(
                f"sample {key}: {tar.archive_size(size)} bytes as a shard of its own,"
                f" but a shard holds at most {self._limit}",
                next_step="make the sample smaller, or publish to a store that takes larger shards",
            )
        return stored, size


# ------------------------------------------------------------------ cuts


def by_hash(samples: Iterator[Placed], cuts: CutParameters, part: Part = WHOLE) -> Iterator[Group]:
    """Groups of ``samples``, which come in hash order, by halving; see the module's docstring.

    All of them lie in ``part``, with which the halving starts. At most one target's worth of
    samples, and one more, is taken ahead of a group.
    """
    yield from _halved(_Ahead(samples, cuts), part)


def _halved(ahead: _Ahead, part: Part) -> Iterator[Group]:
    if ahead.fits(part):
        group = ahead.take(part)
        if group.samples:
            yield group
        return
    yield from _halved(ahead, Part(part.depth + 1, 2 * part.number))
    yield from _halved(ahead, Part(part.depth + 1, 2 * part.number + 1))


class _Ahead:
    """Samples read ahead, just far enough to know whether a part fits into one shard."""

    def __init__(self, samples: Iterator[Placed], cuts: CutParameters) -> None:
        self._samples = samples
        self._places: list[int] = []
        self._ends: list[int] = []
        """Bytes of the members up to and with each sample that is held."""
        self._largest = tar.largest_members(min(cuts.target_bytes, cuts.max_bytes))
        self._max_samples = cuts.max_samples

    def fits(self, part: Part) -> bool:
        """Whether all samples of ``part`` fit a shard.

        They come first of all that are held. So they fit if the first sample beyond what a shard
        takes, if there is one, is not of the part.
        """
        beyond = part.end
        places, ends = self._places, self._ends
        count, end = len(places), ends[-1] if ends else 0
        last = places[-1] if places else -1
        # A shard takes any one sample, and of more only what fits.
        while last < beyond and (
            count < 2 or (end <= self._largest and count <= self._max_samples)
        ):
            last, size = next(self._samples, (-1, 0))
            if last < 0:
                return True
            count += 1
            end += size
            places.append(last)
            ends.append(end)
        count = bisect_left(places, beyond)
        return count <= 1 or (ends[count - 1] <= self._largest and count <= self._max_samples)

    def take(self, part: Part) -> Group:
        """Give up those samples."""
        count = bisect_left(self._places, part.end)
        gone = self._ends[count - 1] if count else 0
        del self._places[:count]
        self._ends = [end - gone for end in self._ends[count:]]
        return Group(count, gone)


def by_content(samples: Iterator[Placed], cuts: CutParameters) -> Iterator[Group]:
    """Groups of ``samples`` in the order in which they come; see the module's docstring."""
    target = min(cuts.target_bytes, cuts.max_bytes)
    largest = tar.largest_members(target)
    least = cuts.min_bytes or target // 4
    count = total = 0
    for place, size in samples:
        if count and (total + size > largest or count == cuts.max_samples):
            yield Group(count, total)
            count = total = 0
        count += 1
        total += size
        enough = total >= least or 4 * count >= cuts.max_samples
        if enough and _ends_shard(place, size, target // 2, cuts.max_samples // 2):
            yield Group(count, total)
            count = total = 0
    if count:
        yield Group(count, total)


def _ends_shard(place: int, size: int, mean_bytes: int, mean_samples: int) -> bool:
    """Whether the tail of the hash ends a shard here: once in ``mean_bytes``, or more often."""
    tail = place & (2**64 - 1)
    return tail * max(mean_bytes, 1) < size << 64 or tail * max(mean_samples, 1) < 1 << 64


# ------------------------------------------------------------------ samples that come once


class _Spool:
    """Encoded samples in a temporary file, to be read back in hash order."""

    def __init__(self, folder: Path) -> None:
        with storing(folder):
            self._file = tempfile.TemporaryFile(dir=folder, prefix=".spool-")  # noqa: SIM115
        self._entries: list[tuple[int, str, int, tuple[tuple[str, int], ...], int]] = []
        self._end = 0
        self._folder = folder

    def __enter__(self) -> _Spool:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, key: str, place: int, stored: Stored, size: int) -> None:
        """Put a sample at the end."""
        lengths = tuple((suffix, len(payload)) for suffix, payload in stored)
        self._entries.append((place, key, self._end, lengths, size))
        with storing(self._folder):
            for _, payload in stored:
                self._file.write(payload)
                self._end += len(payload)

    def in_order(self) -> Iterator[_Ready]:
        """The samples by the hash of their key."""
        self._entries.sort()
        with storing(self._folder):
            self._file.write(b"\0")  # an empty file cannot be mapped
            self._file.flush()
            whole = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        with whole:
            for place, key, start, lengths, size in self._entries:
                stored, at = [], start
                for suffix, length in lengths:
                    stored.append((suffix, whole[at : at + length]))
                    at += length
                yield key, place, stored, size
