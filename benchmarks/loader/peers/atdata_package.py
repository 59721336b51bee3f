"""The atdata package: a ``@packable`` class, ``write_samples``, and a ``Dataset`` of tar shards."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import atdata
from contract import Columns, NotOffered, Peer, attributes, by_name
from measures import decoded
from numpy.typing import NDArray
from workloads import SHARDS, Base


class Atdata(Peer):
    """As its documentation reads: ``ordered`` and ``shuffled``, with ``batch_size``."""

    def _class(self) -> Any:
        array = bytes if self.workload.form == "jpeg" else NDArray
        kinds: dict[str, Any] = {"label": int, "x": array, "text": str}
        hints = {name: kinds[name] for name in self.workload.fields}
        return atdata.packable(type("Sample", (), {"__annotations__": hints}))

    def pack(self, base: Base) -> None:
        cls = self._class()
        path = str(self.folder / "s.tar")
        samples = (cls(**sample) for sample in base.dicts())
        atdata.write_samples(samples, path, maxcount=self.workload.per_shard, maxsize=10**12)

    def open(self) -> None:
        last = len(list(self.folder.glob("*.tar"))) - 1
        assert last < SHARDS
        pattern = str(self.folder / f"s-{{000000..{last:06d}}}.tar")
        self.dataset = atdata.Dataset[self._class()](pattern)
        self.get = by_name(self.workload, attributes)

    def fields(self, sample: Any) -> Columns:
        label, x, text = self.get(sample)
        return label, decoded(x) if self.workload.form == "jpeg" else x, text

    def columns(self, batch: Any) -> Columns:
        label, x, text = self.get(batch)
        return label, [decoded(one) for one in x] if self.workload.form == "jpeg" else x, text

    def samples(self) -> Iterable[Any]:
        return self.dataset.ordered()

    def batches(self, n: int) -> Iterable[Any]:
        self._refuse_ragged()
        return self.dataset.ordered(batch_size=n)

    def _refuse_ragged(self) -> None:
        if self.workload.form == "ragged":  # its batches stack arrays, whatever their shapes
            raise NotOffered

    def shuffled(self, n: int) -> Iterable[Any]:
        self._refuse_ragged()
        return self.dataset.shuffled(batch_size=n)

    def resume(self, position: int) -> Iterator[Any]:
        # It has no other way: the samples before are read and dropped.
        return itertools.islice(iter(self.dataset.ordered()), position, None)
