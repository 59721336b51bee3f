"""A daemon over a world, behind a real Unix socket, and a client whose answers are all checked."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from atd import api
from atd.connection import Connection, Param
from atd.lexicon_files import catalog
from atd.settings import Settings
from atd_daemon import lifecycle
from atd_daemon.inflight import InFlight
from atd_daemon.server import UnixDoor, create_app
from atd_daemon.services import Services, wired
from world import World


@dataclass
class Client:
    """Asks a daemon as the library does, and checks every answer against its lexicon."""

    connection: Connection
    services: Services

    def offline(self) -> Client:
        """The same client, with ATD_OFFLINE."""
        variables = {**self.connection.settings.variables, "ATD_OFFLINE": "1"}
        return Client(Connection(Settings.load(variables), start=False), self.services)

    async def call(
        self, endpoint: api.Endpoint, /, input: dict[str, Any] | None = None, **params: Param
    ) -> dict[str, Any]:
        answer = await asyncio.to_thread(self.connection.call, endpoint, params, input)
        catalog().validate_output(answer, endpoint.nsid)
        return answer

    async def events(self, endpoint: api.Endpoint, /, **given: Any) -> list[dict[str, Any]]:
        """Every event of a stream; raises the error that ends it."""
        events = await asyncio.to_thread(lambda: list(self.connection.stream(endpoint, given)))
        for event in events:
            catalog().validate_output(event, endpoint.nsid, encoding=api.JSONL)
        return events

    async def result(self, endpoint: api.Endpoint, /, **given: Any) -> dict[str, Any]:
        result: dict[str, Any] = (await self.events(endpoint, **given))[-1]["result"]
        return result

    @contextlib.asynccontextmanager
    async def http(self) -> AsyncIterator[aiohttp.ClientSession]:
        """A plain HTTP client on the same socket."""
        path = str(self.connection.settings.socket_path)
        async with aiohttp.ClientSession(
            "http://localhost", connector=aiohttp.UnixConnector(path)
        ) as session:
            yield session


Serve = Callable[..., AbstractAsyncContextManager[Client]]


@contextlib.asynccontextmanager
async def serving(world: World, folder: Path, **variables: str) -> AsyncIterator[Client]:
    """A daemon of ``folder`` whose network is ``world``."""
    settings = Settings.load({"ATD_HOME": str(folder), "HOME": str(folder), **variables})
    settings.prepare()
    config = world.config(folder)
    parts = wired(
        settings,
        config,
        world.fetcher_with(config),
        world.txt,
        datetime.now(UTC),
        clock=world.now,
    )
    async with parts as services:
        with lifecycle.listening(settings.socket_path) as line:
            app = create_app(services, UnixDoor())
            in_flight = InFlight(app)
            runner = web.AppRunner(app, access_log=None)
            await runner.setup()
            await web.SockSite(runner, line).start()
            try:
                yield Client(Connection(settings, start=False), services)
            finally:
                await runner.cleanup()
                await in_flight.end()
