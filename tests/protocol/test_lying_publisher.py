"""What a publisher who lies can do with a real key: trees and records that are signed, and wrong.

Each is refused, or is exactly what the tree by definition says.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest

from atd.errors import ProofError, RecordAbsent
from atd.protocol.cbor import Cid, Value, decode, encode
from atd.protocol.commit import Commit
from atd.protocol.mst import build
from atd.protocol.proof import (
    ENTRY_BYTES,
    MAX_VALUES,
    VerifiedRecord,
    verify_record,
    verify_repo,
)
from protocol.making import (
    COLLECTION,
    REV,
    Author,
    entry,
    keys_of_height,
    node,
    pack,
    slow_build,
    thing,
)

MALLORY = Author.named("mallory", "p256")
LOW, MIDDLE, HIGH = keys_of_height(0, 80), keys_of_height(1, 60), keys_of_height(2, 12)
KEY = f"{COLLECTION}/self"
RECORD = encode(thing())
CID = Cid.of(RECORD)


def proved(*blocks: bytes, key: str = KEY) -> VerifiedRecord:
    """What a signed tree, whose root comes first, proves about ``key``."""
    car = MALLORY.car(Cid.of(blocks[0]), [*blocks, RECORD])
    return verify_record(car, MALLORY.identity, MALLORY.uri(key))


def with_record(block: bytes, key: str = KEY) -> VerifiedRecord:
    """What the right tree with one record of these bytes proves."""
    root, nodes = build({key: Cid.of(block)})
    car = MALLORY.car(root, [*nodes.values(), block])
    return verify_record(car, MALLORY.identity, MALLORY.uri(key))


# --- step 8: the record --------------------------------------------------------------------------


def test_step_8_a_record_is_decoded() -> None:
    assert with_record(RECORD).value == thing()


def test_a_record_of_a_million_little_values_is_refused_before_they_are_made() -> None:
    values = b"\x9a\x00\x0e\x00\x00" + b"\x80" * 0xE0000
    block = b"\xa2\x61a" + values + RECORD[1:][: RECORD.index(b"fnumber") - 1]
    tracemalloc.start()
    try:
        with pytest.raises(ProofError, match="values"):
            with_record(block)
        assert tracemalloc.get_traced_memory()[1] < 8 * len(block)
    finally:
        tracemalloc.stop()


def test_a_record_may_have_so_many_values_and_no_more() -> None:
    fixed = 1 + 2 * len(thing()) + 2  # the map, its keys and values, the list and its key
    most: list[Value] = [0] * (MAX_VALUES - fixed)
    assert len(with_record(encode({**thing(), "z": most})).block) > MAX_VALUES
    with pytest.raises(ProofError, match=f"more than {MAX_VALUES} values"):
        with_record(encode({**thing(), "z": [*most, 0]}))


RECORDS = {
    "a float": b"\xa2\x61a\xfb\x3f\xf8" + bytes(6) + RECORD[1:][: RECORD.index(b"fnumber") - 1],
    "a number in a longer form": RECORD.replace(b"fnumber\x00", b"fnumber\x18\x00"),
    "a length in a longer form": RECORD.replace(b"\x71com.", b"\x78\x11com."),
    "trailing bytes": RECORD + b"\x00",
    "a cut": RECORD[:-1],
    "a key twice": b"\xa3" + RECORD[1:] + b"fnumber\x01",
    "keys out of order": b"\xa2fnumber\x00" + RECORD[1:].replace(b"fnumber\x00", b""),
    "no bytes": b"",
    "an unknown tag": b"\xc1" + RECORD,
    "a nesting bomb": b"\x81" * 500_000,
    "a bomb of maps": b"\xa1\x61a" * 200_000,
    "a bomb within a record": RECORD.replace(b"\x00", b"\x81" * 10_000, 1),
    "a list too long": b"\x9b" + b"\xff" * 8,
    "a map of no fixed length": b"\xbf" + RECORD[1:] + b"\xff",
    "a float instead of an integer": RECORD.replace(b"fnumber\x00", b"fnumber\xf9\x00\x00"),
    "undefined": RECORD.replace(b"fnumber\x00", b"fnumber\xf7"),
}


@pytest.mark.parametrize("block", RECORDS.values(), ids=RECORDS.keys())
def test_step_8_a_record_that_does_not_decode_strictly_is_refused(block: bytes) -> None:
    assert block != RECORD
    with pytest.raises(ProofError, match="DAG-CBOR"):
        with_record(block)


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"number": 1},
        {"$type": None},
        {"$type": ""},
        {"$type": 7},
        {"$type": [COLLECTION]},
        {"$type": "com.example.other"},
        {"$type": COLLECTION + "#main"},
        {"$type": COLLECTION.upper()},
        {"$type": COLLECTION + "\n"},
        [],
        [{"$type": COLLECTION}],
        COLLECTION,
        None,
        CID,
    ],
)
def test_step_8_a_record_of_another_type_is_refused(value: Value) -> None:
    with pytest.raises(ProofError, match=r"expected a record of \$type"):
        with_record(encode(value))


def test_step_8_a_record_proved_under_another_collection_is_refused() -> None:
    with pytest.raises(ProofError, match=r"\$type com\.example\.other, got 'com\.example\.thing'"):
        with_record(RECORD, "com.example.other/self")


def test_a_tree_node_or_commit_as_a_record_is_refused() -> None:
    for block in (node([]), MALLORY.commit(CID).encode()):
        with pytest.raises(ProofError, match="expected a record"):
            with_record(block)


def test_a_bad_record_does_not_hide_the_others_of_its_repository() -> None:
    good, bad = f"{COLLECTION}/good", f"{COLLECTION}/bad"
    rotten = RECORDS["a float"]
    root, nodes = build({good: CID, bad: Cid.of(rotten)})
    repo = verify_repo(MALLORY.car(root, [*nodes.values(), RECORD, rotten]), MALLORY.identity)
    assert repo.record(MALLORY.uri(good)).value == thing()
    with pytest.raises(ProofError, match="DAG-CBOR"):
        repo.record(MALLORY.uri(bad))


# --- step 7: trees -------------------------------------------------------------------------------


def test_step_7_the_commit_must_point_to_a_tree() -> None:
    for block in (RECORD, encode(None), b"", node([]) + b"\0"):
        with pytest.raises(ProofError, match=r"tree node|DAG-CBOR"):
            proved(block)


def test_step_7_a_key_at_the_wrong_height_is_refused() -> None:
    high = HIGH[0]
    low = next(key for key in LOW if key > high)
    below = node([entry(low, CID)])
    wrong = node([entry(high, CID, tree=Cid.of(below))])
    with pytest.raises(ProofError, match="stand at 1"):
        proved(wrong, below, key=low)


def test_step_7_keys_of_different_heights_are_refused_even_beside_the_path() -> None:
    low, middle = LOW[0], next(key for key in MIDDLE if key > LOW[0])
    shared = len(COLLECTION) + 1
    while low[shared] == middle[shared]:
        shared += 1
    with pytest.raises(ProofError, match="different heights"):
        proved(node([entry(low, CID), entry(middle[shared:], CID, shared)]), key=low)


def test_step_7_keys_out_of_order_hide_nothing() -> None:
    """A key filed after a larger one would be absent to a binary search, present to a reader."""
    small, large = LOW[0], LOW[1]
    shared = len(COLLECTION) + 1
    listed = [entry(large, CID), entry(small[shared:], CID, shared)]
    for key in (small, large):
        with pytest.raises(ProofError, match="wrong order or compression"):
            proved(node(listed), key=key)


def test_step_7_bad_prefix_compression_is_refused() -> None:
    first, second = LOW[:2]
    for shared in range(len(COLLECTION)):
        with pytest.raises(ProofError, match="wrong order or compression"):
            proved(node([entry(first, CID), entry(second[shared:], CID, shared)]), key=second)


def test_step_7_a_subtree_out_of_its_bounds_is_refused() -> None:
    """The record hangs on the wrong side of the root's key, where a walk would find it."""
    middle = MIDDLE[5]
    small = next(key for key in LOW if key < middle)
    large = next(key for key in LOW if key > middle)
    below = node([entry(large, CID)])
    wrong = node([entry(middle, CID)], Cid.of(below))
    with pytest.raises(ProofError, match="not between"):
        proved(wrong, below, key=small)
    with pytest.raises(ProofError, match="not between"):
        verify_repo(MALLORY.car(Cid.of(wrong), [wrong, below, RECORD]), MALLORY.identity)


