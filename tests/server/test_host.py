"""The embedded host through the socket: set up, served beside the control socket, backed up."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from atd import api
from atd.errors import Conflict, InvalidSyntax, LocalError, StorageFault
from serving import Client, Serve


def free_port() -> int:
    with socket.socket() as line:
        line.bind(("127.0.0.1", 0))
        return int(line.getsockname()[1])


@pytest.fixture
async def hosting(serve: Serve) -> AsyncIterator[Client]:
    async with serve("lab", ATD_HOST_LISTEN=f"127.0.0.1:{free_port()}") as client:
        yield client


async def test_a_host_is_made_served_and_shown(hosting: Client) -> None:
    assert (await hosting.call(api.HOST_STATUS))["hosts"] == []
    assert "host" not in await hosting.call(api.GET_STATUS)
    made = await hosting.call(api.HOST_INIT, {"domain": "data.example.com"})
    assert made["did"] == "did:web:data.example.com"
    assert made["handle"] == "data.example.com"
    assert made["running"]
    assert not made["loggedIn"], "no proxy stands before it yet"
    assert "not logged in" in made["problem"]
    assert Path(made["keyFile"]).stat().st_mode & 0o777 == 0o600
    (host,) = (await hosting.call(api.HOST_STATUS))["hosts"]
    assert (host["domain"], host["running"]) == ("data.example.com", True)
    assert "password" not in host
    assert (await hosting.call(api.GET_STATUS))["host"]["running"]


async def test_the_public_listener_has_no_control_route(hosting: Client) -> None:
    made = await hosting.call(api.HOST_INIT, {"domain": "data.example.com"})
    headers = {"Host": "data.example.com"}
    async with aiohttp.ClientSession(f"http://{made['listen']}", headers=headers) as http:
        async with http.get("/.well-known/did.json") as reply:
            assert (await reply.json(content_type=None))["id"] == made["did"]
        for endpoint in api.ENDPOINTS.values():
            method = "GET" if endpoint.kind == "query" else "POST"
            async with http.request(method, endpoint.path, json={}) as reply:
                assert reply.status in (404, 501), endpoint


async def test_a_port_that_is_taken_is_said_and_stops_nothing(serve: Serve) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        listen = f"127.0.0.1:{other.getsockname()[1]}"
        async with serve("lab", ATD_HOST_LISTEN=listen) as client:
            made = await client.call(api.HOST_INIT, {"domain": "data.example.com"})
            assert not made["running"]
            assert listen in made["problem"]
            (host,) = (await client.call(api.HOST_STATUS))["hosts"]
            assert listen in host["problem"]
            assert await client.call(api.GET_STATUS)


async def test_a_backup_is_one_private_new_file(hosting: Client, tmp_path: Path) -> None:
    await hosting.call(api.HOST_INIT, {"domain": "data.example.com"})
    target = tmp_path / "backup.tar"
    made = await hosting.call(api.HOST_BACKUP, {"path": str(target)})
    assert made["path"] == str(target)
    assert target.stat().st_mode & 0o777 == 0o600
    assert made["size"] == target.stat().st_size
    with pytest.raises(StorageFault, match="cannot be written"):
        await hosting.call(api.HOST_BACKUP, {"path": str(target)})
    with pytest.raises(InvalidSyntax, match="absolute"):
        await hosting.call(api.HOST_BACKUP, {"path": "backup.tar"})


async def test_what_cannot_be_hosted_is_refused(hosting: Client) -> None:
    with pytest.raises(InvalidSyntax):
        await hosting.call(api.HOST_INIT, {"domain": "https://data.example.com/"})
    with pytest.raises(LocalError, match="no account"):
        await hosting.call(api.HOST_BACKUP, {"path": "/tmp/x.tar"})
    await hosting.call(api.HOST_INIT, {"domain": "data.example.com"})
    with pytest.raises(Conflict):
        await hosting.call(api.HOST_INIT, {"domain": "data.example.com"})
