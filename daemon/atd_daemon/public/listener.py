"""The public mode's listener: the application on its address, and what runs beside it."""

from __future__ import annotations

import asyncio

from aiohttp import web

from atd_daemon.listener import Listener
from atd_daemon.public.answers import Shared
from atd_daemon.public.app import create_public_app
from atd_daemon.public.keeper import EvidenceKeeper


class PublicListener(Listener):
    """Serves ``shared`` at ``address`` and ``port``. Meanwhile evidence is kept at hand, and
    connections that ask for nothing are closed.
    """

    def __init__(self, shared: Shared, keeper: EvidenceKeeper, address: str, port: int) -> None:
        super().__init__("the public mode", lambda: create_public_app(shared), address, port)
        self._connections = shared.connections
        self._keeper = keeper
        self._server: asyncio.Server | None = None
        self._beside: list[asyncio.Task[None]] = []

    async def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in self._beside:
            task.cancel()
        await asyncio.gather(*self._beside, return_exceptions=True)
        self._beside.clear()
        await super().close()

    async def _bind(self, runner: web.AppRunner) -> None:
        """Take the address, with a gate before HTTP."""
        server = runner.server
        assert server is not None, "it was set up"
        loop = asyncio.get_running_loop()
        gate = self._connections.gate(server)
        self._server = await loop.create_server(gate, self.address, self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        self._beside = [
            asyncio.create_task(self._keeper.run()),
            asyncio.create_task(self._connections.keep(server)),
        ]
