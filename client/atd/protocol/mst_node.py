"""One node of the tree as bytes: what can be said of it without knowing where it hangs.

The canonical encoding leaves a node one layout, so that layout is what is read, byte for byte::

    a2 "e" [ a4 "k" rest  "p" shared  "t" (null | cid)  "v" cid , … ]  "l" (null | cid)

Rules 1 and 2 of `atd.protocol.mst` are checked here, and of rule 3 that all keys have one height.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from itertools import chain
from typing import Final, NoReturn

from atd.errors import ProofError
from atd.protocol.cbor import Cid, decode, head
from atd.protocol.syntax import quote

__all__ = ["MAX_KEY_BYTES", "Node", "height", "is_key", "read_node", "refuse", "write_node"]

MAX_KEY_BYTES: Final = 1024
_KEY: Final = re.compile(rb"[a-zA-Z0-9_~.:-]+/[a-zA-Z0-9_~.:-]+")

_LINK: Final = b"\xd8\x2a\x58\x25\x00"  # tag 42, 37 bytes, and the zero before a binary CID
_PREFIX: Final = b"\x01\x71\x12\x20"
_TAIL_NULL: Final = b"al\xf6"
_TAIL_LINK: Final = b"al" + _LINK + _PREFIX
# One entry. A key's bytes are all above the numbers that can follow "p", so it ends in one way.
_ENTRY: Final = re.compile(
    rb"\xa4ak([\x41-\x57]|\x58[\x18-\xff]|\x59[\x01-\x04].)([a-zA-Z0-9_~.:/-]+)"
    rb"ap([\x00-\x17]|\x18[\x18-\xff]|\x19[\x01-\x04].)"
    rb"at(\xf6|\xd8\x2a\x58\x25\x00\x01\x71\x12\x20.{32})"
    rb"av\xd8\x2a\x58\x25\x00(\x01\x71\x12\x20.{32})",
    re.DOTALL,
)
_ENTRY_FIXED: Final = 14  # its bytes outside the groups


@dataclass(frozen=True, slots=True)
class Node:
    """A node with its keys written out: ``trees[i]`` lies before ``keys[i]``, the last one after.

    CIDs are their 36 bytes; no subtree is ``b""``. ``height`` is that of the keys, -1 if none.
    """

    height: int
    keys: list[bytes]
    values: list[bytes]
    trees: list[bytes]


def height(key: str | bytes) -> int:
    """How high ``key`` stands: 0 for three keys of four, rarely above 8, at most 128."""
    data = key.encode() if isinstance(key, str) else key
    return 256 - int.from_bytes(sha256(data).digest()).bit_length() >> 1


# The digests of height h lie from _LOWEST[h] to just below _LOWEST[h - 1]: comparing is faster.
_LOWEST: Final = (*((1 << 254 - 2 * level).to_bytes(32) for level in range(128)), bytes(32))


def is_key(key: bytes) -> bool:
    """Whether ``key`` is a well-formed ``collection/record-key``."""
    return len(key) <= MAX_KEY_BYTES and _KEY.fullmatch(key) is not None


def refuse(block: bytes, what: str) -> NoReturn:
    """Refuse the tree for what is wrong with this node."""
    raise ProofError(f"tree node {Cid.of(block)}: {what}")


def read_node(block: bytes) -> Node:
    """Read a node.

    Raises:
        ProofError: it breaks rule 1 or 2, or its keys have different heights.
    """
    left, entries = _take_apart(block)
    keys: list[bytes] = []
    values: list[bytes] = []
    trees = [left]
    before, slash, level = b"", 0, -1
    low = high = b""
    for size, rest, number, tree, value in entries:
        shared = number[0] if len(number) == 1 else int.from_bytes(number[1:])
        # To share exactly the prefix and to be larger is one question: the next byte is larger.
        if shared > len(before) or (shared < len(before) and rest[0] <= before[shared]):
            refuse(block, f"key {quote(rest)} after {quote(before)}: order or compression is wrong")
        key = before[:shared] + rest
        if shared <= slash or b"/" in rest or len(key) > MAX_KEY_BYTES:
            slash = _slash(block, key)
        if len(rest) != (size[0] - 64 if len(size) == 1 else int.from_bytes(size[1:])):
            refuse(block, f"the length of key {quote(key)} is not what it says")
        digest = sha256(key).digest()
        if not low <= digest < high:
            if level >= 0:
                refuse(block, f"keys of heights {level} and {height(key)}, such as {quote(key)}")
            level = height(key)
            low, high = _LOWEST[level], _LOWEST[level - 1] if level else b"\xff" * 33
        keys.append(key)
        values.append(value)
        trees.append(tree[5:])
        before = key
    return Node(level, keys, values, trees)


def _take_apart(block: bytes) -> tuple[bytes, list[tuple[bytes, bytes, bytes, bytes, bytes]]]:
    """The left subtree and the pieces of each entry, if ``block`` has the layout of a node."""
    if block[-43:].startswith(_TAIL_LINK):
        left, stop = block[-36:], len(block) - 43
    else:
        left, stop = b"", len(block) - 3
        if not block.endswith(_TAIL_NULL):
            _explain(block)
    start = 4 if block[3:4] < b"\x98" else 5 if block[3:4] == b"\x98" else 6
    middle = block[start:stop]
    entries: list[tuple[bytes, bytes, bytes, bytes, bytes]] = _ENTRY.findall(middle)
    # Matches do not overlap: if their lengths make up the whole, nothing lies between them.
    found = sum(map(len, chain.from_iterable(entries))) + _ENTRY_FIXED * len(entries)
    if found != len(middle) or block[:start] != b"\xa2ae" + head(4, len(entries)):
        _explain(block)
    return left, entries


def _explain(block: bytes) -> NoReturn:
    """Say what is wrong with a block that does not have the layout of a node."""
    value = decode(block)
    refuse(block, f"expected l and e, a list of k, p, t and v, got {quote(value)}")


def _slash(block: bytes, key: bytes) -> int:
    """Where the slash of ``key`` is, if it is well-formed."""
    if not is_key(key):
        refuse(block, f"{quote(key)} is no collection/record-key")
    return key.index(b"/")


def write_node(node: Node) -> bytes:
    """The block of ``node``, whose keys are in order."""
    parts = [b"\xa2ae", head(4, len(node.keys))]
    before = b""
    for key, value, tree in zip(node.keys, node.values, node.trees[1:], strict=True):
        shared = _shared(before, key)
        rest = key[shared:]
        parts += (b"\xa4ak", head(2, len(rest)), rest, b"ap", head(0, shared), b"at")
        parts += (_LINK + tree if tree else b"\xf6", b"av", _LINK, value)
        before = key
    parts += (b"al", _LINK + node.trees[0] if node.trees[0] else b"\xf6")
    return b"".join(parts)


def _shared(left: bytes, right: bytes) -> int:
    """How many leading bytes two keys share."""
    count = min(len(left), len(right))
    for index in range(count):
        if left[index] != right[index]:
            return index
    return count
