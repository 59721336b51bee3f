"""Bytes to other bytes, piece by piece: gzip, bzip2, xz, zstd, lines. Pure but for its input.

Rules. Every reader works within bounded memory, whatever its input says, and gives its output in
pieces; a `Budget` counts them, and ends what grows beyond all measure. What is damaged, cut short
or followed by something else is `RemoteError`.
"""

from __future__ import annotations

import bz2
import importlib
import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Final

from atd.errors import LocalError, RemoteError
from atd.recipes.access import Allowance
from atd.recipes.model import Transform

PIECE_BYTES: Final = 1 << 20
SMALLEST_BUDGET: Final = 1 << 30
LARGEST_RATIO: Final = 200
_XZ_MEMORY: Final = 256 << 20
_MAX_LINE: Final = 64 << 20
_FED_BYTES: Final = 1 << 14
"""What a decoder is given at once. It hands back what follows the end of a stream, so that a file
of a million empty streams is copied as often as this is long."""


class Budget:
    """How much may still come out of one download.

    Args:
        limit: bytes in all; None: 1 GiB, or 200 times ``size``, whichever is more.
        size: bytes that went in.
        allowance: what may be written in all.
    """

    def __init__(self, limit: int | None, size: int, allowance: Allowance | None = None) -> None:
        self._allowance = allowance or Allowance()
        self.limit = max(SMALLEST_BUDGET, LARGEST_RATIO * size) if limit is None else limit
        self._left = self.limit

    @classmethod
    def between(cls, limit: int | None, size: int) -> Budget:
        """For what one step hands to the next, and which is never written: no less than usual."""
        usual = cls(None, size)
        return usual if limit is None else cls(max(limit, usual.limit), size)

    def take(self, count: int) -> None:
        """Note ``count`` bytes that came out.

        Raises:
            RemoteError: more did than may. TooLarge: there is more than may be in all.
        """
        self._allowance.take(count)
        self._left -= count
        if self._left < 0:
            raise RemoteError(
                f"it unpacks to more than {self.limit:,} bytes",
                next_step="if it is meant to, say so in the recipe: max_bytes",
            )


def counted(chunks: Iterator[bytes], seen: Callable[[int], None]) -> Iterator[bytes]:
    """``chunks``, whose lengths ``seen`` is told; it may raise to end them."""
    for chunk in chunks:
        seen(len(chunk))
        yield chunk


def transformed(chunks: Iterator[bytes], step: Transform) -> Iterator[bytes]:
    """What becomes of ``chunks`` when ``step``, one of those that need no seeking, is done.

    Raises (while iterating):
        RemoteError: it is damaged. LocalError: this Python has no zstd.
    """
    if step.do == "lines":
        return _lines(chunks, step)
    return _unpacked(chunks, step.do, _DECODERS[step.do])


def _gzip() -> Any:
    return zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)


def _xz() -> Any:
    return lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)


def _zstd() -> Any:
    try:
        module = importlib.import_module("compression.zstd")
    except ImportError:
        raise LocalError(
            "zstd cannot be unpacked by this Python",
            next_step="use Python 3.14 or later, or unpack the file and point to it as a folder",
        ) from None
    return module.ZstdDecompressor()


_DECODERS: Final[dict[str, Callable[[], Any]]] = {
    "gunzip": _gzip,
    "bunzip2": bz2.BZ2Decompressor,
    "unxz": _xz,
    "unzstd": _zstd,
}


def _unpacked(chunks: Iterator[bytes], what: str, make: Callable[[], Any]) -> Iterator[bytes]:
    """One compressed stream after the other, as gzip and its kin allow, up to the end."""
    decoder, fresh = make(), True
    try:
        for data in _fed(chunks):
            more = True
            while more:
                if fresh and not data.strip(b"\0"):
                    break  # nothing, or padding after a stream
                fresh = False
                piece = decoder.decompress(data, PIECE_BYTES)
                if piece:
                    yield piece
                data, more = _left(decoder, piece)
                if decoder.eof:
                    data = decoder.unused_data
                    decoder, fresh, more = make(), True, True
    except (zlib.error, OSError, lzma.LZMAError, EOFError, ValueError) as error:
        raise RemoteError(f"{what}: the data are damaged: {error}") from None
    if not fresh:
        raise RemoteError(f"{what}: the data end in the middle")


def _fed(chunks: Iterator[bytes]) -> Iterator[bytes]:
    for chunk in chunks:
        for at in range(0, len(chunk), _FED_BYTES):
            yield chunk[at : at + _FED_BYTES]


def _left(decoder: Any, piece: bytes) -> tuple[bytes, bool]:
    """The input that is still to be given, and whether there is more output without any."""
    if hasattr(decoder, "unconsumed_tail"):  # zlib hands back what it did not use …
        tail: bytes = decoder.unconsumed_tail
        return tail, bool(tail) or len(piece) >= PIECE_BYTES
    return b"", not decoder.eof and not decoder.needs_input  # … the others keep it


def _lines(chunks: Iterator[bytes], step: Transform) -> Iterator[bytes]:
    starts = None if step.starts is None else step.starts.encode()
    contains = None if step.contains is None else step.contains.encode()
    skipped = taken = 0
    for line in _split(chunks):
        if skipped < step.skip:
            skipped += 1
            continue
        if starts is not None and not line.startswith(starts):
            continue
        if contains is not None and contains not in line:
            continue
        if step.take is not None and taken >= step.take:
            return
        taken += 1
        yield line


def _split(chunks: Iterator[bytes]) -> Iterator[bytes]:
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        if len(rest) > _MAX_LINE:
            raise RemoteError(f"lines: a line is longer than {_MAX_LINE:,} bytes")
        for line in whole:
            yield line + b"\n"
    if rest:
        yield rest
