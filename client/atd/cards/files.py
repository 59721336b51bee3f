"""The files of a folder that say what its data are.

Belongs here: finding README.md, CITATION.cff and LICENSE beside the data, reading them within
bounds, and putting together what they say. Of several files of one sort the first by name counts.

What they say becomes public, and the folder may be a stranger's. So a link is followed only to a
file of the same folder or below, or of the same cache of the Hub: a README.md that is a link to a
key in somebody's home says nothing.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from atd.cards import citation, licence_texts, readme
from atd.cards.said import Proposal, Said, together

MAX_BYTES: Final = 1024 * 1024

_README: Final = re.compile(r"readme\.(?:md|markdown)", re.IGNORECASE)
_CITATION: Final = re.compile(r"citation\.cff", re.IGNORECASE)
_LICENSE: Final = re.compile(r"(?:licen[cs]e|copying)(?:\.(?:md|txt|rst))?", re.IGNORECASE)


def is_card_file(name: str) -> bool:
    """Whether a file of this name is about the data rather than one of them."""
    return any(pattern.fullmatch(name) for pattern in (_README, _CITATION, _LICENSE))


def folder_of(source: object) -> Path | None:
    """The folder whose files speak of ``source``; None where it is not on this disk.

    A folder speaks for itself, a file or a pattern of files is spoken for by its folder.
    """
    if not isinstance(source, str | os.PathLike):
        return None
    text = os.fspath(source)
    if not isinstance(text, str) or text == "-" or "://" in text:
        return None
    path = Path(text)
    if path.is_dir():
        return path
    while any(mark in path.name for mark in "*?[{"):
        path = path.parent
        if path.is_dir():
            return path
    return path.parent if path.parent.is_dir() else None


def proposed(folder: Path) -> Proposal:
    """What the files of ``folder`` say of its data.

    A file that cannot be read or understood says nothing, and is noted.
    """
    return together(_each(folder))


def _each(folder: Path) -> Iterator[Proposal]:
    try:
        names = sorted(one.name for one in folder.iterdir() if is_card_file(one.name))
    except OSError as error:
        yield Proposal({}, (f"{str(folder)!a} cannot be looked into: {error.strerror}",))
        return
    readers: tuple[tuple[re.Pattern[str], Callable[[str, str], Proposal]], ...] = (
        (_README, readme.read),
        (_CITATION, citation.read),
        (_LICENSE, _license),
    )
    for pattern, reader in readers:
        mine = [name for name in names if pattern.fullmatch(name)]
        if len(mine) > 1 and pattern is _LICENSE:
            licences = {_license_of(folder, name) for name in mine}
            if len(licences) > 1:
                yield Proposal({}, (f"{' and '.join(mine)} are not the same licence",))
                continue
        if mine:
            text, note = _read(folder / mine[0])
            yield reader(text, mine[0]) if text is not None else Proposal({}, (note,))


def _license(text: str, name: str) -> Proposal:
    found = licence_texts.recognized(text, name)
    fields = {} if found.license is None else {"license": Said(found.license, name, 2)}
    return Proposal(fields, () if found.note is None else (found.note,))


def _license_of(folder: Path, name: str) -> str | None:
    text, _ = _read(folder / name)
    return None if text is None else licence_texts.recognized(text, name).license


def _is_inside(path: Path, opened: os.stat_result) -> bool:
    """Whether what was opened at ``path`` lies where files of its folder may lie.

    Asked after it was opened, and of the same inode: a link that is exchanged meanwhile is found.
    """
    real = path.resolve(strict=True)
    there = os.stat(real, follow_symlinks=False)
    same = (there.st_dev, there.st_ino) == (opened.st_dev, opened.st_ino)
    return same and any(real.is_relative_to(home) for home in _homes(path.parent))


def _homes(folder: Path) -> Iterator[Path]:
    """Where the files of ``folder`` may lie: there, or where the Hub's cache keeps its files.

    A cache has ``snapshots/REVISION/README.md``, a link to ``blobs/DIGEST``.
    """
    real = folder.resolve(strict=True)
    yield real
    for above in (real, *real.parents):
        if above.parent.name == "snapshots":
            yield above.parent.parent / "blobs"


def _read(path: Path) -> tuple[str | None, str]:
    """The text of a file, or why it is not taken. Never waits for a pipe."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as opened:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                return None, f"{path.name} is not taken: it is not a regular file"
            if not _is_inside(path, found):
                return None, f"{path.name} is not taken: it is a link that leads out of its folder"
            data = opened.read(MAX_BYTES + 1)
    except OSError as error:
        return None, f"{path.name} is not taken: {error.strerror}"
    if len(data) > MAX_BYTES:
        return None, f"{path.name} is not taken: it has more than {MAX_BYTES} bytes"
    try:
        return data.decode("utf-8-sig"), ""
    except UnicodeDecodeError:
        if _LICENSE.fullmatch(path.name):  # their words are ASCII; a © in Latin-1 is not
            return data.decode("latin-1"), ""
        return None, f"{path.name} is not taken: it is not UTF-8"
