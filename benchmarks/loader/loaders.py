"""The loaders that are compared, each in its own format, all with the same four ways of reading."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import prototype
import pyarrow as pa
import webdataset
from workloads import Workload

import atd
from atd.dataset.shelf import shelf_of
from atd.manifest import Manifest, ManifestShard
from atd.records import CutParameters
from atd.schema.classes import schema_of
from atd.shards import arrays
from atd.shards.cut import pack
from atd.shards.layout import default_layout


class Loader:
    """What is measured; a subclass packs ``workload`` into ``folder`` and reads it."""

    def __init__(self, workload: Workload, folder: Path) -> None:
        self.workload = workload
        self.folder = folder

    def pack(self) -> None:
        """Write the workload in this loader's format."""
        raise NotImplementedError

    def open(self) -> None:
        """Get ready to read; not timed."""

    def samples(self) -> Iterator[Any]:
        """In order, one by one: objects with the fields as attributes."""
        raise NotImplementedError

    def batches(self, n: int) -> Iterator[tuple[Any, Any, Any]]:
        """In order: labels, array and text of each batch, None for a field that there is not."""
        raise NotImplementedError

    def shuffled(self, n: int) -> Iterator[tuple[Any, Any, Any]]:
        """The same, shuffled."""
        raise NotImplementedError


class Atd(Loader):
    """This project: a folder made by the packer, read through `atd.load` with the class."""

    def pack(self) -> None:
        schema = schema_of(self.workload.cls)
        layout = default_layout(schema)
        cuts = CutParameters(order="keep", max_samples=self.workload.per_shard)
        items = ((f"{n:08d}", lambda s=s: s) for n, s in enumerate(self.workload.samples()))
        found = pack(items, schema, layout, cuts, self.folder, "train")
        listed = tuple(ManifestShard(s.name, s.digest, s.size, s.samples) for s in found)
        Manifest(schema, layout, cuts, {"train": listed}, "bench").save(self.folder)

    def open(self) -> None:
        self.ds: Any = atd.load(str(self.folder), schema=self.workload.cls)
        shelf = shelf_of(self.ds.flow.source)
        for number in range(len(self.ds.flow.source.shards)):
            shelf.shard(number)  # hashed once, like every shard that comes into a store
        self._ordered = self.ds.batched(256)
        self._shuffled = self.ds.shuffled(3, window=None).batched(256)

    def samples(self) -> Iterator[Any]:
        return iter(self.ds)

    def batches(self, n: int) -> Iterator[tuple[Any, Any, Any]]:
        return map(self._columns, self._ordered)

    def shuffled(self, n: int) -> Iterator[tuple[Any, Any, Any]]:
        return map(self._columns, self._shuffled)

    def _columns(self, batch: Any) -> tuple[Any, Any, Any]:
        columns = dict(batch)
        return columns["label"], columns.get("x"), columns.get("text")


class Prototype(Loader):
    """The yardstick, over the very shards of `Atd`."""

    def open(self) -> None:
        layout = Manifest.load(self.folder).layout
        self.reader = prototype.Prototype(self.folder, self.workload, layout)

    def samples(self) -> Iterator[Any]:
        return self.reader.samples()

    def batches(self, n: int) -> Iterator[tuple[Any, Any, Any]]:
        return self.reader.batches(n)

    def shuffled(self, n: int) -> Iterator[tuple[Any, Any, Any]]:
        return self.reader.shuffled_batches(n, 3)


