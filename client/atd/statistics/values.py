"""The statistics of a release as values: what ``atd.stats`` gives, and what the document says.

Belongs here: frozen values, and their JSON in both directions. Reading is strict about everything
that it takes over, for a document comes from a stranger: types, ranges, lengths. A key that this
version does not know is passed over. numpy-free, so that the daemon reads documents too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final, Self

from atd.statistics.hostile import Part

MAX_NESTED: Final = 1000
MAX_BINS: Final = 64
MAX_VALUES: Final = 40_000
MAX_NAME: Final = 512
_MAX_ASPECTS: Final = 32


@dataclass(frozen=True, slots=True)
class Histogram:
    """How many numbers are in each bin: ``counts[i]`` from ``edges[i]`` to below ``edges[i + 1]``,
    the last one with its upper edge."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        """As it stands in a document."""
        return {"edges": list(self.edges), "counts": list(self.counts)}

    @classmethod
    def from_json(cls, value: Part) -> Self:
        """Out of a document; raises `LexiconError`."""
        edges = tuple(part.number() for part in value.list("edges", MAX_BINS + 1))
        counts = tuple(part.count() for part in value.list("counts", MAX_BINS))
        rising = all(low <= high for low, high in pairwise(edges))
        if not counts or len(edges) != len(counts) + 1 or not rising:
            raise value.fault("expected bins between rising edges")
        return cls(edges, counts)


@dataclass(frozen=True, slots=True)
class NumberSummary:
    """Some numbers of a field.

    Args:
        count: finite numbers that mean, deviation, quantiles and histogram are of.
        elements: how many there are; more than ``count`` where arrays are too large to look at
            each of their elements.
        nan, infinite: how many are no finite numbers.
        low, high: the least and the greatest of all finite ones; None where there are none.
        mean, std: rounded once; ``std`` is that of a population (divided by ``count``).
        quantiles: by the fraction of numbers that are less or equal; within 3 % or 1/512 of the
            range, whichever is less.
        histogram: None where there are ``values``.
        values: each number with how often it occurs, rising; None where they are many.
    """

    count: int
    elements: int
    nan: int = 0
    infinite: int = 0
    low: float | int | None = None
    high: float | int | None = None
    mean: float | None = None
    std: float | None = None
    quantiles: tuple[tuple[float, float], ...] = ()
    histogram: Histogram | None = None
    values: tuple[tuple[float | int, int], ...] | None = None

    def to_json(self) -> dict[str, Any]:
        """As it stands in a document."""
        said: dict[str, Any] = {"count": self.count}
        rest = {
            "elements": None if self.elements == self.count else self.elements,
            "nan": self.nan or None,
            "infinite": self.infinite or None,
            "min": self.low,
            "max": self.high,
            "mean": self.mean,
            "std": self.std,
            "quantiles": [list(pair) for pair in self.quantiles] or None,
            "histogram": None if self.histogram is None else self.histogram.to_json(),
            "values": None if self.values is None else [list(pair) for pair in self.values],
        }
        return said | {key: value for key, value in rest.items() if value is not None}

    @classmethod
    def from_json(cls, value: Part) -> Self:
        """Out of a document; raises `LexiconError`."""
        count = value.member("count").count()
        histogram, values = value.maybe("histogram"), value.maybe("values")
        pairs = [part.pair() for part in value.list("quantiles", MAX_BINS)]
        return cls(
            count=count,
            elements=value.count("elements", count),
            nan=value.count("nan"),
            infinite=value.count("infinite"),
            low=value.maybe_number("min"),
            high=value.maybe_number("max"),
            mean=value.maybe_number("mean"),
            std=value.maybe_number("std"),
            quantiles=tuple((at.number(), found.number()) for at, found in pairs),
            histogram=None if histogram is None else Histogram.from_json(histogram),
            values=None
            if values is None
            else tuple(
                (one.number(), often.count())
                for one, often in (part.pair() for part in value.list("values", MAX_BINS))
            ),
        )


@dataclass(frozen=True, slots=True)
class Counts:
    """How often each value occurs, the most frequent first; ``others`` is what is not listed."""

    values: tuple[tuple[str | int | bool, int], ...]
    others: int = 0

    def to_json(self) -> dict[str, Any]:
        """As it stands in a document."""
        others = {"others": self.others} if self.others else {}
        return {"values": [list(pair) for pair in self.values], **others}

    @classmethod
    def from_json(cls, value: Part) -> Self:
        """Out of a document; raises `LexiconError`."""
        pairs = (part.pair() for part in value.list("values", MAX_VALUES))
        values = tuple((one.plain(MAX_NAME), often.count()) for one, often in pairs)
        return cls(values, value.count("others"))


@dataclass(frozen=True, slots=True)
class FieldStatistics:
    """What is known of one field; the words are those of `atd.statistics.gather`.

    Args:
        name: of the field; ``[]`` for the items of a list.
        kind: such as ``int``, ``image``: a kind of ``network.atd.schema``.
        count: values that are there; ``null`` and ``missing``: samples without one.
        unreadable: encoded files whose header the publisher's machine could not read.
        fields: what it nests.
    """

    name: str
    kind: str
    count: int
    null: int = 0
    missing: int = 0
    unreadable: int = 0
    numbers: Mapping[str, NumberSummary] = field(default_factory=dict)
    counts: Mapping[str, Counts] = field(default_factory=dict)
    fields: tuple[FieldStatistics, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As it stands in a document."""
        said: dict[str, Any] = {"name": self.name, "kind": self.kind, "count": self.count}
        rest: dict[str, Any] = {
            "null": self.null,
            "missing": self.missing,
            "unreadable": self.unreadable,
            "numbers": {name: one.to_json() for name, one in self.numbers.items()},
            "counts": {name: one.to_json() for name, one in self.counts.items()},
            "fields": [one.to_json() for one in self.fields],
        }
        return said | {key: value for key, value in rest.items() if value}

    @classmethod
    def from_json(cls, value: Part) -> Self:
        """Out of a document; raises `LexiconError`."""
        numbers = value.object("numbers", _MAX_ASPECTS, MAX_NAME)
        counts = value.object("counts", _MAX_ASPECTS, MAX_NAME)
        return cls(
            name=value.member("name").text(MAX_NAME),
            kind=value.member("kind").text(MAX_NAME),
            count=value.member("count").count(),
            null=value.count("null"),
            missing=value.count("missing"),
            unreadable=value.count("unreadable"),
            numbers={name: NumberSummary.from_json(part) for name, part in numbers.items()},
            counts={name: Counts.from_json(part) for name, part in counts.items()},
            fields=tuple(cls.from_json(part) for part in value.list("fields", MAX_NESTED)),
        )


