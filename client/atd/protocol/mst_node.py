"""One node of the tree as bytes: what can be said of it without knowing where it hangs.

The canonical encoding leaves a node one layout, so that layout is what is read, byte for byte::

    a2 "e" [ a4 "k" rest  "p" shared  "t" (null | cid)  "v" cid , … ]  "l" (null | cid)

Rules 1 and 2 of `atd.protocol.mst` are checked here, and of rule 3 that all keys have one height.
"""

from __future__ import annotations

import re
from functools import lru_cache
from hashlib import sha256
from typing import Final, NamedTuple, NoReturn

from atd.errors import ProofError
from atd.protocol.cbor import Cid, decode, head
from atd.protocol.syntax import quote

__all__ = [
    "MAX_KEY_BYTES",
    "MAX_NODE_BYTES",
    "Node",
    "forget",
    "height",
    "is_key",
    "read_node",
    "recall_node",
    "refuse",
    "without_entry",
    "write_node",
]

MAX_KEY_BYTES: Final = 1024
MAX_NODE_BYTES: Final = 1 << 20
"""Nodes have four entries on the average and never thousands; written out, a node of compressed
keys takes up to forty times its size."""
_KEY: Final = re.compile(rb"[a-zA-Z0-9_~.:-]+/[a-zA-Z0-9_~.:-]+")

_LINK: Final = b"\xd8\x2a\x58\x25\x00"  # tag 42, 37 bytes, and the zero before a binary CID
_PREFIX: Final = b"\x01\x71\x12\x20"
_TAIL_NULL: Final = b"al\xf6"
_TAIL_LINK: Final = b"al" + _LINK + _PREFIX
_MAX_REST: Final = 1024
# One entry, in five groups: the head of "k", "k", "p", "t", the CID "v". A key's bytes are all
# above the numbers that can follow "p", so it ends in one way only.
_ENTRY: Final = re.compile(
    rb"\xa4ak([\x41-\x57]|\x58[\x18-\xff]|\x59[\x01-\x04].)([a-zA-Z0-9_~.:/-]{1,%d})"
    rb"ap([\x00-\x17]|\x18[\x18-\xff]|\x19[\x01-\x04].)"
    rb"at(\xf6|\xd8\x2a\x58\x25\x00\x01\x71\x12\x20.{32})"
    rb"av\xd8\x2a\x58\x25\x00(\x01\x71\x12\x20.{32})" % _MAX_REST,
    re.DOTALL,
)
_KEY_HEADS: Final = [head(2, size) for size in range(_MAX_REST + 1)]
_COUNTS: Final = [head(4, count) for count in range(24)]
_NUMBERS: Final = {head(0, number): number for number in range(0x500)}
_AFTER_COUNT: Final = {b"\x98": 5, b"\x99": 6, b"\x9a": 8}


class Node(NamedTuple):
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


def is_key(key: bytes) -> bool:
    """Whether ``key`` is a well-formed ``collection/record-key``."""
    return len(key) <= MAX_KEY_BYTES and _KEY.fullmatch(key) is not None


def refuse(block: bytes, what: str) -> NoReturn:
    """Refuse the tree for what is wrong with this node."""
    raise ProofError(f"tree node {Cid.of(block)}: {what}")


def read_node(block: bytes) -> Node:
    """Read a node.

    Raises:
        ProofError: it breaks rule 1 or 2, is too large, or its keys have different heights.
    """
    if len(block) > MAX_NODE_BYTES:
        refuse(block, f"{len(block)} bytes, at most {MAX_NODE_BYTES} are read")
    # The count, then the entries, then "l"; in a longer array the count takes more bytes.
    if block[-43:-32] == _TAIL_LINK:
        left, stop = block[-36:], len(block) - 43
    else:
        left, stop = b"", len(block) - 3
    start = _AFTER_COUNT.get(block[3:4], 4)
    pieces = _ENTRY.split(block[start:stop])
    sizes, rests, numbers = pieces[1::6], pieces[2::6], pieces[3::6]
    trees, values = pieces[4::6], pieces[5::6]
    layout = (
        not any(pieces[::6])  # nothing around the entries
        and block[3:start] == (_COUNTS[len(values)] if len(values) < 24 else head(4, len(values)))
        and block[:3] == b"\xa2ae"
        and (left or block[stop:] == _TAIL_NULL)
    )
    if not layout:
        _explain(block)
    if not values:
        return Node(-1, [], [], [left])
    # What follows from the keys alone is found out once: of most nodes only a link changes.
    spelling = (*sizes, *rests, *numbers)
    known = _spellings.get(spelling)
    if known is None:
        if sizes != [_KEY_HEADS[len(rest)] for rest in rests]:
            _explain(block)
        keys = _keys(block, rests, numbers)
        _check_form(block, keys, rests)
        known = _common_height(block, keys), keys
        _keep(spelling, known)
    return Node(*known, values, [left, *[tree[5:] for tree in trees]])


def recall_node(block: bytes) -> Node:
    """`read_node`, remembering the last nodes: all proofs of a tree share its top.

    A node is remembered by its whole block, and what is checked here follows from the block alone.
    """
    return _remembered(block) if len(block) <= _SMALL else read_node(block)


def forget() -> None:
    """Forget the nodes that `recall_node` remembers; for measuring."""
    _remembered.cache_clear()
    _spellings.clear()


def _keep(spelling: tuple[bytes, ...], known: tuple[int, list[bytes]]) -> None:
    """Remember what was found out about the keys of a node, if it takes little room."""
    if sum(map(len, known[1])) <= _FEW_KEY_BYTES:
        if len(_spellings) >= _MAX_SPELLINGS:
            _spellings.clear()
        _spellings[spelling] = known


