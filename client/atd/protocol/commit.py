"""A commit: the signed statement "the records of this DID, at this revision, are this tree".

Version 3 only, with exactly its six fields, in canonical encoding. What is signed is the encoding
of the same map without ``sig``.

Source: atproto.com/specs/repository#commit-objects.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from atd.errors import InvalidSyntax, ProofError
from atd.protocol.cbor import DAG_CBOR, Cid, Value, decode, encode
from atd.protocol.keys import PrivateKey
from atd.protocol.syntax import Did, Tid, quote

__all__ = ["VERSION", "Commit"]

VERSION: Final = 3
_FIELDS: Final = frozenset(("did", "version", "data", "rev", "prev", "sig"))


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
            ProofError: not a canonical commit of version 3.
        """
        value = decode(block, max_depth=2)
        if not isinstance(value, dict) or value.keys() != _FIELDS:
            raise ProofError(
                f"expected a commit with {', '.join(sorted(_FIELDS))}, got {quote(value)}"
            )
        version, data, prev, sig = (value[name] for name in ("version", "data", "prev", "sig"))
        if version != VERSION or version is True:
            raise ProofError(f"expected a commit of version 3, got version {quote(version)}")
        if not isinstance(data, Cid) or data.codec != DAG_CBOR:
            raise ProofError(f"a commit's data is the CID of a tree, got {quote(data)}")
        if prev is not None and not isinstance(prev, Cid):
            raise ProofError(f"a commit's prev is a CID or null, got {quote(prev)}")
        if not isinstance(sig, bytes):
            raise ProofError(f"a commit's sig is bytes, got {quote(sig)}")
        try:
            did, rev = Did.parse(value["did"]), Tid.parse(value["rev"])  # type: ignore[arg-type]
        except InvalidSyntax as error:
            raise ProofError(f"bad commit: {error}") from None
        return cls(did, rev, data, prev, sig)

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
        return encode(self._unsigned())

    def encode(self) -> bytes:
        """The commit's block."""
        return encode({**self._unsigned(), "sig": self.sig})

    def _unsigned(self) -> dict[str, Value]:
        return {
            "did": self.did,
            "version": VERSION,
            "data": self.data,
            "rev": self.rev,
            "prev": self.prev,
        }
