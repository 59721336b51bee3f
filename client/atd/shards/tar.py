"""Tar archives: written so that the same members give the same bytes, read as if by an enemy.

Belongs here: headers, padding, end marks; nothing about samples, keys or msgpack.

Writing is plain POSIX ustar (IEEE Std 1003.1, pax, "ustar Interchange Format"): mode 0644, uid, gid
and mtime 0, no owner names, no pax headers, record padding to 10,240 bytes. The bytes are those of
`tarfile` with ``USTAR_FORMAT``, made 5-10 times faster from one header template.

Reading accepts what other programs write (pax and GNU long names, base-256 sizes, directories) and
refuses the rest: links, devices, sparse files, bad checksums, sizes beyond the file, a missing end
mark, bytes after it. Nothing is allocated for a size before the size was found to fit.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NoReturn, Protocol

import numpy as np
from numpy.typing import NDArray

from atd.errors import InvalidSyntax, ShardError, TooLarge

BLOCK: Final = 512
RECORD: Final = 20 * BLOCK
NAME_BYTES: Final = 100
MAX_MEMBER: Final = 8**11 - 1
"""The largest payload an octal size field can say: 8 GiB less one byte."""

_EXTENSION_LIMIT: Final = 65536
_ZEROS: Final = bytes(BLOCK)
PADDING: Final = tuple(bytes(-n % BLOCK) for n in range(BLOCK))
"""What follows a payload, by the rest of its size divided by `BLOCK`."""
_NAME: Final = re.compile(r"[!-.0-~][!-~]*")
_NAMES: Final = re.compile(rf"{_NAME.pattern}(?:\n{_NAME.pattern})*")
_OCTAL: Final = re.compile(rb" *([0-7]+)[ \0]*")
_DECIMAL: Final = re.compile(rb"[0-9]{1,20}")
_PAX_RECORD: Final = re.compile(rb"([1-9][0-9]{0,8}) ")
_FAST_BELOW: Final = 128 * 1024
"""Member size in bytes below which looking at every block at once beats walking the chain."""


class Sink(Protocol):
    """Anything with ``write(bytes)``: a file, a hash, a socket."""

    def write(self, data: bytes | memoryview, /) -> object:
        """Take ``data``."""


@dataclass(frozen=True, slots=True)
class Members:
    """The regular files of an archive, in order: names, payload offsets and sizes in bytes."""

    names: list[str]
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.names)


# ------------------------------------------------------------------ writing


def _template() -> bytes:
    block = bytearray(BLOCK)
    block[100:108] = b"0000644\0"
    block[108:124] = b"0000000\0" * 2
    block[136:148] = b"00000000000\0"
    block[148:156] = b" " * 8
    block[156:157] = b"0"
    block[257:265] = b"ustar\x0000"
    return bytes(block)


_TEMPLATE: Final = _template()
_BEFORE_SIZE: Final = tuple(_TEMPLATE[n:124] for n in range(NAME_BYTES + 1))
_MTIME: Final = _TEMPLATE[136:148]
_AFTER_CHECKSUM: Final = _TEMPLATE[156:]
_TEMPLATE_SUM: Final = sum(_TEMPLATE)


def header(name: bytes, size: int) -> bytes:
    """The 512-byte header of a regular file; ``name`` and ``size`` are already checked."""
    octal = b"%011o\0" % size
    checksum = b"%06o\0 " % (_TEMPLATE_SUM + sum(name) + sum(octal))
    return b"".join((name, _BEFORE_SIZE[len(name)], octal, _MTIME, checksum, _AFTER_CHECKSUM))


def headers(names: Sequence[bytes], sizes: Sequence[int]) -> NDArray[np.uint8]:
    """`header` for many members at once, which costs a fifth of it; the same bytes, one a row."""
    width = max(map(len, names), default=1)
    letters = np.array(names, f"S{width}").view(np.uint8).reshape(-1, width)
    octal = _octal_digits(np.array(sizes, np.int64), 11)
    # At most 111 bytes, so 16 bits hold their sum.
    sums = letters.sum(axis=1, dtype=np.uint16) + octal.sum(axis=1, dtype=np.uint16)
    table = np.empty((len(names), BLOCK), np.uint8)
    table[:] = np.frombuffer(_TEMPLATE, np.uint8)
    table[:, :width] = letters
    table[:, 124:135] = octal
    table[:, 148:154] = _octal_digits(sums.astype(np.int64) + _TEMPLATE_SUM, 6)
    table[:, 154:156] = (0, 32)
    return table


def fill_headers(names: Sequence[str], sizes: Sequence[int], blocks: Sequence[memoryview]) -> None:
    """Write the headers of members into the blank blocks before their payloads.

    Args:
        names: of all members, in order.
        sizes: of their payloads, in bytes.
        blocks: where they lie, one after the other; no member lies in two of these.

    Raises:
        InvalidSyntax, TooLarge: as `TarWriter.add`; then nothing is written.
    """
    encoded = _check_member_names(names)
    if max(sizes, default=0) > MAX_MEMBER:
        at = sizes.index(max(sizes))
        raise _too_large(names[at], sizes[at])
    taken = member_sizes(np.array(sizes, np.int64))
    starts = np.cumsum(taken) - taken
    begin = 0
    for block in blocks:
        first, last = np.searchsorted(starts, (begin, begin + len(block)))
        rows = np.frombuffer(block, np.uint8).reshape(-1, BLOCK)
        rows[(starts[first:last] - begin) // BLOCK] = headers(
            encoded[first:last], sizes[first:last]
        )
        begin += len(block)


def _octal_digits(numbers: NDArray[np.int64], count: int) -> NDArray[np.uint8]:
    digits = (numbers[:, np.newaxis] >> np.arange(3 * (count - 1), -1, -3)) & 7
    return (digits + 48).astype(np.uint8)


def member_size(payload: int) -> int:
    """Bytes that a member with ``payload`` bytes takes, with its header and padding."""
    return BLOCK + payload + -payload % BLOCK


def member_sizes(payloads: NDArray[np.int64]) -> NDArray[np.int64]:
    """`member_size` of each of ``payloads``."""
    return BLOCK + payloads + -payloads % BLOCK


def archive_size(members: int) -> int:
    """Bytes of a whole archive whose members (see `member_size`) take ``members`` bytes."""
    return -(-(members + 2 * BLOCK) // RECORD) * RECORD


def largest_members(archive: int) -> int:
    """The most bytes that the members of an archive of at most ``archive`` bytes can take."""
    return archive // RECORD * RECORD - 2 * BLOCK


def check_member_name(name: str) -> bytes:
    """``name`` as the bytes of a ustar name field: 1 to 100 printable ASCII characters, no space.

    Raises:
        InvalidSyntax: the name cannot stand in a plain ustar header.
    """
    if len(name) > NAME_BYTES or not _NAME.fullmatch(name):
        raise InvalidSyntax(
            f"expected a tar member name of 1 to {NAME_BYTES} printable ASCII characters,"
            f" found {len(name)} characters: {name[:NAME_BYTES]!a}"
        )
    return name.encode("ascii")


def _check_member_names(names: Sequence[str]) -> list[bytes]:
    """`check_member_name` of each, all at once if nothing is wrong."""
    text = "\n".join(names)
    if max(map(len, names), default=0) <= NAME_BYTES and _NAMES.fullmatch(text):
        encoded = text.encode("ascii").split(b"\n")
        if len(encoded) == len(names):
            return encoded
    return [check_member_name(name) for name in names]


class TarWriter:
    """Writes members one after the other to a sink; ``position`` is the number of bytes written."""

    __slots__ = ("_write", "position")

    def __init__(self, sink: Sink) -> None:
        self._write = sink.write
        self.position = 0

    def add(self, name: str, payload: bytes) -> int:
        """Append a regular file; returns the offset of its payload.

        Raises:
            InvalidSyntax: the name cannot stand in a plain ustar header.
            TooLarge: the payload is 8 GiB or more.
        """
        encoded = check_member_name(name)
        size = len(payload)
        if size > MAX_MEMBER:
            raise _too_large(name, size)
        self._write(header(encoded, size))
        self._write(payload)
        self._write(PADDING[size % BLOCK])
        offset = self.position + BLOCK
        self.position += member_size(size)
        return offset

    def add_all(
        self, names: Sequence[str], sizes: Sequence[int], blocks: Sequence[memoryview]
    ) -> None:
        """Append many regular files that lie ready, but for their headers: see `fill_headers`.

        Raises:
            InvalidSyntax, TooLarge: as `add`; then nothing is written.
        """
        fill_headers(names, sizes, blocks)
        for block in blocks:
            self._write(block)
            self.position += len(block)

    def finish(self) -> int:
        """Write the end mark and the record padding; returns the size of the archive in bytes."""
        total = archive_size(self.position)
        self._write(bytes(total - self.position))
        self.position = total
        return total


def _too_large(name: str, size: int) -> TooLarge:
    return TooLarge(f"{name}: {size} bytes, but a tar member holds at most {MAX_MEMBER}")


# ------------------------------------------------------------------ reading


def scan(buffer: memoryview, where: str) -> Members:
    """Every regular file of the archive in ``buffer``, checked from the first byte to the last.

    Args:
        buffer: the whole archive as contiguous bytes, usually over a memory map.
        where: what to call the archive in errors: a file name or an address.

    Raises:
        ShardError: the archive is damaged, cut short, or holds anything but plain files.
    """
    if len(buffer) % BLOCK or len(buffer) < 2 * BLOCK:
        raise ShardError(
            f"{where}: expected a tar archive in blocks of {BLOCK} bytes with its end mark,"
            f" found {len(buffer)} bytes: cut short?"
        )
    octets = np.frombuffer(buffer, np.uint8)
    members = _scan_at_once(octets) if _first_is_small(buffer) else None
    if members is None:
        members = _Walk(buffer, where).members()
    _check_names(members.names, where)
    return members


def _first_is_small(buffer: memoryview) -> bool:
    size = _OCTAL.fullmatch(buffer[124:136])
    return size is not None and int(size[1], 8) < _FAST_BELOW


def _check_names(names: list[str], where: str) -> None:
    if "".join(names).isprintable() and all(names):
        return
    wrong = next(name for name in names if not name or not name.isprintable())
    raise ShardError(f"{where}: a member's name is empty or holds control characters: {wrong!a}")


_PLACES: Final = 8 ** np.arange(10, -1, -1, dtype=np.int64)
_MAGIC: Final = np.frombuffer(b"ustar\x0000", np.uint8)


def _scan_at_once(octets: NDArray[np.uint8]) -> Members | None:
    """All headers found and checked together, if the archive is nothing but plain ustar files.

    Every block that carries the magic is taken for a header, and then the chain must hold: block 0
    is the first, and each header's payload ends where the next begins. A payload that holds the
    magic on a block boundary breaks the chain, and `_Walk` decides. So does anything unusual, which
    then gets its error from there.
    """
    blocks = octets.reshape(-1, BLOCK)
    heads = np.flatnonzero((blocks[:, 257:265] == _MAGIC).all(axis=1))
    headers = blocks[heads]
    digits = headers[:, 124:135].astype(np.int64) - 48
    if not len(heads) or heads[0] != 0 or (digits < 0).any() or (digits > 7).any():
        return None
    sizes = digits @ _PLACES
    after = heads + 1 + (sizes + BLOCK - 1) // BLOCK
    sums = (
        headers.sum(axis=1, dtype=np.int64) - headers[:, 148:156].sum(axis=1, dtype=np.int64) + 256
    )
    stated = headers[:, 148:154].astype(np.int64) - 48
    plain = (
        (after[:-1] == heads[1:]).all()
        and after[-1] + 2 <= len(blocks)
        and not octets[after[-1] * BLOCK :].any()
        and ((stated >= 0) & (stated <= 7)).all()
        and (stated @ _PLACES[-6:] == sums).all()
        and (headers[:, 156] == 48).all()
        and not headers[:, 345].any()
        and np.isin(headers[:, (135, 154, 155)], (0, 32)).all()
    )
    if not plain:
        return None
    fields = np.ascontiguousarray(headers[:, :NAME_BYTES]).view(f"S{NAME_BYTES}").ravel().tolist()
    try:
        names = [field.partition(b"\0")[0].decode() for field in fields]
    except UnicodeDecodeError:
        return None
    return Members(names, (heads + 1) * BLOCK, sizes)


class _Walk:
    """The chain of headers followed one by one: slower, for every kind of archive we accept."""

    def __init__(self, buffer: memoryview, where: str) -> None:
        self.buffer = buffer
        self.where = where
        self.position = 0
        self.override: dict[str, bytes] = {}

    def members(self) -> Members:
        names: list[str] = []
        spans: list[tuple[int, int]] = []
        while (block := bytes(self._span(BLOCK, "a header"))) != _ZEROS:
            kind = block[156:157]
            size = self._size(block)
            if kind in (b"x", b"g", b"L"):
                self._extend(kind, size)
                continue
            name = self._name(block)
            self.override = {}
            if kind == b"\0" and name.endswith("/"):
                kind = b"5"  # how a folder was written before there were types
            if kind in (b"0", b"\0", b"7"):
                names.append(name)
                spans.append((self.position, size))
            elif kind == b"5" and size:
                self._refuse(f"a folder of {size} bytes, which programs read in different ways")
            elif kind != b"5":
                self._refuse(f"member {name!a} is of tar type {kind!a}, not a plain file")
            self._payload(size)
        self._end()
        table = np.array(spans, dtype=np.int64).reshape(-1, 2)
        return Members(names, table[:, 0].copy(), table[:, 1].copy())

    def _refuse(self, what: str) -> NoReturn:
        raise ShardError(f"{self.where}: at byte {self.position}: {what}")

    def _span(self, size: int, what: str) -> memoryview:
        end = self.position + size
        if end > len(self.buffer):
            self._refuse(
                f"expected {what} of {size} bytes, found {len(self.buffer)} in all: cut short?"
            )
        span = self.buffer[self.position : end]
        self.position = end
        return span

    def _payload(self, size: int) -> memoryview:
        return self._span(size + -size % BLOCK, "a member")[:size]

    def _size(self, block: bytes) -> int:
        """The size in a header whose magic and checksum hold; pax may say another."""
        if block[257:262] != b"ustar":
            self._refuse(f"expected a ustar header, found {block[257:265]!a} in place of its magic")
        stated = _OCTAL.fullmatch(block[148:156])
        if stated is None or int(stated[1], 8) != sum(block) - sum(block[148:156]) + 8 * 32:
            self._refuse("the checksum of the header is wrong")
        if "size" in self.override and block[156:157] not in b"xgL":
            digits = self.override["size"]
            return int(digits) if _DECIMAL.fullmatch(digits) else self._unsized(digits)
        if block[124] == 0x80:
            return int.from_bytes(block[125:136], "big")
        octal = _OCTAL.fullmatch(block[124:136])
        return int(octal[1], 8) if octal else self._unsized(block[124:136])

    def _unsized(self, digits: bytes) -> NoReturn:
        self._refuse(f"expected the size of a member, found {digits[:40]!a}")

    def _name(self, block: bytes) -> str:
        name = self.override.get("path") or block[:NAME_BYTES].partition(b"\0")[0]
        prefix = block[345:500].partition(b"\0")[0] if block[257:263] == b"ustar\0" else b""
        if prefix and "path" not in self.override:
            name = prefix + b"/" + name
        try:
            return name.decode()
        except UnicodeDecodeError:
            raise ShardError(
                f"{self.where}: at byte {self.position}: a member's name is not UTF-8: {name!a}"
            ) from None

    def _extend(self, kind: bytes, size: int) -> None:
        """Read a pax or GNU extension: what it says about the name and size of the next member."""
        if size > _EXTENSION_LIMIT:
            self._refuse(
                f"an extension header of {size} bytes; at most {_EXTENSION_LIMIT} are read"
            )
        payload = bytes(self._payload(size))
        if kind == b"L":
            self.override["path"] = payload.rstrip(b"\0")
            return
        for keyword, value in self._pax(payload):
            if keyword.startswith(b"GNU.sparse"):
                self._refuse("a sparse file, not a plain one")
            if keyword in (b"path", b"size"):
                if kind == b"g":
                    self._refuse("a global pax header that renames or resizes every member")
                self.override[keyword.decode()] = value

    def _pax(self, payload: bytes) -> list[tuple[bytes, bytes]]:
        records: list[tuple[bytes, bytes]] = []
        at = 0
        while at < len(payload):
            length = _PAX_RECORD.match(payload, at)
            end = at + int(length[1]) if length else at
            record = payload[length.end() : end] if length else b""
            keyword, equals, value = record.partition(b"=")
            if end > len(payload) or not equals or not value.endswith(b"\n"):
                self._refuse(f"a malformed pax record: {payload[at : at + 40]!a}")
            records.append((keyword, value[:-1]))
            at = end
        return records

    def _end(self) -> None:
        second = self._span(BLOCK, "the second block of the end mark")
        rest = np.frombuffer(self.buffer[self.position - BLOCK :], np.uint8)
        if self.override or second.tobytes() != _ZEROS or rest.any():
            self._refuse("expected the end mark and then zeros, found other bytes")
