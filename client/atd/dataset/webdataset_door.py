"""The only importer of webdataset.

Safe by construction: webdataset is handed decoded samples, never a URL (its ``pipe:`` runs a shell)
and never a member to decode (its default decoder unpickles).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import webdataset

from atd.dataset.cursor import read_raw
from atd.dataset.flow import Flow
from atd.dataset.stages import DROPPED, through


class _Samples:
    """The first stage: dicts of fields with ``__key__`` and ``__url__``. It pickles."""

    def __init__(self, flow: Flow) -> None:
        self._flow = flow

    def __call__(self) -> Iterator[dict[str, Any]]:
        flow = self._flow
        everything = np.arange(flow.selection.total, dtype=np.int64)
        for _, key, number, sample in read_raw(flow, everything):
            made = through(flow.stages, flow.reading(sample))
            if made is DROPPED:
                continue
            values = dict(made) if hasattr(made, "keys") else dict(vars(made))
            shard = flow.source.shards[number]
            yield {"__key__": key, "__url__": str(shard.digest), **values}


class Pipeline(webdataset.DataPipeline, webdataset.FluidInterface):  # type: ignore[misc]
    """A webdataset pipeline with the fluid interface (``.map``, ``.shuffle``, ``.batched`` …)."""


def pipeline(flow: Flow) -> Pipeline:
    """The samples of ``flow``, in its order, as a webdataset pipeline."""
    return Pipeline(_Samples(flow))
