"""Random parts: disjoint, the same every time, and in every epoch."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import atd
import jobs
from atd.errors import LocalError


def numbers(samples: Any) -> list[int]:
    return [sample.number for sample in samples]


def test_parts_are_disjoint_and_together_everything(train: atd.Dataset[atd.Row]) -> None:
    parts = train.split(0.7, 0.2, 0.1)
    assert [len(part) for part in parts] == [28, 8, 4]
    assert sorted(n for part in parts for n in numbers(part)) == list(range(40))
    assert numbers(parts[0]) == sorted(numbers(parts[0]))
    assert numbers(parts[1]) == numbers(train.split(0.7, 0.2, 0.1)[1])
    assert numbers(parts[1]) != numbers(train.split(0.7, 0.2, 0.1, seed=1)[1])


def test_a_part_keeps_its_samples_when_it_is_shuffled_in_whatever_epoch(
    train: atd.Dataset[atd.Row],
) -> None:
    mine = set(numbers(train.split(0.9, 0.1)[0]))
    for epoch in range(3):
        before = numbers(train.shuffled(seed=4, epoch=epoch).split(0.9, 0.1)[0])
        after = numbers(train.split(0.9, 0.1)[0].shuffled(seed=4, epoch=epoch))
        assert before == after
        assert set(before) == mine
    loader = train.shuffled(seed=4).split(0.9, 0.1)[0].loader(6)
    loader.set_epoch(7)
    assert {n for batch in loader for n in batch.number.tolist()} == mine


def test_a_shuffled_part_still_mixes_only_neighbouring_shards(
    train: atd.Dataset[atd.Row],
) -> None:
    part = train.split(0.9)[0].shuffled(seed=4, window=1)
    ends = np.cumsum(train.flow.source.counts)
    shards = np.searchsorted(ends, numbers(part), side="right")
    changes = sum(a != b for a, b in pairwise(shards.tolist()))
    assert changes == len(ends) - 1


def test_parts_resume_and_take_filters(train: atd.Dataset[atd.Row]) -> None:
    part = train.shuffled(seed=4).split(0.5, 0.5)[1]
    running = iter(part)
    before = [next(running).number for _ in range(7)]
    again = train.shuffled(seed=4).split(0.5, 0.5)[1]
    again.load_state_dict(part.state_dict())
    assert before + numbers(again) == numbers(part)
    with pytest.raises(LocalError, match="another order"):
        train.shuffled(seed=4).split(0.5, 0.5)[0].load_state_dict(part.state_dict())
    odd = train.filter(jobs.is_odd).split(0.5, 0.5)
    assert sorted(numbers(odd[0]) + numbers(odd[1])) == list(range(1, 40, 2))


@pytest.mark.parametrize("wrong", [(), (0.0, 1.0), (0.6, 0.6), (-0.1, 0.5)])
def test_fractions_that_cannot_be_are_refused(train: atd.Dataset[atd.Row], wrong: Any) -> None:
    with pytest.raises(LocalError, match="add up to 1"):
        train.split(*wrong)


def test_few_samples_split_without_loss(train: atd.Dataset[atd.Row]) -> None:
    parts = train.take(3).split(1 / 3, 1 / 3, 1 / 3)
    assert [len(part) for part in parts] == [1, 1, 1]
    assert [len(part) for part in train.take(0).split(0.5, 0.5)] == [0, 0]
