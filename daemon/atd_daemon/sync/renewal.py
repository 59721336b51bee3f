"""Which shards of a newer release take the place of which that are here.

Pure. Shards are cut so that an edit changes few of them and leaves the rest as they are, in their
order (decision 0003), so the two lists of a split are laid side by side at the shards that both
have. It takes n log n steps, whatever a publisher lists.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from atd.protocol.cbor import Cid
from atd_daemon.sync.found import FoundShard, FoundSplit


@dataclass(frozen=True)
class Renewal:
    """What a newer release changes: the shards to be fetched, each with its split, and how many of
    those that are here have no place in it."""

    fetch: tuple[tuple[str, FoundShard], ...]
    replaced: int


def renewal(
    before: Sequence[FoundSplit], after: Sequence[FoundSplit], here: Collection[Cid]
) -> Renewal:
    """What ``after`` changes for somebody who has the shards ``here`` of ``before``.

    Where a run of shards was replaced by as many others, each takes the place of one; by fewer or
    more, all of them are wanted if one of the old ones is here. What was added is wanted if all of
    the split is here, and a new split if all of the data set is. A split of ``before`` whose shards
    are not known has none here.
    """
    old = {split.split.name: split for split in before}
    everything = all(is_whole(split, here) for split in before)
    fetch: list[tuple[str, FoundShard]] = []
    for split in after:
        name = split.split.name
        if name in old:
            whole = is_whole(old[name], here)
            wanted = tuple(_wanted(old[name].shards, split.shards, here, whole))
        else:
            wanted = split.shards if everything else ()
        fetch += [(name, shard) for shard in wanted if shard.entry.digest not in here]
    now = {shard.entry.digest for split in after for shard in split.shards}
    gone = {shard.entry.digest for split in before for shard in split.shards} - now
    return Renewal(tuple(fetch), len(gone.intersection(here)))


def all_of(after: Sequence[FoundSplit], here: Collection[Cid]) -> Renewal:
    """As `renewal`, where nothing is known of what was before."""
    shards = [(split.split.name, shard) for split in after for shard in split.shards]
    return Renewal(tuple(one for one in shards if one[1].entry.digest not in here), 0)


def is_known(split: FoundSplit) -> bool:
    """Whether its shards are known, not only how many they are."""
    return len(split.shards) == split.split.shards


def is_whole(split: FoundSplit, here: Collection[Cid]) -> bool:
    """Whether all of its shards are here."""
    return is_known(split) and all(shard.entry.digest in here for shard in split.shards)


def _wanted(
    old: Sequence[FoundShard], new: Sequence[FoundShard], here: Collection[Cid], whole: bool
) -> Iterator[FoundShard]:
    """The shards of ``new`` that are to be here because of those of ``old`` that are."""
    was = [shard.entry.digest for shard in old]
    now = [shard.entry.digest for shard in new]
    for begin, end, low, high in _gaps(was, now):
        held = [digest in here for digest in was[begin:end]]
        if whole or (any(held) and end - begin != high - low):
            yield from new[low:high]
        elif any(held):
            yield from (shard for shard, mine in zip(new[low:high], held, strict=True) if mine)


def _gaps(was: Sequence[Cid], now: Sequence[Cid]) -> Iterator[tuple[int, int, int, int]]:
    """The ranges of both lists between the shards that they have in common, in order."""
    at, to = 0, 0
    for begin, low in [*_common(was, now), (len(was), len(now))]:
        if begin > at or low > to:
            yield at, begin, to, low
        at, to = begin + 1, low + 1


def _common(was: Sequence[Cid], now: Sequence[Cid]) -> list[tuple[int, int]]:
    """The places of the most shards that both lists have in the same order."""
    place = {digest: at for at, digest in enumerate(was)}
    pairs = [(place[digest], at) for at, digest in enumerate(now) if digest in place]
    # The longest ascending run: for each length the pair with the least end so far (patience).
    ends: list[int] = []
    last: list[int] = []
    before: list[int] = []
    for number, (begin, _) in enumerate(pairs):
        length = bisect_left(ends, begin)
        before.append(last[length - 1] if length else -1)
        ends[length : length + 1] = [begin]
        last[length : length + 1] = [number]
    found = []
    number = last[-1] if last else -1
    while number >= 0:
        found.append(pairs[number])
        number = before[number]
    return found[::-1]
