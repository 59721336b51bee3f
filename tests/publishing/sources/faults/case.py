"""One cell of the matrix of faults: a source, something wrong with it, and what comes of it."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from atd.errors import AtdError, BadSource, SchemaMismatch
from atd.publishing.packing import pack
from atd.publishing.sources.opening import open_source

FAULTS = (
    "corrupt",
    "bad row",
    "mixed schemas",
    "unreadable",
    "pipe",
    "vanished",
    "duplicate keys",
    "empty",
    "link loop",
    "link out",
    "slip",
    "bomb",
    "4 GB",
    "names",
)
"""What may be wrong.

- corrupt: one file of several is damaged. bad row: one line, row, sample or member.
- unreadable: the system refuses to read (`EIO`). pipe: a FIFO that nobody ever writes to.
- vanished: a file is gone between opening and packing.
- link loop, link out: a link to a folder above; a link to a file outside of the folder.
- slip: a name that leads out of the folder. bomb: little that claims to be, or becomes, very much.
- names: in any script, of any bytes, and of 255 bytes; these must do no harm.
"""

GIANT = 2**32 + 4096
SECONDS = 60


@dataclass(frozen=True)
class Case:
    """A fault, and what is said of it.

    Args:
        make: writes the source below a folder, and gives what to publish.
        names: for each bad file, row or sample a pattern that finds it in the error and in what is
            left out, which says nothing else; empty where nothing is wrong.
        kept: samples that are published without them; None where all is refused even then.
        why: why nothing can be left out.
        after: what happens to the folder between opening and packing.
        late: whether it is found only while packing: then the first is named and no other.
        packed: whether to pack; else the first samples are read, as all would take too long.
    """

    make: Callable[[Path], Any]
    names: Sequence[str] = ()
    kept: int | None = None
    why: str = ""
    after: Callable[[Path], None] | None = None
    late: bool = False
    packed: bool = True


@dataclass(frozen=True)
class Not:
    """There is no such fault of such a source, and why."""

    why: str


Cell = Case | Not


@contextmanager
def in_time() -> Iterator[None]:
    """Whatever waits for ever is interrupted."""

    def late(number: int, frame: object) -> None:
        raise TimeoutError(f"more than {SECONDS} seconds")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def check(case: Case, folder: Path) -> None:
    """Publish the source as far as its shards, with and without leaving out what is bad."""
    with in_time():
        if not case.names:
            assert published(case, folder / "fine", skip_bad=False)[0] == case.kept
            assert published(case, folder / "too", skip_bad=True) == (case.kept, ())
            return
        refused(case, folder / "refused", skip_bad=False)
        if case.kept is None:
            assert case.why, "say why nothing can be left out"
            refused(case, folder / "all the same", skip_bad=True)
            return
        kept, left_out = published(case, folder / "skipped", skip_bad=True)
        assert kept == case.kept
        for name in case.names:
            assert any(re.search(name, line) for line in left_out), left_out
        for line in left_out:
            assert any(re.search(name, line) for name in case.names), line


def published(case: Case, folder: Path, *, skip_bad: bool) -> tuple[int, tuple[str, ...]]:
    """The number of samples, and what was left out."""
    folder.mkdir()
    source = open_source(case.make(folder / "in"), skip_bad=skip_bad)
    if case.after is not None:
        case.after(folder / "in")
    if case.packed:
        count = pack(source, folder / "out").samples
    else:
        count = source.count or 0
        for split in source.splits.values():
            samples = split.samples(source.schema)
            next(samples), next(samples)
    return count, source.left_out


def refused(case: Case, folder: Path, *, skip_bad: bool) -> None:
    """The error names everything that is bad, and leaves nothing that could be taken for whole."""
    with pytest.raises((BadSource, SchemaMismatch)) as caught:
        published(case, folder, skip_bad=skip_bad)
    told(caught.value, case)
    left = [path.name for path in (folder / "out").iterdir()] if (folder / "out").exists() else []
    assert all(name.endswith(".tar") and not name.startswith(".") for name in left), left


def told(error: AtdError, case: Case) -> None:
    """What the message must say."""
    for name in case.names[:1] if case.late else case.names:
        assert re.search(name, error.message), error.message
    assert error.next_step
    assert error.message.isprintable()


def giant(path: Path, head: bytes = b"") -> Path:
    """A file of more than 4 GB that takes no room on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(head)
        file.truncate(GIANT)
    return path


def unreadable(path: Path) -> Path:
    """What looks like an empty file, and gives an error of input and output when it is read.

    Removing the permission to read does not do: the superuser reads all the same.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to("/proc/self/mem")
    return path
