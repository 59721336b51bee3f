"""Batches of a data set's samples, and where their iteration stands.

What belongs here: grouping samples in the order they come and handing them to `collate`. What a
column of a batch is depends on the schema (`atd.shards.batch`); after `map`, on what the function
returned.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Generic, TypeAlias, TypeVar

import numpy as np

from atd.dataset.blocks import Uncommon
from atd.dataset.cursor import Cursor, Reach, check_state, good_to_read, reaches, state_of
from atd.dataset.flow import Flow
from atd.dataset.samples import Maker
from atd.dataset.stacker import Stacker, cut
from atd.errors import AtdError, LocalError
from atd.schema.classes import schema_of
from atd.shards.batch import Batch, Column, collate, column_of
from atd.shards.gather import Pool

_BLOCK_BYTES: Final = 4 << 20
"""Bytes of shards in a block that several batches are cut out of."""

Collate: TypeAlias = Callable[[list[Any]], Any]

B = TypeVar("B")


class Batches(Generic[B]):
    """Iterates a data set in batches of type ``B``. Made by `Dataset.batched`.

    It can be iterated again and again; each iteration begins at the beginning, or once where
    `load_state_dict` said.
    """

    def __init__(
        self, flow: Flow, n: int, drop_last: bool, collate: Collate | None, copy: bool = True
    ) -> None:
        if n < 1:
            raise LocalError(f"expected a batch of 1 sample or more, got {n}")
        self.flow = flow
        self.n = n
        self.drop_last = drop_last
        self._collate = collate
        self._copy = copy
        self._start = 0
        self._consumed = 0
        self._pool = Pool()

    def __len__(self) -> int:
        """How many batches there are.

        Raises:
            TypeError: a filter makes the number of samples unknown.
        """
        whole, rest = divmod(len(self.flow), self.n)
        return whole + (rest > 0 and not self.drop_last)

    def __getitem__(self, number: int) -> B:
        """One batch by its number, read by itself: a torch ``DataLoader(…, batch_size=None)`` asks
        its workers for batches so. Iterating is faster.

        Raises:
            IndexError: there are not so many.
            TypeError: a filter makes the number of samples unknown.
        """
        total = len(self)
        if not -total <= number < total:
            raise IndexError(f"batch {number} is outside of {total:,} batches")
        begin = number % total * self.n
        end = min(begin + self.n, len(self.flow))
        flow = replace(self.flow, selection=self.flow.selection.span(begin, end))
        return next(iter(type(self)(flow, self.n, False, self._collate, self._copy)))

    def __iter__(self) -> Iterator[B]:
        start, self._start = self._start, 0
        self._consumed = start
        return self._run(start)

    def state_dict(self) -> dict[str, Any]:
        """Where the last iterator stands: after the batch it gave last (torchdata's protocol)."""
        return state_of(self.flow, self._consumed)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Let the next iterator begin where ``state`` was taken.

        Raises:
            LocalError: it is the state of another release, order or pipeline (any size will do).
        """
        self._start = self._consumed = check_state(self.flow, state)

    def _run(self, start: int) -> Iterator[Any]:
        if self._collate is None:
            try:
                stacker = Stacker(self.flow, self._pool, self._copy)
            except Uncommon:
                pass
            else:
                return self._by_columns(stacker, start)
        return self._by_samples(start)

    def _by_samples(self, start: int) -> Iterator[Any]:
        """Batches made of samples, as the user's functions and classes need them."""
        gather = self._collate or gatherer(self.flow)
        group: list[Any] = []
        cursor: Cursor[Any] = Cursor(self.flow, start)
        for sample in cursor:
            group.append(sample)
            if len(group) == self.n:
                self._consumed = cursor.consumed
                yield gather(group)
                group = []
        if group and not self.drop_last:
            self._consumed = cursor.consumed
            yield gather(group)

    def _by_columns(self, stacker: Stacker, start: int) -> Iterator[Any]:
        """Batches cut out of blocks of several, which are put together at once."""
        total = self.flow.selection.total
        if self.drop_last:
            total -= (total - start) % self.n
        most = 1 if stacker.lazy else max(1, good_to_read(self.flow, _BLOCK_BYTES) // self.n)
        for reach in reaches(self.flow, start, total, most * self.n, self.n, not self._copy):
            for batch in self._of(reach, stacker):
                self._consumed += len(batch)
                yield batch

    def _of(self, reach: Reach, stacker: Stacker) -> Iterator[Batch]:
        """The batches of a reach; one by one if not all of it can be had together."""
        count = len(reach)
        try:
            columns = stacker(reach.block())
        except (Uncommon, AtdError):
            if count > self.n:
                for begin in range(0, count, self.n):
                    yield from self._of(reach.part(begin, min(begin + self.n, count)), stacker)
            else:
                yield collate(list(reach.samples(Maker(self.flow))), self.flow.schema)
            return
        for begin in range(0, count, self.n):
            yield cut(columns, begin, min(begin + self.n, count))

    def __repr__(self) -> str:
        return f"Batches of {self.n} of {self.flow}"


def gatherer(flow: Flow) -> Collate:
    """The collation that the schema says, or the one that mapped samples need."""
    if flow.mapped:
        return _gather_mapped
    schema = flow.schema
    return lambda samples: collate(samples, schema)


def _gather_mapped(samples: list[Any]) -> Any:
    """What ``map`` returned: dataclasses by their schema, mappings by column, others stacked."""
    first = samples[0]
    if dataclasses.is_dataclass(first):
        return collate(samples, schema_of(type(first)))
    if isinstance(first, Mapping):
        columns = {name: _column([sample[name] for sample in samples]) for name in first}
        return Batch(columns, len(samples))
    return _column(samples)


def _column(values: Sequence[Any]) -> Column:
    """Numbers as an array, arrays stacked or ragged, anything else as a list."""
    if all(isinstance(value, bool | int | float | np.generic) for value in values):
        return np.array(values)
    if all(isinstance(value, np.ndarray) for value in values):
        return column_of(list(values))
    return list(values)
