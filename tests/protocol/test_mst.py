"""The tree: shared vectors, and every rule broken. Against its slow twin: test_mst_twin.py."""

from __future__ import annotations

from typing import Any

import pytest

from atd.errors import InvalidSyntax, ProofError
from atd.protocol.cbor import RAW, Cid, decode, encode
from atd.protocol.mst import build, find, height, walk
from atd.protocol.mst_node import (
    MAX_NODE_BYTES,
    Node,
    _shared,
    read_node,
    without_entry,
    write_node,
)
from protocol.making import (
    COLLECTION,
    entry,
    keys_of_height,
    node,
    slow_build,
    slow_height,
)
from support import json_vectors, vectors

VALUE = Cid.of(b"a record")
LOW, MIDDLE, HIGH, HIGHER = (keys_of_height(level, 8) for level in range(4))
# Two keys of each height up to 2, one of 3, in an order that nests them every way.
SMALL = sorted([*LOW[:4], *MIDDLE[:2], HIGH[0], HIGHER[0]])

Blocks = dict[Cid, bytes]


def value_of(key: str) -> Cid:
    """The record that stands under ``key`` in these tests."""
    return Cid.of(key.encode())


def tree(*blocks: bytes) -> tuple[Blocks, Cid]:
    """Blocks by CID, and the CID of the first."""
    return {Cid.of(block): block for block in blocks}, Cid.of(blocks[0])


def refused(blocks: Blocks, root: Cid, key: str, match: str) -> None:
    """Neither looking up ``key`` nor walking gets anything out of the tree."""
    with pytest.raises(ProofError, match=match):
        find(blocks, root, key)
    with pytest.raises(ProofError, match=match):
        list(walk(blocks, root))


# --- vectors --------------------------------------------------------------------------------------


def test_heights_are_those_of_the_vectors() -> None:
    for case in json_vectors("atproto-interop/mst/key_heights.json"):
        assert height(case["key"]) == case["height"] == slow_height(case["key"])


def test_common_prefixes_are_those_of_the_vectors() -> None:
    for case in json_vectors("atproto-interop/mst/common_prefix.json"):
        assert _shared(case["left"].encode(), case["right"].encode()) == case["len"]


def test_the_example_keys_have_the_height_that_they_spell() -> None:
    for line in vectors("atproto-interop/mst/example_keys.txt").read_text().split():
        assert height(line) == int(line[1])


@pytest.mark.parametrize("index", range(6))
def test_the_commit_proof_fixtures_have_their_roots(index: int) -> None:
    case = json_vectors("atproto-interop/firehose/commit-proof-fixtures.json")[index]
    leaf = Cid.parse(case["leafValue"])
    before = dict.fromkeys(case["keys"], leaf)
    after = {key: leaf for key in [*case["keys"], *case["adds"]] if key not in case["dels"]}
    assert str(build(before)[0]) == case["rootBeforeCommit"]
    root, blocks = build(after)
    assert str(root) == case["rootAfterCommit"]
    assert {Cid.parse(text) for text in case["blocksInProof"]} <= {*blocks, *build(before)[1]}


# --- each rule broken -----------------------------------------------------------------------------


def test_a_missing_node_is_incomplete_not_absent() -> None:
    root, _ = build({LOW[0]: VALUE})
    refused({}, root, LOW[0], "incomplete")


def test_keys_out_of_order_are_refused() -> None:
    first, second = LOW[:2]
    shared = _shared(second.encode(), first.encode())
    blocks, root = tree(node([entry(second, VALUE), entry(first[shared:], VALUE, shared)]))
    refused(blocks, root, first, "wrong order or compression")


def test_a_repeated_key_is_refused() -> None:
    key = LOW[0]
    for rest, shared in (("", len(key)), (key[-1:], len(key) - 1), (key, 0)):
        block = encode({"l": None, "e": [entry(key, VALUE), entry(rest, VALUE, shared)]})
        blocks, root = tree(block)
        refused(blocks, root, key, "tree node|DAG-CBOR")


def test_a_key_that_is_compressed_too_little_is_refused() -> None:
    first, second = LOW[:2]
    shared = _shared(first.encode(), second.encode())
    for less in range(shared):
        blocks, root = tree(node([entry(first, VALUE), entry(second[less:], VALUE, less)]))
        refused(blocks, root, second, "wrong order or compression")


