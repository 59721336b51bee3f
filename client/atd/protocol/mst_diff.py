"""Undoing the operations of a commit: from the tree after them to the root of the tree before.

A host sends the nodes of the new tree that its operations touched. Most of these differ from those
of the old tree in a link only: in them the link is put back, from below upwards. Where keys come or
go, the subtree is read into one line, in key order; what was not sent, or is not needed, stays
folded up::

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

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Final, NoReturn, TypeAlias

from atd.errors import FrameRefused
from atd.protocol.blocks import Get, getter
from atd.protocol.cbor import Cid
from atd.protocol.frames import Op
from atd.protocol.mst import Place, gap, height, placed
from atd.protocol.mst_node import Node, recall_node, without_entry, write_node
from atd.protocol.rejects import Reject
from atd.protocol.syntax import quote

__all__ = ["EMPTY_ROOT", "invert"]

EMPTY_ROOT: Final = Cid.of(write_node(Node(-1, [], [], [b""])))
"""The root of the tree without records."""

_PREFIX: Final = b"\x01\x71\x12\x20"

_Undo: TypeAlias = tuple[bytes, Op]
"""An operation after its path."""

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
    undo = sorted((op.path.encode(), op) for op in ops)  # paths differ: no two ops are compared
    top: Place = (root.bytes, None, b"", None)
    find = _before_one if len(undo) == 1 else _before
    found = find(getter(blocks), top, undo)
    return Cid(found) if found else EMPTY_ROOT


def _before_one(get: Get, top: Place, undo: list[_Undo]) -> bytes:
    """`_before` for one operation, as most commits have: down to it, and up again with the link."""
    key, op = undo[0]
    path: list[tuple[bytes, bytes]] = []
    place, found = top, b""
    while True:
        cid, level, _, _ = place
        block = get(cid)
        if block is None:
            _incomplete(f"tree node {Cid(cid)} is missing")
        node = placed(recall_node(block), block, place)
        index = bisect_left(node.keys, key)
        there = index < len(node.keys) and node.keys[index] == key
        tall = op.action == "delete" and height(key) >= (node.height if level is None else level)
        if there or tall or not node.trees[index]:
            found = _before(get, place, undo)
            break
        path.append((cid, block))
        place = gap(node, place, index)
    # A CID is put in the place of another where there is but one such place.
    below = place[0]
    for cid, block in reversed(path):
        if not found or block.count(below) != 1:
            return _before(get, top, undo)
        found, below = _named(block.replace(below, found)), cid
    return found


def _before(get: Get, place: Place, undo: list[_Undo]) -> bytes:
    """The CID of the subtree at ``place`` before the operations, which are all inside; b"" if there
    was none."""
    block = get(place[0])
    if block is None:
        _incomplete(f"tree node {Cid(place[0])} is missing")
    node = placed(recall_node(block), block, place)
    level = node.height if place[1] is None else place[1]
    keys, values, trees = node.keys, node.values, node.trees
    below: dict[int, list[_Undo]] = {}
    values_before: dict[int, bytes] = {}
    for one in undo:
        key, op = one
        index = bisect_left(keys, key)
        if index < len(keys) and keys[index] == key:
            if op.action != "update":
                return _rebuilt(get, place, node, undo)
            values_before[index] = _old_value(op, values[index])
        elif not trees[index] or (op.action == "delete" and height(key) >= level):
            return _rebuilt(get, place, node, undo)
        else:
            below.setdefault(index, []).append(one)
    trees_before = {
        index: _before(get, gap(node, place, index), inside) for index, inside in below.items()
    }
    return _relinked(block, node, level, values_before, trees_before)


def _relinked(
    block: bytes, node: Node, level: int, values: dict[int, bytes], trees: dict[int, bytes]
) -> bytes:
    """The CID of ``node`` with other values and subtrees; b"" if nothing is left of it."""
    if not node.keys and not trees[0]:
        return b""
    result = block
    for links, changed in ((node.trees, trees), (node.values, values)):
        for index, new in changed.items():
            # A CID is put in the place of another where there is but one such place.
            if not new or result.count(links[index]) != 1:
                return _named(
                    write_node(
                        Node(level, node.keys, _put(node.values, values), _put(node.trees, trees))
                    )
                )
            result = result.replace(links[index], new)
    return _named(result)


def _put(links: list[bytes], changed: dict[int, bytes]) -> list[bytes]:
    return [changed.get(index, link) for index, link in enumerate(links)]


def _rebuilt(get: Get, place: Place, node: Node, undo: list[_Undo]) -> bytes:
    """`_before` by way of the line: keys came or went."""
    level = place[1]
    if level == 0:  # most keys are down here, where there is nothing to unfold
        block = _one_taken_out(get(place[0]), node, undo)
        if block is not None:
            return _named(block)
        line = _undone([(*pair, 0) for pair in zip(node.keys, node.values, strict=True)], undo)
        keys, values = [piece[0] for piece in line], [piece[1] for piece in line]
        trees = [b""] * (len(line) + 1)
        return _named(write_node(Node(0, keys, values, trees))) if line else b""
    line = _undone(*_unfold(get, place, undo))
    if level is not None:
        return _fold(line, level)
    if not line:
        return b""
    top = max(line, key=_level)
    if not top[0]:
        _incomplete(f"tree node {Cid(top[1])} is missing")
    return _fold(line, top[2])


def _one_taken_out(block: bytes | None, node: Node, undo: list[_Undo]) -> bytes | None:
    """The block of a node at height 0 before a single create, if it can be had so quickly."""
    key, op = undo[0]
    index = bisect_left(node.keys, key)
    there = index < len(node.keys) and node.keys[index] == key
    if block is None or len(undo) > 1 or op.action != "create" or not there or len(node.keys) < 2:
        return None
    _old_value(op, node.values[index])
    return without_entry(block, node, index)


def _unfold(get: Get, place: Place, undo: list[_Undo]) -> tuple[list[_Piece], list[_Undo]]:
    """The subtree as a line, and the operations that are still to be undone on it.

    Opened are the nodes that a key above them comes into or goes from beside: it parts them, or
    joins them with others. Another subtree stays whole, and is folded up as it was before.
    """
    moved = [(key, height(key)) for key, op in undo if op.action != "update"]
    targets, heights = [key for key, _ in moved], [level for _, level in moved]
    line: list[_Piece] = []
    rest: list[_Undo] = []

    def unfold(place: Place, undo: list[_Undo]) -> None:
        cid, level, _, _ = place
        block = get(cid)
        if block is None:
            line.append((b"", cid, -1 if level is None else level))
            rest.extend(undo)
            return
        node = placed(recall_node(block), block, place)
        here, below = _shared_out(node, undo)
        rest.extend(here)
        for index, tree in enumerate(node.trees):
            if index:
                line.append((node.keys[index - 1], node.values[index - 1], node.height))
            if tree:
                subtree(gap(node, place, index), below.get(index, []))

    def subtree(place: Place, undo: list[_Undo]) -> None:
        cid, level, above, below = place
        start = bisect_left(targets, above)
        stop = len(targets) if below is None else bisect_right(targets, below, start)
        if level is None or (start < stop and max(heights[start:stop]) > level):
            unfold(place, undo)
            return
        found = _before(get, place, undo) if undo else cid
        if found:
            line.append((b"", found, level))

    unfold(place, undo)
    return line, rest


def _shared_out(node: Node, undo: list[_Undo]) -> tuple[list[_Undo], dict[int, list[_Undo]]]:
    """The operations on the keys of ``node`` and in its empty gaps, and those in each subtree."""
    here: list[_Undo] = []
    below: dict[int, list[_Undo]] = {}
    keys = node.keys
    for one in undo:
        index = bisect_left(keys, one[0])
        if not node.trees[index] or (index < len(keys) and keys[index] == one[0]):
            here.append(one)
        else:
            below.setdefault(index, []).append(one)
    return here, below


def _undone(line: list[_Piece], undo: Iterable[_Undo]) -> list[_Piece]:
    """The line as it was before the operations."""
    places = [at for at, piece in enumerate(line) if piece[0]]
    keys = [line[at][0] for at in places]
    changed: dict[int, _Piece | None] = {}
    added: dict[int, list[_Piece]] = {}
    for key, op in undo:
        index = bisect_left(keys, key)
        if op.action == "delete":
            at = _free_place(op, keys, places, index, len(line))
            added.setdefault(at, []).append((key, _prev(op), height(key)))
            continue
        if index == len(keys) or keys[index] != key:
            _free_place(op, keys, places, index, len(line))
            _failed(op, "the tree has no such key")
        at = places[index]
        _, found, level = line[at]
        before = _old_value(op, found)
        changed[at] = (key, before, level) if op.action == "update" else None
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


def _fold(line: list[_Piece], level: int) -> bytes:
    """The CID of the subtree at ``level`` that ``line`` is; b"" if it is empty."""
    heights = [piece[2] for piece in line]

    def node(start: int, stop: int, level: int) -> bytes:
        """The CID of the node at ``level`` over ``line[start:stop]``."""
        if start == stop:
            return b""
        here = [at for at in range(start, stop) if heights[at] == level]
        keys = [line[at][0] for at in here]
        if b"" in keys:
            if stop - start == 1:
                return line[start][1]
            _incomplete(f"tree node {Cid(line[here[keys.index(b'')]][1])} is missing")
        starts, stops = [start, *(at + 1 for at in here)], [*here, stop]
        trees = [node(first, last, level - 1) for first, last in zip(starts, stops, strict=True)]
        values = [line[at][1] for at in here]
        return _named(write_node(Node(level, keys, values, trees)))

    return node(0, len(line), level)


def _named(block: bytes) -> bytes:
    return _PREFIX + sha256(block).digest()


def _level(piece: _Piece) -> int:
    return piece[2]


def _old_value(op: Op, found: bytes) -> bytes:
    """What was under the key of a create or update, which must have ``found`` now."""
    if op.cid is None or found != op.cid.bytes:
        _failed(op, f"the tree has the record {Cid(found)}")
    return _prev(op)


def _prev(op: Op) -> bytes:
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
