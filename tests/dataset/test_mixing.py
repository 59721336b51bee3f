"""Several data sets as one."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import atd
import jobs
from atd.errors import LocalError, SchemaMismatch
from leaves import Leaf, pack_folder


def numbers(samples: Any) -> list[int]:
    return [sample.number for sample in samples]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three data sets that tell their numbers apart: 0 on, 1,000 on, and 2,000 on."""
    place = tmp_path_factory.mktemp("several")
    sizes = (40, 30, 9)
    return [
        pack_folder(place / str(at), {"train": range(at * 1000, at * 1000 + size)})
        for at, size in enumerate(sizes)
    ]


@pytest.fixture
def parts(folders: list[Path]) -> list[atd.Dataset[atd.Row]]:
    return [atd.load(str(folder), split="train") for folder in folders]


def test_concat_gives_one_after_the_other(parts: list[atd.Dataset[atd.Row]]) -> None:
    whole = atd.concat(parts)
    assert len(whole) == 79
    assert numbers(whole) == [n for part in parts for n in numbers(part)]
    assert whole[40].number == 1000
    assert numbers(whole[[78, 0, 40]]) == [2008, 0, 1000]
    assert "several" in repr(whole)
    assert next(iter(whole.skip(38).batched(4))).number.tolist() == [38, 39, 1000, 1001]


