"""CAR files, version 1: a bag of blocks in which every block is what its CID says.

Read: header ``{"roots": [...], "version": 1}``, then blocks, each ``length | CID | bytes``. Nothing
comes out of `read_car` unless every block hashed to its CID. Duplicate and unneeded blocks are
legal, so a file cut at a block's end still reads; what is missing shows when it is needed.

Source: ipld.io/specs/transport/car/carv1; block CIDs as atproto.com/specs/repository demands.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, NoReturn

from atd.errors import ProofError
from atd.protocol.blocks import Blocks
from atd.protocol.cbor import Cid, decode, encode
from atd.protocol.syntax import quote

__all__ = [
    "MAX_CAR_BLOCKS",
    "MAX_CAR_BYTES",
    "Car",
    "car_block",
    "car_header",
    "car_length",
    "car_roots",
    "join_car",
    "read_car",
    "refuse_block",
    "write_car",
]

MAX_CAR_BYTES: Final = 1 << 30
MAX_CAR_BLOCKS: Final = 2_000_000
"""Each block costs some 200 bytes beside its own: a file of empty ones would take five times its
size in memory."""
_PREFIX: Final = b"\x01\x71\x12\x20"
_ONE_ROOT: Final = b"\xa2eroots\x81\xd8\x2a\x58\x25\x00" + _PREFIX
_VERSION_1: Final = b"gversion\x01"


@dataclass(frozen=True, slots=True)
class Car:
    """The roots that the file names and its blocks; each block has the CID it is filed under."""

    roots: tuple[Cid, ...]
    blocks: Blocks


def read_car(
    data: bytes, *, max_bytes: int = MAX_CAR_BYTES, max_blocks: int = MAX_CAR_BLOCKS
) -> Car:
    """Read a whole CAR file and hash every block.

    Args:
        data: the file.
        max_bytes: refuse a larger file before looking at it.
        max_blocks: refuse a file of more different blocks.

    Raises:
        ProofError: too large, too many blocks, cut short, malformed, or a block is not what its
            CID says.
    """
    if len(data) > max_bytes:
        raise ProofError(f"CAR of {len(data)} bytes, at most {max_bytes} are accepted")
    size, at = car_length(data, 0)
    if size > len(data) - at:
        raise ProofError(f"CAR cut short: header of {size} bytes, {len(data) - at} left")
    roots = car_roots(data[at : at + size])
    at += size
    blocks: dict[bytes, bytes] = {}
    end = len(data)
    while at < end:
        start, size = at, data[at]
        at += 1
        if size >= 128:
            if at < end and 0 < data[at] < 128:  # two bytes, as for most blocks
                size += (data[at] << 7) - 128
                at += 1
            else:
                size, at = car_length(data, start)
        if size > end - at:
            raise ProofError(
                f"CAR cut short: block at byte {start} has {size} bytes, {end - at} left"
            )
        middle, stop = at + 36, at + size
        name, block = data[at:middle], data[middle:stop]
        if size < 36 or name != _PREFIX + sha256(block).digest():
            refuse_block(name[: min(size, 36)], start)
        blocks[name] = block
        at = stop
        if len(blocks) > max_blocks:
            raise ProofError(f"CAR of more than {max_blocks} blocks")
    return Car(roots, Blocks(blocks))


def refuse_block(name: bytes, start: int) -> NoReturn:
    """Say what is wrong with a block whose CID is not the one that it should have."""
    if len(name) == 36 and name.startswith(_PREFIX):
        raise ProofError(f"CAR block at byte {start} does not hash to its CID {Cid(name)}")
    raise ProofError(
        f"CAR block at byte {start} has no CID of version 1, dag-cbor and SHA-256 but {quote(name)}"
    )


def car_roots(header: bytes) -> tuple[Cid, ...]:
    """The roots that the header of a file names; ProofError for anything but a header."""
    if len(header) == 58 and header.startswith(_ONE_ROOT) and header.endswith(_VERSION_1):
        return (Cid(header[13:49]),)  # how nearly all CAR files start; the rest is general
    try:
        value = decode(header, max_depth=4)
    except ProofError as error:
        raise ProofError(f"CAR header: {error}") from None
    if not isinstance(value, dict) or value.keys() != {"roots", "version"}:
        raise ProofError(f"CAR header has not exactly roots and version: {quote(value)}")
    roots, version = value["roots"], value["version"]
    if version != 1 or version is True or not isinstance(roots, list):
        raise ProofError(f"CAR header is not of version 1 with a list of roots: {quote(value)}")
    found = tuple(root for root in roots if isinstance(root, Cid))
    if len(found) != len(roots):
        raise ProofError(f"CAR header names a root that is no CID: {quote(value)}")
    return found


def car_length(data: bytes, at: int) -> tuple[int, int]:
    """The unsigned LEB128 number at ``at`` and where it ends; at most 4 bytes, shortest form."""
    number = 0
    for index in range(4):
        if at + index >= len(data):
            raise ProofError(f"CAR cut short at byte {len(data)}, within a length")
        byte = data[at + index]
        number |= (byte & 127) << 7 * index
        if byte < 128:
            if byte == 0 and index:
                break
            return number, at + index + 1
    raise ProofError(f"CAR length at byte {at} is too large or not in its shortest form")


def write_car(root: Cid, blocks: Iterable[tuple[Cid, bytes]]) -> bytes:
    """A CAR file with one root and ``blocks`` in the order given."""
    return car_header(root) + b"".join(car_block(cid, block) for cid, block in blocks)


def car_header(*roots: Cid) -> bytes:
    """How a CAR file begins. With `car_block` for each block after it, a file can be streamed."""
    if len(roots) == 1 and roots[0].bytes.startswith(_PREFIX):
        return b"\x3a" + _ONE_ROOT + roots[0].bytes[4:] + _VERSION_1
    header = encode({"roots": list(roots), "version": 1})
    return _length(len(header)) + header


def car_block(cid: Cid, block: bytes) -> bytes:
    """One block as it stands in a CAR file."""
    return _length(36 + len(block)) + cid.bytes + block


def join_car(root: Cid, blocks: Iterable[tuple[bytes, bytes]]) -> bytes:
    """`write_car` for blocks that are named by the bytes of their CIDs."""
    parts = [car_header(root)]
    for name, block in blocks:
        parts += (_length(36 + len(block)), name, block)
    return b"".join(parts)


def _length(number: int) -> bytes:
    if number < 128:
        return bytes((number,))
    if number < 1 << 14:
        return bytes((number & 127 | 128, number >> 7))
    parts = bytearray()
    while number > 127:
        parts.append(number & 127 | 128)
        number >>= 7
    parts.append(number)
    return bytes(parts)
