"""What the disk refuses, and what it must not forget. Light: every room may import it."""

from __future__ import annotations

import os
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