def test_a_first_key_that_shares_a_prefix_with_nothing_is_refused() -> None:
    for shared in (1, 5, 500, 1 << 40):
        blocks, root = tree(node([entry(LOW[0], VALUE, shared)]))
        refused(blocks, root, LOW[0], "shares|expected l and e")


def test_a_prefix_longer_than_the_key_before_is_refused() -> None:
    for shared in (len(LOW[0]) + 1, 1025, 5_000):
        blocks, root = tree(node([entry(LOW[0], VALUE), entry("x", VALUE, shared)]))
        refused(blocks, root, LOW[0], "shares|expected l and e")


def test_keys_of_different_heights_in_one_node_are_refused() -> None:
    for keys in ([LOW[0], MIDDLE[0]], [MIDDLE[0], LOW[0]], [LOW[0], HIGHER[0], LOW[1]]):
        listed, before = [], ""
        for key in sorted(keys):
            shared = _shared(before.encode(), key.encode())
            listed.append(entry(key[shared:], VALUE, shared))
            before = key
        blocks, root = tree(node(listed))
        refused(blocks, root, LOW[0], "different heights")


def test_a_subtree_at_another_height_is_refused() -> None:
    """A key of height 0 directly below one of height 2, without the passage in between."""
    low = min(LOW)
    high = next(key for key in HIGH if key > low)
    blocks, root = tree(node([entry(high, VALUE)], Cid.of(node([entry(low, VALUE)]))))
    blocks |= tree(node([entry(low, VALUE)]))[0]
    refused(blocks, root, low, "of height 0 stand at 1")


def test_a_subtree_higher_than_its_parent_is_refused() -> None:
    high = min(HIGH)
    middle = next(key for key in keys_of_height(1, 60) if key > high)
    below = node([entry(high, VALUE)])
    blocks, root = tree(node([entry(middle, VALUE)], Cid.of(below)), below)
    refused(blocks, root, high, "of height 2 stand at 0")


def test_a_key_outside_the_bounds_of_its_subtree_is_refused() -> None:
    """The subtree left of a key holds a larger one; the one right of it a smaller."""
    middle = MIDDLE[1]
    smaller = next(key for key in LOW if key < middle)
    larger = next(key for key in keys_of_height(0, 60) if key > middle)
    for key, side in ((larger, "left"), (smaller, "right")):
        below = node([entry(key, VALUE)])
        cid = Cid.of(below)
        left, right = (cid, None) if side == "left" else (None, cid)
        blocks, root = tree(node([entry(middle, VALUE, tree=right)], left), below)
        with pytest.raises(ProofError, match="not between"):
            list(walk(blocks, root))
        hidden = smaller if side == "left" else larger
        with pytest.raises(ProofError, match="not between"):
            find(blocks, root, hidden)


def test_bounds_are_inherited_through_empty_passages() -> None:
    """A key two levels down, below a passage, must still lie on its side of the root's key."""
    high = HIGH[0]
    larger = next(key for key in keys_of_height(0, 200) if key > high)
    leaf = node([entry(larger, VALUE)])
    passage = node([], Cid.of(leaf))
    blocks, root = tree(node([entry(high, VALUE)], Cid.of(passage)), passage, leaf)
    with pytest.raises(ProofError, match="not between"):
        list(walk(blocks, root))


def test_the_same_subtree_on_both_sides_is_refused() -> None:
    middle = MIDDLE[1]
    smaller = next(key for key in LOW if key < middle)
    below = node([entry(smaller, VALUE)])
    cid = Cid.of(below)
    blocks, root = tree(node([entry(middle, VALUE, tree=cid)], cid), below)
    with pytest.raises(ProofError, match="not between"):
        list(walk(blocks, root))


def test_a_subtree_below_height_0_is_refused() -> None:
    empty = node([])
    blocks, root = tree(node([entry(LOW[0], VALUE)], Cid.of(empty)), empty)
    refused(blocks, root, LOW[0], "below height 0")


def test_an_empty_node_that_leads_nowhere_is_refused() -> None:
    empty = node([])
    blocks, root = tree(node([entry(MIDDLE[0], VALUE)], Cid.of(empty)), empty)
    with pytest.raises(ProofError, match="leads nowhere"):
        list(walk(blocks, root))
    with pytest.raises(ProofError, match="leads nowhere"):
        find(blocks, root, f"{COLLECTION}/!".replace("!", "-"))


