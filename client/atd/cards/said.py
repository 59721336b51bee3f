"""What a file says about a data set: values of the card, each with where it came from.

Belongs here: the values between the readers of files and whoever puts a card together, and the
limits of each field. The limits are those of ``network.atd.dataset``.
"""

from __future__ import annotations

import importlib
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from atd.errors import AtdError
from atd.records import Creator

TEXT_LIMITS: Final[Mapping[str, tuple[int, int]]] = {
    "title": (300, 3_000),
    "description": (10_000, 100_000),
    "agreement": (10_000, 100_000),
    "citation": (3_000, 30_000),
    "deprecated": (1_000, 10_000),
}
"""Graphemes and bytes of UTF-8 that a text of the card may have."""

TAG_LIMITS: Final = (64, 640)
NAME_LIMITS: Final = (200, 2_000)
MAX_TASK_BYTES: Final = 128
MAX_WORDS: Final = 50
"""Tags, or tasks, of one card."""
MAX_CREATORS: Final = 100

FIELDS: Final = (
    *("title", "description", "license", "agreement", "tags", "tasks", "creators"),
    *("citation", "homepage"),
)
"""The fields of a card that are said by its publisher, in the order in which they are shown."""

_ELLIPSIS: Final = "…"
_DIRECTIONS: Final = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")


@dataclass(frozen=True)
class Said:
    """One field of the card: ``value`` as the record has it (JSON), and who says it.

    ``weight`` decides between files that say the same field: the smallest wins.
    """

    value: Any
    origin: str
    weight: int = 0


@dataclass(frozen=True)
class Proposal:
    """What files say: fields of the card, and notes about what they do not say for certain."""

    fields: Mapping[str, Said] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def values(self) -> dict[str, Any]:
        """The card alone, as ``network.atd.publishing.commit#card`` has it."""
        return {name: said.value for name, said in self.fields.items()}


def together(proposals: Iterable[Proposal]) -> Proposal:
    """All of them as one; of a field that several say, the one with the smallest weight."""
    chosen: dict[str, Said] = {}
    notes: list[str] = []
    for one in proposals:
        notes += one.notes
        for name, said in one.fields.items():
            other = chosen.get(name)
            winner, loser = (
                (said, other)
                if other is None or said.weight < other.weight
                else (
                    other,
                    said,
                )
            )
            chosen[name] = winner
            if name == "license" and loser is not None and loser.value != winner.value:
                notes.append(
                    f"{loser.origin} says the licence {loser.value}, {winner.origin} says "
                    f"{winner.value}, which is taken"
                )
    ordered: dict[str, Said] = {name: chosen[name] for name in FIELDS if name in chosen}
    return Proposal(ordered, tuple(dict.fromkeys(notes)))


def plain(text: str) -> str:
    """``text`` with ``\\n`` for line breaks, and without other control and direction characters."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").replace("\t", "    ")
    return "".join(
        c
        for c in lines
        if c == "\n" or not (unicodedata.category(c) in ("Cc", "Cs") or c in _DIRECTIONS)
    ).strip()


def line(text: str) -> str:
    """``text`` on one line, its white space made single."""
    return " ".join(plain(text).split())


def bounded(text: str, limits: tuple[int, int]) -> str:
    """``text`` within so many graphemes and bytes; what is cut ends in an ellipsis."""
    graphemes, size = limits
    if len(text) <= graphemes and len(text.encode()) <= size:
        return text
    cut = importlib.import_module("atd.protocol.graphemes").cut  # 30 ms, and hardly ever needed
    head = text[: size + 1]  # no more than that can be said, however long the text is
    short: str = cut(head, graphemes)
    if short == text and len(text.encode()) <= size:
        return text
    if short != text:
        short = cut(head, graphemes - 1)
    kept = short.encode()[: size - len(_ELLIPSIS.encode())].decode(errors="ignore")
    return kept.rstrip() + _ELLIPSIS


def words(values: Iterable[str], limits: tuple[int, int] = TAG_LIMITS) -> list[str]:
    """Tags or tasks as a card has them: each once, too long ones left out, at most `MAX_WORDS`."""
    found: dict[str, None] = {}
    for value in values:
        one = line(value).removeprefix("#")
        if one and bounded(one, limits) == one:
            found.setdefault(one)
    return list(found)[:MAX_WORDS]


def creator(name: str, url: str | None = None, did: str | None = None) -> dict[str, str] | None:
    """A creator as a card has it; a URL that a record cannot hold is left out; None: no name."""
    spelt = bounded(line(name), NAME_LIMITS)
    if not spelt:
        return None
    value = {"name": spelt, **({"did": did} if did else {})}
    return {**value, "url": url} if url and is_address(url) else value


def is_address(url: str) -> bool:
    """Whether a record may hold ``url``."""
    try:
        Creator("x", url=url)
    except AtdError:
        return False
    return True
