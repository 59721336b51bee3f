"""What a user does with a data set, on real shards in a folder."""

from __future__ import annotations

import json
import multiprocessing
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import atd
from atd.errors import DigestMismatch, LocalError, SchemaMismatch
from leaves import Leaf, pack_folder


def numbers(samples: Any) -> list[int]:
    return [sample.number for sample in samples]


def test_samples_come_as_they_were_published(train: atd.Dataset[atd.Row]) -> None:
    row = train[3]
    assert (row.number, row.note, row.kind.name) == (3, "leaf 3", "oak")
    np.testing.assert_array_equal(row.veins, np.full(3, 3, np.float32))
    assert not row.veins.flags.writeable


def test_a_class_gets_instances_of_itself(leaves: Path) -> None:
    ds = atd.load(str(leaves), split="train", schema=Leaf)
    sample = ds[5]
    assert isinstance(sample, Leaf)
    assert (sample.kind, sample.number) == ("oak", 5)


def test_a_class_that_cannot_read_is_refused_before_a_byte_is_read(leaves: Path) -> None:
    @atd.sample
    class Wrong:
        number: str
        missing: int

    with pytest.raises(SchemaMismatch, match=r"number(.|\n)*missing"):
        atd.load(str(leaves), schema=Wrong)


def test_without_a_split_all_of_them_come(leaves: Path) -> None:
    ds = atd.load(str(leaves))
    assert (ds.splits, len(ds)) == (("train", "test"), 49)


def test_an_unknown_split_is_named_with_those_that_are(leaves: Path) -> None:
    with pytest.raises(LocalError, match="no split 'val'; it has train, test"):
        atd.load(str(leaves), split="val")


def test_ordered_is_the_releases_order(train: atd.Dataset[atd.Row]) -> None:
    assert numbers(train.shuffled(seed=1).ordered()) == numbers(train) == list(range(40))


def test_shuffled_is_the_same_again_and_another_with_another_seed(
    train: atd.Dataset[atd.Row],
) -> None:
    once = numbers(train.shuffled(seed=1))
    assert once == numbers(train.shuffled(seed=1))
    assert sorted(once) == list(range(40))
    assert once != numbers(train.shuffled(seed=2))
    assert once != numbers(train.shuffled(seed=1, epoch=1))


def test_take_skip_and_slices_compose_in_the_order_written(train: atd.Dataset[atd.Row]) -> None:
    assert numbers(train.take(3)) == [0, 1, 2]
    assert numbers(train.skip(38)) == [38, 39]
    assert numbers(train[10:20:4]) == [10, 14, 18]
    assert numbers(train[[5, -1, 5]]) == [5, 39, 5]
    assert sorted(numbers(train.take(10).shuffled(seed=3))) == list(range(10))
    assert set(numbers(train.shuffled(seed=3).take(10))) != set(range(10))
    assert len(train.take(1000)) == 40
    assert train[-1].number == 39


def test_an_index_outside_says_how_many_there_are(train: atd.Dataset[atd.Row]) -> None:
    with pytest.raises(IndexError, match="sample 40 is outside of 40"):
        train[40]


def test_map_and_filter_apply_in_the_order_written(train: atd.Dataset[atd.Row]) -> None:
    doubled = train.map(lambda s: s.number * 2)
    assert list(doubled.filter(lambda n: n > 70)) == [72, 74, 76, 78]
    odd = train.filter(lambda s: s.number % 2)
    assert numbers(odd.take(3)) == [1, 3, 5]
    assert odd[0].number == 1
    with pytest.raises(TypeError, match="not known after filter"):
        len(odd)


def test_select_decodes_only_what_is_named(train: atd.Dataset[atd.Row]) -> None:
    row = train.select("note", "number")[0]
    assert dict(row) == {"note": "leaf 0", "number": 0}
    with pytest.raises(LocalError, match="expected fields out of"):
        train.select("nothing")


def test_types_belong_before_functions(train: atd.Dataset[atd.Row]) -> None:
    with pytest.raises(LocalError, match="belongs before map"):
        train.map(lambda s: s).as_type(Leaf)


