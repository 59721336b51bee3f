"""What the disk refuses, and what it must not forget. Light: every room may import it."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from atd.errors import StorageFault


@contextmanager
def storing(path: Path) -> Iterator[None]:
    """What the operating system refuses inside becomes a `StorageFault` that names ``path``."""
    try:
        yield
    except OSError as error:
        raise StorageFault(f"cannot write {path}: {error.strerror or error}") from error


def write_whole(path: Path, data: bytes) -> None:
    """Put ``data`` in the place of ``path``: afterwards it is the old file or the new one.

    What is left of a process that was killed at it is beside it, and ends with ``.tmp``.

    Raises:
        StorageFault: it cannot be written; the old file is as it was.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    with storing(path):
        try:
            with draft.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
            sync_folder(path.absolute().parent)
        finally:
            draft.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` survive a power cut, as far as its file system can.

    Raises:
        OSError: it cannot be opened, or the disk does not take it.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
