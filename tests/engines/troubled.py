"""Samples that give workers trouble: what fails, kills its process, or cannot be sent.

Loaders are values of this module, so that workers of any engine find them.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from atd.manifest import Manifest
from atd.publishing.sources.source import Item, Source, SplitSource
from atd.records import CutParameters
from atd.schema.fields import Array, Field, Schema
from atd.shards import cut
from atd.shards.layout import default_layout

SCHEMA = Schema((Field("noise", Array("uint8", (1000,))),))
CUTS = CutParameters(target_bytes=61_440, max_bytes=122_880)
"""Some 40 samples to a shard."""
COUNT = 1_000


def noise(row: int) -> dict[str, Any]:
    return {"noise": np.random.default_rng(row).integers(0, 255, 1000, dtype=np.uint8)}


@dataclass(frozen=True)
class Load:
    """A sample that depends on its number alone, and what happens on the way to it."""

    row: int
    trouble: Callable[[], None] | None = None
    reads: tuple[Path, ...] = ()

    def __call__(self) -> dict[str, Any]:
        if self.trouble is not None:
            self.trouble()
        return noise(self.row)


def source(trouble: Callable[[], None] | None = None, at: int = 577, count: int = COUNT) -> Source:
    """Noise, with trouble at one sample."""
    split = SplitSource(items=partial(_items, trouble, at, count), count=count)
    return Source("noise", "a test", SCHEMA, {"train": split}, inferred=False)


def _items(
    trouble: Callable[[], None] | None, at: int, count: int, schema: Schema
) -> Iterator[Item]:
    for row in range(count):
        yield f"{row:06d}", Load(row, trouble if row == at else None)


def first_time(marks: Path, name: str) -> bool:
    """Whether nobody came here before, in any process."""
    try:
        (marks / name).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


@dataclass(frozen=True)
class KillOnce:
    """SIGKILL for the first process that comes here."""

    marks: Path

    def __call__(self) -> None:
        if first_time(self.marks, "killed"):
            os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class KillDriver:
    """SIGKILL for the process that packs or has workers pack, the first time."""

    marks: Path

    def __call__(self) -> None:
        if first_time(self.marks, "killed"):
            worker = "atd.engines.worker" in sys.modules
            os.kill(os.getppid() if worker else os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class Fail:
    """An error of the operating system, so many times."""

    marks: Path
    times: int

    def __call__(self) -> None:
        for attempt in range(self.times):
            if first_time(self.marks, f"failed-{attempt}"):
                raise OSError(5, f"the folder is away, for the time number {attempt + 1}")


@dataclass(frozen=True)
class Wrong:
    """What is raised each time, by a class that the error tree has."""

    marks: Path
    error: type[Exception]

    def __call__(self) -> None:
        (self.marks / f"asked-{len(list(self.marks.iterdir()))}").touch()
        raise self.error("the data are wrong")


Serial = tuple[dict[str, bytes], list[str]]
"""The files of shards by name, and their names in order."""


def serial(folder: Path) -> Serial:
    """What one process cuts, without any tasks."""
    items = ((f"{row:06d}", Load(row)) for row in range(COUNT))
    shards = cut.pack(items, SCHEMA, default_layout(SCHEMA), CUTS, folder, "train")
    return files(folder), [shard.name for shard in shards]


def right(folder: Path, manifest: Manifest, serial: Serial) -> None:
    wanted, order = serial
    found = files(folder)
    del found["atd.json"]
    assert found == wanted, "the same files, and nothing beside them"
    assert listed(manifest) == order


class Told(list[tuple[str, str]]):
    """Hears what is noted."""

    def __call__(self, name: str, detail: str) -> None:
        self.append((name, detail))


def files(folder: Path) -> dict[str, bytes]:
    """Everything in a folder, by name."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def listed(manifest: Manifest) -> list[str]:
    return [shard.name for shard in manifest.shards]
