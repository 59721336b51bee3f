"""The ways of reading a sample, compared: one by one, by columns, field by field, projected.

The law: whatever one of them refuses the others refuse, with the same class of error, and whatever
they give is the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from atd.errors import AtdError, ShardError
from atd.schema.row import same
from atd.shards.reader import ShardFile
from atd.shards.unfit import Unfit

REFUSED = object()


def must_name(error: AtdError, where: str) -> None:
    """The one class of error about a shard, in characters that act on nothing, and where."""
    assert type(error) is ShardError, repr(error)
    assert str(error).startswith(where), str(error)
    assert str(error).isprintable(), repr(str(error))


def by_itself(shard: ShardFile, i: int) -> Any:
    """Sample ``i`` from the strict reader, or `REFUSED`; the error says where."""
    try:
        return shard.sample(i)
    except AtdError as error:
        must_name(error, f"{shard.name}: sample {shard.key(i)}: ")
        return REFUSED


def by_column(shard: ShardFile, i: int) -> Any:
    """Sample ``i`` out of the columns; None where they leave it to the strict reader."""
    columns = shard.columns
    if columns is None:
        return None
    row = i if columns.row is None else int(columns.row[i])
    if row < 0:
        return None
    try:
        absent = {name: columns.by_name[name].absent for name in shard.schema.names}
        there = [name for name, mask in absent.items() if mask is None or not mask[row]]
        found = {name: columns.by_name[name].get(row) for name in there}
        many = {name: columns.by_name[name].take(slice(row, row + 1)) for name in found}
        more = {name: columns.by_name[name].take(np.array([row, row])) for name in found}
    except (Unfit, UnicodeDecodeError):
        return None
    assert all(len(values) == 1 for values in many.values())
    assert repr([values[0] for values in many.values()]) == repr(list(found.values()))
    assert repr([values[1] for values in more.values()]) == repr(list(found.values()))
    return found


def by_field(shard: ShardFile, i: int) -> Any:
    """Sample ``i`` field by field, as a lazy column reads it; `REFUSED` where one is."""
    found = {}
    for name in shard.schema.names:
        try:
            found[name] = shard.value(i, name)
        except AtdError as error:
            must_name(error, f"{shard.name}: sample {shard.key(i)}: ")
            return REFUSED
    return found


def equal(one: Any, other: Any) -> bool:
    """Whether two samples are the same; NaN, which equals nothing, by how it is written."""
    return same(one, other) or repr(one) == repr(other)


def agree(shard: ShardFile) -> int:
    """How many samples the columns gave; all ways of reading agree about every sample."""
    given = 0
    for i in range(len(shard)):
        slow = by_itself(shard, i)
        quick = by_column(shard, i)
        if quick is not None:
            given += 1
            assert slow is not REFUSED
            assert list(slow) == list(quick)
            assert equal(slow, quick), (slow, quick)
        _projections_agree(shard, i, slow)
    return given


def _projections_agree(shard: ShardFile, i: int, slow: Any) -> None:
    single = by_field(shard, i)
    if slow is REFUSED:
        # What is not asked for is stepped over; the structure around it is not.
        return
    assert single is not REFUSED
    for name, value in single.items():
        assert equal(value, slow.get(name)), name
    some = shard.schema.names[::2]
    assert equal(shard.sample(i, some), {name: slow[name] for name in some if name in slow})
