"""A folder of media files by class: ``flowers/rose/1.jpg``, ``flowers/train/rose/1.jpg``.

Belongs here: which file is what. Folders at the top that are called as splits are
(`atd.publishing.sources.files.SPLITS`) make splits; the next folder is the class, deeper ones only
part of the key; a folder of files without classes gives samples without a label. A table beside the
files (`atd.publishing.sources.folder_table`) wins over the names of folders: then samples have its
columns, and no label. The file itself is untouched, unless the medium prepares it.

Rules. Every file is looked into once before anything is published, and all that fail are named in
one error. Files of another sort are left out, and counted in a warning. A file beside class folders
has no class, and one that the table does not list has no columns: that is an error, not a guess.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path, PurePosixPath
from typing import Any, Final, Protocol

from atd.cards.files import is_card_file
from atd.errors import BadSource, LocalError, ShardError
from atd.publishing.sources import files, folder_table
from atd.publishing.sources.bad import Bad, settle_bad
from atd.publishing.sources.folder_table import Notes
from atd.publishing.sources.given import Given
from atd.publishing.sources.keys import path_key
from atd.publishing.sources.source import Item, Source, SplitSource, shown
from atd.schema.fields import Array, Field, Kind, Label, Schema, String
from atd.schema.limits import MAX_CLASSES

_MOST_THREADS: Final = 8
"""Files that are looked into at a time, and so are in memory, at most."""

Row = Mapping[str, Any]


class Medium(Protocol):
    """One sort of file, and what is learned while each is looked into.

    ``name`` is that of the field, ``plural`` the word for several, ``suffixes`` ends of file names;
    ``looked_at`` is `Source.looked_at`.
    """

    name: str
    plural: str
    suffixes: tuple[str, ...]
    looked_at: bool

    # What a loader needs of a medium is a function of a module: loaders go to other processes,
    # and what was learned about all files stays behind.

    def look(self, data: bytes) -> None:
        """Look into one file; several threads do. LocalError or ShardError if it is bad."""

    def kind(self) -> Kind:
        """The kind that every file has that was looked into without an error."""

    @property
    def preparing(self) -> Callable[[bytes], bytes] | None:
        """What makes of a file what is published; None: it is published as it is."""

    @property
    def decoding(self) -> Callable[[bytes], Any]:
        """What makes an array of what is published."""

    def travels(self, total: int) -> tuple[str, ...]:
        """What goes public along with the pixels or sounds of ``total`` files."""

    def warnings(self) -> tuple[str, ...]:
        """What the publisher should know."""


@dataclass(frozen=True, slots=True)
class _File:
    """One file: its path below the folder, its split, its class, its row of the table."""

    path: PurePosixPath
    split: str
    label: str | None
    below: PurePosixPath
    row: Row | None = None


def open_media(given: Given, medium: Medium) -> Source:
    """The files of ``medium`` below a folder; `Given.split` is that of files outside of splits.

    Raises:
        BadSource: unreadable, corrupt, unclassed or unlisted files, or none at all.
    """
    notes = folder_table.read(given, medium.name)
    bad = Bad()
    found = list(_keyed(_placed(given, medium, notes, bad), bad))
    skipped = notes.skipped if notes else ()
    skipped += settle_bad(
        bad,
        f"{medium.plural} have no place",
        "move them, list them or remove them",
        skip=given.skip_bad,
    )
    kept, damaged = _surveyed(given, medium, found)
    skipped += settle_bad(
        damaged,
        f"{medium.plural} cannot be published",
        "repair or remove them",
        skip=given.skip_bad,
    )
    if not kept:
        raise BadSource(f"{shown(given.path)} holds no {medium.plural} that can be published")
    labels = sorted({one.label for one in kept if one.label is not None})
    return Source(
        what=f"folder of {medium.plural}",
        origin=str(given.path),
        schema=_schema(medium, labels, notes),
        splits={
            split: _split(given.path, [one for one in kept if one.split == split], medium)
            for split in files.in_order(one.split for one in kept)
        },
        travels=_travels(medium, len(kept), labels, notes),
        warnings=(
            *medium.warnings(),
            *_left_out(given, medium),
            *(notes.warnings if notes else ()),
        ),
        looked_at=medium.looked_at,
        skipped=skipped,
        exact=True,
    )


# ------------------------------------------------------------------ the files


def _placed(given: Given, medium: Medium, notes: Notes | None, bad: Bad) -> Iterator[_File]:
    """The files with their places; what has none, or that of another, goes into ``bad``."""
    found = [_place(path, given.split) for path in given.ending(medium.suffixes)]
    if notes is not None:
        there = {one.path for one in found}
        for path in notes.rows:
            if path not in there:
                bad.add(f"{shown(path)} ({notes.names} lists it, but there is no such file)")
        for one in found:
            if one.path in notes.rows:
                yield _File(one.path, one.split, None, one.below, notes.rows[one.path])
            else:
                bad.add(f"{shown(one.path)} ({notes.names} does not list it)")
        return
    classed = any(one.label is not None for one in found)
    for one in found:
        if classed and one.label is None:
            bad.add(f"{shown(one.path)} (it lies beside the class folders)")
        elif one.label is not None and (wrong := _no_label(one.label)):
            bad.add(f"{shown(one.path)} (its folder's name cannot be a label: {wrong})")
        else:
            yield one


@lru_cache(maxsize=1024)
def _no_label(name: str) -> str | None:
    """Why a folder's name cannot be that of a class; None if it can."""
    try:
        Label((name,))
    except LocalError as error:
        return error.message
    return None


