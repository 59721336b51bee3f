"""Bad samples: raised, left out, or replaced."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import atd
import jobs
from atd.errors import DigestMismatch, LocalError
from leaves import pack_folder


def numbers(samples: Any) -> list[int]:
    return [sample.number for sample in samples]


@pytest.fixture
def bad(train: atd.Dataset[atd.Row]) -> atd.Dataset[atd.Row]:
    """40 samples, of which number 17 is bad."""
    return train.map(jobs.refuse_17).on_error("skip")


def test_a_bad_sample_is_raised_unless_asked_otherwise(train: atd.Dataset[atd.Row]) -> None:
    with pytest.raises(ValueError, match="seventeen"):
        list(train.map(jobs.refuse_17))
    with pytest.raises(ValueError, match="seventeen"):
        list(train.on_error("skip").on_error("raise").map(jobs.refuse_17).loader(4))
    with pytest.raises(LocalError, match="raise or skip"):
        train.on_error("ignore")


def test_one_reader_leaves_it_out_and_is_told(
    bad: atd.Dataset[atd.Row], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "atd.dataset"):
        assert numbers(bad) == [n for n in range(40) if n != 17]
    assert "position 17" in caplog.text
    assert "seventeen is no number" in caplog.text
    with pytest.raises(ValueError, match="seventeen"):
        bad[17]


def test_batches_are_filled_with_the_samples_that_follow(bad: atd.Dataset[atd.Row]) -> None:
    found = [batch.tolist() for batch in bad.map(jobs.number).batched(6)]
    assert [len(batch) for batch in found] == [6] * 6 + [3]
    assert [n for batch in found for n in batch] == [n for n in range(40) if n != 17]
    odd = bad.filter(jobs.is_odd).map(jobs.number).batched(6)
    assert [n for batch in odd for n in batch] == [n for n in range(1, 40, 2) if n != 17]
    assert [len(batch) for batch in bad.map(jobs.number).batched(6, drop_last=True)] == [6] * 6


@pytest.mark.parametrize("taken", [0, 2, 3, 5, 7])
def test_it_resumes_where_it_was(bad: atd.Dataset[atd.Row], taken: int) -> None:
    ds = bad.map(jobs.number).shuffled(seed=1)
    whole = [batch.tolist() for batch in ds.batched(6)]
    batches = ds.batched(6)
    running = iter(batches)
    before = [next(running).tolist() for _ in range(taken)]
    again = ds.batched(6)
    again.load_state_dict(json.loads(json.dumps(batches.state_dict())))
    assert before + [batch.tolist() for batch in again] == whole

    samples = iter(ds)
    first = [next(samples) for _ in range(taken * 5)]
    later = bad.map(jobs.number).shuffled(seed=1)
    later.load_state_dict(ds.state_dict())
    assert first + list(later) == list(ds)


def test_a_loader_replaces_it_by_the_same_one_on_any_ranks_and_workers(
    bad: atd.Dataset[atd.Row],
) -> None:
    ds = bad.map(jobs.number).shuffled(seed=1)
    order = numbers(bad.on_error("raise").map(jobs.number).shuffled(seed=1)._with(stages=()))
    at = order.index(17)
    order[at] = order[(at + 1) % 40]
    expected = [order[begin : begin + 12] for begin in range(0, 36, 12)]
    for world, workers in ((1, 0), (1, 2), (2, 0), (3, 2), (4, 1)):
        ranks = [
            ds.loader(12, rank=rank, world=world, workers=workers, start_method="fork")
            for rank in range(world)
        ]
        steps = zip(*ranks, strict=True)
        assert [[n for part in step for n in part.tolist()] for step in steps] == expected


def test_shares_replace_it_too_and_stay_equal(bad: atd.Dataset[atd.Row]) -> None:
    ds = bad.map(jobs.number)
    assert list(ds.shard(1, 2)) == [18 if n == 17 else n for n in range(1, 40, 2)]
    assert [len(batch) for batch in ds.shard(1, 2).batched(5)] == [5] * 4


def test_a_filter_that_fails_over_a_sample_keeps_it_out(train: atd.Dataset[atd.Row]) -> None:
    kept = train.on_error("skip").filter(jobs.refuse_17)
    assert len(kept.loader(13)) == 3
    assert len(kept.take(100)) == 39


def test_a_picture_that_cannot_be_decoded_is_found_when_batches_are_made(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    atd.pack(
        jobs.pictures(10, broken=4), folder, name="pictures", schema=jobs.Picture, order="keep"
    )
    ds = atd.load(str(folder))
    with pytest.raises(Exception, match=r"(?i)image|picture|png"):
        list(ds.batched(5))
    found = [batch.number.tolist() for batch in ds.on_error("skip").batched(5)]
    assert found == [[0, 1, 2, 3, 5], [6, 7, 8, 9]]
    assert [b.number.tolist() for b in ds.on_error("skip").loader(5)] == [
        [0, 1, 2, 3, 5],
        [5, 6, 7, 8, 9],
    ]


def test_a_shard_that_is_not_what_was_signed_is_no_bad_sample(tmp_path: Path) -> None:
    folder = pack_folder(tmp_path / "altered", {"train": range(9)})
    victim = sorted(folder.glob("*.tar"))[0]
    data = bytearray(victim.read_bytes())
    data[700] ^= 1
    victim.chmod(0o644)
    victim.write_bytes(data)
    ds = atd.load(str(folder)).on_error("skip")
    with pytest.raises(DigestMismatch, match=victim.name):
        list(ds)
    with pytest.raises(DigestMismatch, match=victim.name):
        list(ds.batched(3))


def test_when_nothing_can_be_read_it_says_so(train: atd.Dataset[atd.Row]) -> None:
    ds = train.take(5).map(jobs.raise_odd).on_error("skip")
    assert list(ds) == []
    assert list(ds.batched(2)) == []
    with pytest.raises(LocalError, match="not one of 5 samples"):
        list(ds.loader(2))


def test_a_collation_of_ones_own_is_not_to_blame_the_samples(
    train: atd.Dataset[atd.Row],
) -> None:
    ds = train.on_error("skip")
    found = [batch.tolist() for batch in ds.batched(16, collate=jobs.numbers_of)]
    np.testing.assert_array_equal(np.concatenate(found), np.arange(40))
