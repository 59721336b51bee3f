"""What docs/python.md says of every method: what it does to length, randomness and resume.

`METHODS` is that table as code; what holds of one method holds of any two in a row.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain, product
from pathlib import Path
from typing import Any

import pytest

import atd
from atd.errors import LocalError
from leaves import Leaf

DOCS = Path(__file__).parents[2] / "docs" / "python.md"


@dataclass
class Numbered:
    number: int


def numbered(sample: Any) -> Numbered:
    return Numbered(sample.number)


def is_kept(sample: Any) -> bool:
    return bool(sample.number % 3)


def half(count: int) -> int:
    return round(0.5 * count)


@dataclass(frozen=True)
class Method:
    """A method as the documentation has it.

    Args:
        call: the method.
        length: what it makes of the numbers of samples; None where only reading can tell.
        turns: whether ``set_epoch`` of a loader changes the order that it makes.
        seeded: whether another seed gives other samples or another order.
    """

    call: Callable[..., Any]
    length: Callable[[int], int] | None
    turns: bool = False
    seeded: bool = False


METHODS: dict[str, Method] = {
    "shuffled": Method(lambda ds, seed=0: ds.shuffled(seed=seed), lambda n: n, True, True),
    "ordered": Method(lambda ds: ds.ordered(), lambda n: n),
    "select": Method(lambda ds: ds.select("number", "note"), lambda n: n),
    "as_type": Method(lambda ds: ds.as_type(Leaf), lambda n: n),
    "map": Method(lambda ds: ds.map(numbered), lambda n: n),
    "filter": Method(lambda ds: ds.filter(is_kept), None),
    "on_error": Method(lambda ds: ds.on_error("skip"), lambda n: n),
    "take": Method(lambda ds: ds.take(9), lambda n: min(n, 9)),
    "skip": Method(lambda ds: ds.skip(4), lambda n: max(0, n - 4)),
    "slice": Method(lambda ds: ds[2:30:3], lambda n: len(range(n)[2:30:3])),
    "split": Method(lambda ds, seed=0: ds.split(0.5, seed=seed)[0], half, seeded=True),
    "shard": Method(lambda ds: ds.shard(1, 3), lambda n: n // 3),
    "concat": Method(lambda ds: atd.concat([ds, ds]), lambda n: 2 * n),
    "mix": Method(lambda ds, seed=0: atd.mix([ds, ds], seed=seed), None, True, True),
}  # fmt: skip


def numbers(samples: Any) -> list[int]:
    return [sample.number for sample in samples]


def opened(leaves: Path) -> atd.Dataset[atd.Row]:
    return atd.load(str(leaves), split="train")


def made(leaves: Path, *names: str) -> Any:
    """The methods in a row; None where they refuse to be written so."""
    ds: Any = opened(leaves)
    try:
        for name in names:
            ds = METHODS[name].call(ds)
    except (LocalError, TypeError):
        return None
    return ds


PAIRS = [(name,) for name in METHODS] + list(product(METHODS, repeat=2))


@pytest.mark.parametrize("names", PAIRS, ids=".".join)
def test_length_order_and_resume_are_as_documented(leaves: Path, names: tuple[str, ...]) -> None:
    ds = made(leaves, *names)
    if ds is None:
        assert "shard" in names or names[-1] in ("select", "as_type", "concat", "mix")
        return
    whole = numbers(ds)
    _check_length(ds, whole, names)
    # The order is a function: the same again, in the next iteration and in another process.
    assert numbers(ds) == whole
    assert numbers(made(leaves, *names)) == whole
    for behind in {1, len(whole) // 2}:
        begun = made(leaves, *names)
        reading = iter(begun)
        before = [next(reading).number for _ in range(behind)]
        again = made(leaves, *names)
        again.load_state_dict(begun.state_dict())
        assert before + numbers(again) == whole
    _check_batches(leaves, whole, names)


def _check_length(ds: Any, whole: list[int], names: tuple[str, ...]) -> None:
    expected: int | None = 40
    for name in names:
        length = METHODS[name].length
        expected = None if length is None or expected is None else length(expected)
    if expected is not None:
        assert len(ds) == len(whole) == expected
    elif names[-1] == "filter" or (names[0] == "filter" and names[-1] in ("map", "on_error")):
        with pytest.raises(TypeError, match="not known after filter"):
            len(ds)
    else:
        assert len(ds) == len(whole)


def _check_batches(leaves: Path, whole: list[int], names: tuple[str, ...]) -> None:
    batches = made(leaves, *names).batched(4)
    found = [batch.number.tolist() for batch in batches]
    assert list(chain.from_iterable(found)) == whole
    assert [len(batch) for batch in found[:-1]] == [4] * (len(found) - 1)
    some = made(leaves, *names).batched(4)
    reading = iter(some)
    before = [next(reading).number.tolist() for _ in range(len(found) // 2)]
    again = made(leaves, *names).batched(4)
    again.load_state_dict(some.state_dict())
    assert before + [batch.number.tolist() for batch in again] == found


@pytest.mark.parametrize("name", METHODS)
def test_only_a_seed_makes_chance(leaves: Path, name: str) -> None:
    method = METHODS[name]
    if not method.seeded:
        assert name not in ("shuffled", "split", "mix")
        return
    ds = opened(leaves)
    orders = {tuple(numbers(method.call(ds, seed=seed))) for seed in range(4)}
    assert len(orders) == 4


@pytest.mark.parametrize("name", [name for name in METHODS if name != "shard"])
def test_an_epoch_turns_what_the_documentation_says(leaves: Path, name: str) -> None:
    loader = METHODS[name].call(opened(leaves)).loader(3, tail="pad")
    orders = []
    for epoch in (0, 1):
        loader.set_epoch(epoch)
        orders.append([batch.number.tolist() for batch in loader])
    assert (orders[0] != orders[1]) == METHODS[name].turns
    begun = METHODS[name].call(opened(leaves)).loader(3, tail="pad")
    begun.set_epoch(1)
    reading = iter(begun)
    before = [next(reading).number.tolist() for _ in range(2)]
    again = METHODS[name].call(opened(leaves)).loader(3, tail="pad")
    again.load_state_dict(begun.state_dict())
    assert before + [batch.number.tolist() for batch in again] == orders[1]


def test_ranks_have_the_same_length_and_nothing_twice(leaves: Path) -> None:
    ds = opened(leaves).shuffled(seed=3)
    shares = [numbers(ds.shard(rank, 3)) for rank in range(3)]
    assert [len(share) for share in shares] == [13] * 3
    assert sorted(chain.from_iterable(shares)) == sorted(numbers(ds)[:39])


def test_parts_of_a_split_are_disjoint_in_every_epoch(leaves: Path) -> None:
    ds = opened(leaves)
    parts = [ds.shuffled(1, epoch).split(0.5, 0.5, seed=7) for epoch in (0, 1)]
    for one, other in zip(*parts, strict=True):
        assert sorted(numbers(one)) == sorted(numbers(other))
        assert numbers(one) != numbers(other)
    assert sorted(numbers(parts[0][0]) + numbers(parts[0][1])) == list(range(40))


class Counted:
    """A filter that counts how often it is asked."""

    asked = 0

    def __call__(self, sample: Any) -> bool:
        self.asked += 1
        return bool(sample.number % 2)


@pytest.mark.parametrize("name", ["take", "skip", "slice", "shuffled", "ordered", "shard", "split"])
def test_a_filter_is_evaluated_once_and_then_the_length_is_known(leaves: Path, name: str) -> None:
    keep = Counted()
    ds = METHODS[name].call(opened(leaves).filter(keep))
    assert keep.asked == 40
    assert len(ds) == len(numbers(ds))
    assert keep.asked == 40


def test_every_method_of_the_table_is_here() -> None:
    text = DOCS.read_text("utf-8")
    table = text[text.index("### What each does") :].partition("\n### ")[0]
    told = set(re.findall(r"^\| `(?:ds\.|atd\.)?(\w+)", table, re.MULTILINE))
    assert told | {"slice"} == {*METHODS, "batched", "loader", "slice"}
