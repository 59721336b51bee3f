"""What was measured, kept and told: the best of the rounds, and tables of ratios.

Belongs here: `Results` and the tables. Rates and `resume`, `random`, `open` keep the best of the
rounds, since noise only makes them worse; memory keeps the worst.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from registry import BASE, LOADERS, OURS, YARDSTICK

Key = tuple[str, str, str]
"""Measure, workload, loader."""


@dataclass(frozen=True)
class Kind:
    """A measure: what it is called, and whether it is a rate told as a ratio to the base."""

    title: str
    unit: str
    is_rate: bool = False
    more_is_better: bool = False


MEASURES: Final[dict[str, Kind]] = {
    "verify": Kind("samples compared with what was packed, field by field", "samples"),
    "open": Kind("from opening to the first sample (fresh process, imports done)", "ms"),
    "first": Kind("the same where no process opened the files before", "ms"),
    "memory": Kind("anonymous memory that the last three quarters of a pass add", "MB"),
    "ordered": Kind("in order, one by one", "/s", True, True),
    "batches": Kind("in order, batches of 256", "/s", True, True),
    "shuffled": Kind("shuffled, batches of 256", "/s", True, True),
    "views": Kind("in order, batches of 256, read-only views of the file", "/s", True, True),
    "random": Kind("one sample at a random position, median", "µs"),
    "resume": Kind("going on at the middle, to the first sample", "ms"),
    "workers": Kind("two workers as a multiple of one, batches of 32", "x", False, True),
}
"""In the order in which a process takes them: opening must come first, and memory before the rates
have filled what pools there are."""


class Results:
    """The values so far, and what went wrong."""

    def __init__(self) -> None:
        self.values: dict[Key, float] = {}
        self.troubles: dict[Key, str] = {}
        self.wrong: list[str] = []
        self.missing: dict[str, str] = {}

    def add(self, key: Key, value: float) -> None:
        """Take one more round's value."""
        known = self.values.get(key)
        largest = MEASURES[key[0]].more_is_better or key[0] == "memory"
        better = max if largest else min
        self.values[key] = value if known is None else better(known, value)

    def ratio(self, measure: str, letter: str, loader: str) -> float | None:
        """The value as a multiple of the base's; None where one of them is not there.

        The base has no views, so those are told as multiples of its batches.
        """
        of_base = "batches" if measure == "views" else measure
        mine = self.values.get((measure, letter, loader))
        base = self.values.get((of_base, letter, BASE))
        return None if mine is None or not base else mine / base

    def as_json(self) -> list[dict[str, object]]:
        """Every value, and its ratio where it is a rate."""
        return [
            {
                "measure": measure,
                "workload": letter,
                "loader": loader,
                "value": value,
                **({"ratio": self.ratio(measure, letter, loader)} if kind.is_rate else {}),
            }
            for (measure, letter, loader), value in self.values.items()
            if (kind := MEASURES[measure])
        ]


def digits(value: float | None) -> str:
    """Two significant digits, and never an exponent."""
    if value is None:
        return "–"
    if abs(value) < 0.005:
        return "0"
    places = max(0, 1 - math.floor(math.log10(abs(value))))
    return f"{round(value, places):,.{min(places, 2)}f}"


def tables(results: Results, measures: Iterable[str], letters: str) -> str:
    """One Markdown table for each measure that has a value: loaders down, workloads across."""
    parts: list[str] = []
    for measure in measures:
        columns = [w for w in letters if any(k[:2] == (measure, w) for k in results.values)]
        if measure == "verify" or not columns:
            continue
        kind = MEASURES[measure]
        unit = f"as multiples of {BASE}" if kind.is_rate else f"in {kind.unit}"
        head = [f"**{kind.title}**, {unit}", "", f"| | {' | '.join(columns)} |"]
        rule = "|---" * (len(columns) + 1) + "|"
        parts.append("\n".join([*head, rule, *_rows(results, measure, columns)]))
    return "\n\n".join(parts)


def _rows(results: Results, measure: str, columns: list[str]) -> Iterable[str]:
    is_rate = MEASURES[measure].is_rate
    for loader in LOADERS:
        cells = []
        for letter in columns:
            value = results.values.get((measure, letter, loader))
            trouble = results.troubles.get((measure, letter, loader))
            ratio = results.ratio(measure, letter, loader) if is_rate else value
            if measure == "memory" and ratio is not None:
                ratio = max(ratio, 0.0)  # what was given back is no news
            if is_rate and loader == BASE and value is not None:
                cells.append(f"1 = {value:,.0f}/s")
            else:
                cells.append("failed" if trouble and value is None else digits(ratio))
        if any(cell != "–" for cell in cells):
            name = f"**{loader}**" if loader == OURS else loader
            yield f"| {name} | {' | '.join(cells)} |"


def against_yardstick(results: Results, letters: str) -> str:
    """Our rates as multiples of the prototype's, where it ran."""
    lines = []
    for measure, kind in MEASURES.items():
        shares = [
            f"{letter} {digits(mine / theirs)}"
            for letter in letters
            if kind.is_rate
            and (mine := results.values.get((measure, letter, OURS)))
            and (theirs := results.values.get((measure, letter, YARDSTICK)))
        ]
        if shares:
            lines.append(f"{measure:10}{', '.join(shares)}")
    return "\n".join(lines)