def test_batches_stack_what_can_be_stacked(train: atd.Dataset[atd.Row]) -> None:
    batches = train.batched(16)
    first = next(iter(batches))
    assert len(batches) == 3
    assert first.veins.shape == (16, 3)
    assert first.number.dtype == np.int64
    assert first.note[2] == "leaf 2"
    assert first.kind.names == ("oak", "elm")
    assert [len(item) for item in first.spots] == [n % 3 + 1 for n in range(16)]
    assert [len(b) for b in batches] == [16, 16, 8]
    assert [len(b) for b in train.batched(16, drop_last=True)] == [16, 16]


def test_batches_of_a_class_have_what_the_class_says(leaves: Path) -> None:
    batch = next(iter(atd.load(str(leaves), schema=Leaf).batched(4)))
    assert batch.kind == ["elm", "oak", "elm", "oak"]


def test_batches_of_mapped_samples(train: atd.Dataset[atd.Row]) -> None:
    pairs = train.map(lambda s: {"x": s.veins, "y": s.number, "z": s.note})
    batch = next(iter(pairs.batched(4)))
    assert batch.x.shape == (4, 3)
    assert batch.y.tolist() == [0, 1, 2, 3]
    assert batch.z == ["leaf 0", "leaf 1", "leaf 2", "leaf 3"]
    assert next(iter(train.batched(2, collate=lambda group: len(group)))) == 2


@pytest.mark.parametrize("taken", [0, 1, 13, 40])
def test_iteration_goes_on_exactly_where_it_was(train: atd.Dataset[atd.Row], taken: int) -> None:
    ds = train.shuffled(seed=5, window=2)
    whole = numbers(ds)
    iterator = iter(ds)
    before = [next(iterator).number for _ in range(taken)]
    state = json.loads(json.dumps(ds.state_dict()))

    again = train.shuffled(seed=5, window=2)
    again.load_state_dict(state)
    assert before + numbers(again) == whole
    assert numbers(again) == whole  # only the next iterator resumes


def test_batches_go_on_exactly_where_they_were(train: atd.Dataset[atd.Row]) -> None:
    whole = [b.number.tolist() for b in train.shuffled(seed=5).batched(6)]
    batches = train.shuffled(seed=5).batched(6)
    iterator = iter(batches)
    before = [next(iterator).number.tolist() for _ in range(3)]
    again = train.shuffled(seed=5).batched(6)
    again.load_state_dict(batches.state_dict())
    assert before + [b.number.tolist() for b in again] == whole


def test_a_filtered_iteration_goes_on_exactly(train: atd.Dataset[atd.Row]) -> None:
    odd = train.shuffled(seed=5).filter(is_odd)
    whole = numbers(odd)
    iterator = iter(odd)
    before = [next(iterator).number for _ in range(7)]
    state = odd.state_dict()
    again = train.shuffled(seed=5).filter(is_odd)
    again.load_state_dict(state)
    assert before + numbers(again) == whole


def is_odd(sample: Any) -> bool:
    return bool(sample.number % 2)


@pytest.mark.parametrize(
    ("other", "what"),
    [
        (lambda ds: ds.shuffled(seed=6), "order"),
        (lambda ds: ds.select("number").shuffled(seed=5), "pipeline"),
        (lambda ds: ds.shuffled(seed=5).map(is_odd), "pipeline"),
    ],
)
def test_a_state_of_something_else_is_refused(
    train: atd.Dataset[atd.Row], other: Any, what: str
) -> None:
    state = train.shuffled(seed=5).state_dict()
    with pytest.raises(LocalError, match=f"state is of another {what}"):
        other(train).load_state_dict(state)


def test_a_state_of_another_release_is_refused(train: atd.Dataset[atd.Row], tmp_path: Path) -> None:
    other = atd.load(str(pack_folder(tmp_path / "other", {"train": range(41)})))
    with pytest.raises(LocalError, match="state is of another release"):
        other.load_state_dict(train.state_dict())


