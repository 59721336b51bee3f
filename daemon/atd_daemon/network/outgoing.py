"""Files on their way out: read piece by piece, in a thread, so that nobody waits for a disk."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from atd.errors import StorageFault

PIECE_BYTES: Final = 1024 * 1024


async def pieces(path: Path) -> AsyncIterator[bytes]:
    """The bytes of a file, from its start, a mebibyte at a time.

    Raises:
        StorageFault: it cannot be read.
    """
    try:
        with open(path, "rb") as file:  # noqa: ASYNC230 - the reads below are threaded
            while piece := await asyncio.to_thread(file.read, PIECE_BYTES):
                yield piece
    except OSError as error:
        raise StorageFault(f"cannot read {path}: {error.strerror}") from error
