"""Parts that are cut independently: the shards are those of one process that cuts the whole."""

from __future__ import annotations

from collections import defaultdict

from hypothesis import given, settings
from hypothesis import strategies as st

from atd.records import CutParameters
from atd.shards import cut, tar
from atd.shards.parts import HASH_BITS, MAX_DEPTH, WHOLE, Filled, Part, depth_for, joined

Placed = tuple[int, int]

# Places that crowd together are what makes halving go deep.
places = st.one_of(
    st.integers(0, 2**HASH_BITS - 1),
    st.integers(0, 2**12).map(lambda low: (0b1011 << HASH_BITS - 4) + low),
    st.integers(0, 31).map(lambda top: top << HASH_BITS - 5),
)
samples = st.dictionaries(places, st.integers(0, 30_000).map(tar.member_size), max_size=60).map(
    lambda sizes: sorted(sizes.items())
)
limits = st.builds(
    CutParameters,
    target_bytes=st.sampled_from([10_240, 20_480, 51_200, 500_000]),
    max_bytes=st.sampled_from([20_480, 1_000_000]),
    max_samples=st.integers(1, 20),
)


def serial(found: list[Placed], cuts: CutParameters) -> list[list[Placed]]:
    left = iter(found)
    return [[next(left) for _ in range(g.samples)] for g in cut.by_hash(iter(found), cuts)]


def cut_part(found: list[Placed], cuts: CutParameters, part: Part) -> list[list[Placed]]:
    inside = [one for one in found if part.begin <= one[0] < part.end]
    left = iter(inside)
    return [[next(left) for _ in range(g.samples)] for g in cut.by_hash(iter(inside), cuts, part)]


def by_parts(found: list[Placed], cuts: CutParameters, depth: int) -> list[list[Placed]]:
    numbers = {place >> HASH_BITS - depth for place, _ in found}
    made = {Part(depth, number): cut_part(found, cuts, Part(depth, number)) for number in numbers}
    filled: dict[int, Filled] = defaultdict(lambda: Filled(0, 0))
    for part, groups in made.items():
        everything = [size for group in groups for _, size in group]
        filled[part.number] = Filled(len(everything), sum(everything))
    for above in joined(filled, depth, cuts):
        made = {part: groups for part, groups in made.items() if not part.within(above)}
        made[above] = cut_part(found, cuts, above)
    return [group for part in sorted(made, key=lambda part: part.end) for group in made[part]]


@settings(max_examples=500)
@given(samples, limits, st.integers(0, 12))
def test_parts_of_any_depth_give_the_shards_of_the_whole(
    found: list[Placed], cuts: CutParameters, depth: int
) -> None:
    assert by_parts(found, cuts, depth) == serial(found, cuts)


def test_parts_that_are_one_shard_are_found_as_high_up_as_they_are() -> None:
    cuts = CutParameters(target_bytes=102_400, max_bytes=102_400, max_samples=100)
    small, large = Filled(2, 10_000), Filled(2, 90_000)
    filled = {0: small, 1: small, 2: small, 3: small, 4: large, 5: large, 6: small}
    assert joined(filled, 3, cuts) == [Part(1, 0)]
    assert joined({4: large, 6: small}, 3, cuts) == [Part(0, 0)]
    assert joined({4: large, 6: large}, 3, cuts) == []
    assert joined({5: large}, 3, cuts) == []


def test_a_part_of_one_sample_is_a_shard_however_large_it_is() -> None:
    cuts = CutParameters(target_bytes=10_240, max_bytes=10_240)
    huge = Filled(1, 50_000)
    assert huge.fits(cuts)
    assert joined({0: huge, 1: Filled(1, 512)}, 1, cuts) == []


def test_little_is_not_cut_and_much_is_cut_into_several_shards_each() -> None:
    cuts = CutParameters()
    assert depth_for(0, 0, cuts) == 0
    assert depth_for(1_000, 4 * cuts.target_bytes, cuts) == 0
    assert depth_for(1_000, 5 * cuts.target_bytes, cuts) == 1
    assert depth_for(100_000, 1_000 * cuts.target_bytes, cuts) == 8
    assert depth_for(10_000 * 64, 1, cuts) == 4, "as many samples as make 64 shards"
    assert depth_for(2**60, 2**70, cuts) == MAX_DEPTH
    assert Part(3, 5).within(Part(1, 1))
    assert Part(3, 5).within(WHOLE)
    assert not Part(3, 5).within(Part(1, 0))
    assert not Part(1, 1).within(Part(3, 5))
