"""Who may come in: the owner of the socket, or a program on this machine that has the token."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from atd import api
from atd_daemon import lifecycle
from atd_daemon.server import TcpDoor, UnixDoor, create_app
from serving import Client

PATH = api.SEARCH_DATASETS.path


class Tcp:
    """The TCP listener, and a request to it as a program or a browser would send it."""

    def __init__(self, port: int, token: str) -> None:
        self.port = port
        self.token = token

    async def status(self, method: str = "GET", **headers: str) -> int:
        sent = {"Authorization": f"Bearer {self.token}"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        async with (
            aiohttp.ClientSession() as http,
            http.request(
                method,
                f"http://127.0.0.1:{self.port}{PATH}?q=x",
                headers={name: value for name, value in sent.items() if value},
            ) as reply,
        ):
            assert not any(name.startswith("Access-Control") for name in reply.headers)
            if reply.status == 401:
                assert reply.headers["WWW-Authenticate"] == "Bearer"
            if reply.status != 200:
                assert (await reply.json())["error"]
            return reply.status


@pytest.fixture
async def tcp(client: Client) -> AsyncIterator[Tcp]:
    token = lifecycle.new_token(client.services.settings)
    runner: web.AppRunner | None = None
    # The door must know its port before it opens: take any that is free, as the daemon does.
    with lifecycle.loopback(0) as line:
        port = line.getsockname()[1]
        runner = web.AppRunner(create_app(client.services, TcpDoor(port, token)))
        await runner.setup()
        await web.SockSite(runner, line).start()
        yield Tcp(port, token)
        await runner.cleanup()


async def test_a_program_with_the_token_comes_in(tcp: Tcp) -> None:
    assert await tcp.status() == 200
    assert await tcp.status(Host=f"localhost:{tcp.port}") == 200
    assert await tcp.status(Authorization=f"bearer {tcp.token}") == 200


@pytest.mark.parametrize("given", ["", "Bearer", "Bearer ", "Bearer wrong", "Basic TOKEN", "TOKEN"])
async def test_without_the_token_nobody_comes_in(tcp: Tcp, given: str) -> None:
    assert await tcp.status(Authorization=given.replace("TOKEN", tcp.token)) == 401
    assert await tcp.status(Authorization="Bearer " + tcp.token[:-1]) == 401
    assert await tcp.status(Authorization="Bearer " + tcp.token + "x") == 401


async def test_bytes_that_are_no_text_do_not_come_in(tcp: Tcp) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", tcp.port)
    head = f"GET {PATH}?q=x HTTP/1.1\r\nHost: localhost:{tcp.port}\r\n".encode()
    writer.write(head + b"Authorization: Bearer \xff\xfe\xe9\r\nConnection: close\r\n\r\n")
    assert b" 401 " in await reader.readline()
    writer.close()


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:PORT",
        "127.0.0.1",
        "localhost",
        "127.0.0.1:1",
        "127.0.0.1.evil.example:PORT",
        "localhost.:PORT",
        "[::1]:PORT",
        "0.0.0.0:PORT",
    ],
)
async def test_dns_rebinding_does_not_come_in(tcp: Tcp, host: str) -> None:
    """A page of evil.example whose name now leads to 127.0.0.1 still sends its own name."""
    assert await tcp.status(Host=host.replace("PORT", str(tcp.port))) == 403


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "null", "http://localhost", "http://localhost:1", "file://"],
)
async def test_cross_site_requests_do_not_come_in(tcp: Tcp, origin: str) -> None:
    assert await tcp.status(Origin=origin) == 403
    assert await tcp.status("OPTIONS", Origin=origin) == 403


async def test_the_same_origin_comes_in(tcp: Tcp) -> None:
    assert await tcp.status(Origin=f"http://127.0.0.1:{tcp.port}", Sec_Fetch_Site="none") == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
async def test_what_a_browser_calls_cross_site_does_not_come_in(tcp: Tcp, site: str) -> None:
    assert await tcp.status(Sec_Fetch_Site=site) == 403


async def test_the_token_is_for_its_owner_alone_and_new_each_time(client: Client) -> None:
    settings = client.services.settings
    first = lifecycle.new_token(settings)
    file = settings.run_dir / "token"
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.read_text().strip() == first
    assert lifecycle.new_token(settings) != first


async def test_the_door_of_the_socket_is_not_for_tcp(client: Client) -> None:
    with lifecycle.loopback(0) as line:
        runner = web.AppRunner(create_app(client.services, UnixDoor()))
        await runner.setup()
        await web.SockSite(runner, line).start()
        url = f"http://127.0.0.1:{line.getsockname()[1]}{PATH}?q=x"
        async with aiohttp.ClientSession() as http, http.get(url) as reply:
            assert reply.status == 403
        await runner.cleanup()


async def test_the_loopback_listener_is_on_loopback_alone() -> None:
    with lifecycle.loopback(0) as line:
        assert line.getsockname()[0] == "127.0.0.1"
