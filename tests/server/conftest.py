"""A world with a publisher, and a daemon that knows nothing yet."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from serving import Client, Serve, serving
from world import Account, World
from world.datasets import Published, publish


@pytest.fixture
def flowers(alice: Account) -> Published:
    return publish(alice, title="Flowers of the meadow")


@pytest.fixture
async def client(world: World, tmp_path: Path) -> AsyncIterator[Client]:
    async with serving(world, tmp_path / "home") as client:
        yield client


@pytest.fixture
def serve(world: World, tmp_path: Path) -> Serve:
    """Further daemons, each with a home of its own: other users."""

    def make(name: str, **variables: str) -> AbstractAsyncContextManager[Client]:
        return serving(world, tmp_path / name, **variables)

    return make
