"""A prototype reader given by its folder: what reading our kind of shards in numpy can cost.

The folder holds a harness of its own (``adapters/protos.py``, ``prototype/fastshard.py``), whose
prototypes know fields, shapes and honesty beforehand and check nothing. They travel between
machines as rates do not. The samples they make are dataclasses, as those of atd are.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from contract import Columns, NotOffered, Peer
from workloads import Base

FOLDER = "BENCH_PROTOTYPE"
"""The environment variable that names the folder."""


class Yardstick(Peer):
    """Its best copying reader, and its reader of views, over shards that its writer made."""

    def _reader(self, kind: str) -> Any:
        home = Path(os.environ[FOLDER])
        for folder in (home / "prototype", home):
            if str(folder) not in sys.path:
                sys.path.insert(0, str(folder))
        # Only a run that was given the folder has these modules.
        import common  # noqa: PLC0415
        from adapters import protos  # noqa: PLC0415

        workload = self.workload
        described = common.Workload(
            workload.name,
            workload.count,
            workload.per_shard,
            "x" if workload.form == "dense" else None,
            workload.dtype,
            workload.shape or None,
            "text" if workload.text else None,
            *(workload.text or (0, 0)),
        )
        reader = getattr(protos, kind)()
        reader.described = described
        return reader

    def pack(self, base: Base) -> None:
        reader = self._reader("PVec2Canon")
        reader.pack(reader.described, base, str(self.folder))

    def open(self) -> None:
        self.reader = self._reader("PVec2Canon")
        self.reader.open(self.reader.described, str(self.folder))
        self.fields = self.reader.fields  # type: ignore[method-assign]

    def columns(self, batch: Columns) -> Columns:
        return batch

    def samples(self) -> Iterable[Any]:
        found: Iterable[Any] = self.reader.samples()
        return found

    def batches(self, n: int) -> Iterable[Any]:
        found: Iterable[Any] = self.reader.batches(n)
        return found

    def shuffled(self, n: int) -> Iterable[Any]:
        found: Iterable[Any] = self.reader.shuffled_batches(n, 3)
        return found

    def views(self, n: int) -> Iterable[Any]:
        if self.workload.form != "dense":
            raise NotOffered
        if not hasattr(self, "viewer"):
            self.viewer = self._reader("PVec2Zero")
            self.viewer.open(self.viewer.described, str(self.folder))
        found: Iterable[Any] = self.viewer.batches(n)
        return found

    def picker(self) -> Callable[[int], Any]:
        found: Callable[[int], Any] = self.reader.random()
        return found

    def resume(self, position: int) -> Iterator[Any]:
        found: Iterator[Any] = iter(self.reader.resume(position))
        return found
