"""Faults that files of any form can have: one good file of two samples, and a second one.

Belongs here: `Form`, a kind of file, and the cells that are the same for all of them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from publishing.sources.faults.case import Case, Cell, giant, unreadable

Write = Callable[[Path], object]
"""Writes a file."""


@dataclass(frozen=True)
class Form:
    """A kind of file.

    Args:
        suffix: how its name ends.
        good: writes one of two samples.
        corrupt: writes one that cannot be read.
        inside: the folder that the files are put in, below the one that is published.
        held: whether the source has all of a file once it is open, by a map or in memory.
    """

    suffix: str
    good: Write
    corrupt: Write
    inside: str = ""
    held: bool = False

    def first(self, folder: Path) -> Path:
        """A good file, and where it is."""
        path = folder / self.inside / f"train-0{self.suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        self.good(path)
        return path

    def second(self, folder: Path) -> Path:
        """Where the other one goes: a split of its own."""
        path = folder / self.inside / f"test-1{self.suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def beside(self, write: Write) -> Callable[[Path], Path]:
        """A folder with a good file, and with what ``write`` makes of the second."""

        def make(folder: Path) -> Path:
            self.first(folder)
            write(self.second(folder))
            return folder

        return make


STEMS = (
    "\N{LATIN SMALL LETTER E WITH ACUTE}",
    "e\N{COMBINING ACUTE ACCENT}",
    "שלום",
    "\N{RIGHT-TO-LEFT OVERRIDE}gnp",
    "\N{BLOSSOM}",
    "two\nlines",
    "\x1b[2J",
    "A",
    "a",
    "-rf",
    "dots. and  spaces",
    "\udcff\udcfe",
)


def stems(suffix: str) -> tuple[str, ...]:
    """Names of files before ``suffix``, with one of the 255 bytes that a name may have."""
    return (*STEMS, "x" * (255 - len(suffix)))


def cells_of(form: Form) -> dict[str, Cell]:
    """The faults that any file may have."""
    other = rf"test-1\{form.suffix}"
    gone = Case(form.beside(form.good), (other,), None, "it was good when it was opened")
    return {
        "corrupt": Case(form.beside(form.corrupt), (other,), 2),
        "unreadable": Case(form.beside(unreadable), (f"{other}.*",), 2),
        "pipe": Case(form.beside(os.mkfifo), (rf"{other} \(a named pipe, not a file\)",), 2),
        "vanished": Case(
            gone.make,
            () if form.held else gone.names,
            4 if form.held else None,
            gone.why,
            after=lambda folder: form.second(folder).unlink(),
        ),
        "empty": Case(form.beside(Path.touch), (other,), 2),
        "link loop": Case(_looped(form), (r"again \(a link that leads back to a folder",), 2),
        "link out": Case(form.beside(_linked(form)), (), 4),
        "4 GB": Case(form.beside(giant), (other,), 2),
        "names": Case(_named(form), (), 2 + 2 * len(stems(form.suffix))),
    }


def _looped(form: Form) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = form.first(folder)
        (path.parent / "again").symlink_to(folder.resolve())
        return folder

    return make


def _linked(form: Form) -> Write:
    def link(path: Path) -> None:
        folder = next(one for one in path.parents if one.name == "in")
        real = folder.parent / f"elsewhere{form.suffix}"
        form.good(real)
        path.symlink_to(real)

    return link


def _named(form: Form) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = form.first(folder)
        (path.parent / "test").mkdir()
        for stem in stems(form.suffix):
            form.good(path.parent / "test" / f"{stem}{form.suffix}")
        return folder

    return make
