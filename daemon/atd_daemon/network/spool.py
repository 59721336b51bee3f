"""What comes in and is too large for memory: in a file without a name, which nobody has to remove.

The file is gone with the value, or with the process.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from atd.errors import StorageFault


class FileSpool:
    """An `atd.protocol.repo_stream.Spool` in an unlinked temporary file of ``folder``.

    Raises:
        StorageFault: the folder cannot be written, or the disk is full.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - kept
        except OSError as error:
            raise self._fault(error) from error

    def append(self, data: bytes) -> None:
        """See `Spool.append`."""
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._file.fileno(), view) :]
        except OSError as error:
            raise self._fault(error) from error

    def read(self, start: int, stop: int) -> bytes:
        """See `Spool.read`. Not mapped: mapped pages count as the daemon's memory."""
        return os.pread(self._file.fileno(), stop - start, start)

    def _fault(self, error: OSError) -> StorageFault:
        return StorageFault(f"cannot keep a repository in {self._folder}: {error.strerror}")
