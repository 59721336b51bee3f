"""What a loader must offer to be compared; one subclass of `Peer` each, in ``peers/``.

A loader keeps its own kinds of samples and batches. `Peer.fields` and `Peer.columns` say where in
them the fields are, and must bring every field to what a training loop would use: arrays decoded,
text as strings. What a loader does not have at all stays `NotOffered`, and shows as a dash.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from workloads import Base, Workload

Columns: TypeAlias = tuple[Any, Any, Any]
"""Of a sample: label, array or None, text or None. Of a batch: columns of them."""


class NotOffered(Exception):
    """The loader has no such way of reading."""


class Peer:
    """A loader under test: packs a workload in its own format, and reads it.

    Args:
        workload: which samples.
        folder: where its packed files are.
    """

    def __init__(self, workload: Workload, folder: Path) -> None:
        self.workload = workload
        self.folder = folder

    def pack(self, base: Base) -> None:
        """Write the workload in this loader's format into `folder`."""
        raise NotOffered

    def forget(self) -> None:
        """Throw away what earlier openings left on the disk, such as an index."""
        raise NotOffered

    def open(self) -> None:
        """Get ready to read. Timed, up to the first sample."""
        raise NotImplementedError

    def samples(self) -> Iterable[Any]:
        """In order, one by one."""
        raise NotOffered

    def fields(self, sample: Any) -> Columns:
        """Label, array and text of a sample. A subclass may set a faster one on itself."""
        raise NotImplementedError

    def batches(self, n: int) -> Iterable[Any]:
        """In order, ``n`` at a time."""
        raise NotOffered

    def shuffled(self, n: int) -> Iterable[Any]:
        """Shuffled, ``n`` at a time: with the best shuffle that the loader itself recommends."""
        raise NotOffered

    def views(self, n: int) -> Iterable[Any]:
        """In order, ``n`` at a time, as read-only views of the file where that can be."""
        raise NotOffered

    def columns(self, batch: Any) -> Columns:
        """Labels, arrays and texts of a batch."""
        raise NotImplementedError

    def picker(self) -> Callable[[int], Any]:
        """The function from a position to its sample."""
        raise NotOffered

    def resume(self, position: int) -> Iterator[Any]:
        """The samples from ``position`` on, by the loader's own means of going on."""
        raise NotOffered

    def with_workers(self, n: int, workers: int) -> Iterable[Any]:
        """In batches, in any order, made by that many worker processes."""
        raise NotOffered


def by_name(workload: Workload, get: Callable[..., Callable[[Any], Any]]) -> Callable[..., Columns]:
    """`Peer.fields` for samples whose fields have names: ``get`` is itemgetter or attrgetter."""
    found = get(*workload.fields)
    if workload.fields == ("label", "x", "text"):
        return found
    if workload.fields == ("label", "x"):
        return lambda sample: (*found(sample), None)
    label, text = get("label"), get("text")
    return lambda sample: (label(sample), None, text(sample))


items = operator.itemgetter
attributes = operator.attrgetter


def grouped(samples: Iterable[Columns], n: int) -> Iterator[Columns]:
    """Batches of samples that are columns already, for loaders that leave batches to the user."""
    ahead = iter(samples)
    while group := list(itertools.islice(ahead, n)):
        yield stacked(group)


def stacked(group: list[Columns]) -> Columns:
    """One batch: labels as an array, arrays stacked where they are of one shape, text as a list."""
    labels, arrays, texts = zip(*group, strict=True)
    x: Any = None
    if arrays[0] is not None:
        same = all(array.shape == arrays[0].shape for array in arrays)
        x = np.stack(arrays) if same else list(arrays)
    return np.array(labels), x, list(texts) if texts[0] is not None else None
