"""Blocks by CID: the bag that a CAR file is, and that trees and records are looked up in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from atd.protocol.cbor import Cid

__all__ = ["Blocks", "Get", "getter"]

Get = Callable[[bytes], bytes | None]
"""A block by the 36 bytes of its CID, or None."""


@dataclass(frozen=True, slots=True, eq=False)
class Blocks(Mapping[Cid, bytes]):
    """A read-only mapping from `Cid` to bytes over ``raw``, which is keyed by the CID's 36 bytes.

    A proof has thousands of CIDs and its verifier compares them all; it makes `Cid` values only of
    those that it gives out.
    """

    raw: Mapping[bytes, bytes]

    def __getitem__(self, cid: Cid) -> bytes:
        return self.raw[cid.bytes]

    def __contains__(self, cid: object) -> bool:
        return isinstance(cid, Cid) and cid.bytes in self.raw

    def __iter__(self) -> Iterator[Cid]:
        return map(Cid, self.raw)

    def __len__(self) -> int:
        return len(self.raw)


def getter(blocks: Mapping[Cid, bytes]) -> Get:
    """How to look up a block by the bytes of its CID."""
    if isinstance(blocks, Blocks):
        return blocks.raw.get
    return lambda raw: blocks.get(Cid(raw))
