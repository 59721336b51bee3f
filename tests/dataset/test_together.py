"""Shards that are shuffled together are read as one, and give what each of them gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import atd
from atd.dataset.blocks import Block
from atd.dataset.places import Scattered
from atd.dataset.shelf import Shelf, shelf_of
from atd.dataset.together import MAX_JOINED, Together, together
from atd.schema.row import same
from atd.shards.columns import Columns, read_columns
from atd.shards.gather import Pool
from atd.shards.layout import packed_keys
from atd.shards.texts import Decoded
from leaves import pack_folder


@pytest.fixture
def long(tmp_path: Path) -> atd.Dataset[atd.Row]:
    return atd.load(str(pack_folder(tmp_path / "long", {"train": range(120)}, most=10)))


def shelf_and_counts(ds: atd.Dataset[Any]) -> tuple[Shelf, tuple[int, ...]]:
    return shelf_of(ds.flow.source), ds.flow.source.counts


def mixed(counts: tuple[int, ...], shards: list[int], seed: int = 0) -> Scattered:
    """A few samples of each of ``shards``, mixed."""
    rng = np.random.default_rng(seed)
    numbers = np.concatenate([rng.permutation(shards) for _ in range(3)])
    rows = np.array([rng.integers(counts[number]) for number in numbers.tolist()])
    return Scattered(numbers, rows)


@pytest.mark.parametrize("arrow", [True, False])
def test_a_joined_block_is_that_of_its_parts(long: atd.Dataset[atd.Row], arrow: bool) -> None:
    Decoded.count = 10**6 if arrow else -(10**6)
    shelf, counts = shelf_and_counts(long)
    places = mixed(counts, list(range(len(counts))))
    assert together(shelf, places) is None
    apart = Block(shelf, places)
    assert together(shelf, places) is not None
    joined = Block(shelf, places)
    wanted = [shelf.shard(number).sample(row) for number, row in places]
    for block in (apart, joined):
        for name in ("number", "veins", "spots", "note"):
            values = [sample[name] for sample in wanted]
            assert same(block.values(name), values)
            assert same(list(block.each(name)), values)
            assert same(list(block.lazily(name)), values)
        numbers = [sample["number"] for sample in wanted]
        assert block.numbers("number", np.dtype(np.int32)).tolist() == numbers
        veins = block.arrays("veins", Pool())
        assert veins is not None
        assert veins.flags.writeable
        assert np.array_equal(veins, [sample["veins"] for sample in wanted])
        assert block.arrays("spots", Pool()) is None
        assert block.view("veins") is None
    Decoded.count = 0


def test_shards_are_joined_when_they_are_asked_for_again(long: atd.Dataset[atd.Row]) -> None:
    shelf, counts = shelf_and_counts(long)
    assert len(counts) >= 12
    first, second = mixed(counts, [0, 1, 2, 3]), mixed(counts, [4, 5, 6, 7])
    border = mixed(counts, list(range(8)))
    assert together(shelf, first) is None
    joined = together(shelf, mixed(counts, [0, 1, 2, 3], seed=1))
    assert joined is not None
    assert joined[0].numbers == {0, 1, 2, 3}
    again = together(shelf, mixed(counts, [1, 3]))
    assert again is not None
    assert again[0] is joined[0]
    # From one window to the next: its shards alone are joined.
    assert together(shelf, border) is None
    joined = together(shelf, second)
    assert joined is not None
    assert joined[0].numbers == {4, 5, 6, 7}


def test_what_one_request_misses_by_chance_is_joined_too(long: atd.Dataset[atd.Row]) -> None:
    shelf, counts = shelf_and_counts(long)
    assert together(shelf, mixed(counts, [0, 1, 2, 3, 4, 5, 6])) is None
    joined = together(shelf, mixed(counts, [0, 1, 2, 3, 4, 5, 7]))
    assert joined is not None
    assert joined[0].numbers == set(range(8))


def test_too_many_shards_are_read_apart(tmp_path: Path) -> None:
    folder = pack_folder(tmp_path / "many", {"train": range(MAX_JOINED + 40)}, most=1)
    ds = atd.load(str(folder)).shuffled(1, window=None)
    shelf, counts = shelf_and_counts(ds)
    assert len(counts) > MAX_JOINED
    everything = mixed(counts, list(range(len(counts))))
    assert together(shelf, everything) is together(shelf, everything) is None
    notes = [note for batch in ds.batched(len(counts)) for note in batch.note]
    assert notes == [sample.note for sample in ds] == [ds[at].note for at in range(len(ds))]


def test_samples_out_of_the_ordinary_have_no_row(long: atd.Dataset[atd.Row]) -> None:
    shelf, _ = shelf_and_counts(long)
    shard = shelf.shard(0)
    keys = packed_keys(shard.schema, shard.layout)
    octets = shard.octets.copy()
    octets[shard.index.offsets[3]] ^= 1  # one field more in the map than there is
    odd = read_columns(octets, shard.index.offsets, shard.index.sizes, shard.schema, keys)
    assert odd.row is not None
    plain = shelf.shard(1).columns
    assert plain is not None
    parts: list[Columns] = [odd, plain]
    joined = Together([0, 1], parts)
    rows = joined.rows(Scattered(np.array([1, 0, 0, 1]), np.array([2, 3, 4, 0])))
    assert rows is not None
    assert rows[1] == -1
    wanted = [odd.by_name["note"].get(3), *(plain.by_name["note"].get(at) for at in (2, 0))]
    assert joined.column("note").take(rows[[2, 0, 3]]) == wanted
    assert joined.rows(Scattered(np.array([2]), np.array([0]))) is None
