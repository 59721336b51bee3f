"""Every target withstands its seeds, mutations of them, and all that was ever found.

The long way is ``make fuzz``; here a fixed number of mutations is tried, so that a reader that was
broken for plain damage is seen by every run of the tests.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz.targets import TARGETS, VECTORS, found

FOUND = [(name, what, data) for name in TARGETS for what, data in found(name).items()]


@pytest.mark.parametrize(("name", "what", "data"), FOUND, ids=[f"{n}-{w}" for n, w, _ in FOUND])
def test_what_was_found_once_is_mended(name: str, what: str, data: bytes) -> None:
    TARGETS[name].run(data)


def test_every_vector_is_of_a_target() -> None:
    assert len(list(VECTORS.glob("*/*"))) == len(FOUND)


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_are_what_they_seem(name: str) -> None:
    seeds = list(TARGETS[name].seeds())
    assert seeds
    for seed in seeds:
        TARGETS[name].run(seed)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_damage_is_no_more_than_refused(name: str, data: st.DataObject) -> None:
    target = TARGETS[name]
    mutated = bytearray(data.draw(st.sampled_from(list(target.seeds()))))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, max(0, len(mutated) - 1)))
        match data.draw(st.sampled_from(["set", "flip", "cut", "drop", "insert", "repeat"])):
            case "set":
                mutated[at : at + 1] = bytes([data.draw(st.integers(0, 255))])
            case "flip" if mutated:
                mutated[at] ^= 1 << data.draw(st.integers(0, 7))
            case "cut":
                del mutated[at:]
            case "drop":
                del mutated[at : at + data.draw(st.integers(1, 64))]
            case "insert":
                mutated[at:at] = data.draw(st.binary(max_size=16))
            case "repeat":
                mutated[at:at] = mutated[at : at + data.draw(st.integers(1, 512))]
    target.run(bytes(mutated))
