"""A Merkle search tree that changes: put and delete over stored nodes, touching only the path.

`atd.protocol.mst` reads, checks and builds whole trees, and takes every block for hostile. This one
edits the host's own tree: it opens only the nodes that a change reaches, and says at the end
(`Tree.seal`) which blocks came and which went. A node, with its keys and the subtrees between::

    keys           k0      k1            every key of a node has the node's height;
    values         v0      v1            what lies between two keys lies in the subtree
    subtrees   s0      s1      s2        between them, one level lower (or None)

A subtree is None, the CID of a stored node, or a `Node` that was changed and is not sealed yet.
Nodes are values: a change makes new ones.

Source: atproto.com/specs/repository#mst-structure.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from atd.protocol.cbor import Cid, Value, decode_plain, encode
from atd.protocol.mst import height

Subtree: TypeAlias = "Cid | Node | None"
Blocks: TypeAlias = dict[Cid, bytes]


@dataclass(frozen=True, slots=True)
class Node:
    """One node in memory. ``len(subtrees) == len(keys) + 1 == len(values) + 1``."""

    height: int
    keys: tuple[str, ...] = ()
    values: tuple[Cid, ...] = ()
    subtrees: tuple[Subtree, ...] = (None,)

    @property
    def is_blank(self) -> bool:
        """Whether it holds nothing, neither here nor below."""
        return not self.keys and self.subtrees[0] is None

    def with_subtree(self, index: int, subtree: Subtree) -> Node:
        """The same node with another subtree at ``index``; a blank one becomes None."""
        if isinstance(subtree, Node) and subtree.is_blank:
            subtree = None
        subtrees = (*self.subtrees[:index], subtree, *self.subtrees[index + 1 :])
        return replace(self, subtrees=subtrees)

    def encode(self) -> bytes:
        """Its block. Every subtree must be sealed."""
        entries: list[Value] = []
        before = ""
        for key, value, right in zip(self.keys, self.values, self.subtrees[1:], strict=True):
            shared = _shared(before, key)
            entries.append(
                {"p": shared, "k": key[shared:].encode(), "v": value, "t": _sealed(right)}
            )
            before = key
        return encode({"l": _sealed(self.subtrees[0]), "e": entries})

    @classmethod
    def decode(cls, block: bytes, level: int | None) -> Node:
        """Read a block that `encode` wrote; ``level`` is its height, None for a root."""
        plain: Any = decode_plain(block)
        keys: list[str] = []
        for entry in plain["e"]:
            keys.append((keys[-1][: entry["p"]] if keys else "") + entry["k"].decode())
        if level is None:
            level = height(keys[0]) if keys else 0
        links = (plain["l"], *(entry["t"] for entry in plain["e"]))
        return cls(
            level,
            tuple(keys),
            tuple(Cid(entry["v"]) for entry in plain["e"]),
            tuple(None if link is None else Cid(link) for link in links),
        )


@dataclass(frozen=True, slots=True)
class Sealed:
    """What sealing did: the new root, the blocks to store, the blocks to forget."""

    root: Cid
    added: Blocks
    removed: frozenset[Cid]


class Tree:
    """One tree being edited. Not thread-safe; made for one transaction.

    Args:
        read: gives the block of a stored node.
        root: the stored root.
    """

    def __init__(self, read: Callable[[Cid], bytes], root: Cid) -> None:
        self._read = read
        self._root: Cid | Node = root
        self._fresh: Blocks = {}
        self._touched: set[Cid] = set()

    # --- editing ----------------------------------------------------------------------------------

    def put(self, key: str, value: Cid) -> None:
        """Set ``key`` to ``value``, whether or not it is there."""
        self._root = self._put(self._open_root(), key, value, height(key))

    def delete(self, key: str) -> None:
        """Take ``key`` out.

        Raises:
            KeyError: it is not there.
        """
        root = self._delete(self._open_root(), key)
        while not root.keys and root.subtrees[0] is not None:
            root = self._open(root.subtrees[0], root.height - 1)
        self._root = Node(0) if root.is_blank else root

    def seal(self) -> Sealed:
        """Encode what changed. The tree may be edited and sealed again afterwards."""
        sealed: Blocks = {}
        self._root = self._seal(self._root, sealed)
        added = {cid: block for cid, block in sealed.items() if cid not in self._touched}
        removed = frozenset(self._touched - sealed.keys())
        self._fresh = {cid: block for cid, block in self._fresh.items() if cid not in removed}
        self._fresh |= sealed
        self._touched = set()
        return Sealed(self._root, added, removed)

    def _put(self, node: Node, key: str, value: Cid, level: int) -> Node:
        if level > node.height:
            left, right = self._split(node, key)
            subtrees = (_lift(left, level - 1), _lift(right, level - 1))
            return Node(level, (key,), (value,), subtrees)
        at = bisect_left(node.keys, key)
        if at < len(node.keys) and node.keys[at] == key:
            return replace(node, values=(*node.values[:at], value, *node.values[at + 1 :]))
        child = node.subtrees[at]
        if level < node.height:
            below = Node(node.height - 1) if child is None else self._open(child, node.height - 1)
            return node.with_subtree(at, self._put(below, key, value, level))
        left, right = self._split_subtree(child, node.height - 1, key)
        return Node(
            node.height,
            (*node.keys[:at], key, *node.keys[at:]),
            (*node.values[:at], value, *node.values[at:]),
            (*node.subtrees[:at], left, right, *node.subtrees[at + 1 :]),
        )

    def _delete(self, node: Node, key: str) -> Node:
        at = bisect_left(node.keys, key)
        if at < len(node.keys) and node.keys[at] == key:
            merged = self._merge(node.subtrees[at], node.subtrees[at + 1], node.height - 1)
            return Node(
                node.height,
                node.keys[:at] + node.keys[at + 1 :],
                node.values[:at] + node.values[at + 1 :],
                (*node.subtrees[:at], merged, *node.subtrees[at + 2 :]),
            )
        child = node.subtrees[at]
        if child is None:
            raise KeyError(key)
        return node.with_subtree(at, self._delete(self._open(child, node.height - 1), key))

    def _split(self, node: Node, key: str) -> tuple[Node | None, Node | None]:
        """What lies below ``key`` and what lies above it; ``key`` itself is not in the tree."""
        at = bisect_left(node.keys, key)
        left, right = self._split_subtree(node.subtrees[at], node.height - 1, key)
        below = Node(node.height, node.keys[:at], node.values[:at], (*node.subtrees[:at], left))
        above = Node(
            node.height, node.keys[at:], node.values[at:], (right, *node.subtrees[at + 1 :])
        )
        return None if below.is_blank else below, None if above.is_blank else above

    def _split_subtree(
        self, subtree: Subtree, level: int, key: str
    ) -> tuple[Node | None, Node | None]:
        if subtree is None:
            return None, None
        return self._split(self._open(subtree, level), key)

    def _merge(self, left: Subtree, right: Subtree, level: int) -> Subtree:
        """One subtree out of two, where every key of ``left`` is below every key of ``right``."""
        if left is None or right is None:
            return right if left is None else left
        a, b = self._open(left, level), self._open(right, level)
        middle = self._merge(a.subtrees[-1], b.subtrees[0], level - 1)
        return Node(
            level, a.keys + b.keys, a.values + b.values, (*a.subtrees[:-1], middle, *b.subtrees[1:])
        )

    def _open_root(self) -> Node:
        return self._open(self._root, None)

    def _open(self, subtree: Cid | Node, level: int | None) -> Node:
        """The node itself, to be changed: from here on its stored form counts as gone."""
        if isinstance(subtree, Node):
            return subtree
        self._touched.add(subtree)
        return self._load(subtree, level)

    def _load(self, cid: Cid, level: int | None) -> Node:
        return Node.decode(self.block(cid), level)

    def _seal(self, subtree: Cid | Node, sealed: Blocks) -> Cid:
        if isinstance(subtree, Cid):
            return subtree
        below = tuple(
            self._seal(child, sealed) if isinstance(child, Node) else child
            for child in subtree.subtrees
        )
        block = replace(subtree, subtrees=below).encode()
        cid = Cid.of(block)
        sealed[cid] = block
        return cid

    # --- looking (a sealed tree only) -------------------------------------------------------------

    def block(self, cid: Cid) -> bytes:
        """The block of a node of this tree."""
        fresh = self._fresh.get(cid)
        return self._read(cid) if fresh is None else fresh

    def find(self, key: str) -> Cid | None:
        """What ``key`` is set to, or None."""
        for _, node in self._descend(key):
            at = bisect_left(node.keys, key)
            if at < len(node.keys) and node.keys[at] == key:
                return node.values[at]
        return None

    def path(self, key: str) -> Blocks:
        """The nodes from the root to where ``key`` is or would be, which prove either."""
        return {cid: self.block(cid) for cid, _ in self._descend(key)}

    def cover(self, key: str) -> Blocks:
        """The covering proof of ``key``: its path, and the edges of the subtrees on both sides.

        With it a reader of the firehose can undo the operation on ``key`` and arrive at the
        previous root (atproto.com/specs/sync, "operation inversion").
        """
        blocks = {}
        for cid, node in self._descend(key):
            blocks[cid] = self.block(cid)
            at = bisect_left(node.keys, key)
            if at < len(node.keys) and node.keys[at] == key:
                blocks |= self._edge(node.subtrees[at], node.height - 1, -1)
                blocks |= self._edge(node.subtrees[at + 1], node.height - 1, 0)
        return blocks

    def entries(self) -> Iterator[tuple[str, Cid]]:
        """Every key and its value, in order. Reads the whole tree."""
        yield from self._entries(self._root, None)

    def _entries(self, subtree: Subtree, level: int | None) -> Iterator[tuple[str, Cid]]:
        if subtree is None:
            return
        node = subtree if isinstance(subtree, Node) else self._load(subtree, level)
        for key, value, left in zip(node.keys, node.values, node.subtrees[:-1], strict=True):
            yield from self._entries(left, node.height - 1)
            yield key, value
        yield from self._entries(node.subtrees[-1], node.height - 1)

    def _descend(self, key: str) -> Iterator[tuple[Cid, Node]]:
        subtree: Subtree = self._root
        level: int | None = None
        while isinstance(subtree, Cid):
            node = self._load(subtree, level)
            yield subtree, node
            at = bisect_left(node.keys, key)
            if at < len(node.keys) and node.keys[at] == key:
                return
            subtree, level = node.subtrees[at], node.height - 1

    def _edge(self, subtree: Subtree, level: int, side: int) -> Blocks:
        """The nodes down one side of a subtree: 0 the left edge, -1 the right."""
        blocks = {}
        while isinstance(subtree, Cid):
            node = self._load(subtree, level)
            blocks[subtree] = self.block(subtree)
            subtree, level = node.subtrees[side], level - 1
        return blocks


def _sealed(subtree: Subtree) -> Cid | None:
    if isinstance(subtree, Node):
        raise TypeError("a changed subtree must be sealed before its parent is encoded")
    return subtree


def _shared(before: str, key: str) -> int:
    """How many characters two keys have in common at their start."""
    differing = (at for at, (a, b) in enumerate(zip(before, key, strict=False)) if a != b)
    return next(differing, min(len(before), len(key)))


def _lift(node: Node | None, level: int) -> Node | None:
    """``node`` under as many keyless nodes as it takes to reach ``level``."""
    while node is not None and node.height < level:
        node = Node(node.height + 1, subtrees=(node,))
    return node


EMPTY_ROOT: Blocks = {Cid.of(Node(0).encode()): Node(0).encode()}
"""The one node of an empty tree."""
