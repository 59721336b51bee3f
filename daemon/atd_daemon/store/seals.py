"""Remembering which files were verified, so that a warm read hashes nothing.

A seal is a small file beside the shard that says what the shard's inode looked like right after
its bytes were hashed and found to be what the name says. While the file still looks like that, one
stat is enough; once anything differs (another inode, size, time of modification or of change), the
seal is worthless and the file is hashed again. Losing a seal costs one hashing, never trust.

A seal guards against accidents, and against programs that write to the store by mistake. Whoever
can write here as the same user can also write a seal: `hash_file` is for those who want certainty.
What an identity is, and the hashing itself, is in `atd.files`, which readers of folders share.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import astuple
from pathlib import Path
from typing import Final

from atd.files import FileIdentity

_VERSION: Final = 1
_MAX_SEAL_BYTES: Final = 1024


class Seals:
    """The seals of one store: on disk for every process, in memory for this one."""

    def __init__(self) -> None:
        self._known: dict[Path, FileIdentity] = {}

    def holds(self, seal: Path, identity: FileIdentity) -> bool:
        """Whether the file was verified while it looked like ``identity``."""
        if self._known.get(seal) == identity:
            return True
        written = _read(seal)
        if written is None or written != identity:
            return False
        self._known[seal] = written
        return True

    def set(self, seal: Path, identity: FileIdentity) -> None:
        """Remember that the file was verified while it looked like ``identity``.

        Written by rename, so that no reader meets half a seal; neither forced to the disk nor
        insisted upon when the disk is full, because a lost seal only costs a hashing.
        """
        self._known[seal] = identity
        draft = seal.with_name(f"{seal.name}.{os.getpid()}")
        with contextlib.suppress(OSError):
            draft.write_text(json.dumps({"version": _VERSION, "identity": astuple(identity)}))
            os.rename(draft, seal)

    def drop(self, seal: Path) -> None:
        """Forget the file."""
        self._known.pop(seal, None)
        seal.unlink(missing_ok=True)


def _read(seal: Path) -> FileIdentity | None:
    """The identity written in ``seal``; None if it is missing, torn or of another version."""
    try:
        with seal.open("rb") as file:
            value = json.loads(file.read(_MAX_SEAL_BYTES))
        if value["version"] != _VERSION:
            return None
        numbers = value["identity"]
        if not all(type(number) is int for number in numbers):
            return None
        return FileIdentity(*numbers)
    except (OSError, ValueError, TypeError, KeyError):
        return None
