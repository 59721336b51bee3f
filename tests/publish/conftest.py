"""A daemon over a world, and somebody who publishes through it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from serving import Client, serving
from world import Account, World


@pytest.fixture
async def client(world: World, tmp_path: Path) -> AsyncIterator[Client]:
    """A daemon that nobody is logged in to."""
    async with serving(world, tmp_path / "home") as client:
        yield client


@pytest.fixture
async def daemon(client: Client, alice: Account) -> Client:
    """A daemon that alice is logged in to."""
    await client.services.accounts.login(alice.handle, alice.password)
    return client