def test_concat_keeps_the_order_of_its_parts_or_shuffles_all(
    parts: list[atd.Dataset[atd.Row]],
) -> None:
    a, b, _ = parts
    shuffled = atd.concat([a.shuffled(seed=3), b.take(5)])
    assert numbers(shuffled) == numbers(a.shuffled(seed=3)) + numbers(b.take(5))
    over_all = atd.concat(parts).shuffled(seed=1, window=None)
    assert sorted(numbers(over_all)) == sorted(numbers(atd.concat(parts)))
    assert {n // 1000 for n in numbers(over_all)[:20]} == {0, 1, 2}


def test_the_same_data_set_may_come_twice(parts: list[atd.Dataset[atd.Row]]) -> None:
    left, right = parts[0].split(0.5, 0.5)
    assert sorted(numbers(atd.concat([right, left]))) == list(range(40))
    assert numbers(atd.concat([parts[2], parts[2]])) == numbers(parts[2]) * 2


def test_a_mixture_has_the_weights_in_every_thousand(tmp_path: Path) -> None:
    one = atd.load(str(pack_folder(tmp_path / "a", {"train": range(900)}, most=200)))
    two = atd.load(str(pack_folder(tmp_path / "b", {"train": range(1000, 1600)}, most=200)))
    mixed = atd.mix([one, two], [0.7, 0.3], seed=5).select("number")
    found = numbers(mixed)
    assert len(found) == len(mixed)
    assert sum(n < 1000 for n in found[:1000]) == 700
    assert 1200 < len(found) < 1370
    assert [n for n in found if n < 1000] == list(range(sum(n < 1000 for n in found)))
    assert [n for n in found if n >= 1000] == list(
        range(1000, 1000 + sum(n >= 1000 for n in found))
    )
    runs = np.count_nonzero(np.diff(np.array(found) < 1000))
    assert runs > 300, "they are mixed, not laid side by side"


@pytest.mark.parametrize("weights", [None, [5, 1, 1], [1, 3, 0.2]])
def test_a_mixture_ends_when_the_first_part_has_no_more(
    parts: list[atd.Dataset[atd.Row]], weights: Any
) -> None:
    mixed = atd.mix(parts, weights, seed=2)
    found = numbers(mixed)
    assert len(found) == len(mixed) == len(set(found))
    seen = [sum(n // 1000 == at for n in found) for at in range(3)]
    sizes = [40, 30, 9]
    assert any(have == size for have, size in zip(seen, sizes, strict=True))
    assert all(have <= size for have, size in zip(seen, sizes, strict=True))


def test_a_mixture_may_go_on_until_all_came(parts: list[atd.Dataset[atd.Row]]) -> None:
    mixed = atd.mix(parts, [1, 1, 1], seed=2, stop="all")
    found = numbers(mixed)
    assert len(found) == len(mixed)
    assert set(found) == set(numbers(atd.concat(parts)))
    assert found[-1] == 39, "it ends with the last sample that had not come"
    small = [n for n in found if n >= 2000]
    assert small == [2000 + at % 9 for at in range(len(small))]


def test_a_mixture_is_the_same_again_and_another_with_another_seed_or_epoch(
    parts: list[atd.Dataset[atd.Row]],
) -> None:
    def mixed(seed: int = 0, epoch: int = 0) -> list[int]:
        return numbers(atd.mix([part.shuffled(seed=1, epoch=epoch) for part in parts], seed=seed))

    assert mixed() == mixed()
    assert mixed() != mixed(seed=1)
    loader = atd.mix([part.shuffled(seed=1) for part in parts]).loader(1)
    loader.set_epoch(4)
    assert [n for batch in loader for n in batch.number.tolist()] == mixed(epoch=4)


@pytest.mark.parametrize("make", [atd.concat, atd.mix])
def test_it_resumes_exactly_on_other_ranks_and_in_other_processes(
    parts: list[atd.Dataset[atd.Row]], make: Any
) -> None:
    def made() -> Any:
        return make([part.shuffled(seed=1) for part in parts])

    whole = numbers(made())
    for taken in (0, 1, 13, len(whole)):
        ds = made()
        running = iter(ds)
        before = [next(running).number for _ in range(taken)]
        again = pickle.loads(pickle.dumps(made()))
        again.load_state_dict(json.loads(json.dumps(ds.state_dict())))
        assert before + numbers(again) == whole

    loader = made().loader(6, workers=2, start_method="fork")
    loader.set_epoch(2)
    order = [n for batch in loader for n in batch.number.tolist()]
    running = iter(loader)
    next(running)
    ranks = [made().loader(6, rank=rank, world=3) for rank in range(3)]
    for rank in ranks:
        rank.load_state_dict(json.loads(json.dumps(loader.state_dict())))
    steps = zip(*ranks, strict=True)
    assert [n for step in steps for batch in step for n in batch.number.tolist()] == order[6:]


def test_a_state_of_other_weights_or_parts_is_refused(parts: list[atd.Dataset[atd.Row]]) -> None:
    state = atd.mix(parts, [1, 1, 1]).state_dict()
    with pytest.raises(LocalError, match="another order"):
        atd.mix(parts, [2, 1, 1]).load_state_dict(state)
    with pytest.raises(LocalError, match="another release"):
        atd.mix(parts[::-1]).load_state_dict(state)
    with pytest.raises(LocalError, match="another order"):
        atd.mix([parts[0].take(5), *parts[1:]]).load_state_dict(state)


def test_functions_and_classes_follow(parts: list[atd.Dataset[atd.Row]]) -> None:
    leaves = atd.mix(parts).as_type(Leaf)
    assert isinstance(leaves[0], Leaf)
    odd = atd.concat(parts).filter(jobs.is_odd).map(jobs.as_pair)
    assert sum(1 for _ in odd) == 20 + 15 + 4
    assert len(odd.loader(6)) == 6


def test_parts_that_are_not_alike_are_refused(
    parts: list[atd.Dataset[atd.Row]], tmp_path: Path
) -> None:
    @atd.sample
    class Other:
        number: float
        extra: str

    atd.pack([Other(1.0, "x")], tmp_path / "other", name="other", schema=Other)
    other = atd.load(str(tmp_path / "other"))
    with pytest.raises(SchemaMismatch, match=r"number is Int(.|\n)*Float") as caught:
        atd.mix([parts[0], other])
    assert "no field veins" in str(caught.value)
    assert "has a field extra" in str(caught.value)
    with pytest.raises(SchemaMismatch, match="other fields or another class"):
        atd.concat([parts[0], parts[1].select("number")])


@pytest.mark.parametrize(
    ("weights", "why"),
    [
        ([1.0], "3 positive weights"),
        ([1, 1, 0], "positive"),
        ([1, 1, -1], "positive"),
        ([1, 1, float("nan")], "positive"),
        ([1, 1, float("inf")], "positive"),
        ([1, 1, 1e-9], "thousandth"),
    ],
)
def test_weights_that_cannot_be_are_refused(
    parts: list[atd.Dataset[atd.Row]], weights: Any, why: str
) -> None:
    with pytest.raises(LocalError, match=why):
        atd.mix(parts, weights)


def test_what_belongs_after_or_cannot_be_is_refused(parts: list[atd.Dataset[atd.Row]]) -> None:
    with pytest.raises(LocalError, match="got none"):
        atd.concat([])
    with pytest.raises(LocalError, match="map and filter after"):
        atd.concat([parts[0].map(jobs.as_pair)])
    with pytest.raises(LocalError, match="before shard"):
        atd.mix([parts[0].shard(0, 2)])
    with pytest.raises(LocalError, match="empty"):
        atd.mix([parts[0], parts[1].take(0)])
    with pytest.raises(LocalError, match="first or all"):
        atd.mix(parts, stop="never")
