"""`atd.schema_diff`: what a side can be, and what is said of two."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import atd
from atd import publishing
from atd.errors import BadSource, LocalError, RecordAbsent
from atd.schema.fields import Field, Int, Schema
from serving import Client, serving
from world import World


@dataclass
class Row:
    n: int


@dataclass
class Larger:
    n: int
    name: str


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Client]:
    """A daemon whose user published three versions of things."""
    world = World()
    alice = world.account("alice.test")
    async with serving(world, tmp_path / "home") as client:
        await client.services.accounts.login(alice.handle, alice.password)
        for data in ([Row(1)], [Row(1), Row(2)], [Larger(1, "x")]):
            await asyncio.to_thread(
                lambda data=data: publishing.publish(
                    data, name="things", connection=client.connection
                )
            )
        yield client


async def diff(client: Client, *sides: Any) -> publishing.SchemaDiff:
    return await asyncio.to_thread(lambda: atd.schema_diff(*sides, connection=client.connection))


async def test_versions_of_a_data_set(daemon: Client) -> None:
    latest = await diff(daemon, "@alice.test/things")
    assert (latest.old, latest.new) == ("@alice.test/things@1.1.0", "@alice.test/things@1.2.0")
    assert (latest.step, latest.differences) == ("minor", ("+ field name: string",))
    assert latest
    before = await diff(daemon, "@alice.test/things@1.1.0")
    assert (before.old, before.new) == ("@alice.test/things@1.0.0", "@alice.test/things@1.1.0")
    assert not before
    assert before.step == "none"
    back = await diff(daemon, "@alice.test/things", "@alice.test/things@1.0.0")
    assert (back.step, back.differences) == ("major", ("- field name: string",))
    with pytest.raises(RecordAbsent, match="no version before"):
        await diff(daemon, "@alice.test/things@1.0.0")


async def test_classes_schemas_files_and_folders(daemon: Client, tmp_path: Path) -> None:
    assert (await diff(daemon, Row, Larger)).differences == ("+ field name: string",)
    narrow = Schema((Field("n", Int(32)),))
    assert (await diff(daemon, Row, narrow)).step == "major"
    (tmp_path / "rows.csv").write_text("n,name\n1,x\n2,y\n")
    found = await diff(daemon, "@alice.test/things", tmp_path / "rows.csv")
    assert not found, found
    await asyncio.to_thread(lambda: atd.pack([Row(1)], tmp_path / "packed"))
    assert not await diff(daemon, "@alice.test/things@1.0.0", str(tmp_path / "packed"))


async def test_sides_that_are_none(daemon: Client, tmp_path: Path) -> None:
    with pytest.raises(BadSource, match="does not exist"):
        await diff(daemon, str(tmp_path / "nothing.csv"), Row)
    with pytest.raises(LocalError, match="expected a published data set"):
        await diff(daemon, Row)
    with pytest.raises(RecordAbsent):
        await diff(daemon, "@alice.test/things@7.0.0", Row)
