"""A whole repository as it comes in: a CAR file read piece by piece, each block hashed on arrival.

The pieces go to a `Spool` as they are, and only where each block lies is kept: what a repository
takes in memory is its number of blocks, not its bytes. `RepoStream.finish` gives a `Car` whose
blocks are read from the spool when they are asked for, and the rest is as with any other CAR:
`atd.protocol.proof.prove_repo` takes it. A file that ends between two blocks still reads; what is
missing shows when the tree is walked.

Source: ipld.io/specs/transport/car/carv1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Protocol

from atd.errors import ProofError
from atd.protocol.blocks import Blocks
from atd.protocol.car import MAX_CAR_BLOCKS, Car, car_length, car_roots, refuse_block
from atd.protocol.cbor import Cid

__all__ = ["MAX_BLOCK_BYTES", "RepoStream", "Spool"]

MAX_BLOCK_BYTES: Final = 4 * 1024 * 1024
"""A record has at most 1,000,000 bytes, and so has a tree node that is read."""
_MAX_LENGTH_BYTES: Final = 4
_SIZE_BITS: Final = 24
_PREFIX: Final = b"\x01\x71\x12\x20"


class Spool(Protocol):
    """Where the bytes of the file are kept: in a file, or in memory."""

    def append(self, data: bytes) -> None:
        """Add bytes at the end."""
        ...

    def read(self, start: int, stop: int) -> bytes:
        """The bytes from ``start`` to before ``stop``."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class _Spooled(Mapping[bytes, bytes]):
    """Blocks by the 36 bytes of their CIDs; ``places`` holds offset and size in one number."""

    spool: Spool
    places: dict[bytes, int]

    def __getitem__(self, cid: bytes) -> bytes:
        place = self.places[cid]
        start = place >> _SIZE_BITS
        return self.spool.read(start, start + (place & (1 << _SIZE_BITS) - 1))

    def __contains__(self, cid: object) -> bool:
        return cid in self.places

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)


class RepoStream:
    """Reads one CAR file::

        stream = RepoStream(spool)
        for chunk in chunks:
            stream.feed(chunk)
        repo = prove_repo(stream.finish(), identity, max_entries_bytes=…)

    Args:
        spool: an empty one.
        max_blocks: refuse a file of more different blocks.
    """

    def __init__(self, spool: Spool, *, max_blocks: int = MAX_CAR_BLOCKS) -> None:
        self._spool = spool
        self._max_blocks = max_blocks
        self._places: dict[bytes, int] = {}
        self._roots: tuple[Cid, ...] | None = None
        self._rest = bytearray()
        self._offset = 0  # of the first byte of the rest, in the file
        self._wanted = 1  # how many bytes the rest needs before looking at it makes sense

    @property
    def blocks(self) -> int:
        """How many different blocks came in so far: what memory they take goes by their number."""
        return len(self._places)

    def feed(self, chunk: bytes) -> None:
        """Take in the next bytes of the file.

        Raises:
            ProofError: malformed, a block is not what its CID says or too large, or too many.
        """
        self._spool.append(chunk)
        self._rest += chunk
        if len(self._rest) < self._wanted:
            return
        data = bytes(self._rest)
        done = self._take(data)
        del self._rest[:done]
        self._offset += done

    def finish(self) -> Car:
        """The file, once it has come to its end.

        Raises:
            ProofError: it ends within a block, or before the first.
        """
        if self._rest or self._roots is None:
            raise ProofError(f"CAR cut short: {len(self._rest)} bytes of an item are left over")
        return Car(self._roots, Blocks(_Spooled(self._spool, self._places)))

    def _take(self, data: bytes) -> int:
        """Read the whole items at the start of ``data``; returns how many bytes they are."""
        at, end = 0, len(data)
        while at < end:
            if not _has_length(data, at, end):
                self._wanted = end - at + 1
                return at
            size, start = car_length(data, at)
            if size > MAX_BLOCK_BYTES:
                raise ProofError(f"a CAR item of {size} bytes, at most {MAX_BLOCK_BYTES} are read")
            stop = start + size
            if stop > end:
                self._wanted = stop - at
                return at
            if self._roots is None:
                self._roots = car_roots(data[start:stop])
            else:
                self._block(data, start, stop)
            at = stop
        self._wanted = 1
        return at

    def _block(self, data: bytes, start: int, stop: int) -> None:
        middle = start + 36
        name, block = data[start : min(middle, stop)], data[middle:stop]
        if len(name) < 36 or name != _PREFIX + sha256(block).digest():
            refuse_block(name, self._offset + start)
        self._places[name] = self._offset + middle << _SIZE_BITS | stop - middle
        if len(self._places) > self._max_blocks:
            raise ProofError(f"CAR of more than {self._max_blocks} blocks")


def _has_length(data: bytes, at: int, end: int) -> bool:
    """Whether a length is whole at ``at``, or too long to be one."""
    if end - at >= _MAX_LENGTH_BYTES:
        return True
    return any(byte < 128 for byte in data[at:end])
