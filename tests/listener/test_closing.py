"""A listener that closes leaves no handler behind, whatever became of its client."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from atd_daemon.inflight import InFlight
from atd_daemon.listener import Listener


class Work:
    """A handler that works until it is let go, and says what became of it."""

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.may_end = asyncio.Event()
        self.outcome = "nothing"

    async def answer(self, request: web.Request) -> web.Response:
        self.outcome = "working"
        self.began.set()
        try:
            await self.may_end.wait()
        except asyncio.CancelledError:
            self.outcome = "cancelled"
            raise
        self.outcome = "done"
        return web.Response()

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/", self.answer)
        return app


async def ask_and_hang_up(port: int, work: Work) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    await work.began.wait()
    writer.transport.abort()


@pytest.fixture
def work() -> Work:
    return Work()


async def test_closing_waits_for_the_request_of_a_client_that_hung_up(
    work: Work, unused_tcp_port: int
) -> None:
    listener = Listener("a face", work.app, "127.0.0.1", unused_tcp_port)
    await listener.start()
    await ask_and_hang_up(unused_tcp_port, work)
    closing = asyncio.create_task(listener.close())
    await asyncio.sleep(0.05)
    assert work.outcome == "working"
    assert not closing.done()
    work.may_end.set()
    await closing
    assert work.outcome == "done"


async def test_what_does_not_end_by_itself_is_cancelled(work: Work, unused_tcp_port: int) -> None:
    app = work.app()
    in_flight = InFlight(app)
    runner = web.AppRunner(app, shutdown_timeout=0.05)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", unused_tcp_port).start()
    await ask_and_hang_up(unused_tcp_port, work)
    await asyncio.sleep(0.05)
    await runner.cleanup()
    assert work.outcome == "working"
    await in_flight.end(0.05)
    assert work.outcome == "cancelled"


async def test_nothing_waits_for_the_rest_of_a_body_that_cannot_come(unused_tcp_port: int) -> None:
    async def refuse(request: web.Request) -> web.Response:
        return web.Response(status=413)

    def app() -> web.Application:
        made = web.Application()
        made.router.add_post("/", refuse)
        return made

    before = asyncio.all_tasks()
    listener = Listener("a face", app, "127.0.0.1", unused_tcp_port)
    await listener.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", unused_tcp_port)
    writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")
    assert b" 413 " in await reader.readline()
    writer.transport.abort()
    await asyncio.sleep(0.05)
    await listener.close()
    assert asyncio.all_tasks() == before
