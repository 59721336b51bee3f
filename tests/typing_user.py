"""What a user writes over a generated module; read by type checkers, and run, by tests of types.

Every ``assert_type`` is what a checker must find; nothing here may be an error under strict.
"""

from typing import TYPE_CHECKING, Any, Literal, assert_type

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

loader = ds.shuffled(seed=1).on_error("skip").loader(batch_size=2, workers=0)
for batch in loader:
    assert_type(batch.kind, list[Literal["oak", "elm"]])
    assert_type(batch.spot, EverySpotBatch)
assert_type(ds.batched(2)[0].maybe, list[int | None])
assert_type(len(loader), int)
assert_type(loader.state_dict(), dict[str, Any])
for size in ds.loader(5, collate=len):
    assert_type(size, int)
for keys in ds.batched(5, collate=lambda some: [one.note for one in some]):
    assert_type(keys, list[str | None])

both = atd.concat([ds, ds])
mixed = atd.mix([ds.shuffled(seed=1), ds.shuffled(seed=2)], [0.5, 0.5])
assert_type(both[0], Every)
for batch in mixed.loader(4):
    assert_type(batch.grid, NDArray[np.float32])
for batch in both.skip(1).batched(4):
    assert_type(batch.grid, NDArray[np.float32])


@atd.sample
class Less:
    kind: str
    small: int


assert_type(ds.as_type(Less)[0], Less)
assert_type(ds.as_type(Less)[0].kind, str)
assert_type(ds.select("kind", "grid")[0], atd.Row)
assert_type(atd.concat([ds.as_type(Less), ds.as_type(Less)]), atd.Dataset[Less])
assert_type(ds.map(lambda one: one.grid.sum()).filter(bool).map(int)[0], int)

if TYPE_CHECKING:  # torch need not be there to be typed
    for tensors in ds.shuffled(seed=1).torch(4):
        assert_type(tensors, Any)
    assert_type(ds.state_dict(), dict[str, Any])
    assert_type(ds.webdataset(), Any)

notes = ds.map(lambda one: one.note)
assert_type(notes[0], str | None)
train, test = ds.split(0.5, 0.5, seed=1)
assert_type(test[0], Every)
assert_type(atd.load("./packed"), atd.Dataset[atd.Row])
assert_type(atd.load("./packed", schema=Every), atd.Dataset[Every])
sums: list[Any] = list(ds.batched(2, collate=len))
print(len(ds), sums)
