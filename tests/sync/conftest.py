"""A world with a publisher, and a reader who knows nothing yet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from world import Account, World
from world.daemons import Reader
from world.datasets import Published, publish


@pytest.fixture
def flowers(alice: Account) -> Published:
    return publish(alice)


@pytest.fixture
def reader(world: World, tmp_path: Path) -> Iterator[Reader]:
    reader = Reader.of(world, tmp_path)
    yield reader
    reader.catalog.close()
