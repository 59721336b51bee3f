"""``atd stats``: what a data set holds, in numbers, before anything of it is fetched.

Belongs here: a document as a table for people. Every word of it was written by a stranger: what is
printed goes through `atd.cli.output`, and no picture is decoded.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import typer

from atd.cli import advice, finding, output
from atd.cli.bar import asking
from atd.cli.options import JsonOption, PreviousKeyOption
from atd.cli.progress import progress_line
from atd.cli.words import examples
from atd.statistics.asking import ReleaseStatistics, stats
from atd.statistics.values import Counts, FieldStatistics, NumberSummary, SplitStatistics

_STATS = examples(
    "atd stats @alice.example.com/flowers",
    "atd stats @alice.example.com/flowers@1.0.0 --split test",
    "atd stats @alice.example.com/flowers --samples     # the ones stored with the release",
    "atd stats ./flowers-shards                         # of a folder made with atd pack",
)
_BARS: Final = "▁▂▃▄▅▆▇█"
_LISTED: Final = 8
_TEXT: Final = 60


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("stats", epilog=_STATS)(show_stats)


def show_stats(
    ref: Annotated[str, typer.Argument(metavar="REF", help="@HANDLE/NAME, or a folder of shards.")],
    split: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only this split; all if absent.")
    ] = None,
    samples: Annotated[
        bool, typer.Option("--samples", help="Also the samples that are stored with it, in words.")
    ] = False,
    allow_previous_key: PreviousKeyOption = False,
    json: JsonOption = False,
) -> None:
    """Show statistics of every field, as stored with the release.

    No shard is fetched: the publisher's server is asked for one small blob, whose digest is in the
    signed record. Of a folder they are computed. What they say is the publisher's word.
    """
    ref = finding.settled_unless_folder(ref)
    with (
        advice.about_folder(ref),
        asking(ref, quiet=json),
        progress_line(quiet=json) as show,
    ):
        found = stats(ref, allow_previous_key=allow_previous_key, on_progress=show)
    chosen = found.splits if split is None else (found.split(split),)
    if json:
        output.emit(_as_json(found, chosen))
        return
    output.say(f"{output.clean(found.what)} {output.clean(found.version or '')}".rstrip())
    for one in chosen:
        print_split(one, samples)
    if found.preview.reduced:
        output.note("note: for lack of room, less is said of the fields than could be")


def _as_json(found: ReleaseStatistics, chosen: Sequence[SplitStatistics]) -> dict[str, Any]:
    document = {**found.raw["preview"], "splits": [one.to_json() for one in chosen]}
    return {**found.raw, "preview": document}


def print_split(split: SplitStatistics, samples: bool) -> None:
    """The table of a split, its most frequent values and, if so asked, its samples."""
    output.say(
        f"\n{output.clean(split.name)}: {output.plural(split.samples, 'sample')}, "
        f"{output.plural(split.shards, 'shard')}, {output.human_bytes(split.size)}"
    )
    rows = [row for field in split.fields for row in _rows(field, field.name)]
    if rows:
        headings = ("field", "kind", "count", "none", "min", "mean", "std", "max", "spread")
        output.table(rows, headings)
    listed = [pair for field in split.fields for pair in _listed(field, field.name)]
    if listed:
        output.say()
        output.fields(listed)
    for number, example in enumerate(split.examples if samples else ()):
        output.say(f"\nsample {number} of {split.samples:,}")
        words = ((name, describe(value)) for name, value in example.items())
        output.fields(words, indent="  ")


# ------------------------------------------------------------------ numbers


def _rows(field: FieldStatistics, name: str) -> Iterator[tuple[str, ...]]:
    """A row for each kind of number of a field, and of what it nests."""
    none = field.null + field.missing
    head = (_cut(field.kind), f"{field.count:,}", f"{none:,}" if none else "")
    if not field.numbers:
        yield (_cut(name), *head, "", "", "", "", "")
    for at, (aspect, numbers) in enumerate(field.numbers.items()):
        shown = name if aspect == "value" else f"{name}.{aspect}"
        yield (_cut(shown), *(head if at == 0 else ("", "", "")), *_numbers(numbers, field.kind))
    for inner in field.fields:
        joint = "" if inner.name == "[]" else "."
        yield from _rows(inner, _cut(f"{name}{joint}{inner.name}"))


def _numbers(numbers: NumberSummary, kind: str) -> tuple[str, ...]:
    moment = kind == "timestamp"
    low, mean, high = (_shown(one, moment) for one in (numbers.low, numbers.mean, numbers.high))
    std = f"{_shown(numbers.std)} s" if moment and numbers.std is not None else _shown(numbers.std)
    strange = [
        f"{count:,} {word}"
        for count, word in ((numbers.nan, "NaN"), (numbers.infinite, "infinite"))
        if count
    ]
    return low, mean, std, high, " ".join([_spread(numbers), *strange]).strip()


def _shown(number: float | int | None, moment: bool = False) -> str:
    if number is None:
        return ""
    if moment:
        return _moment(number)
    if isinstance(number, int):
        return f"{number:,}" if abs(number) < 10**15 else f"{number:.4g}"
    return f"{number:.5g}"


def _moment(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return f"{seconds:.5g}"


def _spread(numbers: NumberSummary) -> str:
    """A bar for each bin, or for each value."""
    if numbers.histogram is not None:
        return bars(numbers.histogram.counts)
    return bars([often for _, often in numbers.values or ()])


def bars(counts: Sequence[int]) -> str:
    """One character for each count: a space for none, else an eighth of the highest or more."""
    most = max(counts, default=0)
    return "".join(
        " " if not count else _BARS[math.ceil(count * len(_BARS) / most) - 1] for count in counts
    ).rstrip()


# ------------------------------------------------------------------ counts and samples


def _listed(field: FieldStatistics, name: str) -> Iterator[tuple[str, str]]:
    for aspect, counts in field.counts.items():
        yield _cut(name if aspect == "value" else f"{name}.{aspect}"), _most(counts)
    if field.unreadable:
        yield _cut(f"{name}.unreadable"), f"{field.unreadable:,}"
    for inner in field.fields:
        joint = "" if inner.name == "[]" else "."
        yield from _listed(inner, _cut(f"{name}{joint}{inner.name}"))


def _most(counts: Counts) -> str:
    """The most frequent values, and how many others there are."""
    shown = ", ".join(f"{_cut(str(one))} {often:,}" for one, often in counts.values[:_LISTED])
    others = counts.others + sum(often for _, often in counts.values[_LISTED:])
    return f"{shown}, others {others:,}" if others else shown


def _cut(text: str) -> str:
    """``text`` in a bounded width: a stranger's names, nested, would fill a disk with a table."""
    return text if len(text) <= _TEXT else f"{text[:_TEXT]}…"


