"""The plain strict decoder of DAG-CBOR: slower than libipld, but it says what is wrong and where.

`atd.protocol.cbor.decode` asks it about whatever it could not accept at once.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from atd.errors import InvalidSyntax, ProofError
from atd.protocol.cid import Cid
from atd.protocol.syntax import quote

__all__ = ["INT_MAX", "INT_MIN", "Reader", "Value", "check_count"]

Value: TypeAlias = "bool | int | str | bytes | list[Value] | dict[str, Value] | Cid | None"

INT_MIN: Final = -(1 << 63)
INT_MAX: Final = (1 << 63) - 1


def check_count(data: bytes, start: int, most: int) -> None:
    """Refuse an item that holds too much, before anything is made of it.

    A value may take one byte in ``data`` and sixty in memory. What is malformed in another way than
    by its lengths passes: reading it says what is wrong, after no more than ``most`` values.

    Args:
        start: where the item begins.
        most: how many values, and keys of maps, it may have, itself among them.

    Raises:
        ProofError: it has more, or a length that no canonical item has.
    """
    at, waiting, seen, end = start, 1, 0, len(data)
    while waiting and at < end:
        major, number = data[at] >> 5, data[at] & 31
        at += 1
        if number > 27:
            raise ProofError(f"not canonical DAG-CBOR at byte {at}: indefinite or reserved length")
        if number >= 24:
            size = 1 << number - 24
            number = int.from_bytes(data[at : at + size])
            at += size
        waiting, seen = waiting - 1, seen + 1
        if major in (2, 3):
            at += number
        elif 4 <= major <= 6:
            waiting += (number, 2 * number, 1)[major - 4]
        if seen + waiting > most:
            raise ProofError(f"DAG-CBOR of more than {most} values")


class Reader:
    """Reads one item out of ``data``, nested at most ``max_depth`` levels."""

    def __init__(self, data: bytes, max_depth: int) -> None:
        self.data = data
        self.at = 0
        self.max_depth = max_depth

    def whole(self) -> Value:
        value = self.item(self.max_depth)
        if self.at != len(self.data):
            raise self.error(f"{len(self.data) - self.at} bytes follow the value")
        return value

    def error(self, what: str) -> ProofError:
        return ProofError(f"not canonical DAG-CBOR at byte {self.at}: {what}")

    def take(self, count: int) -> bytes:
        piece = self.data[self.at : self.at + count]
        if len(piece) != count:
            raise self.error(f"{count} bytes expected, {len(piece)} are left")
        self.at += count
        return piece

    def read_head(self) -> tuple[int, int]:
        """The next item's major type and number, which must be written as short as can be."""
        first = self.take(1)[0]
        major, number = first >> 5, first & 31
        if number < 24:
            return major, number
        if number > 27:
            raise self.error("indefinite or reserved length")
        size = 1 << number - 24
        if major == 7:
            raise self.error("a float or an unknown simple value")
        number = int.from_bytes(self.take(size))
        if number < (24 if size == 1 else 1 << 4 * size):
            raise self.error(f"the number {number} is not written in its shortest form")
        return major, number

    def item(self, depth: int) -> Value:
        major, number = self.read_head()
        if major == 3:
            return self.text(number)
        if major <= 1:
            if number > INT_MAX:
                raise self.error("an integer of more than 64 bits")
            return number if major == 0 else -1 - number
        if major == 2:
            return self.take(number)
        if major == 6:
            return self.link(number)
        if major == 7:
            return self.simple(number)
        if depth <= 0:
            raise self.error(f"nested deeper than {self.max_depth} levels")
        if number > len(self.data) - self.at:
            raise self.error(f"{number} items cannot fit in the {len(self.data) - self.at} left")
        if major == 4:
            return [self.item(depth - 1) for _ in range(number)]
        return self.mapping(number, depth)

    def simple(self, number: int) -> Value:
        if number not in (20, 21, 22):
            raise self.error(f"simple value {number} (only false, true and null exist)")
        return None if number == 22 else number == 21

    def text(self, size: int) -> str:
        try:
            return self.take(size).decode()
        except UnicodeDecodeError:
            raise self.error("text that is not UTF-8") from None

    def link(self, tag: int) -> Cid:
        if tag != 42:
            raise self.error(f"tag {tag} (only 42, a CID, exists)")
        major, size = self.read_head()
        body = self.take(size) if major == 2 else b""
        if body[:1] != b"\x00":
            raise self.error("tag 42 without a CID")
        try:
            return Cid(body[1:])
        except InvalidSyntax as error:
            raise self.error(str(error)) from None

    def mapping(self, count: int, depth: int) -> dict[str, Value]:
        result: dict[str, Value] = {}
        before = b""
        for _ in range(count):
            start = self.at
            major, size = self.read_head()
            if major != 3:
                raise self.error("a map key that is not text")
            key = self.text(size)
            encoded = self.data[start : self.at]
            if encoded <= before:
                raise self.error(f"map key {quote(key)} is repeated or out of order")
            before = encoded
            result[key] = self.item(depth - 1)
        return result