def test_an_empty_root_over_a_subtree_is_refused() -> None:
    below = node([entry(LOW[0], VALUE)])
    blocks, root = tree(node([], Cid.of(below)), below)
    refused(blocks, root, LOW[0], "root but has no key")


def test_a_deep_chain_of_empty_nodes_ends() -> None:
    """Blocks cannot contain their own hash; but whoever could make a cycle gains nothing."""
    key = max(HIGHER)
    block = node([entry(key, VALUE)], VALUE)
    loop = node([], VALUE)
    blocks = {Cid.of(block): block, VALUE: loop}
    with pytest.raises(ProofError, match="leads nowhere"):
        find(blocks, Cid.of(block), f"{COLLECTION}/-")
    with pytest.raises(ProofError, match="leads nowhere"):
        list(walk(blocks, Cid.of(block)))


def test_a_node_that_is_its_own_subtree_is_refused() -> None:
    key = HIGHER[0]
    block = node([entry(key, VALUE)], VALUE)
    blocks = {VALUE: block}
    with pytest.raises(ProofError, match="stand at 2"):
        list(walk(blocks, VALUE))


@pytest.mark.parametrize(
    "key",
    [
        "",
        "nothing",
        "/",
        "a/",
        "/a",
        "a/b/c",
        "a b/c",
        "a/b\n",
        "a/\0",
        "é/a",
        "a/\ud800",
        "a%/b",
        "a/" + "b" * 1023,
    ],
)
def test_a_key_of_another_form_is_refused(key: str) -> None:
    with pytest.raises(InvalidSyntax, match="collection/record-key"):
        build({key: VALUE})
    root, blocks = build({})
    with pytest.raises(InvalidSyntax, match="collection/record-key"):
        find(blocks, root, key)
    data = key.encode("utf-8", "surrogatepass")
    block = encode({"l": None, "e": [{"p": 0, "k": data, "v": VALUE, "t": None}]})
    with pytest.raises(ProofError, match="tree node"):
        read_node(block)


def test_a_later_key_of_another_form_is_refused() -> None:
    for rest in ("/", "/x", "//", "\n", " ", ""):
        for shared in range(len(COLLECTION) + 1, len(LOW[0]) + 1):
            block = node([entry(LOW[0], VALUE), entry(rest, VALUE, shared)])
            with pytest.raises(ProofError, match="tree node"):
                read_node(block)


def test_a_key_that_grows_beyond_the_limit_is_refused() -> None:
    long = COLLECTION + "/" + "a" * 1_000
    listed = [entry(long, VALUE), entry("b" * 20, VALUE, len(long))]
    with pytest.raises(ProofError, match=r"1024|different heights"):
        read_node(node(listed))


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"\xa0",
        b"\xf6",
        b"\x80",
        encode({"l": None}),
        encode({"e": []}),
        encode({"l": None, "e": None}),
        encode({"l": None, "e": {}}),
        encode({"l": None, "e": [], "x": 1}),
        encode({"l": False, "e": []}),
        encode({"l": "x", "e": []}),
        encode({"l": Cid.of(b"", RAW), "e": []}),
        encode({"l": VALUE.bytes, "e": []}),
        encode({"l": None, "e": [None]}),
        encode({"l": None, "e": [{}]}),
        encode({"l": None, "e": [{**entry(LOW[0], VALUE), "x": 1}]}),
        encode({"l": None, "e": [{**entry(LOW[0], VALUE), "p": False}]}),
        encode({"l": None, "e": [{**entry(LOW[0], VALUE), "p": -1}]}),
        encode({"l": None, "e": [{**entry(LOW[0], VALUE), "p": "0"}]}),
        encode({"l": None, "e": [{**entry(LOW[0], VALUE), "k": LOW[0]}]}),
        encode({"l": None, "e": [{**entry(LOW[0], VALUE), "k": None}]}),
        encode({"l": None, "e": [{**entry(LOW[0], VALUE), "v": None}]}),
        encode({"l": None, "e": [{**entry(LOW[0], VALUE), "v": VALUE.bytes}]}),
        encode({"l": None, "e": [{**entry(LOW[0], VALUE), "v": Cid.of(b"", RAW)}]}),
        encode({"l": None, "e": [{**entry(LOW[0], VALUE), "t": False}]}),
        encode({"l": None, "e": [{**entry(LOW[0], VALUE), "t": VALUE.bytes}]}),
        encode({"l": None, "e": [{**entry(LOW[0], VALUE), "t": Cid.of(b"", RAW)}]}),
        node([entry(LOW[0], VALUE)]) + b"\x00",
        b"\x00" + node([entry(LOW[0], VALUE)]),
        node([entry(LOW[0], VALUE)])[:-1],
        node([]).replace(b"\x80", b"\x98\x00"),
        node([entry(LOW[0], VALUE)]).replace(b"ap\x00", b"ap\x18\x00"),
        node([entry(LOW[0], VALUE)]).replace(b"ap\x00", b"ap\xf9\x00\x00"),
    ],
)
def test_what_is_no_node_is_refused(block: bytes) -> None:
    with pytest.raises(ProofError, match=r"tree node|DAG-CBOR"):
        read_node(block)


