"""Files on disk as sources see them: walking a folder, reading a file, names of splits.

Belongs here: everything about paths that more than one kind of source needs. Links are followed,
as data sets are often made of them; a link that leads back to a folder above it is refused, and so
is whatever cannot be read: `BadSource`, with the path.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePath, PurePosixPath
from typing import Final

from atd.errors import BadSource, InvalidSyntax
from atd.names import check_split
from atd.publishing.sources.source import shown

SPLITS: Final = ("train", "training", "val", "valid", "validation", "dev", "test", "testing")
"""Names of folders and files that are taken for splits, in the order in which they are listed."""

_SHARDED: Final = re.compile(r"(.+?)[-_][0-9]{1,6}(?:[-_]of[-_][0-9]{1,6})?")
_LITTER: Final = frozenset({"thumbs.db", "desktop.ini", "__macosx"})


def is_split(name: str) -> bool:
    """Whether a folder or a file without its suffix is called as splits are: ``train``."""
    return name.lower() in SPLITS


def split_of(path: PurePath, default: str) -> str:
    """The split that a file's name says, or else a folder of its path.

    ``test.csv``, ``test-00000-of-00004.parquet``, ``cifar-test-0003.tar``,
    ``test/part-3.jsonl``. Give a path relative to
    the source: what lies above that says nothing.
    """
    match = _SHARDED.fullmatch(path.stem)
    numbered = [match[1], re.split(r"[-_.]", match[1])[-1]] if match else []
    for stem in (path.stem, *numbered, *reversed(path.parts[:-1])):
        if is_split(stem):
            return stem.lower()
    return default


def split_name(name: str) -> str:
    """``name`` as the name of a split, or BadSource."""
    try:
        return check_split(name)
    except InvalidSyntax as error:
        raise BadSource(str(error), next_step=error.next_step) from None


def in_order(splits: Iterator[str]) -> list[str]:
    """Names of splits: the well-known in their usual order, then the others by name."""
    order = {name: at for at, name in enumerate(SPLITS)}
    return sorted(set(splits), key=lambda name: (order.get(name, len(order)), name))


def is_litter(name: str) -> bool:
    """Whether a file is what systems leave lying about: hidden files, thumbnails."""
    return name.startswith(".") or name.lower() in _LITTER


def walk(folder: Path) -> Iterator[PurePosixPath]:
    """Every file below ``folder``, sorted, relative to it; litter and special files left out.

    Raises:
        BadSource: a folder that cannot be read, a link that leads in a circle or nowhere.
    """
    yield from _walk(folder, PurePosixPath(), (_identity(folder),))


def _walk(
    folder: Path, relative: PurePosixPath, above: tuple[tuple[int, int], ...]
) -> Iterator[PurePosixPath]:
    for entry in _entries(folder):
        if is_litter(entry.name):
            continue
        path = Path(entry.path)
        if _is_folder(entry):
            identity = _identity(path)
            if identity in above:
                raise BadSource(
                    f"the link {shown(path)} leads back to a folder above it",
                    next_step="remove the link, or publish another folder",
                )
            yield from _walk(path, relative / entry.name, (*above, identity))
        elif entry.is_file():
            yield relative / entry.name


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        raise _unreadable(folder, error) from None


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        if entry.is_symlink() and not os.path.exists(entry.path):
            os.stat(entry.path)
        return entry.is_dir()
    except OSError as error:
        raise _unreadable(Path(entry.path), error) from None


def _identity(path: Path) -> tuple[int, int]:
    try:
        found = os.stat(path)
    except OSError as error:
        raise _unreadable(path, error) from None
    return found.st_dev, found.st_ino


def read(path: Path) -> bytes:
    """The whole file, or BadSource."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: OSError) -> BadSource:
    return BadSource(
        f"cannot read {shown(path)}: {error.strerror}",
        next_step="correct or remove it, then run the same command again",
    )
