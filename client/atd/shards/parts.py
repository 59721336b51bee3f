"""Parts of the space of hashes that are cut into shards independently of each other.

Belongs here: how deep to cut the space so that each part is some shards' worth, and which parts
turn out to be one shard together. Pure; what a part is made of, and by whom, is the caller's.

Cutting by halves (`atd.shards.cut`) starts with the whole space. It may as well start with every
part of some depth: a part knows nothing of its neighbours. The shards are the same but for one
thing: where the halving from the top would not have gone down to that depth, because a part above
fits into one shard. That is seen afterwards, from sizes alone, and the part above is packed anew::

    depth 0   │               too large               │
    depth 1   │     too large     │       fits        │ ◀─ one shard: packed again from here
    depth 2   │ 2 shards│ 1 shard │ 1 shard │ 1 shard │ ◀─ packed independently
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final, NamedTuple

from atd.records import CutParameters
from atd.shards import tar

HASH_BITS: Final = 256
TARGETS: Final = 4
"""How many times the target the samples of a part take, at most, if the estimate is right."""
MAX_DEPTH: Final = 24


class Part(NamedTuple):
    """The hashes that start with the ``depth`` bits of ``number``."""

    depth: int
    number: int

    @property
    def begin(self) -> int:
        """The first place in the part."""
        return self.number << HASH_BITS - self.depth

    @property
    def end(self) -> int:
        """The first place behind the part."""
        return self.number + 1 << HASH_BITS - self.depth

    def within(self, other: Part) -> bool:
        """Whether all of it lies in ``other``."""
        return other.begin <= self.begin and self.end <= other.end


WHOLE: Final = Part(0, 0)


class Filled(NamedTuple):
    """What lies in a part: samples, and the bytes of their members."""

    samples: int
    size: int

    def fits(self, cuts: CutParameters) -> bool:
        """Whether it is one shard: as `atd.shards.cut` decides it."""
        largest = tar.largest_members(min(cuts.target_bytes, cuts.max_bytes))
        return self.samples <= 1 or (self.size <= largest and self.samples <= cuts.max_samples)


def depth_for(samples: int, size: int, cuts: CutParameters) -> int:
    """How often to halve the space so that each part takes about `TARGETS` targets, or half that.

    Args:
        samples: how many there are; ``size``: the bytes of their members, estimated.
    """
    shards = max(size / min(cuts.target_bytes, cuts.max_bytes), samples / cuts.max_samples)
    return min(max(math.ceil(math.log2(max(shards, 1) / TARGETS)), 0), MAX_DEPTH)


def joined(filled: Mapping[int, Filled], depth: int, cuts: CutParameters) -> list[Part]:
    """Parts above ``depth`` that are one shard, although several of their parts hold samples.

    Args:
        filled: what lies in each part of ``depth``, by number; empty ones may be left out.

    Returns:
        The largest such parts, in order; no two overlap.
    """
    found: list[Part] = []
    level = {number: (one, 1) for number, one in filled.items() if one.samples}
    for above in range(depth - 1, -1, -1):
        level = _halves_joined(level)
        fitting = [
            Part(above, number)
            for number, (one, parts) in level.items()
            if parts > 1 and one.fits(cuts)
        ]
        inside = set(fitting)
        found = [part for part in found if _at(part, above) not in inside] + fitting
    return sorted(found, key=lambda part: part.end)


def _halves_joined(level: Mapping[int, tuple[Filled, int]]) -> dict[int, tuple[Filled, int]]:
    """What lies in each part one level above, and in how many parts of the lowest level."""
    above: dict[int, tuple[Filled, int]] = {}
    for number, (one, parts) in level.items():
        other, others = above.get(number >> 1, (Filled(0, 0), 0))
        both = Filled(one.samples + other.samples, one.size + other.size)
        above[number >> 1] = (both, parts + others)
    return above


def _at(part: Part, depth: int) -> Part:
    """The part at ``depth``, no deeper than ``part``, that ``part`` lies in."""
    return Part(depth, part.number >> part.depth - depth)
