"""Undoing the operations of a commit: from the tree after them to the root of the tree before.

A host sends the nodes of the new tree that its operations touched. They are read into one line, in
key order; what was not sent, or is not needed, stays folded up::

    line     a/1   a/2  [ subtree ]  b/1   b/4  [ subtree ]  c/9
                                     └── undo "create b/4", "delete b/2" ──┐
    before   a/1   a/2  [ subtree ]  b/1   b/2  [ subtree ]  c/9     <─────┘

For a set of keys there is one tree, so the line before the operations has one root, and a folded
subtree keeps its place in it as long as the keys around it are higher than it is. If they are not,
or if a key may lie inside it, the message does not prove what it says: it is incomplete. A root
that comes out right proves the operations: the two trees differ in nothing else.

Source: atproto.com/specs/sync ("operation inversion").
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NoReturn, TypeAlias

from atd.errors import FrameRefused
from atd.protocol.blocks import Get, getter
from atd.protocol.cbor import Cid
from atd.protocol.frames import Op
from atd.protocol.mst import Place, gap, height, placed
from atd.protocol.mst_node import Node, recall_node, write_node
from atd.protocol.rejects import Reject
from atd.protocol.syntax import quote

__all__ = ["EMPTY_ROOT", "invert"]

EMPTY_ROOT: Final = Cid.of(write_node(Node(-1, [], [], [b""])))
"""The root of the tree without records."""

_Piece: TypeAlias = tuple[bytes, bytes, int]
"""A key, its record and its height; or, with an empty key, a subtree that is not opened and its
height."""


def invert(blocks: Mapping[Cid, bytes], root: Cid, ops: Sequence[Op]) -> Cid:
    """The root of the tree before ``ops``, given (some of) the nodes of the tree after them.

    Args:
        blocks: blocks by CID, each checked against its CID.
        root: the tree after the operations, as a verified commit names it.
        ops: what happened, each path at most once.

    Raises:
        FrameRefused: ``incomplete``, a node is needed that is not there; ``inversion_failed``, an
            operation is not what happened to the tree; ``prev_data_missing``, an operation does not
            say what was there before.
        ProofError: a node breaks a rule of the tree.
    """
    if not ops:
        return root
    targets = sorted(op.path.encode() for op in ops)
    line = _unfold(getter(blocks), root, targets)
    return Cid(_fold(_undo(line, ops)))


def _unfold(get: Get, root: Cid, targets: Sequence[bytes]) -> list[_Piece]:
    """The tree as a line; opened are the nodes in which, or beside which, a target lies."""
    line: list[_Piece] = []
    todo: list[Place | _Piece] = [(root.bytes, None, b"", None)]
    while todo:
        item = todo.pop()
        if len(item) == 3:
            line.append(item)
            continue
        cid, level, above, below = item
        block = get(cid) if level is None or _reached(targets, above, below) else None
        if block is None:
            if level is None:
                _incomplete(f"tree node {Cid(cid)}, the root, is missing")
            line.append((b"", cid, level))
            continue
        node = placed(recall_node(block), block, item)
        keys, values, trees = node.keys, node.values, node.trees
        for index in range(len(keys), -1, -1):
            if trees[index]:
                todo.append(gap(node, item, index))
            if index:
                todo.append((keys[index - 1], values[index - 1], node.height))
    return line


def _reached(targets: Sequence[bytes], above: bytes, below: bytes | None) -> bool:
    """Whether a target lies between two keys or is one of them: taking out a key joins the subtrees
    on both sides of it."""
    index = bisect_left(targets, above)
    return index < len(targets) and (below is None or targets[index] <= below)


def _undo(line: list[_Piece], ops: Iterable[Op]) -> list[_Piece]:
    """The line as it was before ``ops``."""
    places = [at for at, piece in enumerate(line) if piece[0]]
    keys = [line[at][0] for at in places]
    changed: dict[int, _Piece | None] = {}
    added: dict[int, list[_Piece]] = {}
    for op in ops:
        key = op.path.encode()
        index = bisect_left(keys, key)
        if op.action == "delete":
            at = _free_place(op, keys, places, index, len(line))
            added.setdefault(at, []).append((key, _before(op), height(key)))
            continue
        if index == len(keys) or keys[index] != key:
            _free_place(op, keys, places, index, len(line))
            _failed(op, "the tree has no such key")
        at = places[index]
        _, found, level = line[at]
        if op.cid is None or found != op.cid.bytes:
            _failed(op, f"the tree has the record {Cid(found)}")
        changed[at] = (key, _before(op), level) if op.action == "update" else None
    return _changed(line, changed, added)


def _changed(
    line: list[_Piece], changed: dict[int, _Piece | None], added: dict[int, list[_Piece]]
) -> list[_Piece]:
    """``line`` with pieces replaced or taken out, and others put in before a place."""
    result: list[_Piece] = []
    last = 0
    for at in sorted({*changed, *added}):
        result += line[last:at]
        result += sorted(added.get(at, ()))
        last = at
        if at in changed:
            piece = changed[at]
            result += () if piece is None else (piece,)
            last = at + 1
    return result + line[last:]


def _free_place(op: Op, keys: list[bytes], places: list[int], index: int, end: int) -> int:
    """Where in the line the key of ``op`` would stand, which must be a gap and not a subtree."""
    if index < len(keys) and keys[index] == op.path.encode():
        _failed(op, "the tree still has the key")
    before = places[index - 1] if index else -1
    after = places[index] if index < len(places) else end
    if after - before != 1:
        _incomplete(f"the node where {quote(op.path)} would be is missing")
    return after


def _fold(line: list[_Piece]) -> bytes:
    """The root of the tree that ``line`` is: its CID."""
    if not line:
        return EMPTY_ROOT.bytes
    heights = [level for _, _, level in line]

    def node(start: int, stop: int, level: int) -> bytes:
        """The CID of the node at ``level`` over ``line[start:stop]``."""
        here = [at for at in range(start, stop) if heights[at] == level]
        keys = [line[at][0] for at in here]
        if b"" in keys:
            if stop - start == 1 and level < top:
                return line[start][1]
            _incomplete(f"tree node {Cid(line[here[keys.index(b'')]][1])} is missing")
        starts, stops = [start, *(at + 1 for at in here)], [*here, stop]
        trees = [
            node(first, last, level - 1) if first < last else b""
            for first, last in zip(starts, stops, strict=True)
        ]
        values = [line[at][1] for at in here]
        return Cid.of(write_node(Node(level, keys, values, trees))).bytes

    top = max(heights)
    return node(0, len(line), top)


def _before(op: Op) -> bytes:
    if op.prev is None and op.action != "create":
        raise FrameRefused(
            f"the {op.action} of {quote(op.path)} does not say what was there before",
            reason=Reject.PREV_DATA_MISSING,
        )
    return b"" if op.prev is None else op.prev.bytes


def _failed(op: Op, what: str) -> NoReturn:
    raise FrameRefused(
        f"the operation {op.action} of {quote(op.path)} is not what happened: {what}",
        reason=Reject.INVERSION_FAILED,
    )


def _incomplete(what: str) -> NoReturn:
    raise FrameRefused(f"incomplete: {what}", reason=Reject.INCOMPLETE)
