"""Batches by number."""

from __future__ import annotations

import pytest

import atd
import jobs


def test_a_batch_comes_by_its_number(train: atd.Dataset[atd.Row]) -> None:
    batches = train.shuffled(seed=2).batched(16)
    whole = [batch.number.tolist() for batch in batches]
    assert [batches[at].number.tolist() for at in range(3)] == whole
    assert batches[-1].number.tolist() == whole[-1]
    assert len(whole[-1]) == 8
    with pytest.raises(IndexError, match="batch 3 is outside of 3"):
        batches[3]
    with pytest.raises(IndexError):
        train.batched(16, drop_last=True)[2]


def test_a_ranks_batches_come_by_number_too(train: atd.Dataset[atd.Row]) -> None:
    share = train.shard(1, 2).batched(7, collate=len)
    assert [share[at] for at in range(3)] == list(share) == [7, 7, 6]


def test_after_a_filter_there_are_no_numbers(train: atd.Dataset[atd.Row]) -> None:
    with pytest.raises(TypeError, match="not known after filter"):
        train.filter(jobs.is_odd).batched(4)[0]