def test_step_7_two_records_under_one_key_are_refused() -> None:
    other = encode(thing(2))
    key = MIDDLE[5]
    small = next(each for each in LOW if each < key)
    below = node([entry(small, CID)])
    double = node([entry(key, CID, tree=Cid.of(below)), entry("", Cid.of(other), len(key))])
    with pytest.raises(ProofError, match="tree node"):
        proved(double, below, other, key=key)


def test_step_7_a_cycle_ends() -> None:
    """No hash lets a node name itself; the file that claims it is refused for its hash."""
    key = HIGH[0]
    root = node([entry(key, CID)], CID)
    car = MALLORY.car(Cid.of(root), [root])
    forged = car + bytes((36 + len(root),)) + CID.bytes + root
    with pytest.raises(ProofError, match="CAR"):
        verify_record(forged, MALLORY.identity, MALLORY.uri(f"{COLLECTION}/-"))


def test_step_7_deep_nesting_is_refused() -> None:
    """A chain of empty nodes, deeper than the height of the root's key allows."""
    chain = [node([entry(LOW[0], CID)])]
    for _ in range(10_000):
        chain.append(node([], Cid.of(chain[-1])))
    key = next(key for key in HIGH if key > LOW[0])
    root = node([entry(key, CID)], Cid.of(chain[-1]))
    with pytest.raises(ProofError, match="leads nowhere"):
        proved(root, *chain, key=LOW[0])
    with pytest.raises(ProofError, match="has no key"):
        proved(chain[-1], *chain, key=LOW[0])


