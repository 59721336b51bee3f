"""The world itself: names, addresses, servers, a clock, and the lies in force."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from atd.addresses import admitted
from atd.errors import Unreachable
from atd.protocol.syntax import Tid
from atd_daemon.config import Config
from atd_daemon.network.fetch import HttpFetcher, RawReply, Request
from world.account import Account
from world.pds import Pds
from world.plc import Plc
from world.wire import Answer, Call, Server, Site, text_answer

PUBLIC = ["93.184.215.14"]
START_S = 1_750_000_000.0  # 2025-06-15: never in the future of the clock on the wall

Tell = Callable[[Call, Callable[[], Awaitable[Answer]]], Awaitable[Answer]]


@dataclass
class Lie:
    """One lie in force; ``times`` is how often it will still be told (None: always)."""

    tell: Tell
    host: str | None
    path: str | None
    method: str | None
    times: int | None
    after: int
    told: int = 0

    def concerns(self, call: Call) -> bool:
        """Whether it is told to this call; counts the calls it lets pass."""
        fits = (
            (self.host is None or call.host == self.host)
            and (self.path is None or self.path in call.url)
            and (self.method is None or call.method == self.method)
            and self.times != 0
        )
        if fits and self.after:
            self.after -= 1
            return False
        return fits


class World:
    """A network, with a clock of its own."""

    def __init__(self, origins: Mapping[str, str] = MappingProxyType({})) -> None:
        """``origins`` are places of PDSes by name, and of ``plc``, other than the usual ones."""
        self._now = START_S
        self._origins = origins
        self._last_us = 0
        self._folder: Path | None = None
        self._servers: dict[str, Server] = {}
        self._routes: dict[tuple[str, str], Server] = {}
        self._lies: list[Lie] = []
        self._pdses: dict[str, Pds] = {}
        self.calls: list[Call] = []
        """Every request that reached the wire, in order."""
        self.questions: list[str] = []
        """Every name that DNS was asked for, in order."""
        self.zone: dict[str, list[str]] = {}
        """TXT records by name."""
        self.broken_names: set[str] = set()
        """Names for which DNS answers SERVFAIL."""
        self.addresses: dict[str, list[str]] = {}
        """A and AAAA records; a host that is not here is at a public address."""
        self.plc = Plc(self, origins.get("plc", "https://plc.world.example.com"))
        self.serve(self.plc.url, self.plc)

    # --- time ------------------------------------------------------------------------------------

    def now(self) -> float:
        """The world's clock: seconds since 1970. Stands still unless told otherwise."""
        return self._now

    def pass_time(self, seconds: float) -> None:
        """Let time pass."""
        self._now += seconds

    def tid(self) -> Tid:
        """A TID later than every other, no later than now plus a few microseconds."""
        self._last_us = max(self._last_us + 1, int(self._now * 1_000_000))
        return Tid.from_micros(self._last_us, 7)

    # --- what a daemon is given ------------------------------------------------------------------

    def config(self, folder: Path | None = None, **values: Any) -> Config:
        """A configuration for this world: its PLC directory, its DNS (so ``.test`` is a TLD)."""
        if folder is None:
            if self._folder is None:
                self._folder = Path(tempfile.mkdtemp(prefix="atd-world-"))
            folder = self._folder
        return Config.under(
            folder, **{"plc_url": self.plc.url, "dns_server": "127.0.0.1:53", **values}
        )

    @property
    def fetcher(self) -> HttpFetcher:
        """The real fetcher, on this world's wire."""
        return self.fetcher_with(self.config())

    def fetcher_with(self, config: Config) -> HttpFetcher:
        """The same, with other limits."""
        return HttpFetcher(config, Wire(self, config.allow_hosts), clock=self.now)

    @property
    def txt(self) -> Zone:
        """Answers TXT questions from ``zone``."""
        return Zone(self)

    # --- building it -----------------------------------------------------------------------------

    def pds(self, name: str = "pds1", **values: Any) -> Pds:
        """The PDS of that name, made on first use at ``https://{name}.example.com``."""
        if name not in self._pdses:
            origin = self._origins.get(name, f"https://{name}.example.com")
            self._pdses[name] = Pds(self, origin, **values)
            self.serve(self._pdses[name].url, self._pdses[name])
        return self._pdses[name]

    @property
    def pdses(self) -> list[Pds]:
        """Every PDS that was made."""
        return list(self._pdses.values())

    def account(self, handle: str = "alice.test", pds: str = "pds1", **values: Any) -> Account:
        """An account on a PDS, with its handle in DNS."""
        return self.pds(pds).account(handle, **values)

    def serve(self, origin: str, server: Server) -> None:
        """Put a server at an origin such as ``https://files.example.com``."""
        self._servers[urlsplit(origin).netloc] = server

    def unplug(self, origin: str) -> None:
        """Take the server at an origin off the network: connections are refused."""
        del self._servers[urlsplit(origin).netloc]

    def route(self, host: str, path: str, server: Server) -> None:
        """Answer one path of a host."""
        self._routes[host, path] = server

    def site(self, origin: str, **values: Any) -> Site:
        """A new web site at an origin."""
        site = Site(**values)
        self.serve(origin, site)
        return site

    def name(self, handle: str, *dids: str) -> None:
        """Let DNS say that ``handle`` is these DIDs (none: no such record)."""
        name = f"_atproto.{handle}"
        if dids:
            self.zone[name] = [f"did={did}" for did in dids]
        else:
            self.zone.pop(name, None)

    def has_host(self, host: str) -> bool:
        """Whether the name has an address."""
        hosts = {known.partition(":")[0] for known, _ in self._routes} | set(self.addresses)
        return host in hosts | {known.partition(":")[0] for known in self._servers}

    def lie(
        self,
        tell: Tell,
        *,
        host: str | None = None,
        path: str | None = None,
        method: str | None = None,
        times: int | None = None,
        after: int = 0,
    ) -> Lie:
        """Tell a lie to every call that fits: to ``host``, with ``path`` somewhere in its URL.

        ``times`` is how often, after letting ``after`` calls pass. The newest lie that fits is
        told; older ones are part of what it starts from.
        """
        lie = Lie(tell, host, path, method, times, after)
        self._lies.append(lie)
        return lie

    def honest(self) -> None:
        """Stop lying."""
        self._lies.clear()

    # --- answering -------------------------------------------------------------------------------

    async def answer(self, call: Call, lies: Sequence[Lie] | None = None) -> Answer:
        """What the wire carries for ``call``: the newest lie that concerns it, or the truth."""
        known = list(self._lies if lies is None else lies)
        if known:
            *older, newest = known
            if not newest.concerns(call):
                return await self.answer(call, older)
            newest.told += 1
            if newest.times is not None:
                newest.times -= 1
            return await newest.tell(call, lambda: self.answer(call, older))
        server = self._routes.get((call.host, call.path)) or self._servers.get(call.host)
        if server is not None:
            return await server(call)
        if any(host == call.host for host, _ in self._routes):
            return text_answer("not found", 404)
        raise ConnectionRefusedError("connection refused")


