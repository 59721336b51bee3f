"""Files on disk as sources see them: walking a folder, reading a file, names of splits.

Belongs here: everything about paths that more than one kind of source needs. Links are followed,
as data sets are often made of them; a link that leads back to a folder above it is refused, and so
is whatever cannot be read: `BadSource`, with the path. Pipes and devices are never waited for, and
no file is read into memory before its size is known.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath, PurePosixPath
from typing import IO, Final

from atd.errors import BadSource, InvalidSyntax, LocalError
from atd.names import check_split
from atd.publishing.sources.source import MAX_VALUE, shown

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


def walk(folder: Path, bad: dict[PurePosixPath, str]) -> Iterator[PurePosixPath]:
    """Every file below ``folder``, sorted, relative to it; litter left out.

    What is none goes into ``bad``, with the reason: folders that cannot be read, links that lead in
    a circle or nowhere, pipes, sockets and devices.

    Raises:
        BadSource: ``folder`` itself cannot be read.
    """
    try:
        levels = [_Level(PurePosixPath(), folder)]
    except OSError as error:
        raise unreadable(folder, error) from None
    while levels:
        entry = next(levels[-1].entries, None)
        if entry is None:
            levels.pop()
            continue
        below = levels[-1].path / entry.name
        try:
            mode = os.stat(entry.path).st_mode
            if not stat.S_ISDIR(mode):
                check_kind(mode)
                yield below
                continue
            level = _Level(below, Path(entry.path))
            if any(level.identity == above.identity for above in levels):
                raise LocalError("a link that leads back to a folder above it")
            levels.append(level)
        except FileNotFoundError:
            bad[below] = "a link that leads nowhere"
        except OSError as error:
            bad[below] = str(error.strerror)
        except LocalError as error:
            bad[below] = error.message


class _Level:
    """A folder that is being walked: its path below the first, and what is left of it."""

    def __init__(self, path: PurePosixPath, folder: Path) -> None:
        found = os.stat(folder)
        self.path = path
        self.identity = (found.st_dev, found.st_ino)
        with os.scandir(folder) as entries:
            kept = (entry for entry in entries if not is_litter(entry.name))
            self.entries = iter(sorted(kept, key=lambda entry: entry.name))


def exists(path: Path) -> bool:
    """Whether there is something. `BadSource` where the system does not say, as in a circle."""
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    except OSError as error:
        raise unreadable(path, error) from None
    return True


_SPECIAL: Final = (
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISDIR, "a folder"),
)


def check_kind(mode: int) -> None:
    """Refuse what is no plain file: reading from it may never end.

    Args:
        mode: as `os.stat` tells it.

    Raises:
        LocalError: it is a pipe, a socket, a device or a folder.
    """
    for is_so, words in _SPECIAL:
        if is_so(mode):
            raise LocalError(f"{words}, not a file")


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """A plain file to read bytes from, for the time of a ``with`` block.

    Raises:
        BadSource: it cannot be read, or is a pipe or a device, which is not waited for.
    """
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            _check_opened(path, os.fstat(file.fileno()).st_mode)
            yield file
    except OSError as error:
        raise unreadable(path, error) from None


def _check_opened(path: Path, mode: int) -> None:
    try:
        check_kind(mode)
    except LocalError as error:
        raise BadSource(f"{shown(path)} is {error.message}", next_step=CORRECT) from None


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def check_file(path: Path) -> None:
    """Refuse what `opened` refuses, for libraries that open files themselves: BadSource."""
    with opened(path):
        pass


def read(path: Path, limit: int = MAX_VALUE) -> bytes:
    """The whole file of at most ``limit`` bytes, or BadSource; a larger one is not read."""
    with opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        data = file.read(limit + 1) if size <= limit else b""
    if size > limit or len(data) > limit:
        raise BadSource(
            f"{shown(path)} has {max(size, len(data))} bytes; a file may have {limit}",
            next_step="make it smaller, or cut it into several",
        )
    return data


CORRECT: Final = "correct or remove it, then run the same command again"


def unreadable(path: Path, error: OSError) -> BadSource:
    """The error for a file or a folder that the system does not give."""
    return BadSource(f"cannot read {shown(path)}: {error.strerror or error}", next_step=CORRECT)
