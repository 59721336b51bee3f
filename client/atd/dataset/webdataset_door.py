"""The only importer of webdataset.

Safe by construction: webdataset is handed decoded samples, never a URL (its ``pipe:`` runs a shell)
and never a member to decode (its default decoder unpickles).

The first stage does what webdataset's own sources do: each worker of a ``DataLoader`` (or of
``WORKER`` and ``NUM_WORKERS``) gives its part of the samples, so no ``split_by_worker`` follows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import webdataset
from webdataset.utils import pytorch_worker_info

from atd.dataset.cursor import read_raw
from atd.dataset.flow import Flow
from atd.dataset.stages import DROPPED, through
from atd.errors import LocalError


class _Samples:
    """The first stage: dicts of fields with ``__key__`` and ``__url__``. It pickles."""

    def __init__(self, flow: Flow) -> None:
        self._flow = flow

    def __call__(self) -> Iterator[dict[str, Any]]:
        flow = self._flow
        _, _, worker, workers = pytorch_worker_info()
        mine = np.arange(worker, flow.selection.total, workers, dtype=np.int64)
        for _, key, number, sample in read_raw(flow, mine):
            made = through(flow.stages, flow.reading(sample))
            if made is DROPPED:
                continue
            shard = flow.source.shards[number]
            yield {"__key__": key, "__url__": str(shard.digest), **_fields(made)}


def _fields(sample: Any) -> dict[str, Any]:
    """A sample as a dict: rows and mappings, dataclasses and other classes with attributes."""
    if isinstance(sample, Mapping):
        return dict(sample)
    if dataclasses.is_dataclass(sample):
        return {field.name: getattr(sample, field.name) for field in dataclasses.fields(sample)}
    # A class of msgspec, or a named tuple.
    named = getattr(sample, "__struct_fields__", getattr(sample, "_fields", None))
    if isinstance(named, tuple):
        return {name: getattr(sample, name) for name in named}
    if hasattr(sample, "__dict__"):
        return dict(vars(sample))
    raise LocalError(
        f"a webdataset pipeline carries dicts, and map returned {type(sample).__name__}",
        next_step="write .map behind .webdataset(), or return a dict",
    )


class Pipeline(webdataset.DataPipeline, webdataset.FluidInterface):  # type: ignore[misc]
    """A webdataset pipeline with the fluid interface (``.map``, ``.shuffle``, ``.batched`` …)."""


def pipeline(flow: Flow) -> Pipeline:
    """The samples of ``flow``, in its order, as a webdataset pipeline."""
    return Pipeline(_Samples(flow))
