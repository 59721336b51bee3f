"""This project: folders made by its packer, read through `atd.load` as a class of samples."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import make_dataclass
from functools import cached_property, partial
from typing import Annotated, Any

import numpy as np
from contract import Columns, Peer, attributes, by_name, items
from numpy.typing import NDArray
from workloads import Base

import atd
from atd.dataset.dataset import Dataset
from atd.manifest import Manifest, ManifestShard
from atd.records import CutParameters
from atd.schema import fields
from atd.schema.fields import Field, Schema
from atd.settings import Settings
from atd.shards.cut import pack
from atd.shards.layout import default_layout


class Atd(Peer):
    """Packed layout, except for pictures, which lie in members of their own (``.jpg``, ``.cls``).

    What one opening verified and indexed it leaves in the cache, for the next.
    """

    def _schema(self) -> Schema:
        dims = self.workload.shape if self.workload.form == "dense" else (None,)
        array = fields.Array(self.workload.dtype or "uint8", dims)
        jpeg = fields.Image(("image/jpeg",))
        kinds: dict[str, fields.Kind] = {
            "label": fields.Int(),
            "x": jpeg if self.workload.form == "jpeg" else array,
            "text": fields.Text(),
        }
        return Schema(tuple(Field(name, kinds[name]) for name in self.workload.fields))

    @cached_property
    def _class(self) -> type[Any]:
        array: Any = NDArray[np.dtype(self.workload.dtype or "u1").type]  # type: ignore[misc]
        if self.workload.form == "dense":
            array = Annotated[array, atd.Shape(*self.workload.shape)]
        hints = {"label": int, "x": array, "text": str}
        return make_dataclass("Sample", [(name, hints[name]) for name in self.workload.fields])

    def pack(self, base: Base) -> None:
        schema = self._schema()
        kind = "members" if self.workload.form == "jpeg" else "packed"
        layout = default_layout(schema, kind)
        cuts = CutParameters(order="keep", max_samples=self.workload.per_shard)
        samples = ((f"{n:08d}", partial(dict, sample)) for n, sample in enumerate(base.dicts()))
        found = pack(samples, schema, layout, cuts, self.folder, "train")
        listed = tuple(ManifestShard(s.name, s.digest, s.size, s.samples) for s in found)
        Manifest(schema, layout, cuts, {"train": listed}, "bench").save(self.folder)

    def forget(self) -> None:
        shutil.rmtree(Settings.load(os.environ).cache_dir, ignore_errors=True)

    def open(self) -> None:
        self.dataset: Dataset[Any] = atd.load(str(self.folder), schema=self._class)
        self.fields = by_name(self.workload, attributes)  # type: ignore[method-assign]
        self.of_batch = by_name(self.workload, items)

    def columns(self, batch: Any) -> Columns:
        return self.of_batch(batch)

    def samples(self) -> Iterable[Any]:
        return self.dataset

    def batches(self, n: int) -> Iterable[Any]:
        return self._ordered(n)

    def shuffled(self, n: int) -> Iterable[Any]:
        return self._mixed(n)

    def views(self, n: int) -> Iterable[Any]:
        return self._viewed(n)

    @cached_property
    def _ordered(self) -> Any:
        return _same_each_time(self.dataset.batched)

    @cached_property
    def _mixed(self) -> Any:
        return _same_each_time(self.dataset.shuffled(3, window=None).batched)

    @cached_property
    def _viewed(self) -> Any:
        return _same_each_time(partial(self.dataset.batched, copy=False))

    def picker(self) -> Callable[[int], Any]:
        return self.dataset.__getitem__

    def resume(self, position: int) -> Iterator[Any]:
        state = {**self.dataset.state_dict(), "consumed": position}
        self.dataset.load_state_dict(state)
        return iter(self.dataset)

    def with_workers(self, n: int, workers: int) -> Iterable[Any]:
        return self.dataset.loader(n, workers=workers, tail="pad")


def _same_each_time(make: Callable[[int], Any]) -> Callable[[int], Any]:
    """Batches are made once and iterated every epoch, as in a training loop."""
    known: dict[int, Any] = {}

    def batches(n: int) -> Any:
        if n not in known:
            known[n] = make(n)
        return known[n]

    return batches
