"""litdata: ``optimize`` into 64 MB chunks, ``StreamingDataset`` on the local folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import litdata
import numpy as np
from contract import Columns, Peer, by_name, items
from measures import decoded
from workloads import Base


def _sample(base: Base, i: int) -> dict[str, Any]:
    row = next(base.rows(i, i + 1))
    found = dict(zip(base.workload.fields, [v for v in row if v is not None], strict=True))
    if base.workload.form == "dense" or base.workload.form == "ragged":
        found["x"] = np.array(found["x"])
    return found


class Litdata(Peer):
    """Numpy arrays and bytes as they are; batches by its ``StreamingDataLoader``."""

    def pack(self, base: Base) -> None:
        litdata.optimize(
            fn=partial(_sample, base),
            inputs=list(range(self.workload.count)),
            output_dir=str(self.folder),
            chunk_bytes="64MB",
            num_workers=1,
            mode="overwrite",
            verbose=False,
            start_method="fork",
            keep_data_ordered=True,
        )

    def open(self) -> None:
        self.get = by_name(self.workload, items)

    def fields(self, sample: Any) -> Columns:
        label, x, text = self.get(sample)
        return label, decoded(x) if self.workload.form == "jpeg" else x, text

    def columns(self, batch: Any) -> Columns:
        return self.get(batch)

    def _dataset(self, shuffle: bool = False) -> Any:
        decode = _decode if self.workload.form == "jpeg" else None
        return litdata.StreamingDataset(str(self.folder), shuffle=shuffle, transform=decode)

    def _loader(self, n: int, shuffle: bool = False, workers: int = 0) -> Any:
        return litdata.StreamingDataLoader(
            self._dataset(shuffle),
            batch_size=n,
            num_workers=workers,
            shuffle=shuffle,
            collate_fn=_lists if self.workload.form == "ragged" else None,
        )

    def samples(self) -> Iterable[Any]:
        return litdata.StreamingDataset(str(self.folder))

    def batches(self, n: int) -> Iterable[Any]:
        return self._loader(n)

    def shuffled(self, n: int) -> Iterable[Any]:
        return self._loader(n, shuffle=True)

    def picker(self) -> Callable[[int], Any]:
        return litdata.StreamingDataset(str(self.folder)).__getitem__

    def resume(self, position: int) -> Iterator[Any]:
        # Its state is the loader's, in batches; by position it is random access.
        dataset = litdata.StreamingDataset(str(self.folder))
        return (dataset[i] for i in range(position, len(dataset)))

    def with_workers(self, n: int, workers: int) -> Iterable[Any]:
        return self._loader(n, workers=workers)


def _decode(sample: dict[str, Any]) -> dict[str, Any]:
    return {**sample, "x": decoded(sample["x"])}


def _lists(samples: list[dict[str, Any]]) -> dict[str, Any]:
    """Ragged batches, which torch's own collation refuses."""
    return {
        "label": np.array([sample["label"] for sample in samples]),
        "x": [sample["x"] for sample in samples],
    }
