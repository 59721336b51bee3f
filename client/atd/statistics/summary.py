"""From what was gathered to what is published.

Belongs here: the few numbers, bins and counts that a reader sees. What is *not* shown is decided
here too, for statistics are public even where nobody fetches a shard: the values of a string field
are listed only where they repeat (twice on average), so that no list of names or addresses stands
there one by one, and running text is never quoted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import accumulate
from typing import Any, Final

from atd.statistics import exact
from atd.statistics.gather import FieldPartial, Tally
from atd.statistics.numbers import Numbers, magnitude_bounds
from atd.statistics.shard import Partial
from atd.statistics.values import (
    Counts,
    FieldStatistics,
    Histogram,
    NumberSummary,
    SplitStatistics,
)

BINS: Final = 20
FRACTIONS: Final = (0.05, 0.25, 0.5, 0.75, 0.95)
_REPEATS: Final = 2


def split_statistics(
    name: str, part: Partial, *, shards: int, size: int, examples: tuple[Mapping[str, Any], ...]
) -> SplitStatistics:
    """The split ``name``, of whose samples ``part`` is known."""
    found = tuple(field_statistics(one, partial) for one, partial in part.fields.items())
    return SplitStatistics(name, part.samples, shards, size, found, examples)


def field_statistics(name: str, part: FieldPartial) -> FieldStatistics:
    """One field, with what it nests."""
    shown = {one: counts_of(tally, part) for one, tally in sorted(part.counts.items())}
    return FieldStatistics(
        name=name,
        kind=part.kind,
        count=part.count,
        null=part.null,
        missing=part.missing,
        unreadable=part.unreadable,
        numbers={one: number_summary(of) for one, of in sorted(part.numbers.items())},
        counts={one: counts for one, counts in shown.items() if counts is not None},
        fields=tuple(field_statistics(one, inner) for one, inner in part.inner.items()),
    )


def counts_of(tally: Tally, part: FieldPartial) -> Counts | None:
    """The counted values, the most frequent first; None where they are not to be shown."""
    if not tally.counts or (
        part.kind == "string" and len(tally.counts) * _REPEATS > sum(tally.counts.values())
    ):
        return None
    ranked = sorted(tally.counts.items(), key=lambda pair: (-pair[1], str(pair[0])))
    return Counts(tuple(ranked))


def number_summary(numbers: Numbers) -> NumberSummary:
    """The numbers called one name."""
    if not numbers.count:
        return NumberSummary(
            count=0,
            elements=numbers.elements,
            nan=numbers.nan,
            infinite=numbers.infinite,
            low=numbers.low,
            high=numbers.high,
        )
    values = _few(numbers)
    return NumberSummary(
        count=numbers.count,
        elements=numbers.elements,
        nan=numbers.nan,
        infinite=numbers.infinite,
        low=numbers.low,
        high=numbers.high,
        mean=exact.mean(numbers.total, numbers.count),
        std=exact.deviation(numbers.total, numbers.squares, numbers.count),
        quantiles=tuple((fraction, quantile(numbers, fraction)) for fraction in FRACTIONS),
        histogram=histogram(numbers) if values is None else None,
        values=values,
    )


def _few(numbers: Numbers) -> tuple[tuple[float | int, int], ...] | None:
    """Each number with its count, where there are no more of them than bins."""
    if numbers.values is None or len(numbers.values) > BINS:
        return None
    if numbers.elements != numbers.count + numbers.nan + numbers.infinite:
        return None  # there may be others among those that were not looked at
    return tuple(sorted(numbers.values.items()))


def quantile(numbers: Numbers, fraction: float) -> float | int:
    """About the number below or at which ``fraction`` of all are; one at least is needed.

    That number is in a cell of the grid and in one of the magnitudes, and so where they meet.
    """
    rank = int(fraction * (numbers.count - 1))
    if numbers.values is not None:
        found: float | int = _at(numbers.values, rank)
        return found
    width = 2.0**numbers.shift
    cell = int(_at(numbers.grid, rank))
    low, high = cell * width, (cell + 1) * width
    near, far = magnitude_bounds(int(_at(numbers.magnitudes, rank)))
    low, high = max(low, near), min(high, far)
    assert numbers.low is not None
    assert numbers.high is not None
    return min(max(low / 2 + high / 2, numbers.low), numbers.high)


def _at(counts: Counter[Any], rank: int) -> Any:
    """The key whose values the one with this rank, from 0, is among."""
    keys = sorted(counts)
    for key, upto in zip(keys, accumulate(counts[key] for key in keys), strict=True):
        if rank < upto:
            return key
    raise AssertionError("every rank is below the count")


def histogram(numbers: Numbers) -> Histogram:
    """The cells of the grid, as many to a bin as make at most `BINS` of them."""
    first, last = min(numbers.grid), max(numbers.grid)
    to_a_bin = -(-(last - first + 1) // BINS)
    bins = -(-(last - first + 1) // to_a_bin)
    counts = [0] * bins
    for cell, often in numbers.grid.items():
        counts[(cell - first) // to_a_bin] += often
    width = 2.0**numbers.shift
    edges = [(first + at * to_a_bin) * width for at in range(bins)]
    assert numbers.low is not None
    assert numbers.high is not None
    low, high = float(numbers.low), float(numbers.high)
    # The extremes may be of elements that are in no cell: only a bin's own ends are drawn in.
    end = min((first + bins * to_a_bin) * width, high)
    return Histogram((max(edges[0], low), *edges[1:], end), tuple(counts))
