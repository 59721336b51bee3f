"""A world, and a follower in it whose clock is turned by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from following import Following
from world import World


@pytest.fixture
async def daemon(world: World, tmp_path: Path) -> AsyncIterator[Following]:
    """A daemon that follows nobody yet."""
    async with Following.of(world, tmp_path) as daemon:
        yield daemon
