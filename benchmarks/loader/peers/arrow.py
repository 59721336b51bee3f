"""Arrow by hand: a mapped IPC file as good as the format allows, and Lance over the same tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from contract import Columns, Peer
from measures import decoded
from workloads import Base

_ROWS_FOR_SAMPLES = 256
_BATCH_BYTES = 4_000_000


def table(base: Base, low: int, high: int) -> Any:
    """Samples ``low`` to ``high`` as a table: fixed-size lists, lists, or binary for JPEG."""
    workload = base.workload
    columns: dict[str, Any] = {"label": pa.array(np.asarray(base.labels[low:high]))}
    if workload.form == "dense":
        flat = np.ascontiguousarray(base.dense[low:high]).reshape(-1)
        size = int(np.prod(workload.shape))
        columns["x"] = pa.FixedSizeListArray.from_arrays(pa.array(flat), size)
    elif workload.form == "ragged":
        pieces = [base.x(i) for i in range(low, high)]
        offsets = np.cumsum([0, *map(len, pieces)], dtype=np.int32)
        columns["x"] = pa.ListArray.from_arrays(pa.array(offsets), pa.array(np.concatenate(pieces)))
    elif workload.form == "jpeg":
        columns["x"] = pa.array([base.x(i) for i in range(low, high)], pa.binary())
    if workload.text:
        columns["text"] = pa.array(base.texts[low:high], pa.string())
    return pa.table(columns)


class _Tables(Peer):
    """Reading tables batch by batch; samples are the rows of small batches."""

    def _rows_per_write(self) -> int:
        width = int(np.prod(self.workload.shape)) if self.workload.form == "dense" else 1000
        return max(100, min(20_000, _BATCH_BYTES // max(width, 1)))

    def _tables(self, base: Base) -> Iterator[Any]:
        step = self._rows_per_write()
        for low in range(0, self.workload.count, step):
            yield table(base, low, min(low + step, self.workload.count))

    def _chunked(self, n: int) -> Iterator[Any]:
        raise NotImplementedError

    def _taken(self, rows: Any) -> Any:
        raise NotImplementedError

    def _from(self, position: int) -> Iterator[Any]:
        raise NotImplementedError

    def fields(self, sample: Columns) -> Columns:
        return sample

    def columns(self, batch: Columns) -> Columns:
        return batch

    def samples(self) -> Iterator[Columns]:
        return self._rows(self._chunked(_ROWS_FOR_SAMPLES))

    def _rows(self, tables: Iterable[Any]) -> Iterator[Columns]:
        for one in tables:
            labels, x, text = self._decoded(one)
            none = [None] * len(labels)
            columns = (none if column is None else column for column in (x, text))
            yield from zip(labels.tolist(), *columns, strict=True)

    def batches(self, n: int) -> Iterator[Columns]:
        return map(self._copied, self._chunked(n))

    def shuffled(self, n: int) -> Iterator[Columns]:
        order = np.random.default_rng(3).permutation(self.workload.count)
        for low in range(0, len(order), n):
            yield self._decoded(self._taken(order[low : low + n]))

    def picker(self) -> Callable[[int], Columns]:
        def pick(i: int) -> Columns:
            return next(self._rows([self._taken(np.array([i]))]))

        return pick

    def resume(self, position: int) -> Iterator[Columns]:
        return self._rows(self._from(position))

    def _copied(self, rows: Any) -> Columns:
        """A batch that is the user's own, as every other loader's."""
        labels, x, text = self._decoded(rows)
        return labels, x.copy() if isinstance(x, np.ndarray) and not x.flags.writeable else x, text

    def _decoded(self, rows: Any) -> Columns:
        text = rows.column("text").to_pylist() if self.workload.text else None
        labels = rows.column("label").to_numpy()
        x: Any = None
        if self.workload.form != "none":
            column = rows.column("x")
            chunked = isinstance(column, pa.ChunkedArray)
            x = self._arrays(pa.concat_arrays(column.chunks) if chunked else column)
        return labels, x, text

    def _arrays(self, column: Any) -> Any:
        if self.workload.form == "jpeg":
            return np.stack([decoded(value.as_py()) for value in column])
        flat = column.flatten().to_numpy(zero_copy_only=False)
        if self.workload.form == "dense":
            return flat.reshape(len(column), *self.workload.shape)
        ends = column.offsets.to_numpy()
        return np.split(flat, ends[1:-1] - ends[0])


class ArrowIpc(_Tables):
    """An IPC file in a memory map."""

    def pack(self, base: Base) -> None:
        sink: Any = None
        for one in self._tables(base):
            sink = sink or pa.ipc.new_file(str(self.folder / "all.arrow"), one.schema)
            sink.write_table(one)
        sink.close()

    def open(self) -> None:
        mapped = pa.memory_map(str(self.folder / "all.arrow"))
        self.table = pa.ipc.open_file(mapped).read_all()

    def _chunked(self, n: int) -> Iterator[Any]:
        return self._from(0, n)

    def _from(self, position: int, n: int = _ROWS_FOR_SAMPLES) -> Iterator[Any]:
        for low in range(position, len(self.table), n):
            yield self.table.slice(low, n)

    def _taken(self, rows: Any) -> Any:
        return self.table.slice(rows[0], 1) if len(rows) == 1 else self.table.take(rows)

    def views(self, n: int) -> Iterator[Columns]:
        return map(self._decoded, self._chunked(n))


class Lance(_Tables):
    """A Lance data set: ``to_batches`` in order, ``take`` otherwise."""

    def pack(self, base: Base) -> None:
        made = (batch for one in self._tables(base) for batch in one.to_batches())
        schema = table(base, 0, 1).schema
        _lance().write_dataset(made, str(self.folder / "all.lance"), schema=schema)

    def open(self) -> None:
        self.dataset = _lance().dataset(str(self.folder / "all.lance"))

    def _chunked(self, n: int) -> Iterator[Any]:
        found: Iterator[Any] = self.dataset.to_batches(batch_size=n, scan_in_order=True)
        return found

    def _from(self, position: int) -> Iterator[Any]:
        scanner = self.dataset.scanner(offset=position, batch_size=_ROWS_FOR_SAMPLES)
        found: Iterator[Any] = scanner.to_batches()
        return found

    def _taken(self, rows: Any) -> Any:
        return self.dataset.take(rows.tolist())


def _lance() -> Any:
    # Not at the top, so that Arrow alone does not pay for importing it.
    import lance  # noqa: PLC0415

    return lance
