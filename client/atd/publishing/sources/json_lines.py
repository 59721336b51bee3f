"""JSON Lines: a JSON object on each line is a sample, in files, in folders and on stdin.

Belongs here: lines, names of fields, keys. UTF-8 (with or without byte order mark), one object a
line, blank lines skipped. A key that some lines lack is an optional field, null makes it nullable;
what is of one type here and of another there is kept as JSON, and a warning says so.

Keys of samples are as in CSV files: the row number, counted from 0 in each split, or what stands
under ``key`` or ``id`` in every line where those are different texts that can be keys.

Rules. Every line is read once before anything is published: those that are no JSON objects, or not
such as all readers take for the same, are named with file and line, and refused or left out. What
comes on stdin comes once, so it is kept in a temporary file that has no name.
"""

from __future__ import annotations

import codecs
import contextlib
import itertools
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

from atd.disk import storing
from atd.errors import BadSource
from atd.publishing.infer import infer
from atd.publishing.sources import files
from atd.publishing.sources.bad import Bad
from atd.publishing.sources.csv_table import field_name
from atd.publishing.sources.given import Given
from atd.publishing.sources.keys import KEY_COLUMNS, KeySearch, row_key, shared_keys
from atd.publishing.sources.source import Pair, Progress, Source, SplitSource, Tables, shown
from atd.publishing.sources.tables import Lost, Readable, origin_of
from atd.schema.fields import Json, Schema
from atd.schema.limits import MAX_FIELDS
from atd.shards.documents import parse_json
from atd.shards.unfit import Unfit

SUFFIXES: Final = (".jsonl", ".ndjson")
MAX_LINE: Final = 64 * 1024**2
"""Bytes of one line, at most."""

_IN_MEMORY: Final = 16 * 1024**2
_CORRECT: Final = "correct the line, then run the same command again"

Titles = dict[str, str]
"""The name of the field that each key of an object is."""


class Line(NamedTuple):
    """A line: its number, the object on it, and what is wrong with it if that is none."""

    number: int
    found: dict[str, Any]
    wrong: str | None = None


@dataclass(frozen=True)
class Lines:
    """A text of lines that can be read again: what to call it, and how it is opened."""

    where: str
    open: Callable[[], AbstractContextManager[IO[bytes]]]

    def objects(self) -> Iterator[Line]:
        """Every line that is not blank.

        Raises:
            BadSource: it cannot be read to the end.
        """
        with self.open() as file:
            for number, line in enumerate(_lines(file), start=1):
                if len(line) > MAX_LINE:
                    raise BadSource(
                        f"{self.at(number)}: a line of more than {MAX_LINE} bytes",
                        next_step=_CORRECT,
                    )
                if line.strip():
                    yield _line(number, line)

    def at(self, number: int) -> str:
        """A line, for messages."""
        return f"{shown(self.where)}, line {number}"


def _line(number: int, line: bytes) -> Line:
    bare = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
    try:
        found = parse_json(bare.decode("utf-8"))
    except UnicodeDecodeError as error:
        return Line(number, {}, f"byte 0x{bare[error.start]:02x} is not UTF-8")
    except Unfit as error:
        return Line(number, {}, str(error))
    if not isinstance(found, dict):
        return Line(number, {}, f"expected an object, found a {type(found).__name__}")
    return Line(number, found)


@dataclass
class _Seen:
    """What a first pass over all lines finds out."""

    titles: Titles
    places: dict[str, dict[str, str]]
    """For each key the types of its values, and the first line with each."""
    bad: Bad = field(default_factory=Bad)
    count: int = 0
    keys: KeySearch[str] = field(
        default_factory=lambda: KeySearch({title: title for title in KEY_COLUMNS})
    )

    def see(self, line: Line, part: Lines) -> dict[str, Any] | None:
        """Take a line into account; returns its object by the names of fields, if it has one."""
        if line.wrong is not None:
            self.bad.add(f"{part.at(line.number)}: {line.wrong}")
            return None
        for title, value in line.found.items():
            if title not in self.titles:
                if len(self.titles) == MAX_FIELDS:
                    raise BadSource(
                        f"{part.at(line.number)}: more than {MAX_FIELDS} different keys so far"
                    )
                taken = set(self.titles.values())
                self.titles[title] = field_name(title, len(taken) + 1, taken)
            types = self.places.setdefault(title, {})
            if (kind := type(value).__name__) not in types:
                types[kind] = part.at(line.number)
        if self.keys:
            self.keys.see(line.found.get, part.at(line.number))
        self.count += 1
        return {self.titles[title]: value for title, value in line.found.items()}


def open_given(given: Given) -> Source:
    """The lines of a file, or of all in a folder; see `open_tables`."""
    return open_tables(given.tables(SUFFIXES), given.progress, skip_bad=given.skip_bad)