_SMALL: Final = 2048  # bytes: nodes have some 400, and a hostile one shall not fill the memory
_remembered = lru_cache(maxsize=1024)(read_node)  # one message of 200 operations has some 700
_FEW_KEY_BYTES: Final = 1024  # of all keys of a node; those that have more are read anew
_MAX_SPELLINGS: Final = 4096  # some 1 KB each
_spellings: Final[dict[tuple[bytes, ...], tuple[int, list[bytes]]]] = {}
"""The height and the keys of nodes by how they are written: heads, what follows the shared prefix,
and lengths of these prefixes, of all entries. Only what was found right is in it."""


def _keys(block: bytes, rests: list[bytes], numbers: list[bytes]) -> list[bytes]:
    """The keys written out; each larger than the one before, and compressed as far as can be."""
    keys = []
    key = b""
    for rest, number in zip(rests, numbers, strict=True):
        shared = _NUMBERS[number]
        # To share exactly the prefix and to be larger is one question: the next byte is larger.
        if shared < len(key):
            if rest[0] <= key[shared]:
                refuse(block, f"key {quote(rest)} after {quote(key)}: wrong order or compression")
        elif shared > len(key):
            refuse(block, f"key {quote(rest)} shares {shared} bytes with {quote(key)}")
        key = key[:shared] + rest
        keys.append(key)
    return keys


def _check_form(block: bytes, keys: list[bytes], rests: list[bytes]) -> None:
    """Every key is well-formed (its characters are, or the layout would not have matched).

    Most nodes are within one collection, and then the first key speaks for all: what lies between
    two keys that start with ``collection/`` does too, and no other slash is written.
    """
    collection, slash, rest = keys[0].partition(b"/")
    slashes = b"".join(rests).count(b"/")
    if slashes != 1 or not (collection and rest and keys[-1].startswith(collection + slash)):
        for key in keys:
            if not is_key(key):
                refuse(block, f"{quote(key)} is no collection/record-key")
    elif len(block) > MAX_KEY_BYTES and len(max(keys, key=len)) > MAX_KEY_BYTES:
        refuse(block, f"a key of more than {MAX_KEY_BYTES} bytes")


def _common_height(block: bytes, keys: list[bytes]) -> int:
    """The height that all ``keys`` have."""
    digests = [sha256(key).digest() for key in keys]
    lowest, highest = int.from_bytes(min(digests)), int.from_bytes(max(digests))
    level = 256 - highest.bit_length() >> 1
    if level != 256 - lowest.bit_length() >> 1:
        heights = sorted({height(key) for key in keys})
        refuse(block, f"keys of different heights {heights}, such as {quote(keys[0])}")
    return level


def _explain(block: bytes) -> NoReturn:
    """Say what is wrong with a block that does not have the layout of a node."""
    value = decode(block)
    refuse(block, f"expected l and e, a list of k, p, t and v, got {quote(value)}")


def write_node(node: Node) -> bytes:
    """The block of ``node``, whose keys are in order."""
    parts = [b"\xa2ae", head(4, len(node.keys))]
    before = b""
    for key, value, tree in zip(node.keys, node.values, node.trees[1:], strict=True):
        shared = _shared(before, key)
        rest = key[shared:]
        number = bytes((shared,)) if shared < 24 else head(0, shared)
        parts += (b"\xa4ak", _KEY_HEADS[len(rest)], rest, b"ap", number, b"at")
        parts += (_LINK + tree if tree else b"\xf6", b"av", _LINK, value)
        before = key
    parts += (b"al", _LINK + node.trees[0] if node.trees[0] else b"\xf6")
    return b"".join(parts)


def without_entry(block: bytes, node: Node, index: int) -> bytes | None:
    """What `write_node` gives without the entry ``index``, cut out of the block of ``node``.

    None if that is not to be had: the node has subtrees, or the bytes of a record's CID twice, so
    that the end of an entry cannot be told by them.
    """
    keys, values = node.keys, node.values
    count = len(keys)
    if any(node.trees):
        return None
    first = 3 + len(head(4, count))
    start = _only_end(block, values[index - 1]) if index else first
    after, stop = b"", len(block) - len(_TAIL_NULL)
    if index + 1 < count:
        after = _entry(keys[index - 1] if index else b"", keys[index + 1], values[index + 1])
        stop = _only_end(block, values[index + 1])
    if not start or not stop:
        return None
    return b"".join((b"\xa2ae", head(4, count - 1), block[first:start], after, block[stop:]))


def _only_end(block: bytes, value: bytes) -> int:
    """Where the one occurrence of ``value`` in ``block`` ends; 0 if there is another, even one that
    overlaps it, as whoever wrote the node may have chosen the value."""
    at = block.index(value)
    return 0 if block.find(value, at + 1) >= 0 else at + len(value)


def _entry(before: bytes, key: bytes, value: bytes) -> bytes:
    """The entry of ``key`` after the key ``before``, without a subtree."""
    shared = _shared(before, key)
    rest = key[shared:]
    parts = (b"\xa4ak", _KEY_HEADS[len(rest)], rest, b"ap", head(0, shared))
    return b"".join((*parts, b"at\xf6av", _LINK, value))


def _shared(left: bytes, right: bytes) -> int:
    """How many leading bytes two keys share."""
    count = min(len(left), len(right))
    differing = int.from_bytes(left[:count]) ^ int.from_bytes(right[:count])
    return count - (differing.bit_length() + 7 >> 3)
