"""What ranks and workers build together, for any numbers: the pure half of the loader."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from atd.dataset.selection import Selection


@given(
    counts=st.lists(st.integers(0, 30), min_size=1, max_size=5),
    share=st.integers(1, 7),
    world=st.integers(1, 5),
    workers=st.integers(1, 5),
    start=st.integers(0, 40),
    pad=st.booleans(),
)
def test_stripes_make_every_global_batch_once(
    counts: list[int], share: int, world: int, workers: int, start: int, pad: bool
) -> None:
    whole, size = Selection.whole(counts), share * world
    total = -(-whole.total // size) if pad else whole.total // size
    start = min(start, total)
    built: dict[int, list[int]] = {}
    for rank in range(world):
        for worker in range(workers):
            numbers = range(start + worker, total, workers)
            stripe = whole.stripe(
                size,
                rank=rank,
                world=world,
                first=start + worker,
                stride=workers,
                batches=len(numbers),
            )
            found = stripe.pick(np.arange(stripe.total, dtype=np.int64)).reshape(-1, share)
            for number, batch in zip(numbers, found.tolist(), strict=True):
                built.setdefault(number, []).extend(batch)
    assert sorted(built) == list(range(start, total))
    for number, batch in built.items():
        places = range(number * size, (number + 1) * size)
        assert batch == [place % whole.total for place in places]


@given(
    counts=st.lists(st.integers(0, 40), min_size=1, max_size=6),
    cut=st.floats(0, 1),
    seed=st.integers(-(2**70), 2**70),
)
def test_parts_share_nothing_and_lose_nothing(counts: list[int], cut: float, seed: int) -> None:
    whole = Selection.whole(counts)
    at = round(cut * whole.total)
    parts = [whole.part(0, at, seed), whole.part(at, whole.total, seed)]
    found = [part.pick(np.arange(part.total, dtype=np.int64)).tolist() for part in parts]
    assert sorted(found[0] + found[1]) == list(range(whole.total))
    ends = np.cumsum(counts)
    for part, places in zip(parts, found, strict=True):
        assert places == sorted(places)
        held = np.bincount(np.searchsorted(ends, places, side="right"), minlength=len(counts))
        assert list(part.steps[-1].counts) == held.tolist()
