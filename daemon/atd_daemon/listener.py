"""A listener of the daemon's beside its control socket: when it listens, where, and what stood in
the way.

Each is another application on an address of its own, plain HTTP to stand behind a TLS proxy, and
carries no control route. That its port is taken does not stop the daemon: it is said in
``problem``, which ``atd daemon status`` shows.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from aiohttp import http_exceptions, web

from atd_daemon.inflight import InFlight

_GRACE_S = 5.0
_log = logging.getLogger(__name__)


def _is_worth_a_line(record: logging.LogRecord) -> bool:
    """Not bytes that are no HTTP: anyone may send them, until the log holds nothing else."""
    kind = record.exc_info[0] if record.exc_info else None
    return kind is None or not issubclass(kind, http_exceptions.HttpProcessingError)


_http_log = logging.getLogger(f"{__name__}.http")
_http_log.addFilter(_is_worth_a_line)


class Listener:
    """Serves what ``create`` makes at ``address`` and ``port``; ``what`` names it in messages."""

    def __init__(
        self, what: str, create: Callable[[], web.Application], address: str, port: int
    ) -> None:
        self.address = address
        self.port = port
        self.problem: str | None = None
        self.what = what
        self._create = create
        self._runner: web.AppRunner | None = None
        self._in_flight: InFlight | None = None
        self._changing = asyncio.Lock()

    @property
    def listen(self) -> str:
        """Where it listens, as ``host:port``."""
        address = f"[{self.address}]" if ":" in self.address else self.address
        return f"{address}:{self.port}"

    @property
    def running(self) -> bool:
        """Whether requests are answered."""
        return self._runner is not None

    async def start(self) -> None:
        """Listen; why it cannot is left in ``problem``."""
        async with self._changing:
            if self._runner is not None:
                return
            app = self._create()
            in_flight = InFlight(app)
            runner = web.AppRunner(
                app, access_log=None, logger=_http_log, shutdown_timeout=_GRACE_S
            )
            await runner.setup()
            try:
                await self._bind(runner)
            except OSError as error:
                await runner.cleanup()
                self.problem = f"cannot listen on {self.listen}: {error.strerror}"
                _log.warning("%s: %s", self.what, self.problem)
                return
            self._runner, self._in_flight, self.problem = runner, in_flight, None
            _log.info("%s listens on %s", self.what, self.listen)

    async def _bind(self, runner: web.AppRunner) -> None:
        """Take the address; raises OSError."""
        await web.TCPSite(runner, self.address, self.port).start()

    async def close(self) -> None:
        """Stop listening, and wait for what is being answered."""
        async with self._changing:
            if self._runner is not None and self._in_flight is not None:
                await self._runner.cleanup()
                await self._in_flight.end()
                self._runner = self._in_flight = None
