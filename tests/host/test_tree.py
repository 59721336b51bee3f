"""The tree that changes, against the library's slow and obvious one, which builds it anew."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atd.protocol import mst
from atd.protocol.cbor import Cid
from atd_daemon.host.tree import EMPTY_ROOT, Tree
from support import json_vectors

# Few keys, so that they meet; some of them stand high in the tree.
KEYS = [f"c/{n}" for n in range(60)] + [f"{'xyz'[n % 3]}/{n:04d}" for n in range(60)]
STEP = st.dictionaries(st.sampled_from(KEYS), st.one_of(st.none(), st.integers(0, 5)), max_size=12)


def value(number: int) -> Cid:
    return Cid.of(bytes([number]))


@settings(max_examples=150, deadline=None)
@given(st.lists(STEP, max_size=12))
def test_editing_gives_the_tree_that_building_gives(steps: list[dict[str, int | None]]) -> None:
    """Same root, exactly the same stored blocks, and every commit can be undone from its proof."""
    store = dict(EMPTY_ROOT)
    (root,) = store
    entries: dict[str, Cid] = {}
    for step in steps:
        before, old_root = dict(entries), root
        tree = Tree(store.__getitem__, root)
        ops = {key: n for key, n in step.items() if n is not None or key in entries}
        for key, number in ops.items():
            if number is None:
                tree.delete(key)
                del entries[key]
            else:
                tree.put(key, value(number))
                entries[key] = value(number)
        sealed = tree.seal()
        for cid in sealed.removed:
            del store[cid]
        assert not sealed.added.keys() & store.keys()
        store |= sealed.added
        root, blocks = mst.build(entries)
        assert sealed.root == root
        assert store == dict(blocks)
        assert list(tree.entries()) == sorted(entries.items())
        undo(tree, ops, before, old_root)


def undo(tree: Tree, ops: dict[str, Any], before: dict[str, Cid], old_root: Cid) -> None:
    cover: dict[Cid, bytes] = {}
    for key in ops:
        cover |= tree.cover(key)
    sealed = tree.seal()
    inverse = Tree(cover.__getitem__, sealed.root)
    for key in ops:
        if key in before:
            inverse.put(key, before[key])
        else:
            inverse.delete(key)
    assert inverse.seal().root == old_root


@given(st.sets(st.sampled_from(KEYS)), st.sampled_from(KEYS))
def test_the_path_to_a_key_proves_it_or_its_absence(keys: set[str], key: str) -> None:
    entries = {name: value(1) for name in keys}
    root, blocks = mst.build(entries)
    tree = Tree(dict(blocks).__getitem__, root)
    assert tree.find(key) == entries.get(key)
    assert mst.find(tree.path(key), root, key) == entries.get(key)


def test_the_covering_proofs_of_the_interop_vectors() -> None:
    for case in json_vectors("atproto-interop/firehose/commit-proof-fixtures.json"):
        leaf = Cid.parse(case["leafValue"])
        root, blocks = mst.build(dict.fromkeys(case["keys"], leaf))
        assert str(root) == case["rootBeforeCommit"], case["comment"]
        tree = Tree(dict(blocks).__getitem__, root)
        for key in case["adds"]:
            tree.put(key, leaf)
        for key in case["dels"]:
            tree.delete(key)
        assert str(tree.seal().root) == case["rootAfterCommit"], case["comment"]
        cover: set[str] = set()
        for key in case["adds"] + case["dels"]:
            cover |= {str(cid) for cid in tree.cover(key)}
        assert cover == set(case["blocksInProof"]), case["comment"]


def test_taking_out_what_is_not_there_is_a_key_error() -> None:
    root, blocks = mst.build({"c/1": value(1)})
    with pytest.raises(KeyError):
        Tree(dict(blocks).__getitem__, root).delete("c/2")


def test_a_change_to_a_large_tree_touches_only_its_path() -> None:
    """Ten thousand records: a write costs a few blocks, not a new tree."""
    root, blocks = mst.build({f"c/{n:05d}": value(n % 250) for n in range(10_000)})
    read: list[Cid] = []

    def stored(cid: Cid) -> bytes:
        read.append(cid)
        return blocks[cid]

    for n in range(50):
        read.clear()
        tree = Tree(stored, root)
        tree.put(f"c/{n * 199:05d}x", value(1))
        sealed = tree.seal()
        tree.cover(f"c/{n * 199:05d}x")
        assert max(len(sealed.added), len(sealed.removed)) < 25
        assert len(read) < 50
