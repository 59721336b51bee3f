"""The only importer of webdataset.

Safe by construction: webdataset is handed decoded samples, never a URL (its ``pipe:`` runs a shell)
and never a member to decode (its default decoder unpickles).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import webdataset

from atd.dataset.cursor import read_raw
from atd.dataset.stages import DROPPED, through

if TYPE_CHECKING:
    from atd.dataset.dataset import Dataset


class _Samples:
    """The first stage: dicts of fields with ``__key__`` and ``__url__``. It pickles."""

    def __init__(self, dataset: Dataset[Any]) -> None:
        self._dataset = dataset

    def __call__(self) -> Iterator[dict[str, Any]]:
        dataset = self._dataset
        everything = np.arange(dataset.selection.total, dtype=np.int64)
        for _, key, number, sample in read_raw(dataset, everything):
            made = through(dataset.stages, dataset.reading(sample))
            if made is DROPPED:
                continue
            values = dict(made) if hasattr(made, "keys") else dict(vars(made))
            shard = dataset.source.shards[number]
            yield {"__key__": key, "__url__": str(shard.digest), **values}


class Pipeline(webdataset.DataPipeline, webdataset.FluidInterface):  # type: ignore[misc]
    """A webdataset pipeline with the fluid interface (``.map``, ``.shuffle``, ``.batched`` …)."""


def pipeline(dataset: Dataset[Any]) -> Pipeline:
    """The samples of ``dataset``, in its order, as a webdataset pipeline."""
    return Pipeline(_Samples(dataset))
