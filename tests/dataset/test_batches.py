"""Batches by number, and batches that are views."""

from __future__ import annotations

import gc
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import pytest
from numpy.typing import NDArray

import atd
import jobs
from atd.dataset.shelf import shelf_of
from atd.shards.gather import POOLED
from leaves import pack_folder


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


def test_views_outlive_their_data_set(tmp_path: Path) -> None:
    folder = pack_folder(tmp_path / "leaves", {"train": range(40)}, most=10)
    wanted = [batch.veins for batch in atd.load(str(folder)).batched(4)]
    views = [batch.veins for batch in atd.load(str(folder)).batched(4, copy=False)]
    gc.collect()
    for file in folder.glob("*.tar"):
        file.unlink()
    assert len(views) == len(wanted) == 10
    assert all(np.array_equal(view, copy) for view, copy in zip(views, wanted, strict=True))


def test_views_are_views_where_they_can_be(tmp_path: Path) -> None:
    folder = pack_folder(tmp_path / "leaves", {"train": range(40)}, most=10)
    ds = atd.load(str(folder))
    counts = ds.flow.source.counts
    batches = list(ds.batched(4, copy=False))
    octets = [shelf_of(ds.flow.source).shard(number).octets for number in range(len(counts))]
    ends = np.cumsum(counts)
    for number, batch in enumerate(batches):
        assert not batch.veins.flags.writeable
        assert not batch.number.flags.writeable
        with pytest.raises(ValueError, match="read-only"):
            batch.veins[0] = 0
        shard = int(np.searchsorted(ends, 4 * number, side="right"))
        whole = 4 * number + len(batch) <= ends[shard]
        assert np.shares_memory(batch.veins, octets[shard]) == whole
    copies = list(ds.batched(4))
    for batch in copies:
        assert batch.veins.flags.writeable
        assert not any(np.shares_memory(batch.veins, one) for one in octets)


def test_a_shuffle_has_no_views_but_is_read_only_all_the_same(
    train: atd.Dataset[atd.Row],
) -> None:
    for batch in train.shuffled(seed=1).batched(8, copy=False):
        assert not batch.veins.flags.writeable
    by_number = train.batched(8, copy=False)[1]
    assert not by_number.veins.flags.writeable
    assert by_number.number.tolist() == list(range(8, 16))


@dataclass
class Large:
    number: int
    pixels: Annotated[NDArray[np.int32], atd.Shape(64, 64)]


def test_large_batches_that_are_held_stay_what_they_are(tmp_path: Path) -> None:
    """Buffers are used again, but never one that somebody still has."""
    samples = (Large(n, np.full((64, 64), n, np.int32)) for n in range(100))
    atd.pack(samples, tmp_path / "large", name="large", schema=Large)
    for ds in (atd.load(str(tmp_path / "large")), atd.load(str(tmp_path / "large")).shuffled(1)):
        batches = ds.batched(16)
        held = [batch for _ in range(2) for batch in batches]
        assert held[0].pixels.nbytes >= POOLED
        for batch in held:
            assert (batch.pixels == batch.number[:, None, None]).all()