@pytest.mark.parametrize("world", [1, 2, 3, 7])
def test_ranks_share_one_order_with_as_many_steps_each(
    train: atd.Dataset[atd.Row], world: int
) -> None:
    whole = numbers(train.shuffled(seed=9))
    shares = [numbers(train.shuffled(seed=9).shard(rank, world)) for rank in range(world)]
    assert {len(share) for share in shares} == {40 // world}
    together = [n for step in zip(*shares, strict=True) for n in step]
    assert together == whole[: 40 - 40 % world]


def test_resume_is_exact_when_the_number_of_ranks_changes(train: atd.Dataset[atd.Row]) -> None:
    """Global batches of 12: two ranks of 6 for two steps, then three ranks of 4."""
    order = train.shuffled(seed=9)
    seen: list[int] = []
    two = [order.shard(rank, 2).batched(6) for rank in range(2)]
    running = [iter(batches) for batches in two]
    for _ in range(2):
        seen += [n for it in running for n in next(it).number.tolist()]
    state = two[0].state_dict()
    assert state["consumed"] == two[1].state_dict()["consumed"] == 24

    three = [train.shuffled(seed=9).shard(rank, 3).batched(4) for rank in range(3)]
    for batches in three:
        batches.load_state_dict(state)
    later = [n for step in zip(*three, strict=True) for b in step for n in b.number.tolist()]
    assert sorted(seen) == sorted(numbers(order)[:24])
    assert sorted(seen + later) == sorted(numbers(order)[:39])


def test_a_filter_before_sharding_gives_every_rank_as_many(train: atd.Dataset[atd.Row]) -> None:
    kept = train.filter(lambda s: s.number < 11)
    shares = [numbers(kept.shard(rank, 2)) for rank in range(2)]
    assert [len(share) for share in shares] == [5, 5]


def test_a_share_is_not_reordered(train: atd.Dataset[atd.Row]) -> None:
    with pytest.raises(LocalError, match="before shard"):
        train.shard(0, 2).shuffled()
    with pytest.raises(LocalError, match="rank in range"):
        train.shard(2, 2)


def test_a_data_set_pickles_and_stands_at_its_beginning(train: atd.Dataset[atd.Row]) -> None:
    copy = pickle.loads(pickle.dumps(train.shuffled(seed=1).take(5)))
    assert numbers(copy) == numbers(train.shuffled(seed=1).take(5))


def test_a_data_set_pickles_while_it_is_iterated(train: atd.Dataset[atd.Row]) -> None:
    rows = iter(train)
    next(rows)
    assert numbers(pickle.loads(pickle.dumps(train))) == numbers(train)
    resumed = train.shuffled(seed=1)
    resumed.load_state_dict({**resumed.state_dict(), "consumed": 3})
    assert numbers(pickle.loads(pickle.dumps(resumed))) == numbers(train.shuffled(seed=1))[3:]


def collect(ds: Any, out: Any) -> None:
    out.put(numbers(ds))


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_workers_see_the_same_samples(train: atd.Dataset[atd.Row], method: str) -> None:
    context = multiprocessing.get_context(method)
    out = context.Queue()
    worker = context.Process(target=collect, args=(train.shuffled(seed=2), out))
    worker.start()
    assert out.get(timeout=60) == numbers(train.shuffled(seed=2))
    worker.join()


def test_webdataset_gets_the_same_samples(train: atd.Dataset[atd.Row]) -> None:
    pipeline = train.shuffled(seed=4).webdataset().map(lambda s: s["number"])
    assert list(pipeline) == numbers(train.shuffled(seed=4))
    sample = next(iter(train.webdataset()))
    assert sample["__key__"] == "0000"
    assert sample["__url__"].startswith("bafkrei")


def test_an_altered_shard_is_refused_before_a_sample_is_seen(tmp_path: Path) -> None:
    folder = pack_folder(tmp_path / "altered", {"train": range(9)})
    victim = sorted(folder.glob("*.tar"))[0]
    data = bytearray(victim.read_bytes())
    data[700] ^= 1
    victim.chmod(0o644)
    victim.write_bytes(data)
    with pytest.raises(DigestMismatch, match=victim.name):
        list(atd.load(str(folder)))


def test_an_empty_selection_is_just_empty(train: atd.Dataset[atd.Row]) -> None:
    assert list(train.take(0)) == []
    assert list(train.take(0).shuffled().batched(3)) == []
