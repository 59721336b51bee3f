"""The Merkle search tree: from a signed root to one record, or to the proof that there is none.

A node holds keys in order, and subtrees in the gaps around them::

    node   =  { l: subtree | null,  e: [entry, …] }
    entry  =  { p: shared, k: rest, v: record, t: subtree | null }

            l      e[0]      t      e[1]      t
            │       │        │       │        │
      keys < e[0]   │   between    │   keys > e[1]
                    v                v

A key is ``collection/record-key``. Its *height* is the number of leading zero bits of its SHA-256,
halved; all keys of a node have the node's height, and a subtree is exactly one lower (a node may be
empty, only to lead one lower). So for a set of keys there is one tree, and the rules that make it
so are all checked, on every node that is read:

1. the node is canonical DAG-CBOR of just those fields, and its CIDs are of DAG-CBOR and SHA-256;
2. its keys are well-formed, strictly ascending, and compressed as far as can be (``p`` is the whole
   shared prefix with the key before, 0 for the first);
3. its keys have one height, the one that its place demands, and nothing hangs below height 0;
4. its keys lie strictly between the keys around the subtree;
5. no empty node but as a passage (not at the top, not at the bottom), or the root of an empty tree.

Heights fall at each step down, so a walk ends: cycles and deep nesting break rule 3. How a node's
bytes are read and written is in `atd.protocol.mst_node`.

Source: atproto.com/specs/repository#mst-structure.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping

from atd.errors import InvalidSyntax, ProofError
from atd.protocol.blocks import Get, getter
from atd.protocol.cbor import DAG_CBOR, Cid
from atd.protocol.mst_node import (
    MAX_KEY_BYTES,
    Node,
    height,
    is_key,
    read_node,
    recall_node,
    refuse,
    write_node,
)
from atd.protocol.syntax import quote

__all__ = [
    "MAX_KEY_BYTES",
    "Place",
    "build",
    "find",
    "gap",
    "height",
    "paths",
    "placed",
    "proof_blocks",
    "trace",
    "traces",
    "walk",
]

Step = tuple[bytes, bytes]
"""A node on the way: the bytes of its CID, and its block."""

Traced = tuple[Cid | None, tuple[Step, ...]]
"""The record under a key or None, and the nodes from the root to it or to where it would be."""

Found = tuple[bytes, bytes, tuple[Step, ...]]
"""A key, the CID of its record, and the nodes from the root to it."""

Place = tuple[bytes, int | None, bytes, bytes | None]
"""Where a node hangs: its CID, its height (None for the root, whose keys say it), and the keys
around it, which its own must lie between."""


def find(blocks: Mapping[Cid, bytes], root: Cid, key: str) -> Cid | None:
    """The record under ``key``; None if the tree proves that there is none.

    Args:
        blocks: blocks by CID, each checked against its CID; at least the path to the key.
        root: the tree, as a verified commit names it.
        key: ``collection/record-key``.

    Raises:
        ProofError: a node on the path is missing or breaks a rule.
        InvalidSyntax: no such key can be.
    """
    record, _ = trace(getter(blocks), root, key)
    return record


def proof_blocks(blocks: Mapping[Cid, bytes], root: Cid, key: str) -> list[Cid]:
    """The nodes from ``root`` to ``key`` or to the gap where it would be; raises as `find` does."""
    _, path = trace(getter(blocks), root, key)
    return [Cid(cid) for cid, _ in path]


def trace(get: Get, root: Cid, key: str) -> tuple[Cid | None, list[Step]]:
    """What `find` and `proof_blocks` return, in one walk."""
    target = _checked_key(key)
    path = []
    place: Place = (root.bytes, None, b"", None)
    while True:
        block = _get(get, place[0])
        path.append((place[0], block))
        node = placed(recall_node(block), block, place)
        keys = node.keys
        index = bisect_left(keys, target)
        if index < len(keys) and keys[index] == target:
            return Cid(node.values[index]), path
        if not node.trees[index]:
            return None, path
        place = gap(node, place, index)


def traces(get: Get, root: Cid, keys: Iterable[str]) -> dict[str, Traced]:
    """What `trace` returns for each of ``keys``, reading every node once; raises as it does."""
    todo: list[tuple[Place, tuple[Step, ...], list[bytes]]] = [
        ((root.bytes, None, b"", None), (), [_checked_key(key) for key in keys])
    ]
    found: dict[str, Traced] = {}
    while todo:
        place, path, targets = todo.pop()
        block = _get(get, place[0])
        path = (*path, (place[0], block))
        node = placed(recall_node(block), block, place)
        keys_here, below = node.keys, dict[int, list[bytes]]()
        for target in targets:
            index = bisect_left(keys_here, target)
            if index < len(keys_here) and keys_here[index] == target:
                found[target.decode("ascii")] = Cid(node.values[index]), path
            elif node.trees[index]:
                below.setdefault(index, []).append(target)
            else:
                found[target.decode("ascii")] = None, path
        todo += [(gap(node, place, index), path, inside) for index, inside in below.items()]
    return found


def walk(blocks: Mapping[Cid, bytes], root: Cid) -> Iterator[tuple[str, Cid]]:
    """Every key of the tree and its record, in order, every node checked.

    Pairs come out while the walk goes on: nothing is proved to be complete until it ended.

    Raises:
        ProofError: a node is missing or breaks a rule.
    """
    get = getter(blocks)
    todo: list[Place | tuple[bytes, bytes]] = [(root.bytes, None, b"", None)]
    while todo:
        item = todo.pop()
        if len(item) == 2:
            yield item[0].decode("ascii"), Cid(item[1])
            continue
        block = _get(get, item[0])
        node = placed(read_node(block), block, item)
        for index in range(len(node.keys), -1, -1):
            if node.trees[index]:
                todo.append(gap(node, item, index))
            if index:
                todo.append((node.keys[index - 1], node.values[index - 1]))


def paths(get: Get, root: Cid, prefix: bytes) -> Iterator[Found]:
    """Every key that starts with ``prefix``, in order, its record, and the nodes that lead there.

    What `trace` gives for each of them, but every node is read once.

    Raises:
        ProofError: a node is missing or breaks a rule.
    """
    end = prefix + b"\xff"

    def descend(place: Place, above: tuple[Step, ...]) -> Iterator[Found]:
        block = _get(get, place[0])
        node = placed(read_node(block), block, place)
        path = (*above, (place[0], block))
        keys, trees = node.keys, node.trees
        for index in range(bisect_left(keys, prefix), bisect_left(keys, end) + 1):
            if trees[index]:
                yield from descend(gap(node, place, index), path)
            if index < len(keys) and keys[index] < end:
                yield keys[index], node.values[index], path

    yield from descend((root.bytes, None, b"", None), ())


def _get(get: Get, cid: bytes) -> bytes:
    block = get(cid)
    if block is None:
        raise ProofError(f"incomplete: tree node {Cid(cid)} is missing")
    return block


def placed(node: Node, block: bytes, place: Place) -> Node:
    """``node``, if it may hang at ``place``: the rules that its block alone cannot show."""
    _, level, above, below = place
    keys = node.keys
    if not keys:
        _check_empty(node, place)
    elif level is not None and node.height != level:
        refuse(block, f"keys such as {quote(keys[0])} of height {node.height} stand at {level}")
    elif keys[0] <= above or (below is not None and keys[-1] >= below):
        refuse(block, f"keys that are not between {quote(above)} and {quote(below)}")
    elif node.height == 0 and any(node.trees):
        refuse(block, "a subtree hangs below height 0")
    return node


def _check_empty(node: Node, place: Place) -> None:
    """Rule 5: a node without keys is a passage to the level below, or the whole tree."""
    if place[1] is None:
        if node.trees[0]:
            raise ProofError(
                f"tree node {Cid(place[0])} is the root but has no key, only a subtree"
            )
    elif not node.trees[0] or place[1] == 0:
        raise ProofError(f"tree node {Cid(place[0])} is empty and leads nowhere")


def gap(node: Node, place: Place, index: int) -> Place:
    """The place of the subtree ``node.trees[index]``, between the keys around it."""
    keys, (_, level, above, below) = node.keys, place
    return (
        node.trees[index],
        (node.height if level is None else level) - 1,
        keys[index - 1] if index else above,
        keys[index] if index < len(keys) else below,
    )


def build(entries: Mapping[str, Cid]) -> tuple[Cid, dict[Cid, bytes]]:
    """The one tree that holds ``entries``: its root, and its nodes by CID.

    Raises:
        InvalidSyntax: a key that no tree may hold, or a record that is not DAG-CBOR.
    """
    keys = sorted(_checked_key(key) for key in entries)
    values = [entries[key.decode("ascii")] for key in keys]
    for key, value in zip(keys, values, strict=True):
        if value.codec != DAG_CBOR:
            raise InvalidSyntax(f"a tree holds records of DAG-CBOR, but {quote(key)} is {value}")
    blocks: dict[Cid, bytes] = {}
    heights = [height(key) for key in keys]

    def node(start: int, stop: int, level: int) -> bytes:
        """The node at ``level`` over ``keys[start:stop]``."""
        here = [index for index in range(start, stop) if heights[index] == level]
        starts, stops = [start, *(index + 1 for index in here)], [*here, stop]
        trees = [
            node(first, last, level - 1) if first < last else b""
            for first, last in zip(starts, stops, strict=True)
        ]
        records = [values[index].bytes for index in here]
        block = write_node(Node(level, [keys[index] for index in here], records, trees))
        cid = Cid.of(block)
        blocks[cid] = block
        return cid.bytes

    return Cid(node(0, len(keys), max(heights, default=0))), blocks


def _checked_key(key: str) -> bytes:
    data = key.encode("utf-8", "replace")
    if not is_key(data):
        raise InvalidSyntax(f"expected collection/record-key, got {quote(key)}")
    return data
