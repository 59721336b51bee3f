"""A commit: the signed statement "the records of this DID, at this revision, are this tree".

Version 3 only, with exactly its six fields. The canonical encoding leaves a commit one layout, so
that layout is what is read and written, byte for byte::

    a6 "did" did  "rev" tid  "sig" 64 bytes  "data" cid  "prev" (null | cid)  "version" 3

What is signed is the same map without ``sig``.

Source: atproto.com/specs/repository#commit-objects.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final, NoReturn

from atd.errors import ProofError
from atd.protocol.cbor import Cid, decode, encode, head
from atd.protocol.keys import PrivateKey
from atd.protocol.syntax import Did, Tid, quote

__all__ = ["VERSION", "Commit"]

VERSION: Final = 3
_FIELDS: Final = frozenset(("did", "version", "data", "rev", "prev", "sig"))
_LINK: Final = b"\xd8\x2a\x58\x25\x00"  # tag 42, 37 bytes, and the zero before a binary CID
# No DID holds an "@", the length byte of the signature: so the DID ends in one place only.
_LAYOUT: Final = re.compile(
    rb"\xa6cdid([\x60-\x77]|\x78[\x18-\xff]|\x79[\x01-\x08].)"
    rb"(did:[a-z]+:[a-zA-Z0-9._:%-]*[a-zA-Z0-9._-])"
    rb"crev\x6d([234567a-j][234567a-z]{12})"
    rb"csigX\x40(.{64})"
    rb"ddata\xd8\x2a\x58\x25\x00(\x01\x71\x12\x20.{32})"
    rb"dprev(?:\xf6|\xd8\x2a\x58\x25\x00(\x01[\x71\x55]\x12\x20.{32}))"
    rb"gversion\x03",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Commit:
    """The root of a repository. That it decodes proves nothing: see `atd.protocol.proof`."""

    did: Did
    rev: Tid
    data: Cid
    prev: Cid | None
    sig: bytes

    @classmethod
    def decode(cls, block: bytes) -> Commit:
        """Read a commit block.

        Raises:
            ProofError: not a canonical commit of version 3 with a signature of 64 bytes.
        """
        match = _LAYOUT.fullmatch(block)
        if match is None:
            _explain(block)
        size, did, rev, sig, data, prev = match.groups()
        if size != head(3, len(did)) or len(did) > Did.max_length:
            _explain(block)
        return cls(
            Did(did.decode("ascii")),
            Tid(rev.decode("ascii")),
            Cid(data),
            None if prev is None else Cid(prev),
            sig,
        )

    @classmethod
    def sign(
        cls, did: Did, rev: Tid, data: Cid, key: PrivateKey, prev: Cid | None = None
    ) -> Commit:
        """A commit to the tree ``data``, signed with ``key``."""
        unsigned = cls(did, rev, data, prev, b"")
        return replace(unsigned, sig=key.sign(unsigned.unsigned()))

    @property
    def cid(self) -> Cid:
        """The CID of the commit's block."""
        return Cid.of(self.encode())

    def unsigned(self) -> bytes:
        """The bytes that are signed: the commit without ``sig``."""
        return b"\xa5" + self._names() + self._tree()

    def encode(self) -> bytes:
        """The commit's block."""
        return b"\xa6" + self._names() + b"csig" + encode(self.sig) + self._tree()

    def _names(self) -> bytes:
        did, rev = self.did.encode(), self.rev.encode()
        return b"cdid" + head(3, len(did)) + did + b"crev" + head(3, len(rev)) + rev

    def _tree(self) -> bytes:
        prev = b"\xf6" if self.prev is None else _LINK + self.prev.bytes
        return b"ddata" + _LINK + self.data.bytes + b"dprev" + prev + b"gversion\x03"


def _explain(block: bytes) -> NoReturn:
    """Say what is wrong with a block that does not have the layout of a commit."""
    value = decode(block)
    if not isinstance(value, dict) or value.keys() != _FIELDS:
        raise ProofError(f"expected a commit with {', '.join(sorted(_FIELDS))}, got {quote(value)}")
    if value["version"] != VERSION:
        raise ProofError(f"expected a commit of version 3, got {quote(value['version'])}")
    sig = value["sig"]
    if not isinstance(sig, bytes) or len(sig) != 64:
        length = f"{len(sig)} bytes" if isinstance(sig, bytes) else quote(sig)
        raise ProofError(f"expected a signature of exactly 64 bytes in the commit, got {length}")
    raise ProofError(f"expected a commit with a DID, a TID and CIDs, got {quote(value)}")
