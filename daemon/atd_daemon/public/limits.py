"""How much one client may have: so many requests, so many at once, so many bytes.

A client is an address; of IPv6 a /64, since whoever has one address of it has all. Each has
allowances that fill up with time. The table is bounded: when it is full, the client that was idle
longest is forgotten. In memory; a restart forgets everything.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Final

from aiohttp import web
from aiohttp.web_request import BaseRequest

MIB: Final = 2**20


@dataclass(frozen=True, slots=True)
class Limits:
    """What one client may have, and all together.

    ``requests_per_s`` and ``bytes_per_s`` are what an allowance fills up by, ``burst_requests`` and
    ``burst_bytes`` what it holds at most. ``connections`` are what it may have open; one that asks
    for nothing is closed after ``idle_s``. ``slowest_bytes_per_s`` is how slowly a client may take
    an answer after ``grace_s``, before it is hung up on. ``waiting_bytes_all`` are the answers in
    memory that clients have yet to take.
    """

    requests_per_s: float = 10.0
    burst_requests: float = 100.0
    bytes_per_s: float = 50.0 * MIB
    burst_bytes: float = 64.0 * 1024 * MIB
    at_once: int = 8
    at_once_all: int = 128
    waiting_bytes_all: float = 512.0 * MIB
    slowest_bytes_per_s: float = 16.0 * 1024
    grace_s: float = 30.0
    clients: int = 10_000
    connections: int = 32
    connections_all: int = 400
    idle_s: float = 30.0
    bundle_cost: float = 10.0


class OverLimitError(Exception):
    """This client has had enough for now; ``reason`` is a word, ``wait_s`` how long to wait."""

    def __init__(self, reason: str, wait_s: float) -> None:
        super().__init__(reason)
        self.reason = reason
        self.wait_s = wait_s


@dataclass(slots=True)
class _Client:
    requests: float
    bytes: float
    at_s: float
    active: int = 0


class Clients:
    """Who asks, and what they had. ``refused`` counts by reason. Used from the event loop only."""

    def __init__(self, limits: Limits, clock: Callable[[], float]) -> None:
        self.limits = limits
        self.refused: Counter[str] = Counter()
        self.served: Counter[str] = Counter()
        self.sent_bytes = 0
        self.waiting_bytes = 0
        self._clock = clock
        self._known: OrderedDict[str, _Client] = OrderedDict()
        self._active = 0

    @contextlib.contextmanager
    def entered(self, name: str, cost: float = 1.0) -> Iterator[None]:
        """One request of ``name``, for as long as it is answered.

        Raises:
            OverLimitError: too many in too short a time, too many at once, or too many bytes.
        """
        client, limits = self._client(name), self.limits
        if self._active >= limits.at_once_all:
            raise self._over("busy", 1.0)
        if client.active >= limits.at_once:
            raise self._over("concurrency", 1.0)
        if client.requests < cost:
            raise self._over("rate", (cost - client.requests) / limits.requests_per_s)
        if client.bytes <= 0:
            raise self._over("bytes", 1.0 - client.bytes / limits.bytes_per_s)
        client.requests -= cost
        client.active += 1
        self._active += 1
        try:
            yield
        finally:
            client.active -= 1
            self._active -= 1

    def charge(self, name: str, size: int) -> None:
        """``name`` is sent so many bytes. The last answer may go beyond what is left."""
        self._client(name).bytes -= size
        self.sent_bytes += size

    @contextlib.contextmanager
    def waiting(self, size: int) -> Iterator[None]:
        """While ``size`` bytes of an answer are in memory.

        Raises:
            OverLimitError: too many are; one that is too large by itself may go alone.
        """
        if self.waiting_bytes and self.waiting_bytes + size > self.limits.waiting_bytes_all:
            raise self._over("memory", 5.0)
        self.waiting_bytes += size
        try:
            yield
        finally:
            self.waiting_bytes -= size

    @contextlib.asynccontextmanager
    async def in_time(self, request: BaseRequest, size: int) -> AsyncIterator[None]:
        """While an answer of ``size`` bytes is sent; hangs up on whoever takes it too slowly."""
        within_s = self.limits.grace_s + size / self.limits.slowest_bytes_per_s
        try:
            async with asyncio.timeout(within_s):
                yield
        except TimeoutError:
            if request.transport is not None:
                request.transport.abort()
            raise ConnectionResetError("too slow") from None

    def _client(self, name: str) -> _Client:
        now_s, limits = self._clock(), self.limits
        client = self._known.pop(name, None)
        if client is None:
            client = _Client(limits.burst_requests, limits.burst_bytes, now_s)
        passed_s = max(0.0, now_s - client.at_s)
        client.requests = min(
            limits.burst_requests, client.requests + passed_s * limits.requests_per_s
        )
        client.bytes = min(limits.burst_bytes, client.bytes + passed_s * limits.bytes_per_s)
        client.at_s = now_s
        self._known[name] = client
        if len(self._known) > limits.clients:
            idle = next((key for key, one in self._known.items() if not one.active), name)
            del self._known[idle]
        return client

    def _over(self, reason: str, wait_s: float) -> OverLimitError:
        self.refused[reason] += 1
        return OverLimitError(reason, wait_s)


def client_of(request: web.Request) -> str:
    """Who asks: the address at the other end, or the one that a proxy on this machine names.

    Only a proxy on loopback is believed, and only the last address that it wrote: what is before
    that came from outside.
    """
    peer = request.remote or ""
    address = _address(peer)
    if address is None:
        return peer[:64]
    if address.is_loopback:
        lines = request.headers.getall("X-Forwarded-For", [""])
        said = lines[-1].rpartition(",")[2].strip()
        address = _address(said) or address
    return network_of(address)


def network_of(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """What is one client: an IPv4 address, an IPv6 /64."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