def test_any_single_bit_of_a_node_makes_another_node_or_none() -> None:
    """Whatever is still a node says in its bytes exactly what it is read as."""
    root, blocks = slow_build({key: value_of(key) for key in SMALL})
    for block in blocks.values():
        for bit in range(len(block) * 8):
            flipped = (int.from_bytes(block) ^ 1 << bit).to_bytes(len(block))
            try:
                found = read_node(flipped)
            except ProofError:
                continue
            value: Any = decode(flipped)
            assert [item["v"].bytes for item in value["e"]] == found.values
            assert encode(value) == flipped
    assert root in blocks


def test_a_wide_node_is_read_and_written() -> None:
    for count in (23, 24, 255, 256, 300):
        keys = sorted(keys_of_height(0, count))
        entries = dict.fromkeys(keys, VALUE)
        root, blocks = build(entries)
        assert len(blocks) == 1
        assert (root, blocks) == slow_build(entries)
        assert dict(walk(blocks, root)) == entries


@pytest.mark.parametrize("count", [2, 3, 23, 24, 25])
@pytest.mark.parametrize("twice", [False, True])
def test_cutting_an_entry_out_gives_the_node_written_without_it(count: int, twice: bool) -> None:
    keys = sorted(key.encode() for key in keys_of_height(0, count))
    values = [Cid.of(key).bytes for key in keys]
    if twice:
        values[1] = values[0]
    whole = Node(0, keys, values, [b""] * (count + 1))
    block = write_node(whole)
    for index in range(count):
        found = without_entry(block, whole, index)
        rest = [*range(index), *range(index + 1, count)]
        left = Node(0, [keys[i] for i in rest], [values[i] for i in rest], [b""] * count)
        assert found == write_node(left) or (twice and index < 3 and found is None)


def test_an_entry_is_not_cut_out_where_the_bytes_of_a_cid_stand_elsewhere_too() -> None:
    """The digest of ``b``, with the bytes that follow it in the node, spells the CID of ``c``."""
    keys = sorted(key.encode() for key in keys_of_height(0, 3))
    values = [Cid.of(key).bytes for key in keys]
    start = b"\x01\x71\x12\x20"
    values[1] = start + bytes(16) + start + b"spells a CID"
    block = write_node(Node(0, keys, values, [b""] * 4))
    at = block.index(values[1]) + 20
    values[2] = block[at : at + 36]
    forged = Node(0, keys, values, [b""] * 4)
    block = write_node(forged)
    assert block.index(values[2]) == at
    assert without_entry(block, forged, 1) is None


def test_a_node_of_compressed_keys_that_would_fill_the_memory_is_refused() -> None:
    keys = [f"{COLLECTION}/{'a' * 400}{number:05}".encode() for number in range(25_000)]
    keys = [key for key in keys if height(key) == 0]
    links = [VALUE.bytes] * len(keys)
    block = write_node(Node(0, keys, links, [b""] * (len(keys) + 1)))
    assert len(block) > MAX_NODE_BYTES
    assert sum(map(len, keys)) > 5 * len(block)
    refused(*tree(block), keys[7].decode(), f"at most {MAX_NODE_BYTES} are read")


def test_a_record_that_is_not_dag_cbor_has_no_place_in_a_tree() -> None:
    with pytest.raises(InvalidSyntax, match="DAG-CBOR"):
        build({LOW[0]: Cid.of(b"", RAW)})
