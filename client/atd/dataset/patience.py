"""Going on after a bad sample, where the user asked for it.

What belongs here: what `Dataset.on_error` means by ``skip``. A sample is bad when it cannot be
decoded, does not fit the class, or when a function of the user's raises over it. A shard that
cannot be had, or is not what was signed, is no bad sample: that is raised always. Whoever skips is
told each time, by the logger ``atd.dataset``.

A bad sample is left out where one reader has all of the order. Where several share it, and in a
loader, it is *replaced*, by the next sample of the whole order that can be read, so that all ranks
still take as many steps; which one that is does not depend on ranks or workers.

Reading is as fast as ever until a sample is bad; then the batch or sample at fault is found by
reading one by one.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from atd.dataset.batches import Batches, gatherer
from atd.dataset.cursor import Cursor, read_at
from atd.dataset.flow import Flow
from atd.dataset.selection import Selection, Share, Stripe
from atd.errors import AtdError, LocalError, SchemaMismatch, ShardError

T = TypeVar("T")
B = TypeVar("B")

_log = logging.getLogger("atd.dataset")

_NOTHING: Any = object()
"""Where a filter kept no sample, or a bad one was left out."""


def is_of_sample(error: Exception) -> bool:
    """Whether a sample is at fault, or a function over it, and not the way to the data."""
    if isinstance(error, AtdError):
        return isinstance(error, ShardError | SchemaMismatch)
    return not isinstance(error, MemoryError)


def read_from(flow: Flow, start: int) -> Iterator[tuple[int, Any]]:
    """Positions from ``start`` on with their samples; filtered ones are left out, bad ones left out
    or replaced."""
    total = flow.selection.total
    while start < total:
        try:
            for position, sample in read_at(flow, np.arange(start, total, dtype=np.int64)):
                start = position + 1
                yield position, sample
            return
        except Exception as error:
            if not is_of_sample(error):
                raise
        while start < total:
            bad, sample = _one(flow, start)
            start += 1
            if sample is not _NOTHING:
                yield start - 1, sample
            if bad:
                break


class PatientCursor(Cursor[T]):
    """An iteration that goes on after bad samples."""

    def __init__(self, flow: Flow, start: int) -> None:
        self._flow = flow
        self._at = start
        self._samples = self._patiently(start)

    @property
    def consumed(self) -> int:
        """The position after the last sample it gave."""
        return self._at

    def _patiently(self, start: int) -> Iterator[T]:
        for position, sample in read_from(self._flow, start):
            self._at = position + 1
            yield sample
        self._at = self._flow.selection.total


class PatientBatches(Batches[B]):
    """Batches without the bad samples: others come in their place."""

    def _run(self, start: int) -> Iterator[Any]:
        while True:
            self._consumed = start
            try:
                yield from super()._run(start)
                return
            except Exception as error:
                if not is_of_sample(error):
                    raise
            group, start = self._gathered(self._consumed)
            if not group or (len(group) < self.n and self.drop_last):
                return
            self._consumed = start
            yield (self._collate or gatherer(self.flow))(group)

    def _gathered(self, start: int) -> tuple[list[Any], int]:
        """The samples of one batch, read one by one, and the position after the last."""
        # Some kinds are decoded only when they are put together. What the user's own collation
        # wants of a batch is not known, so that is not tried on one sample.
        check = None if self._collate else gatherer(self.flow)
        group: list[Any] = []
        while start < self.flow.selection.total and len(group) < self.n:
            _, sample = _one(self.flow, start, check)
            if sample is not _NOTHING:
                group.append(sample)
            start += 1
        return group, start


def _one(flow: Flow, position: int, check: Any = None) -> tuple[bool, Any]:
    """Whether the sample at ``position`` is bad; and it, the one in its place, or `_NOTHING`."""
    bad, sample = _tried(flow, position, check)
    step = flow.selection.steps[-1]
    if not bad or not isinstance(step, Share | Stripe):
        return bad, sample
    whole = replace(flow, selection=Selection(flow.selection.steps[:-1]), world=1)
    total = whole.selection.total
    first = int(step.pick(np.array([position], dtype=np.int64))[0])
    for next_one in range(first + 1, first + total):
        bad, sample = _tried(whole, next_one % total, check)
        if not bad and sample is not _NOTHING:
            return True, sample
    raise LocalError(f"not one of {total:,} samples can be read")


def _tried(flow: Flow, position: int, check: Any) -> tuple[bool, Any]:
    """Whether the sample at ``position`` is bad; and it, or `_NOTHING`."""
    try:
        found = [sample for _, sample in read_at(flow, np.array([position], dtype=np.int64))]
        if found and check is not None:
            check(found)
    except Exception as error:
        if not is_of_sample(error):
            raise
        _log.warning("skipped the sample at position %d of %s: %s", position, flow, error)
        return True, _NOTHING
    return False, found[0] if found else _NOTHING
