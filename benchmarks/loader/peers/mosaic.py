"""mosaicml-streaming: MDS shards in a local folder, batches by its ``StreamingDataLoader``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import streaming
from contract import Columns, Peer, by_name, items
from measures import decoded
from streaming.base.util import clean_stale_shared_memory
from workloads import Base

_SEED = 9176


class Mosaic(Peer):
    """``StreamingDataset(local=…)``; the seed and the nodes are fixed, so that it can resume."""

    def pack(self, base: Base) -> None:
        kinds = {"label": "int", "x": self._array_kind(), "text": "str"}
        columns = {name: kinds[name] for name in self.workload.fields}
        with streaming.MDSWriter(out=str(self.folder), columns=columns, size_limit=1 << 26) as sink:
            for sample in base.dicts():
                sink.write(sample)

    def _array_kind(self) -> str:
        form = self.workload.form
        if form == "jpeg":
            return "bytes"
        shape = ":" + ",".join(map(str, self.workload.shape)) if form == "dense" else ""
        return f"ndarray:{self.workload.dtype}{shape}"

    def open(self) -> None:
        clean_stale_shared_memory()
        self.get = by_name(self.workload, items)
        self.known: dict[tuple[bool, int], Any] = {}

    def _dataset(self, shuffle: bool = False, n: int = 256) -> Any:
        # Each makes shared memory of its own, so one of each kind is kept.
        key = shuffle, n
        if key not in self.known:
            self.known[key] = streaming.StreamingDataset(
                local=str(self.folder),
                shuffle=shuffle,
                batch_size=n,
                shuffle_seed=_SEED,
                num_canonical_nodes=1,
            )
        return self.known[key]

    def _loader(self, n: int, shuffle: bool = False, workers: int = 0) -> Any:
        dataset = self._dataset(shuffle, n)
        collate = {"ragged": _lists, "jpeg": _decoded}.get(self.workload.form)
        return streaming.StreamingDataLoader(
            dataset, batch_size=n, num_workers=workers, collate_fn=collate
        )

    def samples(self) -> Iterable[Any]:
        return self._dataset()

    def batches(self, n: int) -> Iterable[Any]:
        return self._loader(n)

    def shuffled(self, n: int) -> Iterable[Any]:
        return self._loader(n, shuffle=True)

    def fields(self, sample: Any) -> Columns:
        label, x, text = self.get(sample)
        return label, decoded(x) if self.workload.form == "jpeg" else x, text

    def columns(self, batch: Any) -> Columns:
        return self.get(batch)

    def picker(self) -> Callable[[int], Any]:
        return self._dataset().__getitem__

    def resume(self, position: int) -> Iterator[Any]:
        dataset = self._dataset()
        dataset.load_state_dict(
            {
                "epoch": dataset.next_epoch,
                "sample_in_epoch": position,
                "num_canonical_nodes": 1,
                "shuffle_seed": _SEED,
                "initial_physical_nodes": 1,
            }
        )
        return iter(dataset)

    def with_workers(self, n: int, workers: int) -> Iterable[Any]:
        return self._loader(n, workers=workers)


def _decoded(samples: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "label": np.array([sample["label"] for sample in samples]),
        "x": np.stack([decoded(sample["x"]) for sample in samples]),
    }


def _lists(samples: list[dict[str, Any]]) -> dict[str, Any]:
    """Ragged batches, which torch's own collation refuses."""
    return {
        "label": np.array([sample["label"] for sample in samples]),
        "x": [sample["x"] for sample in samples],
    }
