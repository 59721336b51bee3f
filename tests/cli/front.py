"""A web server between the world and an embedded host, which can be told to misbehave.

It is what stands in front of a host in earnest (a proxy), so whatever goes wrong there looks to atd
like a PDS that went wrong: the identity is right, and the answers are not.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp import web

from atd_daemon.inflight import InFlight

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]

_HOP = {"connection", "transfer-encoding", "keep-alive", "content-encoding", "content-length"}


class Front:
    """``with Front(upstream) as front``: serves at ``front.origin`` what ``upstream`` answers."""

    def __init__(self, upstream: str, port: int = 0) -> None:
        self.port = port
        self.asked: list[str] = []
        self._upstream = upstream
        self._moods: list[tuple[str, Answer, int]] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._runner: web.AppRunner | None = None
        self._in_flight: InFlight | None = None

    @property
    def domain(self) -> str:
        return f"localhost:{self.port}"

    @property
    def did(self) -> str:
        return f"did:web:localhost%3A{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        self.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.shut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def open(self) -> None:
        """Listen, on the same port as before."""
        self._wait(self._open())

    def shut(self) -> None:
        """Listen no more: connections are refused."""
        self._wait(self._shut())

    def will(self, answer: Answer, path: str = "/xrpc/", *, times: int = 1_000_000) -> None:
        """Answer requests whose address has ``path`` in it with ``answer``, until `behave`.

        Args:
            times: how often; after that they are passed on.
        """
        self._moods.append((path, answer, times))

    def behave(self) -> None:
        """Pass everything on again."""
        self._moods.clear()

    def wait_for(self, path: str, *, count: int = 1, timeout_s: float = 30) -> None:
        """Wait until addresses with ``path`` in them were asked for ``count`` times."""
        deadline = time.monotonic() + timeout_s
        while sum(path in address for address in self.asked) < count:
            assert time.monotonic() < deadline, f"{path} was not asked for {count} times"
            time.sleep(0.02)

    def _wait(self, work: Awaitable[None]) -> None:
        async def run() -> None:
            await work

        asyncio.run_coroutine_threadsafe(run(), self._loop).result(20)

    async def _open(self) -> None:
        app = web.Application(client_max_size=2**30)
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._in_flight = InFlight(app)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def _shut(self) -> None:
        if self._runner is not None and self._in_flight is not None:
            await self._runner.cleanup()
            await self._in_flight.end(grace_s=0)
            self._runner = None

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path_qs)
        for place, (path, answer, times) in enumerate(self._moods):
            if path in request.path_qs and times > 0:
                self._moods[place] = (path, answer, times - 1)
                return await answer(request)
        return await self.pass_on(request)

    async def ask(self, path: str) -> str:
        """The text that upstream has for strangers at ``path``."""
        url, headers = f"{self._upstream}{path}", {"Host": self.domain}
        async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as reply:
            return await reply.text()

    async def pass_on(self, request: web.Request) -> web.StreamResponse:
        """What upstream answers."""
        url = f"{self._upstream}{request.path_qs}"
        headers = {k: v for k, v in request.headers.items() if k.lower() not in _HOP}
        async with (
            aiohttp.ClientSession(auto_decompress=False) as session,
            session.request(
                request.method, url, headers=headers, data=await request.read()
            ) as reply,
        ):
            kept = {k: v for k, v in reply.headers.items() if k.lower() not in _HOP}
            return web.Response(status=reply.status, headers=kept, body=await reply.read())

    async def cut_off(self, request: web.Request) -> web.StreamResponse:
        """The first half of the right answer, and then no connection any more."""
        whole = await self.pass_on(request)
        assert isinstance(whole, web.Response)
        assert isinstance(whole.body, bytes)
        half = web.StreamResponse(status=whole.status, headers=whole.headers)
        half.content_length = len(whole.body)
        await half.prepare(request)
        await half.write(whole.body[: len(whole.body) // 2])
        assert request.transport is not None
        request.transport.close()
        return half


# ------------------------------------------------------------------ ways to misbehave


async def broken(_: web.Request) -> web.StreamResponse:
    """An error of the server's own."""
    return web.json_response({"error": "InternalServerError", "message": "Oops"}, status=500)


async def missing(_: web.Request) -> web.StreamResponse:
    """No such page."""
    return web.Response(status=404, text="not found")


async def html(_: web.Request) -> web.StreamResponse:
    """A page of the hosting company, with status 200."""
    page = "<!DOCTYPE html><title>\x1b[31mParked\x1b[0m</title><h1>This domain is for sale"
    return web.Response(text=page, content_type="text/html")


async def rude(_: web.Request) -> web.StreamResponse:
    """An error whose words are orders to a terminal."""
    said = {"error": "\x1b]0;owned\x07", "message": "\u202edlrow\x1b[2J\r\nproved"}
    return web.json_response(said, status=500)


async def silence(request: web.Request) -> web.StreamResponse:
    """Nothing at all, for longer than anybody waits."""
    await asyncio.sleep(600)
    return web.Response()


async def circle(request: web.Request) -> web.StreamResponse:
    """A redirect to the same place."""
    raise web.HTTPFound(request.path_qs)


async def refusal(_: web.Request) -> web.StreamResponse:
    """The body is larger than the proxy takes, as nginx says it."""
    page = "<html><head><title>413 Request Entity Too Large</title></head></html>"
    return web.Response(status=413, text=page, content_type="text/html")


def slowly(seconds: float, front: Front) -> Answer:
    """The right answer, after a while."""

    async def answer(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(seconds)
        return await front.pass_on(request)

    return answer


def held(until: threading.Event, front: Front) -> Answer:
    """The right answer, once ``until`` is set."""

    async def answer(request: web.Request) -> web.StreamResponse:
        await asyncio.to_thread(until.wait, 120)
        return await front.pass_on(request)

    return answer


def later(when: str) -> Answer:
    """Too many requests: come back after some seconds, or at a date."""

    async def answer(_: web.Request) -> web.StreamResponse:
        said = {"error": "RateLimitExceeded", "message": "Rate Limit Exceeded"}
        return web.json_response(said, status=429, headers={"Retry-After": when})

    return answer
