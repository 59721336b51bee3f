"""Several files of tables as one source, and going on without those that cannot be read.

Belongs here: what every kind of table does about bad files and bad rows. Whether a table that can
be read has the columns of the others is never a reason to leave it out: who would say which of them
is wrong?
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Generic, TypeVar

from atd.errors import BadSource
from atd.publishing.sources.bad import Bad, refuse_all, settle_bad
from atd.publishing.sources.source import Tables

_NEXT: Final = "correct them, then run the same command again"

Table = TypeVar("Table")
Result = TypeVar("Result")

Lost = Callable[[Table, BadSource], None]
"""Told of a table that cannot be read to its end, and why."""


class Readable(Generic[Table]):
    """The tables of each split that can be read, as far as that is known.

    Args:
        paths: the files of each split, in order.
        open_one: opens one of them, and raises BadSource if that cannot be.
        skip: leave out what cannot be read, instead of refusing it all; None: nothing may be.

    Raises:
        BadSource: none can be opened.
    """

    def __init__(
        self, paths: Tables, open_one: Callable[[Path], Table], *, skip: bool | None
    ) -> None:
        self._skip = skip
        self._bad = Bad()
        self._error: BadSource | None = None
        self.splits: dict[str, list[Table]] = {}
        for split, found in paths.items():
            for path in found:
                try:
                    self.splits.setdefault(split, []).append(open_one(path))
                except BadSource as error:
                    self._lose(error)
        self._settle_empty()

    @property
    def tables(self) -> list[Table]:
        """All of them."""
        return [table for found in self.splits.values() for table in found]

    def scan(self, scan: Callable[[Mapping[str, list[Table]], Lost[Table]], Result]) -> Result:
        """What ``scan`` makes of the tables: of those only that it can read to the end.

        It is told what to call for the others. If those are left out it is called once more
        without them, since it has seen a part of them.
        """
        lost: list[int] = []

        def lose(table: Table, error: BadSource) -> None:
            lost.append(id(table))
            self._lose(error)

        result = scan(self.splits, lose)
        if not lost or not self._skip:
            return result
        for split, found in self.splits.items():
            self.splits[split] = [table for table in found if id(table) not in lost]
        self._settle_empty()
        return self.scan(scan)

    def settle(self, rows: Bad, *, kept: bool) -> tuple[str, ...]:
        """What to do about all that cannot be read: refuse it, or leave it out.

        Args:
            rows: lines and rows; the files are known here.
            kept: whether anything is left.

        Returns:
            What is left out.

        Raises:
            BadSource: there is some, and it is not to be left out, or nothing is left.
        """
        what = "files and rows" if self._bad and rows else "files" if self._bad else "rows"
        if self._skip is None:
            refuse_all(self._bad + rows, f"{what} cannot be read", _NEXT)
        if self._error is not None and not self._skip and self._bad.count + rows.count == 1:
            next_step = f"{self._error.next_step}; or leave it out with --skip-bad"
            raise BadSource(self._error.message, next_step=next_step)
        if not kept:
            refuse_all(self._bad + rows, f"{what} cannot be read, and nothing is left", _NEXT)
        return settle_bad(self._bad + rows, f"{what} cannot be read", _NEXT, skip=bool(self._skip))

    def _lose(self, error: BadSource) -> None:
        self._bad.add(error.message)
        self._error = self._error or error

    def _settle_empty(self) -> None:
        """Nothing is left: then there is nothing to leave out from."""
        self.splits = {split: found for split, found in self.splits.items() if found}
        if self.splits or self._error is None:
            return
        if self._bad.count == 1:
            raise self._error
        refuse_all(self._bad, "files cannot be read, and nothing is left", _NEXT)


def origin_of(paths: Tables) -> str:
    """Where tables are: the file, or the folder of the first."""
    files = [path for found in paths.values() for path in found]
    return str(files[0] if len(files) == 1 else files[0].parent)
