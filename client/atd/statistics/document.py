"""The preview of a release: one JSON document with its statistics and a few samples.

Belongs here: `Preview`, its bytes, and how it is made to fit. It is a blob that the release names
(``network.atd.release`` ``preview``), and a file ``preview.json`` in a folder of shards::

    {"format": "atd-preview", "version": 1, "data": "SHA-256 over the digests of the shards",
     "splits": [{"name": "train", "samples": 7, "shards": 1, "size": 20480,
                 "fields": [{"name": "label", "kind": "int", "count": 7, "numbers": {…}}],
                 "examples": [{"label": 3}]}]}

The same data give the same bytes: keys are sorted, and nothing in it comes from the clock. What
does not fit into `BUDGET` bytes is left out, the least telling first: `reduced` says how far it
went. A reader believes nothing of it (`atd.statistics.hostile`). numpy-free.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Self

from atd.disk import write_whole
from atd.errors import LexiconError, TooLarge
from atd.manifest import Manifest
from atd.protocol.syntax import quote
from atd.statistics.hostile import Part, parse
from atd.statistics.values import Counts, FieldStatistics, NumberSummary, SplitStatistics

FILE_NAME: Final = "preview.json"
MIME: Final = "application/json"
BUDGET: Final = 256 * 1024
MAX_BYTES: Final = 1_000_000
"""What the lexicon allows; a larger document is not read."""

FORMAT: Final = "atd-preview"
VERSION: Final = 1
MAX_SPLITS: Final = 100
_FOR_STATISTICS: Final = 192 * 1024
_FEW_COUNTS: Final = 12


@dataclass(frozen=True, slots=True)
class Preview:
    """What the document says.

    Args:
        data: of which data, as `data_digest` has it.
        splits: in the order of the release.
        reduced: how much was left out for lack of room: 0 for nothing, 4 for all that describes
            fields.
    """

    data: str
    splits: tuple[SplitStatistics, ...]
    reduced: int = 0

    def split(self, name: str) -> SplitStatistics:
        """The split ``name``.

        Raises:
            KeyError: there is none.
        """
        for one in self.splits:
            if one.name == name:
                return one
        raise KeyError(f"no split {name!r}; there are: {', '.join(s.name for s in self.splits)}")

    def to_json(self) -> dict[str, Any]:
        """The document as JSON values."""
        said = {
            "format": FORMAT,
            "version": VERSION,
            "data": self.data,
            "splits": [split.to_json() for split in self.splits],
        }
        return {**said, "reduced": self.reduced} if self.reduced else said

    def to_bytes(self) -> bytes:
        """The document as it is stored: the same for the same content."""
        text = json.dumps(
            self.to_json(),
            ensure_ascii=False,
            allow_nan=False,
            sort_keys=True,
            separators=(",", ":"),
        )
        return text.encode()

    @classmethod
    def from_bytes(cls, data: bytes, what: str = "the preview") -> Self:
        """The preview in ``data``, of whoever wrote it, called ``what`` in errors.

        Raises:
            LexiconError: it is none, or of a version that this program does not know.
        """
        if len(data) > MAX_BYTES:
            raise LexiconError(f"{what}: expected at most {MAX_BYTES} bytes, found {len(data)}")
        return cls.read(parse(data, what))

    @classmethod
    def read(cls, top: Part) -> Self:
        """The preview that ``top`` is, already parsed; raises as `from_bytes`."""
        kind, version = top.member("format").text(100), top.member("version").count()
        if (kind, version) != (FORMAT, VERSION):
            raise LexiconError(
                f"{top.path}: expected {FORMAT} version {VERSION}, found {quote(kind)} version"
                f" {version}",
                next_step="a newer atd may know it",
            )
        splits = top.list("splits", MAX_SPLITS)
        return cls(
            data=top.member("data").text(64),
            splits=tuple(SplitStatistics.from_json(part) for part in splits),
            reduced=top.count("reduced"),
        )

    def save(self, folder: Path) -> Path:
        """Write ``preview.json`` into ``folder``, whole or not at all.

        Raises:
            StorageFault: the folder cannot be written to. TooLarge: it is beyond all limits.
        """
        data = self.to_bytes()
        if len(data) > MAX_BYTES:
            raise TooLarge(f"the preview has {len(data)} bytes; a release takes {MAX_BYTES}")
        path = folder / FILE_NAME
        write_whole(path, data)
        return path

    def check_of(self, manifest: Manifest, what: str = "the preview") -> None:
        """Refuse it unless it is of the shards that ``manifest`` lists.

        Raises:
            LexiconError: it is of other data, or its totals are others.
        """
        totals = [(one.name, one.samples, one.shards, one.size) for one in self.splits]
        wanted = [
            (name, sum(s.samples for s in shards), len(shards), sum(s.size for s in shards))
            for name, shards in manifest.splits.items()
        ]
        if totals != wanted or self.data != data_digest(manifest):
            raise LexiconError(f"{what}: expected it to be of these shards, found it of others")


def data_digest(manifest: Manifest) -> str:
    """SHA-256, in hex, over the names of the splits and the digests of their shards, in order."""
    said = [[name, [str(one.digest) for one in found]] for name, found in manifest.splits.items()]
    return hashlib.sha256(json.dumps(said, separators=(",", ":")).encode()).hexdigest()


def fitted(preview: Preview) -> Preview:
    """``preview`` within `BUDGET`: statistics as short as need be, then as many examples as fit.

    The first ones of every split come before the second ones.
    """
    bare = replace(preview, splits=tuple(replace(one, examples=()) for one in preview.splits))
    for level, shorter in enumerate(_SHORTER):
        made = replace(bare, splits=tuple(map(shorter, bare.splits)), reduced=level)
        if len(made.to_bytes()) <= _FOR_STATISTICS:
            break
    left = BUDGET - len(made.to_bytes()) - 64 * len(made.splits)
    chosen: list[list[Mapping[str, Any]]] = [[] for _ in preview.splits]
    for round in range(max((len(one.examples) for one in preview.splits), default=0)):
        for at, split in enumerate(preview.splits):
            if round >= len(split.examples):
                continue
            size = len(json.dumps(split.examples[round], ensure_ascii=False).encode()) + 1
            if size <= left:
                chosen[at].append(split.examples[round])
                left -= size
    whole = zip(made.splits, chosen, strict=True)
    return replace(made, splits=tuple(replace(one, examples=tuple(its)) for one, its in whole))


def _few_counts(split: SplitStatistics) -> SplitStatistics:
    """Only the most frequent values."""
    return _mapped(split, lambda one: one, lambda counts: _cut(counts, _FEW_COUNTS))


def _no_bins(split: SplitStatistics) -> SplitStatistics:
    """No histograms, and only a few counts."""

    def plain(one: NumberSummary) -> NumberSummary:
        return replace(one, histogram=None, values=None)

    return _mapped(split, plain, lambda counts: _cut(counts, _FEW_COUNTS // 4))


def _extremes(split: SplitStatistics) -> SplitStatistics:
    """Counts, and the least and the greatest number."""

    def plain(one: NumberSummary) -> NumberSummary:
        return NumberSummary(one.count, one.elements, one.nan, one.infinite, one.low, one.high)

    return _mapped(split, plain, None)


def _no_fields(split: SplitStatistics) -> SplitStatistics:
    return replace(split, fields=())


_SHORTER: Final[tuple[Callable[[SplitStatistics], SplitStatistics], ...]] = (
    lambda split: split,
    _few_counts,
    _no_bins,
    _extremes,
    _no_fields,
)


def _mapped(
    split: SplitStatistics,
    numbers: Callable[[NumberSummary], NumberSummary],
    counts: Callable[[Counts], Counts] | None,
) -> SplitStatistics:
    def shorter(one: FieldStatistics) -> FieldStatistics:
        return replace(
            one,
            numbers={name: numbers(of) for name, of in one.numbers.items()},
            counts={} if counts is None else {k: counts(of) for k, of in one.counts.items()},
            fields=tuple(map(shorter, one.fields)),
        )

    return replace(split, fields=tuple(map(shorter, split.fields)))


def _cut(counts: Counts, most: int) -> Counts:
    rest = counts.others + sum(often for _, often in counts.values[most:])
    return Counts(counts.values[:most], rest)