class Webdataset(Loader):
    """webdataset over tar files of msgpack samples, decoded by hand."""

    def pack(self) -> None:
        pattern, most = str(self.folder / "s-%06d.tar"), self.workload.per_shard
        with webdataset.ShardWriter(pattern, maxcount=most, maxsize=1e13, verbose=0) as sink:
            for n, sample in enumerate(self.workload.samples()):
                if "x" in sample:
                    sample["x"] = arrays.to_compact(sample["x"])
                sink.write({"__key__": f"{n:08d}", "msgpack": msgpack.packb(sample)})

    def open(self) -> None:
        self.paths = [str(path) for path in sorted(self.folder.glob("*.tar"))]

    def _decode(self, raw: dict[str, Any]) -> Any:
        sample = msgpack.unpackb(raw["msgpack"])
        if "x" in sample:
            sample["x"] = arrays.read_array(memoryview(sample["x"]))
        return self.workload.cls(**sample)

    def _dataset(self, shuffle: int = 0) -> Any:
        shards = webdataset.WebDataset(
            self.paths, shardshuffle=len(self.paths) if shuffle else False
        )
        return (shards.shuffle(shuffle) if shuffle else shards).map(self._decode)

    def samples(self) -> Iterator[Any]:
        return iter(self._dataset())

    def batches(self, n: int) -> Iterator[tuple[Any, Any, Any]]:
        return self._grouped(iter(self._dataset()), n)

    def shuffled(self, n: int) -> Iterator[tuple[Any, Any, Any]]:
        return self._grouped(iter(self._dataset(1000)), n)

    def _grouped(self, samples: Iterator[Any], n: int) -> Iterator[tuple[Any, Any, Any]]:
        while group := list(itertools.islice(samples, n)):
            yield (
                np.array([sample.label for sample in group]),
                np.stack([sample.x for sample in group]) if self.workload.dtype else None,
                [sample.text for sample in group] if self.workload.text else None,
            )


class ArrowIpc(Loader):
    """Arrow IPC by hand: a mapped file of fixed-size lists, as good as the format allows."""

    def pack(self) -> None:
        with pa.OSFile(str(self.folder / "all.arrow"), "wb") as file:
            samples, writer = self.workload.samples(), None
            while group := list(itertools.islice(samples, self.workload.per_shard)):
                columns: dict[str, Any] = {"label": pa.array([s["label"] for s in group])}
                if self.workload.dtype:
                    flat = np.stack([s["x"] for s in group]).reshape(-1)
                    size = int(np.prod(self.workload.shape))
                    columns["x"] = pa.FixedSizeListArray.from_arrays(pa.array(flat), size)
                if self.workload.text:
                    columns["text"] = pa.array([s["text"] for s in group])
                batch = pa.record_batch(columns)
                writer = writer or pa.ipc.new_file(file, batch.schema)
                writer.write_batch(batch)
            if writer is not None:
                writer.close()

    def open(self) -> None:
        mapped = pa.memory_map(str(self.folder / "all.arrow"))
        self.table = pa.ipc.open_file(mapped).read_all()

    def _columns(self, table: Any) -> tuple[Any, Any, Any]:
        x = text = None
        if self.workload.dtype:
            flat = [chunk.flatten().to_numpy() for chunk in table["x"].chunks]
            shape = (len(table), *self.workload.shape)
            x = np.concatenate(flat).reshape(shape)  # a batch is the user's own, as everyone's
        if self.workload.text:
            text = table["text"].to_pylist()
        return table["label"].to_numpy(), x, text

    def samples(self) -> Iterator[Any]:
        for labels, x, text in self.batches(1024):
            yield from map(
                self.workload.cls, *[c for c in (labels.tolist(), x, text) if c is not None]
            )

    def batches(self, n: int) -> Iterator[tuple[Any, Any, Any]]:
        for low in range(0, len(self.table), n):
            yield self._columns(self.table.slice(low, n))

    def shuffled(self, n: int) -> Iterator[tuple[Any, Any, Any]]:
        order = np.random.default_rng(3).permutation(len(self.table))
        for low in range(0, len(order), n):
            yield self._columns(self.table.take(order[low : low + n]))


LOADERS: dict[str, type[Loader]] = {
    "webdataset": Webdataset,
    "arrow-ipc": ArrowIpc,
    "prototype": Prototype,
    "atd": Atd,
}
SHARED = {"prototype": "atd"}
"""Loaders that read what another one packed."""