def describe(value: Any) -> str:
    """A value of a stored sample in a few words; see docs/statistics.md for its forms."""
    match value:
        case None | bool() | int() | float():
            return str(value)
        case str():
            return f'"{_cut(value)}"'
        case {"text": str(text), "length": int(length)}:
            return f'"{_cut(text)}" ({length:,} characters)'
        case {"dtype": dtype, "shape": list(shape), "values": list(first)}:
            shown = ", ".join(map(_shown_or_text, first[:_LISTED]))
            return f"{dtype} {'x'.join(map(str, shape))}: {shown} …"
        case {"mediaType": media_type, "bytes": int(size)}:
            return f"{media_type}, {output.human_bytes(size)}{_facts(value)}"
        case {"bytes": int(size), **rest} if not rest:
            return f"{output.human_bytes(size)} of bytes"
        case list() | {"items": list()}:
            items = value if isinstance(value, list) else value["items"]
            shown = ", ".join(describe(item) for item in items[:_LISTED])
            length = len(items) if isinstance(value, list) else value.get("length")
            return f"[{shown}]" if length == len(items) else f"[{shown}, … {length} in all]"
        case dict():
            inner = ", ".join(f"{name}: {describe(item)}" for name, item in value.items())
            return f"{{{inner}}}"
    return str(value)


def _shown_or_text(value: object) -> str:
    return _shown(value) if isinstance(value, int | float) else str(value)


def _facts(value: Mapping[str, Any]) -> str:
    if "width" in value:
        return f", {value['width']} x {value.get('height')} {value.get('mode', '')}".rstrip()
    if "seconds" in value:
        return f", {value['seconds']} s at {value.get('rate')} Hz"
    return ""
