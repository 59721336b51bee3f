"""A world with a publisher, and a reader that makes bundles of what it proved."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from atd_daemon.sync.bundles import Bundler
from world import Account, World
from world.daemons import Reader
from world.datasets import Published, publish


@pytest.fixture
def flowers(alice: Account) -> Published:
    return publish(alice, title="Flowers of the meadow")


@pytest.fixture
def reader(world: World, tmp_path: Path) -> Iterator[Reader]:
    reader = Reader.of(world, tmp_path)
    yield reader
    reader.catalog.close()


@pytest.fixture
def bundler(reader: Reader, world: World) -> Bundler:
    return Bundler(reader.directory, reader.resolver, reader.catalog, world.now)
