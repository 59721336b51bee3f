"""Fixtures of the data set's tests."""

from __future__ import annotations

from pathlib import Path

import pytest

import atd
from leaves import pack_folder


@pytest.fixture(scope="session")
def leaves(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 40 training and 9 test samples in shards of at most 7."""
    folder = tmp_path_factory.mktemp("leaves") / "packed"
    return pack_folder(folder, {"train": range(40), "test": range(100, 109)})


@pytest.fixture
def train(leaves: Path) -> atd.Dataset[atd.Row]:
    return atd.load(str(leaves), split="train")
