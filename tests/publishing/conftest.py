"""A world, a publisher in it, and her desk."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from publishing.desk import Desk, opened
from world import Account, World


@pytest.fixture
async def desk(world: World, alice: Account, tmp_path: Path) -> AsyncIterator[Desk]:
    with opened(world, tmp_path / "home") as desk:
        await desk.login(alice)
        yield desk
