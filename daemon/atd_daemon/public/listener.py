"""The public mode's listener: the application on its address, and the keeper beside it."""

from __future__ import annotations

import asyncio
import contextlib

from atd_daemon.listener import Listener
from atd_daemon.public.answers import Shared
from atd_daemon.public.app import create_public_app
from atd_daemon.public.keeper import EvidenceKeeper


class PublicListener(Listener):
    """Serves ``shared`` at ``address`` and ``port``, and keeps evidence at hand meanwhile."""

    def __init__(self, shared: Shared, keeper: EvidenceKeeper, address: str, port: int) -> None:
        super().__init__("the public mode", lambda: create_public_app(shared), address, port)
        self._keeper = keeper
        self._keeping: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen; why it cannot is left in ``problem``."""
        await super().start()
        if self.running and self._keeping is None:
            self._keeping = asyncio.create_task(self._keeper.run())

    async def close(self) -> None:
        """Stop listening."""
        await super().close()
        if self._keeping is not None:
            self._keeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeping
            self._keeping = None
