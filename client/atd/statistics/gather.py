"""What is known of one field: how much is there, its numbers, its counts, and what it nests.

Belongs here: `FieldPartial`, which is merged with others of the same field in any order, and how
the values of each kind are added to it. It holds only what can be published: see
`atd.statistics.summary` for what becomes of it.

Numbers, by kind: ``value`` of int, float, timestamp (seconds since 1970) and array (its elements);
``length`` of string and text (characters) and list (items); ``bytes`` of bytes and media;
``elements`` of array; ``width`` and ``height`` (pixels) of image; ``seconds`` of audio; ``x0``,
``y0``, ``x1``, ``y1`` and so on of box. Counts: ``value`` of bool, label and string; ``shape`` of
array; ``format`` of media; ``mode`` of image; ``rate`` and ``channels`` of audio.

Rules. Nothing that a sample holds makes this fail: a file whose header cannot be read here counts
as ``unreadable``. Memory per field is bounded, by `MOST_TEXTS` values of at most `MOST_LETTERS`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Any, Final

import numpy as np

from atd.errors import AtdError
from atd.schema import fields
from atd.shards import media
from atd.statistics.array_elements import add_arrays
from atd.statistics.numbers import Numbers

MOST_TEXTS: Final = 64
MOST_LETTERS: Final = 64
MAX_CLASS_NAME: Final = 512
ITEM: Final = "[]"
"""What the items of a list are called among the fields that it nests."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_SIDES: Final = {
    "xyxy": ("x0", "y0", "x1", "y1"),
    "xywh": ("x", "y", "width", "height"),
    "cxcywh": ("cx", "cy", "width", "height"),
}


@dataclass
class Tally:
    """How often each of at most ``most`` values occurs, none of them longer than ``letters``;
    ``counts`` is None once there are others."""

    most: int = MOST_TEXTS
    letters: int = MOST_LETTERS
    counts: Counter[Any] | None = field(default_factory=Counter)

    def add(self, values: Mapping[Any, int]) -> None:
        """Count these."""
        if self.counts is None:
            return
        self.counts.update(values)
        long = any(isinstance(one, str) and len(one) > self.letters for one in values)
        if long or len(self.counts) > self.most:
            self.counts = None

    def merge(self, other: Tally) -> None:
        """Add what ``other`` counted."""
        if other.counts is None:
            self.counts = None
        else:
            self.add(other.counts)


@dataclass
class FieldPartial:
    """What is known of a field in some samples.

    Attributes:
        count: values that are there; ``null`` and ``missing``: those that are not.
        unreadable: encoded files whose header could not be read.
        numbers, counts: by the names that this module lists.
        inner: the fields of a struct, and the items of a list as `ITEM`.
    """

    kind: str
    count: int = 0
    null: int = 0
    missing: int = 0
    unreadable: int = 0
    numbers: dict[str, Numbers] = field(default_factory=dict)
    counts: dict[str, Tally] = field(default_factory=dict)
    inner: dict[str, FieldPartial] = field(default_factory=dict)

    def of(self, name: str) -> Numbers:
        """The numbers that are called ``name``."""
        return self.numbers.setdefault(name, Numbers())

    def tally(self, name: str, values: Mapping[Any, int]) -> None:
        """Count what is called ``name``."""
        self.counts.setdefault(name, Tally()).add(values)

    def tally_classes(self, values: Mapping[str, int], names: Sequence[str]) -> None:
        """Count classes, all of which the schema names anyway."""
        self.counts.setdefault("value", Tally(len(names), MAX_CLASS_NAME)).add(values)

    def nested(self, name: str, kind: fields.Kind) -> FieldPartial:
        """What this field nests under ``name``."""
        return self.inner.setdefault(name, empty(kind))

    def merge(self, other: FieldPartial) -> None:
        """Add what ``other`` knows of the same field."""
        self.count += other.count
        self.null += other.null
        self.missing += other.missing
        self.unreadable += other.unreadable
        for name, numbers in other.numbers.items():
            self.of(name).merge(numbers)
        for name, tally in other.counts.items():
            self.counts.setdefault(name, Tally(tally.most, tally.letters)).merge(tally)
        for name, inner in other.inner.items():
            self.inner.setdefault(name, FieldPartial(inner.kind)).merge(inner)


def empty(kind: fields.Kind) -> FieldPartial:
    """Nothing known yet of a field of ``kind``; what it nests is there, whatever the samples."""
    made = FieldPartial(kind.tag)
    match kind:
        case fields.List():
            made.inner[ITEM] = empty(kind.item)
        case fields.Struct():
            made.inner = {one.name: empty(one.kind) for one in kind.fields}
    return made


