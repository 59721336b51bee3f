"""webdataset: msgpack decoded by hand (the base of all ratios), and members decoded by it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import compact
import msgpack
import webdataset
from contract import Columns, Peer, grouped, stacked
from measures import decoded
from workloads import Base

_BUFFER = 1000
"""Samples in the shuffle buffer: what its documentation uses."""


class _Webdataset(Peer):
    def open(self) -> None:
        self.paths = [str(path) for path in sorted(self.folder.glob("*.tar"))]

    def fields(self, sample: Columns) -> Columns:
        return sample

    def columns(self, batch: Columns) -> Columns:
        return batch

    def _raw(self, shuffle: bool = False) -> Any:
        # Fewer shards than workers is no error: empty_check.
        shards = webdataset.WebDataset(
            self.paths, shardshuffle=len(self.paths) if shuffle else False, empty_check=False
        )
        return shards.shuffle(_BUFFER) if shuffle else shards

    def _decoded(self, raw: Any) -> Any:
        raise NotImplementedError

    def samples(self) -> Iterable[Columns]:
        return self._decoded(self._raw())

    def batches(self, n: int) -> Iterable[Columns]:
        return grouped(self._decoded(self._raw()), n)

    def shuffled(self, n: int) -> Iterable[Columns]:
        return grouped(self._decoded(self._raw(shuffle=True)), n)

    def resume(self, position: int) -> Iterator[Columns]:
        # It has no other way: the samples before are read and dropped, though not decoded.
        return iter(self._decoded(self._raw().slice(position, None)))

    def with_workers(self, n: int, workers: int) -> Iterable[Columns]:
        batched = self._decoded(self._raw()).batched(n, collation_fn=stacked)
        return webdataset.WebLoader(batched, batch_size=None, num_workers=workers)

    def _write(self, samples: Iterable[dict[str, Any]]) -> None:
        pattern, most = str(self.folder / "s-%06d.tar"), self.workload.per_shard
        with webdataset.ShardWriter(pattern, maxcount=most, maxsize=1e13, verbose=0) as sink:
            for n, sample in enumerate(samples):
                sink.write({"__key__": f"{n:08d}", **sample})


class Msgpack(_Webdataset):
    """One msgpack member per sample, as the atdata package packs them."""

    def pack(self, base: Base) -> None:
        self._write({"msgpack": compact.packed(sample)} for sample in base.dicts())

    def _decoded(self, raw: Any) -> Any:
        return raw.map(self._decode)

    def _decode(self, raw: dict[str, Any]) -> Columns:
        sample = msgpack.unpackb(raw["msgpack"])
        x = sample.get("x")
        if x is not None:
            x = decoded(x) if self.workload.form == "jpeg" else compact.array(x)
        return sample["label"], x, sample.get("text")


class Members(_Webdataset):
    """A member per field, decoded by webdataset's own ``decode``."""

    def pack(self, base: Base) -> None:
        array = "jpg" if self.workload.form == "jpeg" else "npy"
        suffix = {"label": "cls", "x": array, "text": "txt"}
        self._write({suffix[k]: v for k, v in sample.items()} for sample in base.dicts())

    def _decoded(self, raw: Any) -> Any:
        pictures = ["rgb8"] if self.workload.form == "jpeg" else []
        return raw.decode(*pictures).map(self._columns)

    @staticmethod
    def _columns(sample: dict[str, Any]) -> Columns:
        x = sample["npy"] if "npy" in sample else sample.get("jpg")
        return sample["cls"], x, sample.get("txt")
