"""What is wanted and where it may be had: a digest, a size, and the places that claim to have it.

All of it comes from a proved record, which says what the bytes must be, not that the places are
honest or harmless: where a URL may lead is judged by `atd_daemon.network`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from urllib.parse import urlencode

from atd.errors import InvalidSyntax
from atd.protocol.cbor import RAW, Cid
from atd.protocol.syntax import Did, quote


@dataclass(frozen=True, slots=True)
class Url:
    """A shard at an absolute http(s) URL."""

    url: str

    @property
    def label(self) -> str:
        """What to call it in a message: one line of printable ASCII."""
        return quote(self.url, 200).strip("'\"")


@dataclass(frozen=True, slots=True)
class Blob:
    """A shard as a blob of ``did`` at the PDS with origin ``pds`` (com.atproto.sync.getBlob)."""

    did: Did
    pds: str
    cid: Cid

    @property
    def url(self) -> str:
        """The query that answers with the blob's bytes."""
        query = urlencode({"did": str(self.did), "cid": str(self.cid)})
        return f"{self.pds}/xrpc/com.atproto.sync.getBlob?{query}"

    @property
    def label(self) -> str:
        """What to call it in a message: one line of printable ASCII."""
        return f"blob of {quote(self.did).strip(chr(39))} at {quote(self.pds).strip(chr(39))}"


Source = Url | Blob


def source_mark(source: Source) -> str:
    """A short name for ``source`` that is safe in a file name (hex, 16 characters)."""
    return hashlib.sha256(source.url.encode("utf-8", "backslashreplace")).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class ShardWant:
    """One shard to have: its SHA-256 as a CID with codec raw, its bytes, and who has it.

    ``sources`` are tried in their order. Raises InvalidSyntax when made of what no shard can be.
    """

    digest: Cid
    size: int
    sources: tuple[Source, ...] = ()

    def __post_init__(self) -> None:
        if self.digest.codec != RAW:
            raise InvalidSyntax(f"a shard's digest is a CID with codec raw, got {self.digest}")
        if self.size < 0:
            raise InvalidSyntax(f"a shard's size is a number of bytes, got {self.size}")
