"""JSON Lines: a JSON object on each line is a sample, in files, in folders and on stdin.

Belongs here: lines, names of fields, keys. UTF-8 (with or without byte order mark), one object a
line, blank lines skipped. A key that some lines lack is an optional field, null makes it nullable;
what is of one type here and of another there is kept as JSON, and a warning says so.

Keys of samples are as in CSV files: the row number, counted from 0 in each split, or what stands
under ``key`` or ``id`` in every line where those are different texts that can be keys.

Rules. Every line is read once before anything is published: one that is no JSON object, or not one
that all readers take for the same, is a `BadSource` that names the file and the line. What comes on
stdin comes once, so it is kept in a temporary file that has no name.
"""

from __future__ import annotations

import codecs
import contextlib
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any, Final

from atd.disk import storing
from atd.errors import BadSource
from atd.publishing.infer import infer
from atd.publishing.sources.csv_table import field_name
from atd.publishing.sources.given import Given
from atd.publishing.sources.keys import is_key, row_key
from atd.publishing.sources.source import Pair, Progress, Source, SplitSource, Tables, shown
from atd.publishing.sources.tables import open_files
from atd.schema.fields import Json, Schema
from atd.schema.limits import MAX_FIELDS
from atd.shards.documents import parse_json
from atd.shards.unfit import Unfit

SUFFIXES: Final = (".jsonl", ".ndjson")
MAX_LINE: Final = 64 * 1024**2
"""Bytes of one line, at most."""

_KEYS: Final = ("key", "id")
_IN_MEMORY: Final = 16 * 1024**2
_CORRECT: Final = "correct the line, then run the same command again"

Titles = dict[str, str]
"""The name of the field that each key of an object is."""


@dataclass(frozen=True)
class Lines:
    """A text of lines that can be read again: what to call it, and how it is opened."""

    where: str
    open: Callable[[], AbstractContextManager[IO[bytes]]]

    def objects(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Every object with the number of its line."""
        try:
            with self.open() as file:
                for number, line in enumerate(_lines(file), start=1):
                    if line.strip():
                        yield number, self._object(number, line)
        except OSError as error:
            raise BadSource(f"cannot read {shown(self.where)}: {error.strerror}") from None

    def _object(self, number: int, line: bytes) -> dict[str, Any]:
        place = f"{shown(self.where)}, line {number}"
        if len(line) > MAX_LINE:
            raise BadSource(f"{place}: more than {MAX_LINE} bytes", next_step=_CORRECT)
        bare = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
        try:
            found = parse_json(bare.decode("utf-8"))
        except UnicodeDecodeError as error:
            bad = f"byte 0x{bare[error.start]:02x} is not UTF-8"
            raise BadSource(f"{place}: {bad}", next_step=_CORRECT) from None
        except Unfit as error:
            raise BadSource(f"{place}: {error}", next_step=_CORRECT) from None
        if not isinstance(found, dict):
            kind = type(found).__name__
            raise BadSource(f"{place}: expected an object, found a {kind}", next_step=_CORRECT)
        return found


@dataclass
class _Seen:
    """What a first pass over all lines finds out."""

    titles: Titles = field(default_factory=dict)
    count: int = 0
    keys: dict[str, set[str]] = field(default_factory=dict)

    def see(self, found: Mapping[str, Any], where: str) -> dict[str, Any]:
        """Take one object into account; returns it by the names of fields."""
        for title in found:
            if title not in self.titles:
                if len(self.titles) == MAX_FIELDS:
                    raise BadSource(f"{where} has more than {MAX_FIELDS} different keys")
                taken = set(self.titles.values())
                self.titles[title] = field_name(title, len(taken) + 1, taken)
        for name, seen in list(self.keys.items()):
            key = found.get(name)
            if not isinstance(key, str) or key in seen or not is_key(key):
                del self.keys[name]
            else:
                seen.add(key)
        self.count += 1
        return {self.titles[title]: value for title, value in found.items()}


def open_given(given: Given) -> Source:
    """The lines of a file, or of all in a folder; see `open_tables`."""
    return open_files(given, SUFFIXES, open_tables)


def open_tables(paths: Tables, progress: Progress) -> Source:
    """The objects in JSON Lines files.

    Args:
        paths: the files of each split, in order.

    Raises:
        BadSource: a line that is no JSON object, or objects that fit no schema.
    """
    files = [path for found in paths.values() for path in found]
    splits = {name: [_of_file(path) for path in found] for name, found in paths.items()}
    return _open(splits, str(files[0] if len(files) == 1 else files[0].parent), progress)


def open_stdin(split: str, progress: Progress) -> Source:
    """The objects on standard input, all of them as ``split``.

    Raises:
        BadSource: as `open_tables`.
    """
    kept = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115  (lives on in Lines)
    with storing(Path(tempfile.gettempdir())):
        shutil.copyfileobj(sys.stdin.buffer, kept)

    @contextlib.contextmanager
    def rewound() -> Iterator[IO[bytes]]:
        kept.seek(0)
        yield kept

    return _open({split: [Lines("stdin", rewound)]}, "stdin", progress)


def _of_file(path: Path) -> Lines:
    def opened() -> IO[bytes]:
        return path.open("rb")

    return Lines(str(path), opened)


def _open(splits: Mapping[str, Sequence[Lines]], origin: str, progress: Progress) -> Source:
    titles: Titles = {}
    seen = {name: _Seen(titles, keys={key: set() for key in _KEYS}) for name in splits}
    schema = infer(_all(splits, seen, progress))
    shared = [key for key in _KEYS if all(key in one.keys for one in seen.values())]
    key = shared[0] if shared else None
    return Source(
        what="JSON Lines",
        origin=origin,
        schema=schema,
        splits={
            name: SplitSource(partial(_samples, parts, titles, key), count=seen[name].count)
            for name, parts in splits.items()
        },
        travels=(f"every value under {', '.join(map(shown, titles))}",),
        warnings=tuple(
            f"field {one.name} holds values of several types: it is kept as JSON"
            for one in schema
            if isinstance(one.kind, Json)
        ),
    )


def _all(
    splits: Mapping[str, Sequence[Lines]], seen: Mapping[str, _Seen], progress: Progress
) -> Iterator[dict[str, Any]]:
    for name, parts in splits.items():
        for part in parts:
            for number, found in part.objects():
                if seen[name].count % 10_000 == 0:
                    progress("reading lines", seen[name].count, None)
                yield seen[name].see(found, f"{shown(part.where)}, line {number}")


def _samples(
    parts: Sequence[Lines], titles: Titles, key: str | None, schema: Schema
) -> Iterator[Pair]:
    row = 0
    for part in parts:
        for number, found in part.objects():
            try:
                sample = {titles[title]: value for title, value in found.items()}
            except KeyError:
                raise BadSource(
                    f"{shown(part.where)}, line {number}: changed while it was read"
                ) from None
            yield (
                row_key(row) if key is None else str(found[key]),
                {name: value for name, value in sample.items() if name in schema},
            )
            row += 1


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    """Lines of at most `MAX_LINE` bytes and one more, so that none fills the memory."""
    return iter(lambda: file.readline(MAX_LINE + 2), b"")
