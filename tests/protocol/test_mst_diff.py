"""Undoing operations: the interop vectors, a slow twin on random trees, and liars."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from atd.errors import FrameRefused, ProofError
from atd.protocol.cbor import Cid
from atd.protocol.frames import Op
from atd.protocol.mst_diff import EMPTY_ROOT, invert
from atd.protocol.rejects import Reject
from atd_daemon.host.tree import EMPTY_ROOT as EMPTY_BLOCKS
from atd_daemon.host.tree import Tree
from protocol.making import keys_of_height, slow_build
from support import json_vectors

Entries = dict[str, Cid]

VALUES = [Cid.of(bytes((number,))) for number in range(4)]
# Every height from 0 to 4, dense enough that operations meet: 60 keys.
KEYS = sorted(
    key for level, count in enumerate((24, 16, 10, 6, 4)) for key in keys_of_height(level, count)
)


def changed(before: Entries, after: Entries) -> tuple[Op, ...]:
    """The operations from one state to the other, in the order of their paths."""
    ops = []
    for path in sorted(before.keys() | after.keys()):
        old, new = before.get(path), after.get(path)
        if old != new:
            action = "create" if old is None else "delete" if new is None else "update"
            ops.append(Op(action, path, new, old))
    return tuple(ops)


def cut(before: Entries, ops: tuple[Op, ...]) -> tuple[Cid, dict[Cid, bytes]]:
    """The new root, and the nodes that our host sends with ``ops``."""
    root, stored = slow_build(before)
    stored |= EMPTY_BLOCKS
    tree = Tree(stored.__getitem__, root)
    for op in ops:
        if op.cid is None:
            tree.delete(op.path)
        else:
            tree.put(op.path, op.cid)
    sealed = tree.seal()
    blocks = dict(sealed.added)
    for op in ops:
        blocks |= tree.cover(op.path)
    return sealed.root, blocks


entries = st.dictionaries(st.sampled_from(KEYS), st.sampled_from(VALUES), max_size=60)


@given(entries, entries)
@example({}, {})
@example({KEYS[0]: VALUES[0], KEYS[1]: VALUES[1]}, {KEYS[0]: VALUES[1], KEYS[1]: VALUES[0]})
def test_undoing_agrees_with_the_tree_built_from_all_entries(
    before: Entries, after: Entries
) -> None:
    ops = changed(before, after)
    root, blocks = cut(before, ops)
    assert root == slow_build(after)[0]
    assert invert(blocks, root, ops) == slow_build(before)[0]


@given(entries, st.data())
def test_one_operation_is_undone_with_the_nodes_that_a_host_sends(
    before: Entries, data: st.DataObject
) -> None:
    path = data.draw(st.sampled_from(KEYS))
    value = data.draw(st.sampled_from([*VALUES, None]))
    after = {key: cid for key, cid in before.items() if key != path}
    after |= {} if value is None else {path: value}
    ops = changed(before, after)
    root, blocks = cut(before, ops)
    assert invert(blocks, root, ops) == slow_build(before)[0]


@given(entries, entries, st.sets(st.integers(0, 40), max_size=6))
def test_no_withheld_node_leads_to_another_root(
    before: Entries, after: Entries, withheld: set[int]
) -> None:
    """Whatever is left out, the answer is the root before the operations, or a refusal."""
    ops = changed(before, after)
    root, blocks = cut(before, ops)
    kept = {cid: blocks[cid] for at, cid in enumerate(sorted(blocks)) if at not in withheld}
    try:
        found = invert(kept, root, ops)
    except FrameRefused as error:
        assert error.reason == Reject.INCOMPLETE  # noqa: PT017
    else:
        assert found == slow_build(before)[0]


@given(entries, entries, entries)
def test_other_operations_than_those_that_happened_lead_elsewhere(
    before: Entries, after: Entries, other: Entries
) -> None:
    truth, lie = changed(before, after), changed(other, after)
    root, blocks = cut(before, truth)
    try:
        found = invert({**slow_build(after)[1], **blocks}, root, lie)
    except ProofError:
        assert truth != lie
    else:
        assert found == slow_build(other)[0]
        assert (found == slow_build(before)[0]) == (truth == lie)


def test_an_empty_tree_has_the_root_that_everybody_gives_it() -> None:
    assert slow_build({})[0] == EMPTY_ROOT
    assert invert(EMPTY_BLOCKS, EMPTY_ROOT, ()) == EMPTY_ROOT


LIES = {
    "a create that did not happen": Op("create", "c/new", VALUES[1], None),
    "a create of another record": Op("create", KEYS[0], VALUES[1], None),
    "an update to another record": Op("update", KEYS[0], VALUES[1], VALUES[2]),
    "an update of what is not there": Op("update", "c/new", VALUES[1], VALUES[2]),
    "a delete of what is still there": Op("delete", KEYS[0], None, VALUES[0]),
}


@pytest.mark.parametrize("op", LIES.values(), ids=LIES)
def test_an_operation_that_did_not_happen_is_refused(op: Op) -> None:
    root, blocks = slow_build(dict.fromkeys(KEYS, VALUES[0]))
    with pytest.raises(FrameRefused) as caught:
        invert(blocks, root, (op,))
    assert caught.value.reason == Reject.INVERSION_FAILED


@pytest.mark.parametrize("action", ["update", "delete"])
def test_an_operation_that_does_not_say_what_was_before_cannot_be_undone(action: str) -> None:
    root, blocks = slow_build(dict.fromkeys(KEYS, VALUES[0]))
    path, cid = ("c/new", None) if action == "delete" else (KEYS[0], VALUES[0])
    with pytest.raises(FrameRefused) as caught:
        invert(blocks, root, (Op(action, path, cid, None),))
    assert caught.value.reason == Reject.PREV_DATA_MISSING


def test_without_the_root_nothing_is_undone() -> None:
    root, _ = slow_build(dict.fromkeys(KEYS, VALUES[0]))
    with pytest.raises(FrameRefused, match="incomplete") as caught:
        invert({}, root, (Op("create", KEYS[0], VALUES[0], None),))
    assert caught.value.reason == Reject.INCOMPLETE


# --- everyone's vectors ---------------------------------------------------------------------------


def fixtures() -> list[Any]:
    return json_vectors("atproto-interop/firehose/commit-proof-fixtures.json")  # type: ignore[no-any-return]


def state(fixture: Mapping[str, Any]) -> tuple[Entries, Entries]:
    value = Cid.parse(fixture["leafValue"])
    before = dict.fromkeys(fixture["keys"], value)
    after = dict.fromkeys(
        [*(key for key in before if key not in fixture["dels"]), *fixture["adds"]], value
    )
    return before, after


def test_the_public_vectors_are_undone_with_just_their_blocks() -> None:
    assert fixtures()
    for fixture in fixtures():
        before, after = state(fixture)
        ops = changed(before, after)
        root, nodes = slow_build(after)
        assert str(root) == fixture["rootAfterCommit"], fixture["comment"]
        blocks = {cid: nodes[cid] for cid in map(Cid.parse, fixture["blocksInProof"])}
        assert str(invert(blocks, root, ops)) == fixture["rootBeforeCommit"], fixture["comment"]


def test_our_host_sends_the_blocks_of_the_public_vectors() -> None:
    for fixture in fixtures():
        before, after = state(fixture)
        _, blocks = cut(before, changed(before, after))
        assert blocks.keys() >= {Cid.parse(cid) for cid in fixture["blocksInProof"]}, fixture
