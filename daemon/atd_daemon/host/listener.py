"""The embedded host's listener: when it listens, where, and what stood in the way.

It is the daemon's public face: another application on a listener of its own, plain HTTP to stand
behind a TLS proxy, and it carries no control route. It listens once the host has an account. That
its port is taken does not stop the daemon: it is said by ``atd host status``.
"""

from __future__ import annotations

import asyncio
import logging

from aiohttp import http_exceptions, web

from atd_daemon.host.app import create_host_app
from atd_daemon.host.host import Host

_GRACE_S = 5.0
_log = logging.getLogger(__name__)


def _is_worth_a_line(record: logging.LogRecord) -> bool:
    """Not bytes that are no HTTP: anyone may send them, until the log holds nothing else."""
    kind = record.exc_info[0] if record.exc_info else None
    return kind is None or not issubclass(kind, http_exceptions.HttpProcessingError)


_http_log = logging.getLogger(f"{__name__}.http")
_http_log.addFilter(_is_worth_a_line)


class HostListener:
    """Serves ``host`` at ``address`` and ``port`` from the first account on."""

    def __init__(self, host: Host, address: str, port: int) -> None:
        self.host = host
        self.address = address
        self.port = port
        self.problem: str | None = None
        self._runner: web.AppRunner | None = None
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
        """Listen, if there is an account to serve; why it cannot is left in ``problem``."""
        async with self._changing:
            if self._runner is not None or not self.host.accounts:
                return
            runner = web.AppRunner(
                create_host_app(self.host),
                access_log=None,
                logger=_http_log,
                shutdown_timeout=_GRACE_S,
            )
            await runner.setup()
            try:
                await web.TCPSite(runner, self.address, self.port).start()
            except OSError as error:
                await runner.cleanup()
                self.problem = f"cannot listen on {self.listen}: {error.strerror}"
                _log.warning("the host: %s", self.problem)
                return
            self._runner, self.problem = runner, None
            _log.info("the host listens on %s", self.listen)

    async def close(self) -> None:
        """Stop listening."""
        async with self._changing:
            if self._runner is not None:
                await self._runner.cleanup()
                self._runner = None
