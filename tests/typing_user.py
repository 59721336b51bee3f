"""What a user writes over a generated module; read by type checkers, and run, by tests of types.

Every ``assert_type`` is what a checker must find; nothing here may be an error under strict.
"""

from typing import Any, Literal, assert_type

import numpy as np
from every import EVERY, Every, EverySpotBatch, EverySpots
from numpy.typing import NDArray

import atd

ds = atd.load(EVERY, split="train")
assert_type(ds[0], Every)
assert_type(ds[0].grid, NDArray[np.float32])
assert_type(ds[0].spots, list[EverySpots])
for one in ds.shuffled(seed=1).take(3):
    assert_type(one.kind, Literal["oak", "elm"])

for batch in ds.filter(lambda one: one.odd).ordered()[0:4].shard(0, 1).batched(2):
    assert_type(batch.grid, NDArray[np.float32])
    assert_type(batch.rows, NDArray[np.uint8] | atd.Ragged)
    assert_type(batch.kind, list[Literal["oak", "elm"]])
    assert_type(batch.spot, EverySpotBatch)
    assert_type(batch.spot.place, NDArray[np.int64])
    assert_type(batch.maybe, list[int | None])
    assert_type(len(batch), int)
    assert batch.grid.shape[1:] == (2, 3)
    assert batch.grid.dtype == np.float32
    assert batch.spot.place.shape == (len(batch),)
    assert set(batch.kind) <= {"oak", "elm"}

notes = ds.map(lambda one: one.note)
assert_type(notes[0], str | None)
train, test = ds.split(0.5, 0.5, seed=1)
assert_type(test[0], Every)
assert_type(atd.load("./packed"), atd.Dataset[atd.Row])
assert_type(atd.load("./packed", schema=Every), atd.Dataset[Every])
sums: list[Any] = list(ds.batched(2, collate=len))
print(len(ds), sums)
