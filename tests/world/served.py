"""A world on real ports of loopback, for a daemon that runs in a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Iterable

from aiohttp import web

from reference.network import free_ports
from world.network import World
from world.wire import Answer, Call


@contextlib.asynccontextmanager
async def served_world(names: Iterable[str]) -> AsyncIterator[World]:
    """A world whose PLC directory and PDSes of these names are at ``http://127.0.0.1:PORT``.

    It belongs to this event loop: what tests do to it between two awaits is one step.
    """
    wanted = ["plc", *names]
    ports = dict(zip(wanted, itertools.count(free_ports(len(wanted)))))
    world = World({name: f"http://127.0.0.1:{port}" for name, port in ports.items()})
    app = web.Application(client_max_size=1 << 30)

    async def answer(request: web.Request) -> web.StreamResponse:
        return await _answer(world, request)

    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        for port in ports.values():
            await web.TCPSite(runner, "127.0.0.1", port).start()
        yield world
    finally:
        await runner.cleanup()


def places(world: World) -> frozenset[str]:
    """What a daemon must be allowed to contact."""
    return frozenset(
        origin.removeprefix("http://") for origin in (world.plc.url, *(p.url for p in world.pdses))
    )


async def _answer(world: World, request: web.Request) -> web.StreamResponse:
    url = f"http://{request.host}{request.path_qs}"
    headers = {name.lower(): value for name, value in request.headers.items()}
    try:
        answer = await world.answer(Call(request.method, url, headers, await request.read()))
        if answer.status == 101:
            return await _stream(request, answer)
        reply = web.StreamResponse(status=answer.status, headers=dict(answer.headers))
        await reply.prepare(request)
        async for piece in answer.chunks():
            await reply.write(piece)
    except (ConnectionError, OSError):
        if request.transport is not None:
            request.transport.abort()
        return web.Response()
    return reply


async def _stream(request: web.Request, answer: Answer) -> web.StreamResponse:
    """A web socket; ends when either side does."""
    socket = web.WebSocketResponse(max_msg_size=0)
    await socket.prepare(request)

    async def send() -> None:
        async for frame in answer.chunks():
            await socket.send_bytes(frame)

    sending, hearing = asyncio.ensure_future(send()), asyncio.ensure_future(socket.receive())
    try:
        await asyncio.wait([sending, hearing], return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (sending, hearing):
            task.cancel()
        ended = await asyncio.gather(sending, hearing, return_exceptions=True)
    if isinstance(ended[0], ConnectionError) and request.transport is not None:
        request.transport.abort()
    return socket
