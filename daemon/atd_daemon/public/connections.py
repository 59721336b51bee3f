"""Connections of strangers: so many at a time, and none that only sits there.

An open connection costs a file descriptor, of which the daemon's own socket needs some too. So the
gate looks at each new one before HTTP begins, and now and then those that ask for nothing are
closed: a client that sends its request a byte at a time, or none at all, is not waited for.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol, cast

from atd_daemon.public.limits import Limits, network_of

SWEEP_S: Final = 5.0


class Server(Protocol):
    """What aiohttp's server is to this: it makes handlers, and knows those that are connected."""

    def __call__(self) -> Any:
        """A handler for a new connection."""
        ...

    @property
    def connections(self) -> list[Any]:
        """The handlers of the connections that are open."""
        ...


class Connections:
    """Those of one listener. ``busy`` marks a handler while it answers."""

    def __init__(self, limits: Limits, clock: Callable[[], float]) -> None:
        self.refused = 0
        self._limits = limits
        self._clock = clock
        self._busy: dict[Any, int] = {}
        self._idle_since: dict[Any, float] = {}

    def gate(self, server: Server) -> Callable[[], asyncio.Protocol]:
        """What to give to ``loop.create_server``."""
        return lambda: _Gate(self, server)

    @contextlib.contextmanager
    def busy(self, handler: Any) -> Iterator[None]:
        """A request of this connection is being answered."""
        self._busy[handler] = self._busy.get(handler, 0) + 1
        self._idle_since.pop(handler, None)
        try:
            yield
        finally:
            self._busy[handler] -= 1
            if not self._busy[handler]:
                del self._busy[handler]

    def admits(self, transport: asyncio.BaseTransport, server: Server) -> bool:
        """Whether one more connection may be had, and by whom."""
        known = server.connections
        name = _peer(transport)
        if len(known) < self._limits.connections_all and (
            name is None
            or sum(_peer(one.transport) == name for one in known) < self._limits.connections
        ):
            return True
        self.refused += 1
        return False

    def sweep(self, server: Server) -> None:
        """Close what has asked for nothing for too long."""
        now_s, known = self._clock(), server.connections
        self._idle_since = {
            one: self._idle_since.get(one, now_s) for one in known if one not in self._busy
        }
        for one, since_s in self._idle_since.items():
            if now_s - since_s >= self._limits.idle_s and one.transport is not None:
                one.transport.abort()

    async def keep(self, server: Server) -> None:
        """Sweep now and then, until cancelled."""
        while True:
            await asyncio.sleep(SWEEP_S)
            self.sweep(server)


class _Gate(asyncio.Protocol):
    """Lets a new connection in to HTTP, or hangs up."""

    def __init__(self, connections: Connections, server: Server) -> None:
        self._connections = connections
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.BaseProtocol.connection_made`."""
        line = cast(asyncio.Transport, transport)
        if not self._connections.admits(line, self._server):
            line.abort()
            return
        handler = self._server()
        line.set_protocol(handler)
        handler.connection_made(line)


def _peer(transport: asyncio.BaseTransport | None) -> str | None:
    """Who is at the other end; None for a proxy on this machine, which speaks for many."""
    name = None if transport is None else transport.get_extra_info("peername")
    if not isinstance(name, tuple):
        return None
    try:
        address = ipaddress.ip_address(name[0])
    except ValueError:
        return None
    return None if address.is_loopback else network_of(address)
