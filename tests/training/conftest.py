"""Fixtures of training with torch, which `make test-torch` installs; skipped where it is not."""

from __future__ import annotations

from pathlib import Path

import pytest

import atd
from leaves import pack_folder


@pytest.fixture(scope="session")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """124 samples in shards of at most 9."""
    folder = tmp_path_factory.mktemp("many") / "packed"
    return pack_folder(folder, {"train": range(124)}, most=9)


@pytest.fixture
def ds(many: Path) -> atd.Dataset[atd.Row]:
    return atd.load(str(many), split="train").shuffled(seed=5, window=3)
