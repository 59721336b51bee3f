"""Faults of what programs hand over: functions, iterables, data sets of torch, and of the Hub."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from publishing.sources.faults.case import Case, Cell, Not

_NO_FILE = Not("a program hands over objects, no files")
_FILES = ("corrupt", "unreadable", "pipe", "vanished", "link loop", "link out", "slip")
_MEMORY = Not("it is in memory already")


def _given(*items: Any) -> Callable[[Path], list[Any]]:
    return lambda _: [*items]


def _coming(*items: Any) -> Callable[[Path], Iterator[Any]]:
    return lambda _: iter(items)


_LATE: list[Any] = [{"n": 1}] * 1000 + [{"n": "x"}, {"n": 2}, {"n": 2.5}]

ITERABLE: dict[str, Cell] = {
    **dict.fromkeys(_FILES, _NO_FILE),
    "bad row": Case(
        _given({"n": 1}, 7, {"n": 2}, "text"),
        ("sample 1: expected a dict .* int", "sample 3: expected a dict .* str"),
        2,
    ),
    "mixed schemas": Case(
        _given({"n": 1}, {"n": b"x"}),
        ("samples hold int here and bytes there",),
        None,
        "who would say which of the samples is wrong?",
    ),
    "duplicate keys": Case(
        _given(("a", {"n": 1}), ("b", {"n": 2}), ("a", {"n": 3})), ("sample a:",), 2
    ),
    "empty": Case(_given(), ("found none",), None, "nothing is left"),
    "bomb": _MEMORY,
    "4 GB": _MEMORY,
    "names": Case(
        _given(*((key, {"n": 1}) for key in ("é", "../x", "a/b.c", "x" * 300, "\udcff", ""))), (), 6
    ),
}

GENERATOR: dict[str, Cell] = {
    **ITERABLE,
    "bad row": Case(
        _coming(*_LATE), ("sample 000001000: .*'x'", "sample 000001002: .*2.5"), 1001, late=True
    ),
    "mixed schemas": Case(
        _coming({"n": 1}, {"n": b"x"}),
        ("samples hold int here and bytes there",),
        None,
        "who would say which of the samples is wrong?",
    ),
    "duplicate keys": Case(
        _coming(("a", {"n": 1}), ("b", {"n": 2}), ("a", {"n": 3})), ("sample a:",), 2
    ),
    "empty": Case(_coming(), ("found none",), None, "nothing is left"),
    "names": Case(_coming(("é", {"n": 1}), ("../x", {"n": 1})), (), 2),
}


class Dataset:
    """Stands for ``torch.utils.data.Dataset``, which is known by its name."""

    __module__ = "torch.utils.data"


class Items(Dataset):
    """A data set of torch, some of whose items its own code cannot read."""

    def __init__(self, *items: Any) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, at: int) -> Any:
        if isinstance(self.items[at], Exception):
            raise self.items[at]
        return self.items[at]


TORCH: dict[str, Cell] = {
    **dict.fromkeys(_FILES, _NO_FILE),
    "bad row": Case(
        lambda _: Items((1, 2), OSError("no picture"), (3, 4)),
        ("item 1 .*OSError: 'no picture'",),
        2,
    ),
    "mixed schemas": Case(
        lambda _: Items((1, 2), (b"x", 2)),
        ("samples hold int here and bytes there",),
        None,
        "who would say which of the samples is wrong?",
    ),
    "duplicate keys": Not("keys are the numbers of items"),
    "empty": Case(lambda _: Items(), ("has no samples",), None, "nothing is left"),
    "bomb": _MEMORY,
    "4 GB": _MEMORY,
    "names": Case(lambda _: Items({"ключ": 1}), (r"\\u043a",), None, "a field needs another name"),
}

_SAME = Not("what was fetched is a folder, read as such: see the rows of its kind")

HUB: dict[str, Cell] = {
    **dict.fromkeys(
        (
            "corrupt",
            "bad row",
            "mixed schemas",
            "unreadable",
            "pipe",
            "vanished",
            "duplicate keys",
            "link loop",
            "link out",
            "bomb",
            "4 GB",
            "names",
        ),
        _SAME,
    ),
    "empty": Not("see test_hub: a data set without files"),
    "slip": Not("see test_hub: a data set that lists files outside of itself"),
}

FUNCTION: dict[str, Cell] = dict.fromkeys(
    (*_FILES, "mixed schemas", "duplicate keys", "empty", "bomb", "4 GB", "names"),
    Not("what the function gives is published: see iterable, generator, and the rest"),
) | {"bad row": Not("see tests/cli: a function that raises an error of its own")}
