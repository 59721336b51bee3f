"""The samples that filters keep, found out beforehand.

What belongs here: turning a flow with filters into one whose length is known. All ranks must agree
on how many batches there are, so a loader cannot find out on the way. What a filter keeps does not
depend on the order, so one pass serves every epoch.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from atd.dataset.cursor import read_at
from atd.dataset.flow import Flow
from atd.dataset.patience import read_from
from atd.dataset.stages import Map


def with_survivors(flow: Flow) -> Flow:
    """The same samples in the same order without a filter; reads everything once if there is one.

    Filters are evaluated on the samples as they lie, so a shuffle costs nothing extra here.
    """
    if not flow.filtered:
        return flow
    base = replace(flow, selection=flow.selection.ordered())
    mask = np.zeros(base.selection.total, dtype=np.bool_)
    everything = np.arange(len(mask), dtype=np.int64)
    found = read_from(base, 0) if flow.patient else read_at(base, everything)
    for position, _ in found:
        mask[position] = True
    stages = tuple(stage for stage in flow.stages if isinstance(stage, Map))
    return replace(flow, selection=flow.selection.kept(mask), stages=stages)
