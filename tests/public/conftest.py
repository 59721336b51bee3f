"""A group: alice publishes, a daemon follows her and serves everybody, others ask it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from atd.protocol.cbor import Cid
from atd_daemon.catalog.following import Head
from atd_daemon.public.answers import Shared
from atd_daemon.public.connections import Connections
from atd_daemon.public.keeper import EvidenceKeeper
from atd_daemon.public.limits import Clients, Limits
from atd_daemon.public.listener import PublicListener
from atd_daemon.public.opening import share
from atd_daemon.services import Services
from atd_daemon.sync.follow.states import State
from serving import Client, serving
from world import Account, World
from world.datasets import Published, publish

NO_SHARD = Cid.of(b"nothing", 0x55)


@dataclass
class Group:
    """A daemon with the public mode on, and its face as strangers see it."""

    client: Client
    origin: str
    shared: Shared
    now: list[float]
    listener: PublicListener

    @property
    def services(self) -> Services:
        return self.client.services

    async def get(self, path: str, **headers: str) -> tuple[int, Any, bytes]:
        """Status, headers and body of an answer."""
        async with (
            aiohttp.ClientSession(auto_decompress=False) as session,
            session.get(self.origin + path, headers=headers) as reply,
        ):
            return reply.status, reply.headers, await reply.read()

    async def json(self, path: str) -> tuple[int, Any]:
        async with aiohttp.ClientSession() as session, session.get(self.origin + path) as reply:
            return reply.status, await reply.json()

    async def follow(self, who: Account, *names: str) -> None:
        """Have these data sets of ``who``, shards and all, and follow."""
        services, now = self.services, self.services.clock()
        await services.resolver.publisher(who.did)
        for name in names:
            resolved = await services.resolver.dataset(f"{who.did}/{name}")
            for shard in resolved.shards:
                await services.store.ensure(shard.want)
        services.catalog.following.add(who.did, State.SYNCHRONIZED, now=now)
        self.in_step(who)
        await EvidenceKeeper(services.directory, self.shared.reading, services.clock).look()

    def in_step(self, who: Account) -> None:
        """As of now, the index has all of it."""
        store, commit = self.services.catalog.following, who.head.commit
        head = Head(commit.rev, commit.data, commit.cid)
        store.resynced(who.did, head, host=who.pds.url, complete=True, now=self.services.clock())


@pytest.fixture
def flowers(alice: Account) -> Published:
    return publish(alice, title="Flowers of the meadow")


Serve = Callable[..., AbstractAsyncContextManager[Group]]


@pytest.fixture
def serve(world: World, tmp_path: Path) -> Serve:
    """Further groups, with limits of their own."""

    @contextlib.asynccontextmanager
    async def make(name: str = "group", **limits: Any) -> AsyncIterator[Group]:
        async with serving(world, tmp_path / name) as client:
            now = [0.0]
            allowed = replace(Limits(), **limits)
            shared = replace(
                share(client.services, allowed),
                clients=Clients(allowed, lambda: now[0]),
                connections=Connections(allowed, lambda: now[0]),
            )
            services = client.services
            keeper = EvidenceKeeper(services.directory, shared.reading, services.clock)
            listener = PublicListener(shared, keeper, "127.0.0.1", 0)
            await listener.start()
            assert listener.running
            try:
                yield Group(client, f"http://{listener.listen}", shared, now, listener)
            finally:
                await listener.close()

    return make


@pytest.fixture
async def group(serve: Serve, alice: Account, flowers: Published) -> AsyncIterator[Group]:
    async with serve() as group:
        await group.follow(alice, "flowers")
        yield group


async def soon(condition: Callable[[], bool]) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)
