"""A data set as a source of Ray Data: the only importer of that half of Ray.

What belongs here: one read task for each shard, in order. A task opens its shard where it runs,
through the daemon of that machine, and every byte is proved there before it is decoded; nothing but
the description of the data set goes through Ray. Blocks are Arrow tables, as `to_arrow` makes them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import accumulate, pairwise
from typing import Any, Final, TypeAlias

import pyarrow as pa
import ray.data
from ray.data.block import BlockMetadata
from ray.data.datasource import Datasource, ReadTask

from atd.dataset import arrow_door
from atd.dataset.arrow_columns import Form
from atd.dataset.flow import Flow

RayDataset: TypeAlias = ray.data.Dataset

_FORM: Final = Form()


def dataset(flow: Flow, **options: Any) -> RayDataset:
    """The samples of ``flow``, a read task for each shard that they are of.

    Args:
        options: for `ray.data.read_datasource`: ``concurrency``, ``num_cpus`` …
    """
    source = Shards(flow)
    blocks = {"override_num_blocks": len(source.spans), **options}
    found: RayDataset = ray.data.read_datasource(source, **blocks)
    # Its own copy of the settings: Ray would otherwise give blocks as they come.
    found.context.execution_options.preserve_order = True
    return found


class Shards(Datasource):  # type: ignore[misc]  # Ray comes without types where it is not installed
    """The shards of a data set.

    Where samples of several shards are mixed with each other they are one task: their order is
    kept.
    """

    def __init__(self, flow: Flow) -> None:
        super().__init__()
        self._flow = flow
        self.spans = [
            (begin, end)
            for begin, end in pairwise(accumulate(flow.selection.counts, initial=0))
            if begin < end
        ]

    def get_name(self) -> str:
        """What Ray calls the source in its plans."""
        return f"atd({self._flow.source.what})"

    def estimate_inmemory_data_size(self) -> int | None:
        """About the bytes of the samples: those of their part of the shards."""
        return sum(self._bytes(end - begin) for begin, end in self.spans)

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: Any = None
    ) -> list[ReadTask]:
        """A task for each shard, however many Ray would like."""
        schema = None if self._flow.mapped else arrow_door.plan(self._flow, _FORM).schema
        return [
            ReadTask(
                partial(_blocks, self._part(begin, end)),
                self._metadata(end - begin),
                schema,
                per_task_row_limit,
            )
            for begin, end in self.spans
        ]

    def _part(self, begin: int, end: int) -> Flow:
        return replace(self._flow, selection=self._flow.selection.span(begin, end))

    def _metadata(self, rows: int) -> BlockMetadata:
        known = not self._flow.filtered and not self._flow.patient
        return BlockMetadata(
            num_rows=rows if known else None,
            size_bytes=self._bytes(rows),
            exec_stats=None,
            input_files=None,
        )

    def _bytes(self, rows: int) -> int:
        source = self._flow.source
        return sum(shard.size for shard in source.shards) * rows // max(1, sum(source.counts))


def _blocks(flow: Flow) -> Iterator[pa.Table]:
    """The blocks of one task: as many samples as a record batch holds."""
    for batch in arrow_door.reader(flow):
        yield pa.Table.from_batches([batch])
