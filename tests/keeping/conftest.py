"""A world with a publisher of real, readable shards, and a daemon that knows nothing yet."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from atd.records import CutParameters, Layout
from atd.shards.cut import pack
from serving import Client, Serve, serving
from world import World
from world.datasets import SCHEMA


@pytest.fixture
async def client(world: World, tmp_path: Path) -> AsyncIterator[Client]:
    async with serving(world, tmp_path / "home") as client:
        yield client


@pytest.fixture
def serve(world: World, tmp_path: Path) -> Serve:
    """Further daemons, each with a home of its own; or the same home again."""
    return lambda name, **variables: serving(world, tmp_path / name, **variables)


def shard(folder: Path, numbers: Sequence[int]) -> bytes:
    """A shard of three samples, as `world.datasets.publish` takes them."""
    assert len(numbers) == 3
    folder.mkdir(parents=True, exist_ok=True)
    items = [(f"{n:04d}", lambda n=n: {"number": n}) for n in numbers]
    (made,) = pack(items, SCHEMA, Layout(), CutParameters(order="keep"), folder, "made")
    return (folder / made.name).read_bytes()