def add_field(part: FieldPartial, one: fields.Field, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add the field ``one`` of these samples, or of the structs of a field."""
    there = [row[one.name] for row in rows if one.name in row]
    part.missing += len(rows) - len(there)
    values = [value for value in there if value is not None]
    part.null += len(there) - len(values)
    add_values(part, one.kind, values)


def add_values(part: FieldPartial, kind: fields.Kind, values: list[Any]) -> None:
    """Add values of ``kind``, none of them null."""
    part.count += len(values)
    adding = _ADDING.get(type(kind))
    if values and adding is not None:
        adding(part, kind, values)


# ------------------------------------------------------------------ scalars


def _bools(part: FieldPartial, kind: Any, values: list[Any]) -> None:
    part.tally("value", Counter(map(bool, values)))


def _integers(part: FieldPartial, kind: Any, values: list[Any]) -> None:
    part.of("value").add_integers(np.array(values, dtype=kind.dtype))


def _floats(part: FieldPartial, kind: Any, values: list[Any]) -> None:
    part.of("value").add_floats(np.array(values, dtype=np.float64))


def _labels(part: FieldPartial, kind: Any, values: list[Any]) -> None:
    part.tally_classes(Counter(kind.names[index] for index in values), kind.names)


def _strings(part: FieldPartial, kind: Any, values: list[Any]) -> None:
    _lengths(part, kind, values)
    part.tally("value", Counter(values))


def _lengths(part: FieldPartial, kind: Any, values: list[Any]) -> None:
    _measured(part, "length", map(len, values), len(values))


def _moments(part: FieldPartial, kind: Any, values: list[Any]) -> None:
    seconds = ((value - _EPOCH) / _MICROSECOND / 1e6 for value in values)
    part.of("value").add_floats(np.fromiter(seconds, np.float64, len(values)))


def _bytes(part: FieldPartial, kind: Any, values: list[Any]) -> None:
    _measured(part, "bytes", map(len, values), len(values))


def _boxes(part: FieldPartial, kind: Any, values: list[Any]) -> None:
    sides = np.array(values, dtype=np.float64).reshape(-1, 4)
    for at, name in enumerate(_SIDES[kind.format]):
        part.of(name).add_floats(sides[:, at])


def _measured(part: FieldPartial, name: str, numbers: Any, count: int) -> None:
    part.of(name).add_integers(np.fromiter(numbers, np.int64, count))


# ------------------------------------------------------------------ what nests


def _lists(part: FieldPartial, kind: Any, values: list[Any]) -> None:
    _lengths(part, kind, values)
    add_values(part.nested(ITEM, kind.item), kind.item, list(chain.from_iterable(values)))


def _structs(part: FieldPartial, kind: Any, values: list[Any]) -> None:
    for one in kind.fields:
        add_field(part.nested(one.name, one.kind), one, values)


def _arrays(part: FieldPartial, kind: Any, values: list[Any]) -> None:
    shapes = Counter(array.shape for array in values)
    part.tally("shape", {"x".join(map(str, shape)): often for shape, often in shapes.items()})
    if kind.shape is None:
        _measured(part, "elements", (array.size for array in values), len(values))
    add_arrays(part.of("value"), values)


# ------------------------------------------------------------------ encoded files


def _files(part: FieldPartial, kind: Any, values: list[Any]) -> None:
    _bytes(part, kind, values)
    part.tally("format", Counter(one.media_type or "unknown" for one in values))


def _images(part: FieldPartial, kind: Any, values: list[media.Image]) -> None:
    _files(part, kind, values)
    headers = _headers(part, values, media.Image.header)
    for name, at in (("width", 0), ("height", 1)):
        _measured(part, name, (header[at] for header in headers), len(headers))
    part.tally("mode", Counter(header[2] for header in headers))


def _sounds(part: FieldPartial, kind: Any, values: list[media.Audio]) -> None:
    _files(part, kind, values)
    headers = _headers(part, values, lambda sound: (sound.frames, sound.rate, sound.channels))
    seconds = (frames / rate if rate else 0.0 for frames, rate, _ in headers)
    part.of("seconds").add_floats(np.fromiter(seconds, np.float64, len(headers)))
    for name, at in (("rate", 1), ("channels", 2)):
        part.tally(name, Counter(header[at] for header in headers))


def _headers(part: FieldPartial, values: list[Any], ask: Callable[[Any], Any]) -> list[Any]:
    """What the headers say; one that does not, or needs a library that is not here, is counted."""
    found = []
    for value in values:
        try:
            found.append(ask(value))
        except AtdError:
            part.unreadable += 1
    return found


_ADDING: Final[dict[type[fields.Kind], Callable[[FieldPartial, Any, list[Any]], None]]] = {
    fields.Bool: _bools,
    fields.Int: _integers,
    fields.Float: _floats,
    fields.Label: _labels,
    fields.String: _strings,
    fields.Text: _lengths,
    fields.Timestamp: _moments,
    fields.Bytes: _bytes,
    fields.Box: _boxes,
    fields.List: _lists,
    fields.Struct: _structs,
    fields.Array: _arrays,
    fields.Image: _images,
    fields.Audio: _sounds,
    fields.Video: _files,
}