def _keyed(found: Iterator[_File], bad: Bad) -> Iterator[_File]:
    """The files but for those that would be the same sample of a split as another: in ``bad``."""
    keys: dict[tuple[str, PurePosixPath], PurePosixPath] = {}
    for one in found:
        first = keys.setdefault((one.split, one.below), one.path)
        if first != one.path:
            bad.add(f"{shown(one.path)} (it would be the same sample as {shown(first)})")
        else:
            yield one


def _place(path: PurePosixPath, default: str) -> _File:
    split, below = default, path
    if len(path.parts) > 1 and files.is_split(path.parts[0]):
        split, below = path.parts[0].lower(), PurePosixPath(*path.parts[1:])
    label = below.parts[0] if len(below.parts) > 1 else None
    return _File(path, split, label, below)


def _surveyed(given: Given, medium: Medium, found: list[_File]) -> tuple[list[_File], Bad]:
    """The files that can be published, and what is wrong with the others."""
    kept: list[_File] = []
    bad = Bad()
    for done, (one, wrong) in enumerate(zip(found, _looks(given.path, medium, found), strict=True)):
        given.progress(f"checking {medium.plural}", done, len(found))
        if wrong is None:
            kept.append(one)
        else:
            bad.add(f"{shown(one.path)} ({wrong})")
    given.progress(f"checking {medium.plural}", len(found), len(found))
    return kept, bad


def _looks(folder: Path, medium: Medium, found: list[_File]) -> Iterator[str | None]:
    """What is wrong with each file, in order. Reading and decoding happen outside of the
    interpreter, so threads help."""

    def look(one: _File) -> str | None:
        try:
            medium.look(files.read(folder / one.path))
        except (ShardError, LocalError) as error:
            return error.message
        return None

    threads = ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1), "atd-look")
    try:
        yield from threads.map(look, found)
    finally:
        threads.shutdown(cancel_futures=True)


def _schema(medium: Medium, labels: list[str], notes: Notes | None) -> Schema:
    field = Field(medium.name, medium.kind())
    if notes is not None:
        return Schema((field, *notes.fields))
    if not labels:
        return Schema((field,))
    try:
        label = Label(labels) if len(labels) <= MAX_CLASSES else String()
        return Schema((field, Field("label", label)))
    except LocalError as error:
        raise BadSource(
            f"a class folder's name cannot be a label: {error}", next_step="rename the folder"
        ) from None


def _split(folder: Path, found: list[_File], medium: Medium) -> SplitSource:
    return SplitSource(items=partial(_items, folder, found, medium), count=len(found))


def _items(folder: Path, found: list[_File], medium: Medium, schema: Schema) -> Iterator[Item]:
    name = medium.name
    # It is decoded only where the schema asks for that.
    decode = medium.decoding if name in schema and isinstance(schema[name].kind, Array) else None
    folder = folder.absolute()  # a worker may start elsewhere
    for one in found:
        row = {"label": one.label} if one.row is None else one.row
        rest = {key: value for key, value in row.items() if key in schema}
        path = folder / one.path
        yield path_key(one.below), _Load(path, name, name in schema, medium.preparing, decode, rest)


@dataclass(frozen=True, slots=True)
class _Load:
    """Makes a sample of one file; see `atd.publishing.sources.loading`.

    Args:
        wanted: whether the schema has the field ``name`` of the file at all.
        prepare, decode: functions of a module, or None where there is nothing to do.
        rest: the other fields.
    """

    path: Path
    name: str
    wanted: bool
    prepare: Callable[[bytes], bytes] | None
    decode: Callable[[bytes], Any] | None
    rest: Row

    def __call__(self) -> dict[str, Any]:
        data = files.read(self.path)
        if self.prepare is not None:
            data = self.prepare(data)
        if not self.wanted:
            return dict(self.rest)
        return {self.name: data if self.decode is None else self.decode(data), **self.rest}

    @property
    def reads(self) -> tuple[Path, ...]:
        """The file."""
        return (self.path,)


# ------------------------------------------------------------------ what is told


def _travels(medium: Medium, total: int, labels: list[str], notes: Notes | None) -> tuple[str, ...]:
    names = "file names" + (" and the names of class folders" if labels else "")
    said = [f"{names}, as the keys of samples" + (" and labels" if labels else "")]
    if notes is not None:
        said.append(f"every cell of {notes.names}: {', '.join(one.name for one in notes.fields)}")
    return (*said, *medium.travels(total))


def _left_out(given: Given, medium: Medium) -> tuple[str, ...]:
    taken = {*given.ending(medium.suffixes), *folder_table.names(given)}
    about = {path for path in given.found if len(path.parts) == 1 and is_card_file(path.name)}
    others = [path for path in given.found if path not in taken | about]
    if not others:
        return ()
    kinds = Counter(path.suffix.lower() or "no suffix" for path in others)
    counted = ", ".join(f"{count} {shown(kind)}" for kind, count in kinds.most_common(5))
    return (f"{len(others)} files are not {medium.plural} and are left out ({counted})",)
