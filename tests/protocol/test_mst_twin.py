"""The tree against its slow twin: all small trees, and every graft and change of them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atd.errors import ProofError
from atd.protocol.blocks import getter
from atd.protocol.cbor import RAW, Cid, decode, encode
from atd.protocol.mst import build, find, paths, proof_blocks, trace, walk
from protocol.making import COLLECTION, keys_of_height, node, slow_build

VALUE = Cid.of(b"a record")
LOW, MIDDLE, HIGH, HIGHER = (keys_of_height(level, 8) for level in range(4))
# Keys of four heights, in an order that nests them every way.
SMALL = sorted([*LOW[:4], *MIDDLE[:2], HIGH[0], HIGHER[0]])

Blocks = dict[Cid, bytes]


def value_of(key: str) -> Cid:
    """The record that stands under ``key`` in these tests."""
    return Cid.of(key.encode())


def subsets(keys: list[str]) -> Iterator[dict[str, Cid]]:
    """Every set of ``keys``, as entries."""
    for size in range(len(keys) + 1):
        for chosen in itertools.combinations(keys, size):
            yield {key: value_of(key) for key in chosen}


def test_every_small_tree_is_the_one_by_definition() -> None:
    for entries in subsets(SMALL):
        assert build(entries) == slow_build(entries)


def test_every_small_tree_is_walked_in_order() -> None:
    for entries in subsets(SMALL):
        root, blocks = slow_build(entries)
        assert list(walk(blocks, root)) == sorted(entries.items())


def test_every_key_is_found_or_proved_absent_in_every_small_tree() -> None:
    for entries in subsets(SMALL):
        root, blocks = slow_build(entries)
        for key in SMALL:
            path = proof_blocks(blocks, root, key)
            proof = {cid: blocks[cid] for cid in path}
            assert find(proof, root, key) == entries.get(key)


def test_a_proof_lacks_nothing_and_has_nothing_to_spare() -> None:
    for entries in subsets(SMALL[:6]):
        root, blocks = slow_build(entries)
        for key in SMALL[:6]:
            path = proof_blocks(blocks, root, key)
            for withheld in path:
                rest = {cid: blocks[cid] for cid in path if cid != withheld}
                with pytest.raises(ProofError, match="incomplete"):
                    find(rest, root, key)


def test_the_paths_to_every_key_with_a_prefix_are_those_traced() -> None:
    for entries in subsets(SMALL):
        root, blocks = slow_build(entries)
        get = getter(blocks)
        for prefix in ("", COLLECTION, f"{COLLECTION}/", f"{COLLECTION}/0000", SMALL[3], "a", "z"):
            wanted = [
                (key, trace(get, root, key)) for key in sorted(entries) if key.startswith(prefix)
            ]
            found = [
                (key.decode(), (Cid(cid), list(path)))
                for key, cid, path in paths(get, root, prefix.encode())
            ]
            assert found == wanted


def test_a_walk_that_lacks_any_node_is_incomplete() -> None:
    for entries in subsets(SMALL):
        root, blocks = slow_build(entries)
        for withheld in blocks:
            rest = {cid: block for cid, block in blocks.items() if cid != withheld}
            with pytest.raises(ProofError, match="incomplete"):
                list(walk(rest, root))


def test_a_walk_accepts_only_the_one_tree_of_its_keys() -> None:
    """Graft every node of every small tree into every gap of every other: all grafts that make
    another tree than the one by definition are refused."""
    trees = [slow_build(entries) for entries in subsets([*LOW[:2], *MIDDLE[:2], HIGH[0]])]
    nodes: Blocks = {}
    for _, blocks in trees:
        nodes |= blocks
    accepted = 0
    for root, blocks in trees:
        for place in grafting_places(decode(blocks[root])):
            for graft in (None, *nodes):
                grafted = encode(place(graft))
                new = Cid.of(grafted)
                try:
                    found = dict(walk({**nodes, new: grafted}, new))
                except ProofError:
                    continue
                assert slow_build(found)[0] == new
                accepted += 1
    assert accepted > len(trees)


def grafting_places(value: Any) -> Iterator[Any]:
    """Each subtree pointer of a node, as a function from a new pointer to the node with it."""
    yield lambda graft: {**value, "l": graft}
    for index in range(len(value["e"])):

        def replaced(graft: Cid | None, index: int = index) -> dict[str, Any]:
            entries = list(value["e"])
            entries[index] = {**entries[index], "t": graft}
            return {**value, "e": entries}

        yield replaced


parts = st.text("ab~", max_size=3)
field = st.one_of(
    st.tuples(st.just("p"), st.integers(-1, 30)),
    st.tuples(st.just("k"), parts.map(lambda text: f"{COLLECTION}/{text}".encode())),
    st.tuples(st.just("k"), parts.map(str.encode)),
    st.tuples(st.just("v"), st.sampled_from([VALUE, Cid.of(b"x", RAW), None, b"x"])),
    st.tuples(st.just("t"), st.sampled_from([None, VALUE, Cid.of(node([]))])),
)


@given(st.sets(st.sampled_from(SMALL), min_size=1), st.data())
@settings(max_examples=400)
def test_no_change_to_a_node_makes_another_accepted_tree(keys: set[str], data: Any) -> None:
    root, blocks = slow_build({key: value_of(key) for key in keys})
    value: Any = decode(blocks[root])
    index = data.draw(st.integers(0, len(value["e"]) - 1))
    name, new = data.draw(field)
    value["e"][index][name] = new
    changed = encode(value)
    blocks[Cid.of(changed)] = changed
    try:
        found = dict(walk(blocks, Cid.of(changed)))
    except ProofError:
        return
    assert slow_build(found)[0] == Cid.of(changed)


@given(st.dictionaries(st.integers(0, 5_000), st.binary(max_size=2), max_size=60))
@settings(max_examples=60)
def test_larger_trees_are_the_ones_by_definition(chosen: Mapping[int, bytes]) -> None:
    entries = {f"{COLLECTION}/{number:04d}": Cid.of(data) for number, data in chosen.items()}
    root, blocks = build(entries)
    assert (root, blocks) == slow_build(entries)
    assert dict(walk(blocks, root)) == entries


def test_keys_of_several_collections_and_odd_characters_are_held() -> None:
    keys = [
        "a.b.c/-",
        "a.b.c/:",
        "a.b.c/~",
        "a.b.c/" + "x" * 512,
        "a.b.cc/_",
        "z.b.c/..",
        "A.b.c/1",
    ]
    entries = {key: value_of(key) for key in keys}
    root, blocks = build(entries)
    assert (root, blocks) == slow_build(entries)
    assert list(walk(blocks, root)) == sorted(entries.items())


def test_the_empty_tree_is_one_empty_node() -> None:
    root, blocks = build({})
    assert blocks == {root: node([])}
    assert find(blocks, root, "a.b.c/d") is None
    assert list(walk(blocks, root)) == []
