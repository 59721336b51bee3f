"""Hugging Face datasets: one Arrow file, mapped, with the numpy format."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import datasets
import numpy as np
from contract import Columns, Peer, by_name, items
from datasets.arrow_writer import ArrowWriter
from workloads import Base


class HfDatasets(Peer):
    """``with_format("numpy")``; images by its own ``Image`` feature."""

    def _features(self) -> Any:
        shape, dtype = self.workload.shape, self.workload.dtype
        x: Any = None
        if self.workload.form == "jpeg":
            x = datasets.Image()
        elif self.workload.form == "ragged":
            x = datasets.Sequence(datasets.Value(dtype))
        elif len(shape) == 1:
            x = datasets.Sequence(datasets.Value(dtype), length=shape[0])
        elif shape:
            x = datasets.Array3D(shape=shape, dtype=dtype)
        kinds = {"label": datasets.Value("int64"), "x": x, "text": datasets.Value("string")}
        return datasets.Features({name: kinds[name] for name in self.workload.fields})

    def pack(self, base: Base) -> None:
        path, jpeg = str(self.folder / "data.arrow"), self.workload.form == "jpeg"
        rows = 100 if self.workload.name == "C" else 1000
        with ArrowWriter(path=path, features=self._features(), writer_batch_size=rows) as sink:
            for sample in base.dicts():
                if jpeg:
                    sample["x"] = {"bytes": sample["x"], "path": None}
                sink.write(sample)
            sink.finalize()

    def open(self) -> None:
        datasets.disable_progress_bars()
        self.raw = datasets.Dataset.from_file(str(self.folder / "data.arrow"))
        self.dataset = self.raw.with_format("numpy")
        self.get = by_name(self.workload, items)

    def fields(self, sample: Any) -> Columns:
        label, x, text = self.get(sample)
        return label, x, None if text is None else str(text)

    def columns(self, batch: Any) -> Columns:
        return self.get(batch)

    def samples(self) -> Iterable[Any]:
        return self.dataset

    def batches(self, n: int) -> Iterable[Any]:
        return self.dataset.iter(batch_size=n)

    def shuffled(self, n: int) -> Iterable[Any]:
        return self.dataset.shuffle(seed=3).iter(batch_size=n)

    def picker(self) -> Callable[[int], Any]:
        return self.dataset.__getitem__

    def resume(self, position: int) -> Iterator[Any]:
        return iter(self.dataset.skip(position))

    def with_workers(self, n: int, workers: int) -> Iterable[Any]:
        # Only the one workload that decodes asks for workers, and torch is slow to import.
        from torch.utils.data import DataLoader  # noqa: PLC0415

        return DataLoader(self.dataset, batch_size=n, num_workers=workers, collate_fn=_stacked)


def _stacked(samples: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "label": np.array([sample["label"] for sample in samples]),
        "x": np.stack([sample["x"] for sample in samples]),
    }