class Wire:
    """`fetch.Transport` over a world."""

    def __init__(self, world: World, allow_hosts: frozenset[str]) -> None:
        self._world = world
        self._allow_hosts = allow_hosts

    @asynccontextmanager
    async def open(self, request: Request) -> AsyncIterator[RawReply]:
        """See `fetch.Transport.open`."""
        world, place = self._world, request.place
        known = world.addresses.get(place.host, PUBLIC)
        if not admitted(place, known, self._allow_hosts):
            raise Unreachable(f"the name {place.host} cannot be looked up")
        call = Call(request.method, request.url, request.headers, await _whole(request.body))
        world.calls.append(call)
        try:
            answer = await world.answer(call)
        except OSError as error:
            raise Unreachable(f"cannot fetch from {place.host}: {error}") from error
        headers = dict(answer.headers)
        if answer.stream is None:
            headers.setdefault("content-length", str(len(answer.body)))
        yield RawReply(answer.status, headers, _pieces(answer, place.host))

    @asynccontextmanager
    async def listen(
        self, request: Request, max_bytes: int
    ) -> AsyncIterator[RawReply | AsyncIterator[bytes]]:
        """See `fetch.Transport.listen`."""
        async with self.open(request) as reply:
            if reply.status != 101:
                yield reply
                return
            async with aclosing(reply.chunks) as frames:  # type: ignore[type-var]
                yield frames

    async def close(self) -> None:
        """Nothing is held."""


class Zone:
    """`names.TxtResolver` over a world's zone."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def txt(self, name: str) -> list[str]:
        """See `names.TxtResolver.txt`."""
        self._world.questions.append(name)
        if name in self._world.broken_names:
            raise Unreachable(f"the DNS server failed to answer for {name}")
        return list(self._world.zone.get(name, ()))

    async def exists(self, name: str) -> bool:
        """See `names.TxtResolver.exists`."""
        return self._world.has_host(name)


async def _whole(body: bytes | AsyncIterable[bytes] | None) -> bytes:
    if body is None or isinstance(body, bytes):
        return body or b""
    return b"".join([piece async for piece in body])


async def _pieces(answer: Answer, host: str) -> AsyncIterator[bytes]:
    try:
        async with aclosing(answer.chunks()) as pieces:  # type: ignore[type-var]
            async for piece in pieces:
                yield piece
    except OSError as error:
        raise Unreachable(f"cannot fetch from {host}: {error}") from error
