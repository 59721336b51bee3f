"""Where samples lie: runs and scattered ones say the same as counting by hand."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from atd.dataset.order import Ranges
from atd.dataset.places import Locator, Places, Runs, Scattered

counts_of_shards = st.lists(st.integers(0, 6), min_size=1, max_size=8).filter(any)


def by_hand(counts: list[int]) -> list[tuple[int, int]]:
    return [(shard, row) for shard, count in enumerate(counts) for row in range(count)]


def by_pieces(places: Places) -> list[tuple[int, int]]:
    found: dict[int, tuple[int, int]] = {}
    for piece in places.pieces():
        at = np.arange(len(places))[piece.places].tolist()
        rows = np.arange(100)[piece.samples].tolist()
        found.update(zip(at, ((piece.shard, row) for row in rows), strict=True))
    return [found[at] for at in range(len(places))]


def check(places: Places, wanted: list[tuple[int, int]]) -> None:
    assert list(places) == wanted
    assert len(places) == len(wanted)
    assert by_pieces(places) == wanted
    assert sorted(places.shards()) == sorted({shard for shard, _ in wanted})
    for joint in places.joints():
        assert wanted[joint - 1][0] != wanted[joint][0]


@given(counts=counts_of_shards, draw=st.data())
def test_any_samples(counts: list[int], draw: st.DataObject) -> None:
    whole = by_hand(counts)
    indices = draw.draw(st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=30))
    places = Locator(counts)(np.array(indices, np.int64))
    wanted = [whole[index] for index in indices]
    check(places, wanted)
    begin = draw.draw(st.integers(0, len(indices) - 1))
    end = draw.draw(st.integers(begin + 1, len(indices)))
    check(places.part(begin, end), wanted[begin:end])
    if isinstance(places, Scattered) and places.mixed:
        assert places.joints() == []


@given(counts=counts_of_shards, draw=st.data())
def test_neighbours_are_runs(counts: list[int], draw: st.DataObject) -> None:
    whole = by_hand(counts)
    begin = draw.draw(st.integers(0, len(whole) - 1))
    end = draw.draw(st.integers(begin + 1, len(whole)))
    places = Locator(counts)(np.arange(begin, end))
    assert isinstance(places, Runs)
    check(places, whole[begin:end])
    check(places.part(0, 1), whole[begin : begin + 1])
    steps = [shard for shard, _ in whole[begin:end]]
    joints = [at for at in range(1, len(steps)) if steps[at] != steps[at - 1]]
    assert places.joints() == joints


@given(
    sizes=st.lists(st.one_of(st.integers(0, 5), st.integers(0, 5000)), min_size=1).filter(any),
    draw=st.data(),
)
def test_ranges_are_those_searched_for(sizes: list[int], draw: st.DataObject) -> None:
    ends = np.cumsum(sizes, dtype=np.int64)
    asked = st.lists(st.integers(0, int(ends[-1]) - 1), max_size=30)
    numbers = np.array(draw.draw(asked), np.int64)
    searched = np.searchsorted(ends, numbers, side="right")
    assert np.array_equal(Ranges(ends)(numbers), searched)