def open_tables(paths: Tables, progress: Progress, *, skip_bad: bool = False) -> Source:
    """The objects in JSON Lines files.

    Args:
        paths: the files of each split, in order.
        skip_bad: leave out files and lines that cannot be read.

    Raises:
        BadSource: lines that are no JSON objects, or objects that fit no schema.
    """
    found = Readable(paths, _of_file, skip=skip_bad)
    return _open(found, origin_of(paths), progress, skip_bad=skip_bad)


def open_stdin(split: str, progress: Progress, *, skip_bad: bool = False) -> Source:
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

    lines = Lines("stdin", rewound)
    found = Readable({split: [Path("stdin")]}, lambda _: lines, skip=skip_bad)
    return _open(found, "stdin", progress, skip_bad=skip_bad)


def _of_file(path: Path) -> Lines:
    files.check_file(path)
    return Lines(str(path), partial(files.opened, path))


def _open(found: Readable[Lines], origin: str, progress: Progress, *, skip_bad: bool) -> Source:
    schema, seen = found.scan(partial(_scan, progress))
    bad = sum((one.bad for one in seen.values()), Bad())
    if schema is not None:
        bad += Bad(_without_lines(found.splits, seen))
    skipped = found.settle(bad, kept=schema is not None)
    if schema is None:
        raise BadSource(f"{shown(origin)}: expected a JSON object on each line, found none")
    keys, warned = shared_keys([one.keys for one in seen.values()])
    key = next(iter(keys), None)
    first = next(iter(seen.values()))
    return Source(
        what="JSON Lines",
        origin=origin,
        schema=schema,
        splits={
            name: SplitSource(
                partial(_samples, found.splits[name], first.titles, key, skip_bad),
                count=one.count,
            )
            for name, one in seen.items()
            if one.count
        },
        travels=(f"every value under {', '.join(map(shown, first.titles))}",),
        warnings=(*_mixed(schema, first), *warned),
        skipped=skipped,
        exact=True,
    )


def _scan(
    progress: Progress, splits: Mapping[str, Sequence[Lines]], lost: Lost[Lines]
) -> tuple[Schema | None, dict[str, _Seen]]:
    """Read every line once: the schema, or None if there are no objects."""
    titles: Titles = {}
    places: dict[str, dict[str, str]] = {}
    seen = {name: _Seen(titles, places) for name in splits}
    samples = _all(splits, seen, progress, lost)
    first = next(samples, None)
    return (None if first is None else infer(itertools.chain([first], samples))), seen


def _all(
    splits: Mapping[str, Sequence[Lines]],
    seen: Mapping[str, _Seen],
    progress: Progress,
    lost: Lost[Lines],
) -> Iterator[dict[str, Any]]:
    for name, parts in splits.items():
        for part in parts:
            try:
                for line in part.objects():
                    if seen[name].count % 10_000 == 0:
                        progress("reading lines", seen[name].count, None)
                    sample = seen[name].see(line, part)
                    if sample is not None:
                        yield sample
            except BadSource as error:
                lost(part, error)


def _without_lines(
    splits: Mapping[str, Sequence[Lines]], seen: Mapping[str, _Seen]
) -> Iterator[str]:
    """The files of splits that would be empty."""
    for name, one in seen.items():
        if not one.count and not one.bad:
            for part in splits[name]:
                yield f"{shown(part.where)} has no objects, and so has the split {name}"


def _mixed(schema: Schema, seen: _Seen) -> Iterator[str]:
    """What is kept as JSON, and which line has it of which type."""
    for one in schema:
        if isinstance(one.kind, Json):
            title = next(title for title, name in seen.titles.items() if name == one.name)
            types = seen.places[title]
            said = "; ".join(f"{kind}: {place}" for kind, place in types.items())
            what = "holds values of several types" if types.keys() != {"NoneType"} else "is null"
            yield f"field {one.name} {what}: it is kept as JSON ({said})"


def _samples(
    parts: Sequence[Lines], titles: Titles, key: str | None, skip_bad: bool, schema: Schema
) -> Iterator[Pair]:
    lines = ((part, line) for part in parts for line in part.objects())
    for row, (part, (number, found, wrong)) in enumerate(lines):
        if wrong is not None:
            if not skip_bad:
                raise BadSource(f"{part.at(number)}: {wrong}", next_step=_CORRECT)
            continue
        try:
            sample = {titles[title]: value for title, value in found.items()}
        except KeyError:
            raise BadSource(f"{part.at(number)}: changed while it was read") from None
        yield (
            row_key(row) if key is None else str(found[key]),
            {name: value for name, value in sample.items() if name in schema},
        )


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    """Lines of at most `MAX_LINE` bytes and one more, so that none fills the memory."""
    return iter(lambda: file.readline(MAX_LINE + 2), b"")
