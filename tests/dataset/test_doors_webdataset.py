"""webdataset's own stages on verified samples."""

from __future__ import annotations

import pickle
from collections import namedtuple
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import webdataset as wds

import atd
from atd.errors import LocalError
from leaves import Leaf

Pair = namedtuple("Pair", ["number", "note"])


@dataclass(slots=True)
class Keys:
    keys: int


def numbers(ds: Any) -> list[int]:
    return [one.number for one in ds]


def test_stages_of_webdataset_compose(train: atd.Dataset[atd.Row]) -> None:
    ds = train.shuffled(seed=4)
    pairs = list(ds.webdataset().to_tuple("number", "veins"))
    assert [number for number, _ in pairs] == numbers(ds)
    batches = list(ds.webdataset().to_tuple("number", "veins").batched(16))
    assert [batch[1].shape for batch in batches] == [(16, 3), (16, 3), (8, 3)]
    assert np.concatenate([batch[0] for batch in batches]).tolist() == numbers(ds)
    pipeline = (
        ds.webdataset()
        .shuffle(10, initial=5)
        .rename(n="number")
        .map_dict(n=lambda n: n * 2)
        .select(lambda sample: sample["n"] % 4 == 0)
        .compose(wds.slice(0, 6))
    )
    found = [sample["n"] for sample in pipeline]
    assert len(set(found)) == 6
    assert set(found) <= {2 * n for n in range(0, 40, 2)}


def test_epochs_repeat_and_end_as_webdataset_says(train: atd.Dataset[atd.Row]) -> None:
    assert len(list(train.webdataset().repeat(2))) == 80
    assert len(list(train.webdataset().with_epoch(50))) == 50
    mixed = wds.RandomMix([train.webdataset(), train.skip(20).webdataset()], longest=True)
    assert len(list(mixed)) == 60


def test_a_pipeline_pickles_before_and_after_it_was_read(train: atd.Dataset[atd.Row]) -> None:
    pipeline = train.take(5).webdataset().to_tuple("number")
    assert len(list(pipeline)) == 5
    assert list(pickle.loads(pickle.dumps(pipeline))) == [(n,) for n in range(5)]


@pytest.mark.parametrize("workers", [1, 2, 3, 7])
def test_each_worker_has_its_part_and_all_have_all(
    train: atd.Dataset[atd.Row], workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    ds = train.shuffled(seed=4)
    parts = []
    monkeypatch.setenv("NUM_WORKERS", str(workers))
    for worker in range(workers):
        monkeypatch.setenv("WORKER", str(worker))
        parts.append([sample["number"] for sample in ds.webdataset()])
    assert parts == [numbers(ds)[worker::workers] for worker in range(workers)]


def test_what_map_returns_becomes_a_dict(leaves: Any) -> None:
    ds = atd.load(str(leaves), split="train", schema=Leaf).take(2)
    assert [sample["note"] for sample in ds.webdataset()] == ["leaf 0", "leaf 1"]
    for made in (
        lambda leaf: {"number": leaf.number},
        lambda leaf: Keys(leaf.number),
        lambda leaf: Pair(leaf.number, leaf.note),
    ):
        [first, _] = ds.map(made).webdataset()
        assert {"__key__", "__url__"} < set(first)
        assert 0 in first.values()
    with pytest.raises(LocalError, match="carries dicts, and map returned int"):
        list(ds.map(lambda leaf: leaf.number).webdataset())
