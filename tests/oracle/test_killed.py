"""SIGKILL at random points of following, over real sockets: the index ends true all the same."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sqlite3
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from atd_daemon.catalog import Catalog
from atd_daemon.catalog.schema import VERSION
from oracle.stage import fresh, view
from world import Account, World
from world.frame_lies import NOTE, Liar
from world.served import places, served_world

VICTIM = Path(__file__).with_name("victim.py")
SEEDS = max(2, int(os.environ.get("ATD_SOAK_SEEDS", "0")) // 5)
LIVES = 6
PATIENCE_S = 40.0


@dataclass
class Victim:
    """The process that daemons are forked from."""

    process: asyncio.subprocess.Process

    @classmethod
    @contextlib.asynccontextmanager
    async def of(cls, world: World, folder: Path, people: list[Account]) -> AsyncIterator[Victim]:
        """One that follows ``people``."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(VICTIM), str(folder), world.plc.url, " ".join(places(world))),
            *(account.did for account in people),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        victim = cls(process)
        try:
            assert await victim.line() == "ready"
            yield victim
        finally:
            assert process.stdin is not None
            process.stdin.close()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), 10)

    async def line(self) -> str:
        """What it says next."""
        assert self.process.stdout is not None
        return (await asyncio.wait_for(self.process.stdout.readline(), 30)).decode().strip()

    @contextlib.asynccontextmanager
    async def life(self) -> AsyncIterator[None]:
        """A daemon that runs until the context ends: then it is killed, whatever it does."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"\n")
        pid = int(await self.line())
        try:
            yield
        finally:
            os.kill(pid, signal.SIGKILL)


async def work(liar: Liar, people: list[Account]) -> None:
    """Write, change and delete, with and without frames, at moments of their own."""
    dice = liar.dice
    for _ in range(dice.randrange(1, 12)):
        account = dice.choice(people)
        what = dice.random()
        if what < 0.5:
            liar.write(account, dice.randrange(1, 4))
        elif what < 0.7:
            kept = {p: cid for p, cid in account.head.records.items() if dice.random() < 0.6}
            account.replace(kept)
        elif what < 0.8:
            liar.secretly(account)
        elif what < 0.85:
            account.put_many((NOTE, f"import-{n}", {"n": n}) for n in range(201))
        elif what < 0.9:
            account.rotate_key(commit=True)
        elif what < 0.95:
            account.pds.firehose.disconnect()
        else:
            account.pds.firehose.forget(keep=2)
        await asyncio.sleep(dice.random() ** 4 / 4)


def is_known(catalog: Catalog, account: Account) -> bool:
    """Whether the index says that it is where the account is."""
    row = catalog.following.row(account.did)
    head = account.head.commit.cid
    return (
        row is not None
        and row.state == "synchronized"
        and row.head is not None
        and row.head.commit == head
    )


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_killed_again_and_again_the_index_is_true(seed: int, tmp_path: Path) -> None:
    liar = Liar(random.Random(seed))
    async with served_world(["pds1", "pds2"]) as world:
        people = [world.account(f"person{n}.test", f"pds{n % 2 + 1}") for n in range(3)]
        followed = tmp_path / "followed"
        followed.mkdir()
        async with Victim.of(world, followed, people) as victim:
            for _ in range(LIVES):
                async with victim.life():
                    await work(liar, people)
                await work(liar, people[:1])
            async with victim.life():
                await until_known(followed, people)
        await check(world, tmp_path, people)


def is_made(path: Path) -> bool:
    """Whether the daemon has made its index: only it may do that."""
    if not path.exists():
        return False
    with contextlib.closing(sqlite3.connect(path)) as db:
        return bool(db.execute("PRAGMA user_version").fetchone()[0] == VERSION)


async def until_known(folder: Path, people: list[Account]) -> None:
    """Wait until a daemon found everything out."""
    path = folder / "state" / "index.sqlite"
    deadline = time.monotonic() + PATIENCE_S
    while not is_made(path):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
    catalog = Catalog(path)
    try:
        while not all(is_known(catalog, account) for account in people):
            assert time.monotonic() < deadline, catalog.following.rows()
            await asyncio.sleep(0.02)
    finally:
        catalog.close()


async def check(world: World, folder: Path, people: list[Account]) -> None:
    """See that the index is the one that a fresh daemon would make."""
    catalog = Catalog(folder / "followed" / "state" / "index.sqlite")
    try:
        async with fresh(world, folder / "fresh", allow_hosts=places(world)) as reader:
            for account in people:
                await reader.resolver.publisher(account.did)
                assert view(catalog, account) == view(reader.catalog, account)
    finally:
        catalog.close()