@dataclass(frozen=True, slots=True)
class SplitStatistics:
    """One split.

    Args:
        samples, shards: how many it has; ``size``: the bytes of its shards.
        fields: in the order of the schema; empty where a document had no room for them.
        examples: a few samples as JSON: text is cut, arrays are summarised, images are thumbnails
            (docs/statistics.md has the forms).
    """

    name: str
    samples: int
    shards: int
    size: int
    fields: tuple[FieldStatistics, ...] = ()
    examples: tuple[Mapping[str, Any], ...] = ()

    def field(self, name: str) -> FieldStatistics:
        """The field ``name``.

        Raises:
            KeyError: there is none.
        """
        for one in self.fields:
            if one.name == name:
                return one
        raise KeyError(f"no field {name!r}; there are: {', '.join(f.name for f in self.fields)}")

    def to_json(self) -> dict[str, Any]:
        """As it stands in a document."""
        said: dict[str, Any] = {
            "name": self.name,
            "samples": self.samples,
            "shards": self.shards,
            "size": self.size,
            "fields": [one.to_json() for one in self.fields],
        }
        return {**said, "examples": list(self.examples)} if self.examples else said

    @classmethod
    def from_json(cls, value: Part) -> Self:
        """Out of a document; raises `LexiconError`."""
        return cls(
            name=value.member("name").text(64),
            samples=value.member("samples").count(),
            shards=value.member("shards").count(),
            size=value.member("size").count(),
            fields=tuple(
                FieldStatistics.from_json(part) for part in value.list("fields", MAX_NESTED)
            ),
            examples=tuple(part.example() for part in value.list("examples", MAX_BINS)),
        )
