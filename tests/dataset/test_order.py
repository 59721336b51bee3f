"""The order of an epoch: a bijection, stable across versions, the same however it is asked."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atd.dataset.order import Indices, Ordered, Permutation, Shuffled
from atd.errors import LocalError

counts_of_shards = st.lists(st.integers(0, 60), max_size=8).map(tuple)
windows = st.none() | st.integers(1, 12)
blocks = st.none() | st.integers(1, 40)


def at(order: Ordered | Shuffled, start: int, stop: int) -> Indices:
    return order.pick(np.arange(start, min(stop, order.total), dtype=np.int64))


def everything(n: int, key: int) -> list[int]:
    return Permutation(n, key)(np.arange(n, dtype=np.int64)).tolist()


def test_permutations_are_the_golden_ones() -> None:
    # If this fails, saved states and everyone's epochs mean something else: do not update it.
    assert everything(10, 42) == [2, 6, 8, 0, 4, 5, 1, 9, 7, 3]
    assert everything(10, 43) == [9, 5, 0, 6, 2, 7, 1, 3, 4, 8]


def test_epochs_are_the_golden_ones() -> None:
    order = Shuffled((3, 0, 4, 2, 3), seed=7, epoch=2, window=2)
    assert at(order, 0, 12).tolist() == [9, 1, 11, 10, 0, 2, 4, 8, 3, 7, 6, 5]
    full = Shuffled((3, 0, 4, 2, 3), seed=7, epoch=2, window=None)
    assert at(full, 0, 12).tolist() == [7, 5, 3, 6, 11, 9, 0, 8, 2, 4, 1, 10]


@given(n=st.integers(0, 300), key=st.integers(0, 2**64 - 1))
def test_every_item_comes_exactly_once(n: int, key: int) -> None:
    assert sorted(everything(n, key)) == list(range(n))


@given(n=st.integers(256, 5000), key=st.integers(0, 2**64 - 1))
def test_many_positions_by_table_go_where_each_goes_by_itself(n: int, key: int) -> None:
    together = everything(n, key)
    alone = Permutation(n, key)
    places = range(0, n, 1 + n // 40)
    assert [alone(np.array([at], np.int64)).item() for at in places] == [
        together[at] for at in places
    ]


def test_small_permutations_are_equally_likely() -> None:
    seen = Counter(tuple(everything(3, key)) for key in range(6000))
    assert len(seen) == 6
    assert min(seen.values()) > 850  # 1,000 expected; 5 standard deviations below


@settings(max_examples=60, deadline=None)
@given(counts=counts_of_shards, seed=st.integers(), window=windows, block=blocks)
def test_an_epoch_has_every_sample_once(
    counts: tuple[int, ...], seed: int, window: int | None, block: int | None
) -> None:
    order = Shuffled(counts, seed=seed, window=window, block=block)
    assert sorted(at(order, 0, order.total).tolist()) == list(range(sum(counts)))


@settings(max_examples=60, deadline=None)
@given(
    counts=counts_of_shards,
    window=windows,
    block=blocks,
    step=st.integers(1, 50),
    seed=st.integers(),
)
def test_a_position_means_the_same_however_it_is_reached(
    counts: tuple[int, ...], window: int | None, block: int | None, step: int, seed: int
) -> None:
    order = Shuffled(counts, seed=seed, window=window, block=block)
    whole = at(order, 0, order.total).tolist()
    pieces = [
        i for start in range(0, order.total, step) for i in at(order, start, start + step).tolist()
    ]
    assert pieces == whole


def test_a_window_bounds_how_many_shards_are_needed_at_once() -> None:
    order = Shuffled((10,) * 12, seed=3, window=3)
    shards = at(order, 0, order.total) // 10
    for start in range(0, 120, 30):
        assert len(set(shards[start : start + 30].tolist())) == 3


def test_seed_and_epoch_each_change_the_order() -> None:
    orders = {
        tuple(at(Shuffled((50, 50), seed=seed, epoch=epoch), 0, 100).tolist())
        for seed in (0, 1)
        for epoch in (0, 1)
    }
    assert len(orders) == 4


def test_an_ordered_epoch_is_the_releases_own_order() -> None:
    assert at(Ordered((2, 3)), 1, 99).tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize("wrong", [{"window": 0}, {"block": -1}])
def test_sizes_that_are_not_positive_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(LocalError, match="should be 1 or more"):
        Shuffled((1,), **wrong)
