"""CIDs: the names of blocks and blobs by their hash, of the kinds that ATProto uses.

libipld spells them: an index writes several for each record, and `base64` takes 12 µs for one.

Source: atproto.com/specs/data-model#link-and-cid-formats.
"""

from __future__ import annotations

import builtins
import hashlib
import re
from dataclasses import dataclass
from typing import Final

import libipld

from atd.errors import InvalidSyntax
from atd.protocol.syntax import quote

__all__ = ["DAG_CBOR", "RAW", "Cid"]

RAW: Final = 0x55
DAG_CBOR: Final = 0x71

_PREFIXES: Final = frozenset((b"\x01\x71\x12\x20", b"\x01\x55\x12\x20"))
_CID_BYTES: Final = 36
_TEXT: Final = re.compile("b[a-z2-7]{58}")


@dataclass(frozen=True, slots=True, order=True)
class Cid:
    """The name of some bytes by their hash: version 1, SHA-256, codec `DAG_CBOR` or `RAW`.

    ``bytes`` is its binary form, 36 bytes; ``str()`` its base32 form, ``bafy…`` or ``bafk…``.
    """

    bytes: builtins.bytes

    def __post_init__(self) -> None:
        if len(self.bytes) != _CID_BYTES or self.bytes[:4] not in _PREFIXES:
            raise InvalidSyntax(
                "expected a CID of version 1 with SHA-256 and codec dag-cbor or raw,"
                f" got the bytes {quote(self.bytes)}"
            )

    @classmethod
    def parse(cls, text: str) -> Cid:
        """The CID that ``text`` spells in base32, exactly as `str` would spell it.

        Raises:
            InvalidSyntax: no such CID.
        """
        if isinstance(text, str) and _TEXT.fullmatch(text):
            try:
                cid = cls(libipld.decode_multibase(text)[1])
                if str(cid) == text:
                    return cid
            except ValueError:
                pass
        raise InvalidSyntax(
            f"expected a CID such as bafyrei… or bafkrei… (59 characters), got {quote(text)}"
        )

    @classmethod
    def from_bytes(cls, data: builtins.bytes) -> Cid:
        """The CID with the binary form ``data`` (36 bytes).

        Raises:
            InvalidSyntax: another version, codec or hash, or another length.
        """
        return cls(bytes(data))

    @classmethod
    def of(cls, block: builtins.bytes, codec: int = DAG_CBOR) -> Cid:
        """The CID of ``block``, which is `DAG_CBOR` or `RAW`."""
        return cls(bytes((1, codec, 0x12, 0x20)) + hashlib.sha256(block).digest())

    @classmethod
    def from_digest(cls, digest: builtins.bytes, codec: int = RAW) -> Cid:
        """The CID with the SHA-256 ``digest`` (32 bytes)."""
        return cls(bytes((1, codec, 0x12, 0x20)) + digest)

    @property
    def codec(self) -> int:
        """`DAG_CBOR` or `RAW`."""
        return self.bytes[1]

    @property
    def digest(self) -> builtins.bytes:
        """The SHA-256 of the named bytes, 32 bytes."""
        return self.bytes[4:]

    def __str__(self) -> str:
        text: str = libipld.encode_multibase("b", self.bytes)
        return text

    def __repr__(self) -> str:
        return f"Cid({self})"