def test_step_7_a_tree_that_lacks_a_passage_or_has_one_too_many_is_refused() -> None:
    low, high = LOW[0], next(key for key in HIGH if key > LOW[0])
    leaf = node([entry(low, CID)])
    passage = node([], Cid.of(leaf))
    second = node([], Cid.of(passage))
    for below in (leaf, second):
        root = node([entry(high, CID)], Cid.of(below))
        with pytest.raises(ProofError, match="tree node"):
            proved(root, leaf, passage, second, key=low)
    right = node([entry(high, CID)], Cid.of(passage))
    assert proved(right, leaf, passage, key=low).value == thing()


def test_the_same_record_under_two_keys_is_legal() -> None:
    keys = LOW[:2]
    root, nodes = build(dict.fromkeys(keys, CID))
    for key in keys:
        record = verify_record(
            MALLORY.car(root, [*nodes.values(), RECORD]), MALLORY.identity, MALLORY.uri(key)
        )
        assert (record.value, str(record.uri)) == (thing(), f"at://{MALLORY.did}/{key}")


def test_an_empty_repository_proves_absence() -> None:
    with pytest.raises(RecordAbsent):
        proved(node([]))


# --- bit flips, signed ---------------------------------------------------------------------------


def flips(block: bytes) -> Iterator[bytes]:
    """``block`` with each of its bits flipped in turn."""
    for bit in range(len(block) * 8):
        yield (int.from_bytes(block) ^ 1 << bit).to_bytes(len(block))


def test_every_signed_bit_flip_in_a_tree_is_refused_or_the_one_tree_of_what_it_holds() -> None:
    """Mallory signs each damaged root: what is accepted is the tree of those keys by definition."""
    keys = sorted([*LOW[:3], *MIDDLE[:2]])
    root, nodes = slow_build(dict.fromkeys(keys, CID))
    accepted = 0
    for damaged in flips(nodes[root]):
        new = Cid.of(damaged)
        car = MALLORY.car(new, [damaged, *nodes.values(), RECORD])
        for key in (keys[0], keys[-1]):
            try:
                assert verify_record(car, MALLORY.identity, MALLORY.uri(key)).block == RECORD
                accepted += 1
            except (RecordAbsent, ProofError):
                continue
        try:
            entries = verify_repo(car, MALLORY.identity).entries
        except ProofError:
            continue
        assert slow_build(entries)[0] == new
    assert accepted


def test_every_signed_bit_flip_in_a_record_is_refused_or_says_what_its_bytes_say() -> None:
    block = encode(thing(7, text="text", data=b"\1\2", ref=CID, flags=[True, None, -1]))
    for damaged in flips(block):
        try:
            record = with_record(damaged)
        except ProofError:
            continue
        assert encode(record.value) == damaged
        assert record.value["$type"] == COLLECTION


def test_every_signed_bit_flip_in_a_commit_is_refused() -> None:
    """Flipped before signing it is another commit; what is proved then is what it says."""
    root, nodes = build({KEY: CID})
    genuine = MALLORY.commit(root)
    for damaged in flips(genuine.unsigned()):
        sig = MALLORY.key.sign(damaged)
        try:
            value: Any = decode(damaged)
            block = encode({**value, "sig": sig})
        except (ProofError, TypeError):
            continue
        try:
            commit = verify_record(
                pack(block, *nodes.values(), RECORD), MALLORY.identity, MALLORY.uri(KEY)
            ).commit.commit
        except ProofError:
            continue
        assert commit == Commit(MALLORY.did, commit.rev, root, None, sig)
        assert commit.rev != REV


def test_many_long_keys_over_one_small_record_are_refused_before_they_fill_the_memory() -> None:
    author, block = Author.named("alice"), encode(thing())
    keys = [f"{COLLECTION}/{'a' * 400}{number:05}" for number in range(2_000)]
    tree, nodes = build(dict.fromkeys(keys, Cid.of(block)))
    car = author.car(tree, [*nodes.values(), block])
    needed = sum(len(key) + ENTRY_BYTES for key in keys)
    assert needed > len(car)
    assert len(verify_repo(car, author.identity, max_entries_bytes=needed).entries) == len(keys)
    with pytest.raises(ProofError, match="more entries than can be held"):
        verify_repo(car, author.identity, max_entries_bytes=needed - 1)
