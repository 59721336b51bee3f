"""Making repositories by hand, right and wrong ones: the tools of a publisher who lies.

`Author.car` signs whatever tree it is given; `node` encodes whatever entries it is given.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from atd.protocol.car import write_car
from atd.protocol.cbor import Cid, Value, encode
from atd.protocol.commit import Commit
from atd.protocol.identity import Identity
from atd.protocol.keys import Curve, PrivateKey
from atd.protocol.mst import build
from atd.protocol.syntax import AtUri, Did, Tid

REV = Tid("3kzyxwvutsr22")
COLLECTION = "com.example.thing"


@dataclass(frozen=True)
class Author:
    """Somebody with a DID and a key."""

    did: Did
    key: PrivateKey

    @classmethod
    def named(cls, name: str, curve: Curve = "k256") -> Author:
        """The author that this name always gives."""
        digest = hashlib.sha256(name.encode()).digest()
        did = "did:plc:" + "".join("abcdefghijklmnopqrstuvwxyz234567"[b & 31] for b in digest[:24])
        return cls(Did(did), PrivateKey.from_bytes(curve, digest))

    @property
    def identity(self) -> Identity:
        """What the author's DID document says."""
        return Identity(self.did, self.key.public, "https://pds.example.com")

    def uri(self, key: str) -> AtUri:
        """The URI of the record under ``collection/record-key``."""
        return AtUri.parse(f"at://{self.did}/{key}")

    def commit(self, tree: Cid, rev: Tid = REV) -> Commit:
        """A commit to ``tree``."""
        return Commit.sign(self.did, rev, tree, self.key)

    def car(self, tree: Cid, blocks: Mapping[Cid, bytes] | Iterable[bytes]) -> bytes:
        """A CAR file with a commit to ``tree``, and ``blocks``."""
        listed = blocks.values() if isinstance(blocks, Mapping) else blocks
        commit = self.commit(tree).encode()
        return pack(commit, *listed)

    def repo(self, records: Mapping[str, Mapping[str, Any]]) -> bytes:
        """The CAR file of a whole repository."""
        blocks = {key: encode(dict(value)) for key, value in records.items()}
        tree, nodes = build({key: Cid.of(block) for key, block in blocks.items()})
        return self.car(tree, [*nodes.values(), *blocks.values()])


def pack(root: bytes, *blocks: bytes) -> bytes:
    """A CAR file with the block ``root`` as its root, and more blocks."""
    return write_car(Cid.of(root), [(Cid.of(block), block) for block in (root, *blocks)])


def thing(number: int = 0, **more: Value) -> dict[str, Value]:
    """A record of `COLLECTION`."""
    return {"$type": COLLECTION, "number": number, **more}


def things(*rkeys: str) -> dict[str, dict[str, Value]]:
    """Records of `COLLECTION` under these record keys."""
    return {f"{COLLECTION}/{rkey}": thing(index) for index, rkey in enumerate(rkeys)}


def node(entries: Iterable[Mapping[str, Value]], left: Cid | None = None) -> bytes:
    """A tree node with exactly these entries."""
    return encode({"l": left, "e": [dict(entry) for entry in entries]})


def entry(rest: str, value: Cid, shared: int = 0, tree: Cid | None = None) -> dict[str, Value]:
    """An entry of a tree node."""
    return {"p": shared, "k": rest.encode(), "v": value, "t": tree}


def keys_of_height(height: int, count: int, prefix: str = COLLECTION) -> list[str]:
    """Some keys of that height, in order; found by counting zeros in a string of bits."""
    found: list[str] = []
    number = 0
    while len(found) < count:
        key = f"{prefix}/{number:05d}"
        number += 1
        if slow_height(key) == height:
            found.append(key)
    return found


def slow_height(key: str) -> int:
    """By definition: leading zero bits of the SHA-256, halved."""
    bits = "".join(f"{byte:08b}" for byte in hashlib.sha256(key.encode()).digest())
    return (len(bits) - len(bits.lstrip("0"))) // 2


def slow_build(entries: Mapping[str, Cid]) -> tuple[Cid, dict[Cid, bytes]]:
    """The tree by definition: the slow and obvious twin of `atd.protocol.mst.build`."""
    blocks: dict[Cid, bytes] = {}
    keys = sorted(entries, key=lambda key: key.encode())
    top = max(map(slow_height, keys), default=0)
    root = _slow_node(keys, entries, top, blocks) if keys else None
    if root is None:
        root = _put(blocks, node([]))
    return root, blocks


def _slow_node(
    keys: list[str], entries: Mapping[str, Cid], height: int, blocks: dict[Cid, bytes]
) -> Cid | None:
    if not keys:
        return None
    gaps: list[list[str]] = [[]]
    here: list[str] = []
    for key in keys:
        if slow_height(key) == height:
            here.append(key)
            gaps.append([])
        else:
            gaps[-1].append(key)
    left, *trees = [_slow_node(gap, entries, height - 1, blocks) for gap in gaps]
    listed, before = [], ""
    for key, tree in zip(here, trees, strict=True):
        shared = 0
        while before[shared : shared + 1] == key[shared : shared + 1] != "":
            shared += 1
        listed.append(entry(key[shared:], entries[key], shared, tree))
        before = key
    return _put(blocks, node(listed, left))


def _put(blocks: dict[Cid, bytes], block: bytes) -> Cid:
    cid = Cid.of(block)
    blocks[cid] = block
    return cid
