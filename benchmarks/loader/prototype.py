"""The yardstick: the least that reading our shards in numpy can cost, on these four workloads only.

Everything is known beforehand (fields, kinds, shapes, that every sample is honest), nothing is
checked, nothing resumes, and a shuffle is numpy's own. `atd` is measured against it in the same
run, because it travels between machines as rates do not.
"""

from __future__ import annotations

import itertools
import mmap
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from workloads import Workload

from atd.records import Layout
from atd.schema.classes import schema_of
from atd.shards.columns import read_columns
from atd.shards.gather import Pool, _Memory
from atd.shards.index import MemberIndex
from atd.shards.texts import string_views

_LARGE = 32768


class Shard:
    """One mapped shard and the places of its fields."""

    def __init__(self, path: Path, workload: Workload, layout: Layout) -> None:
        with path.open("rb") as file:
            self.map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self.octets = np.frombuffer(memoryview(self.map), np.uint8)
        self.base = self.octets.ctypes.data - 4096
        index = MemberIndex.of(memoryview(self.map), path.name)
        schema = schema_of(workload.cls)
        found = read_columns(self.octets, index.offsets, index.sizes, schema, layout.members)
        columns: Any = found.by_name
        self.labels = columns["label"].data
        self.x = columns["x"].offsets if workload.dtype else None
        if workload.text:
            self.text = columns["text"].offsets, columns["text"].lengths
            self.views = string_views(self.octets, *self.text)
            self.buffer = pa.py_buffer(self.octets)


class Prototype:
    """All shards of a folder."""

    def __init__(self, folder: Path, workload: Workload, layout: Layout) -> None:
        self.workload = workload
        self.shards = [Shard(path, workload, layout) for path in sorted(folder.glob("*.tar"))]
        self.width = int(np.prod(workload.shape)) * np.dtype(workload.dtype or "u1").itemsize
        self.pool = Pool()

    def samples(self) -> Iterator[Any]:
        """One by one, in order."""
        mean = self.width + (sum(self.workload.text) // 2 if self.workload.text else 0)
        per = 16 if self.width >= _LARGE else max(64, min(1024, (1 << 20) // max(mean, 1)))
        return itertools.chain.from_iterable(self._pieces(per))

    def _pieces(self, per: int) -> Iterator[Iterator[Any]]:
        for shard in self.shards:
            for low in range(0, len(shard.labels), per):
                labels, x, text = self._piece(shard, low, low + per)
                columns = [c for c in (labels.tolist(), x, text) if c is not None]
                yield map(self.workload.cls, *columns)

    def _piece(self, shard: Shard, low: int, high: int) -> tuple[Any, Any, Any]:
        x = text = None
        labels = shard.labels[low:high]
        if shard.x is not None:
            x = self._arrays(shard.x[low:high] + shard.base, shard)
        if self.workload.text:
            text = self._texts(shard.views[low:high], [shard.buffer])
        return labels, x, text

    def _arrays(self, addresses: Any, shard: Shard | None = None) -> Any:
        shape = (len(addresses), *self.workload.shape)
        if self.width < _LARGE:
            memory: Any = np.asarray(_Memory(self.width))
            return memory[addresses].view(self.workload.dtype).reshape(shape)
        out = self.pool.take(self.width * len(addresses)).reshape(len(addresses), self.width)
        memory = np.asarray(_Memory(1)).view(np.uint8)
        for at, address in enumerate(addresses.tolist()):
            out[at] = memory[address : address + self.width]
        return out.view(self.workload.dtype).reshape(shape)

    def _texts(self, views: Any, buffers: list[Any]) -> Any:
        parts = [None, pa.py_buffer(views), *buffers]
        return pa.Array.from_buffers(pa.string_view(), len(views), parts).to_pylist()

    @cached_property
    def _all(self) -> tuple[Any, Any, Any, list[Any]]:
        labels = np.concatenate([s.labels for s in self.shards])
        x = text = None
        if self.workload.dtype:
            x = np.concatenate([s.x + s.base for s in self.shards])
        if self.workload.text:
            for number, shard in enumerate(self.shards):
                shard.views[shard.text[1] > 12, 2] = number
            text = np.concatenate([s.views for s in self.shards])
        return labels, x, text, [s.buffer for s in self.shards] if text is not None else []

    def batches(self, n: int) -> Iterator[tuple[Any, Any, Any]]:
        """In order."""
        return self._batches(n, np.arange(self.workload.count))

    def shuffled_batches(self, n: int, seed: int) -> Iterator[tuple[Any, Any, Any]]:
        """In a random order over all shards."""
        return self._batches(n, np.random.default_rng(seed).permutation(self.workload.count))

    def _batches(self, n: int, order: Any) -> Iterator[tuple[Any, Any, Any]]:
        labels, x, text, buffers = self._all
        mean = self.width + (sum(self.workload.text) // 2 if self.workload.text else 0)
        block = n * max(1, min(4096, (1 << 21) // max(mean, 1)) // n)
        for low in range(0, len(order), block):
            here = order[low : low + block]
            columns = [
                labels[here],
                None if x is None else self._arrays(x[here]),
                None if text is None else self._texts(text[here], buffers),
            ]
            for at in range(0, len(here), n):
                a, b, c = (None if column is None else column[at : at + n] for column in columns)
                yield a, b, c
