"""What tests of every area share: where the shared vectors are, where scratch files are fast."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
VECTORS = Path(os.environ.get("ATD_VECTORS", ROOT.parent / "shared" / "vectors"))


def vectors(name: str) -> Path:
    """A file or folder of the shared vectors, such as ``atproto-interop/syntax``.

    Skips the test where they are not: they are not part of this repository.
    """
    path = VECTORS / name
    if not path.exists():
        pytest.skip(f"no shared vectors at {path}; say where they are with ATD_VECTORS")
    return path


def json_vectors(name: str) -> Any:
    """The parsed JSON of one file of the shared vectors."""
    return json.loads(vectors(name).read_text())


def memory_folder() -> str | None:
    """A folder in memory, if the system has one: PDSes write three times as fast there."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
