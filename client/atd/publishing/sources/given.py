"""What a reader of this package is given: a path, its files, and how to take them.

Belongs here: `Given`, and nothing about any format. The files below a folder are listed once, by
whichever asks first; a pattern (``shards/*.tar``) is a folder of which only some files count.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Final

from atd.errors import BadSource
from atd.publishing.sources import files
from atd.publishing.sources.bad import Bad, refuse_all
from atd.publishing.sources.source import Progress, Tables, shown

_MAGIC: Final = frozenset("*?[")


def silent(what: str, done: int, total: int | None) -> None:
    """Progress that nobody asked for."""


@dataclass(frozen=True)
class Given:
    """A path to read samples from.

    Args:
        path: a file or a folder; of a pattern, the folder that all its files are below.
        split: the split of samples that do not say theirs.
        strip: take the metadata out of every image.
        skip_bad: leave out files that cannot be published, and name them, instead of refusing all.
        progress: told how far the first pass over the data is.
        decode: decode every image, where the structure of its file would do.
        chosen: the files of a pattern; None where every file counts.
    """

    path: Path
    split: str = "train"
    strip: bool = False
    skip_bad: bool = False
    progress: Progress = silent
    decode: bool = False
    chosen: tuple[Path, ...] | None = None

    @classmethod
    def of(cls, text: str, like: Given) -> Given:
        """What ``text``, a path or a pattern, leads to; taken as ``like`` is.

        Raises:
            BadSource: there is nothing.
        """
        path = Path(text)
        if files.exists(path) or not _MAGIC.intersection(text):
            return replace(like, path=path)
        found = sorted(Path(one) for one in glob.glob(text, recursive=True))
        chosen = tuple(one for one in found if not one.is_dir())
        if not chosen:
            raise BadSource(f"no file is called as {shown(text)} says")
        top = Path(os.path.commonpath([one.parent for one in chosen]))
        return replace(like, path=top, chosen=chosen)

    @property
    def is_folder(self) -> bool:
        """Whether there may be several files."""
        return self.path.is_dir()

    @property
    def found(self) -> tuple[PurePosixPath, ...]:
        """Every file, relative to the folder; of a file, its own name.

        Raises:
            BadSource: the folder cannot be read, or the path is no file.
        """
        return self._listed[0]

    @property
    def bad(self) -> Mapping[PurePosixPath, str]:
        """What is below the folder and cannot be read at all, and why: see `files.walk`."""
        return self._listed[1]

    def refuse_bad(self, ends: Collection[str], why: str) -> None:
        """Refuse files of `bad` whose names end so, which must not be left out.

        Raises:
            BadSource: there are some.
        """
        lost = [one for one in self.bad if one.name.lower().endswith(tuple(ends))]
        said = Bad(f"{shown(one)} ({self.bad[one]})" for one in lost)
        refuse_all(said, f"files cannot be read, and none may be left out ({why})", files.CORRECT)

    @cached_property
    def _listed(self) -> tuple[tuple[PurePosixPath, ...], Mapping[PurePosixPath, str]]:
        bad: dict[PurePosixPath, str] = {}
        if self.chosen is not None:
            chosen = [PurePosixPath(one.relative_to(self.path)) for one in self.chosen]
            bad = {one: why for one in chosen if (why := _no_file(self.path / one))}
            return tuple(one for one in chosen if one not in bad), bad
        if not self.is_folder:
            files.check_file(self.path)
            return (PurePosixPath(self.path.name),), bad
        return tuple(files.walk(self.path, bad)), bad

    def at(self, relative: PurePosixPath) -> Path:
        """Where one of `found` is."""
        return self.path / relative if self.is_folder else self.path

    def ending(self, suffixes: Collection[str]) -> list[PurePosixPath]:
        """Those of `found` whose names end in one of ``suffixes``, in any case."""
        ends = tuple(suffixes)
        return [one for one in self.found if one.name.lower().endswith(ends)]

    def tables(self, suffixes: Collection[str]) -> Tables:
        """The files that end in one of ``suffixes``, by split: that of their names or folders.

        A single file is of the split that was asked for, whatever it is called.
        """
        if not self.is_folder:
            return {self.split: [self.path]}
        splits: dict[str, list[Path]] = {}
        for one in self.ending(suffixes):
            splits.setdefault(files.split_of(one, self.split), []).append(self.at(one))
        return {name: splits[name] for name in files.in_order(iter(splits))}


def _no_file(path: Path) -> str | None:
    """Why a path that a pattern led to is no plain file; None if it is one."""
    try:
        files.check_file(path)
    except BadSource as error:
        return error.message
    return None
