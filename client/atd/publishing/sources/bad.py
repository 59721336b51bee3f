"""What cannot be published, collected as it is found and told at once.

Belongs here: `Bad`, the list of it; how it becomes one error, or a list of what was left out; and
saying which tables have which columns. Knows no file format.

Rules. Whoever finds something bad goes on looking, so that one run names it all. Both lists are
bounded, with a count of the rest: a table of a million bad lines fills neither memory nor screen.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from atd.errors import BadSource

MAX_LISTED: Final = 20
"""Bad files or rows named in one error, at most."""

MAX_KEPT: Final = 1_000
"""Bad files or rows named as left out, at most."""

_GROUPS: Final = 5
"""Different schemas, and files of each, that one error names, at most."""

_VERBS: Final = {"are": "is", "cannot": "cannot", "have": "has", "hold": "holds", "lead": "leads"}
"""What is said of several, and of one."""


class Bad:
    """Files and rows that cannot be published: a line for each, and how many there are."""

    def __init__(self, lines: Iterable[str] = ()) -> None:
        self.count = 0
        self._lines: list[str] = []
        for line in lines:
            self.add(line)

    def add(self, line: str) -> None:
        """One more: the file, the line or row in it, and what is wrong."""
        self.count += 1
        if len(self._lines) < MAX_KEPT:
            self._lines.append(line)

    def __bool__(self) -> bool:
        return self.count > 0

    def __add__(self, other: Bad) -> Bad:
        both = Bad((*self._lines, *other._lines))
        both.count = self.count + other.count
        return both

    def listed(self, most: int = MAX_KEPT) -> tuple[str, ...]:
        """The first ``most`` of them, and how many more there are."""
        more = self.count - min(most, len(self._lines))
        return (*self._lines[:most], *((f"and {more} more",) if more else ()))


def refuse_all(found: Bad, what: str, next_step: str) -> None:
    """Raise BadSource naming everything in ``found`` (`MAX_LISTED` at most); nothing if empty.

    Args:
        what: of what kind they are, such as "images cannot be read".
    """
    if found:
        listed = "; ".join(found.listed(MAX_LISTED))
        said = _of_one(what) if found.count == 1 else what
        raise BadSource(f"{found.count} {said}: {listed}", next_step=next_step)


def settle_bad(found: Bad, what: str, next_step: str, *, skip: bool) -> tuple[str, ...]:
    """What to do about what cannot be published: refuse all, or leave it out.

    Returns:
        ``found``, where ``skip``: for `Source.skipped`.

    Raises:
        BadSource: there is some, and ``skip`` is not set.
    """
    if not skip:
        refuse_all(found, what, f"{next_step}; or leave them out with --skip-bad")
    return found.listed()


def one_shape(tables: Sequence[tuple[str, str]], what: str, next_step: str) -> None:
    """Refuse tables that are not all alike, and say which are how.

    Args:
        tables: the name of each and its columns, in words.
        what: in what they differ, such as "columns".

    Raises:
        BadSource: they differ.
    """
    groups: dict[str, list[str]] = {}
    for name, columns in tables:
        groups.setdefault(columns, []).append(name)
    if len(groups) < 2:
        return
    said = [
        f"{_columns(columns)} in {_few(names)}" for columns, names in [*groups.items()][:_GROUPS]
    ]
    more = f"; and {len(groups) - _GROUPS} more" if len(groups) > _GROUPS else ""
    raise BadSource(f"tables with different {what}: {'; '.join(said)}{more}", next_step=next_step)


def _of_one(what: str) -> str:
    """``what`` of a single one: "rows cannot be read" becomes "row cannot be read"."""
    words = what.split(" ")
    verb = next((at for at, word in enumerate(words) if word in _VERBS), len(words))
    nouns = {0, 2} if words[1:2] == ["or"] else {0}
    ones = [word.removesuffix("s") if at in nouns else word for at, word in enumerate(words)]
    return " ".join(_VERBS[word] if at == verb else word for at, word in enumerate(ones))


def _columns(text: str) -> str:
    return text if len(text) <= 300 else f"{text[:300]}…"


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - _GROUPS} more" if len(names) > _GROUPS else ""
    return f"{', '.join(names[:_GROUPS])}{more}"
