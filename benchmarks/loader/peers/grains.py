"""grain over ArrayRecord files of msgpack samples."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterable, Iterator

import compact
import grain
import msgpack
from absl import flags
from array_record.python.array_record_module import ArrayRecordWriter
from contract import Columns, Peer, stacked
from measures import decoded
from workloads import Base

_OPTIONS = "group_size:1,uncompressed"
"""What random access wants; the default compresses groups."""


class _Decode:
    """Bytes of a record to columns; a class, because worker processes pickle it."""

    def __init__(self, form: str) -> None:
        self.form = form

    def __call__(self, record: bytes) -> Columns:
        sample = msgpack.unpackb(record)
        x = sample.get("x")
        if x is not None:
            x = decoded(x) if self.form == "jpeg" else compact.array(x)
        return sample["label"], x, sample.get("text")


class Grain(Peer):
    """``MapDataset`` to ``to_iter_dataset``, as its documentation reads."""

    def pack(self, base: Base) -> None:
        samples = base.dicts()
        for number in itertools.count():
            group = list(itertools.islice(samples, self.workload.per_shard))
            if not group:
                break
            sink = ArrayRecordWriter(str(self.folder / f"s-{number:05d}.array_record"), _OPTIONS)
            for sample in group:
                sink.write(compact.packed(sample))
            sink.close()

    def open(self) -> None:
        if not flags.FLAGS.is_parsed():
            flags.FLAGS(sys.argv[:1])
        files = sorted(map(str, self.folder.glob("*.array_record")))
        source = grain.sources.ArrayRecordDataSource(files)
        self.raw = grain.MapDataset.source(source)
        self.decode = _Decode(self.workload.form)

    def fields(self, sample: Columns) -> Columns:
        return sample

    def columns(self, batch: Columns) -> Columns:
        return batch

    def samples(self) -> Iterable[Columns]:
        return self.raw.map(self.decode).to_iter_dataset()

    def batches(self, n: int) -> Iterable[Columns]:
        return self.raw.map(self.decode).batch(n, batch_fn=stacked).to_iter_dataset()

    def shuffled(self, n: int) -> Iterable[Columns]:
        mixed = self.raw.seed(3).shuffle().map(self.decode)
        return mixed.batch(n, batch_fn=stacked).to_iter_dataset()

    def picker(self) -> Callable[[int], Columns]:
        return self.raw.map(self.decode).__getitem__

    def resume(self, position: int) -> Iterator[Columns]:
        ahead = iter(self.raw.map(self.decode).to_iter_dataset())
        ahead.set_state({**ahead.get_state(), "next_index": position})
        return ahead

    def with_workers(self, n: int, workers: int) -> Iterable[Columns]:
        options = grain.multiprocessing.MultiprocessingOptions(
            num_workers=workers, per_worker_buffer_size=4
        )
        ahead = self.raw.map(self.decode).to_iter_dataset().batch(n, batch_fn=stacked)
        return ahead.mp_prefetch(options)
