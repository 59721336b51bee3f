"""The limit: memory-mapped ``.npy`` columns. No samples, no checks, only the copy of a batch."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
from contract import Columns, Peer
from numpy.typing import NDArray
from workloads import Base


class Npy(Peer):
    """A batch is copied into one buffer that is used again; texts are a list in memory."""

    def pack(self, base: Base) -> None:
        np.save(self.folder / "labels.npy", base.labels)
        np.save(self.folder / "x.npy", base.dense)
        if self.workload.text:
            (self.folder / "text.json").write_text(json.dumps(base.texts))

    def open(self) -> None:
        self.labels = np.load(self.folder / "labels.npy")
        self.x = np.load(self.folder / "x.npy", mmap_mode="r").view(np.ndarray)
        self.text: list[str] | None = None
        if self.workload.text:
            self.text = json.loads((self.folder / "text.json").read_text())

    def fields(self, sample: Columns) -> Columns:
        return sample

    def columns(self, batch: Columns) -> Columns:
        return batch

    def samples(self) -> Iterator[Columns]:
        texts = self.text or [None] * self.workload.count
        return zip(self.labels.tolist(), self.x, texts, strict=True)

    def batches(self, n: int) -> Iterator[Columns]:
        out = self._buffer(n)
        for low in range(0, self.workload.count, n):
            rows = slice(low, low + n)
            x = out[: len(self.labels[rows])]
            np.copyto(x, self.x[rows])
            yield self.labels[rows], x, self.text and self.text[rows]

    def views(self, n: int) -> Iterator[Columns]:
        for low in range(0, self.workload.count, n):
            rows = slice(low, low + n)
            yield self.labels[rows], self.x[rows], self.text and self.text[rows]

    def shuffled(self, n: int) -> Iterator[Columns]:
        order = np.random.default_rng(3).permutation(self.workload.count)
        out = self._buffer(n)
        for low in range(0, self.workload.count, n):
            chosen = order[low : low + n]
            x = out[: len(chosen)]
            np.take(self.x, chosen, axis=0, out=x, mode="clip")
            text = self.text and [self.text[i] for i in chosen.tolist()]
            yield self.labels[chosen], x, text

    def _buffer(self, n: int) -> NDArray[Any]:
        return np.empty((n, *self.workload.shape), self.workload.dtype)
