"""One client may have so much, and takes nothing from the others."""

from __future__ import annotations

import asyncio
import socket
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from atd_daemon.public.connections import Connections
from atd_daemon.public.limits import Clients, Limits, OverLimitError, client_of
from public.conftest import Group, Serve, soon
from world import Account
from world.datasets import publish

SEARCH = "/xrpc/network.atd.catalog.searchDatasets?q=meadow"


def clients(now: list[float], **limits: Any) -> Clients:
    return Clients(Limits(**limits), lambda: now[0])


def test_requests_come_back_with_time() -> None:
    now = [0.0]
    known = clients(now, burst_requests=3, requests_per_s=2)
    for _ in range(3):
        with known.entered("a"):
            pass
    with pytest.raises(OverLimitError, match="rate") as refused, known.entered("a"):
        pass
    assert refused.value.wait_s == 0.5
    with known.entered("b"):
        pass
    now[0] += 0.5
    with known.entered("a"):
        pass
    assert known.refused == {"rate": 1}


def test_so_many_at_once_for_one_and_for_all() -> None:
    known = clients([0.0], at_once=2, at_once_all=3)
    with known.entered("a"), known.entered("a"):
        with pytest.raises(OverLimitError, match="concurrency"), known.entered("a"):
            pass
        with (
            known.entered("b"),
            pytest.raises(OverLimitError, match="busy"),
            known.entered("c"),
        ):
            pass
    with known.entered("a"):
        pass


def test_bytes_are_paid_back_before_more_are_had() -> None:
    now = [0.0]
    known = clients(now, burst_bytes=1000, bytes_per_s=100)
    known.charge("a", 1500)
    with pytest.raises(OverLimitError, match="bytes") as refused, known.entered("a"):
        pass
    now[0] += refused.value.wait_s
    with known.entered("a"):
        pass
    assert known.sent_bytes == 1500


def test_a_million_addresses_take_no_more_room_than_the_table_has() -> None:
    known = clients([0.0], clients=100, burst_requests=1, requests_per_s=0.001)
    with known.entered("busy"):
        for number in range(10_000):
            with known.entered(f"10.0.{number >> 8}.{number & 255}"):
                pass
        assert len(known._known) <= 101
        assert "busy" in known._known


def request(remote: str, forwarded: str | None = None) -> web.Request:
    headers = {} if forwarded is None else {"X-Forwarded-For": forwarded}
    transport = SimpleNamespace(get_extra_info=lambda name, default=None: (remote, 1))
    return make_mocked_request("GET", "/", headers=headers, transport=cast(Any, transport))


@pytest.mark.parametrize(
    ("remote", "forwarded", "name"),
    [
        ("203.0.113.5", None, "203.0.113.5"),
        ("203.0.113.5", "198.51.100.1", "203.0.113.5"),
        ("127.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("127.0.0.1", "6.6.6.6, 198.51.100.1", "198.51.100.1"),
        ("127.0.0.1", "nonsense", "127.0.0.1"),
        ("127.0.0.1", None, "127.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", None, "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", None, "2001:db8:1:2::/64"),
        ("::ffff:203.0.113.5", None, "203.0.113.5"),
        ("::1", "2001:db8::1", "2001:db8::/64"),
    ],
)
def test_who_a_client_is(remote: str, forwarded: str | None, name: str) -> None:
    assert client_of(request(remote, forwarded)) == name


def test_a_header_of_the_clients_own_before_that_of_the_proxy_is_not_believed() -> None:
    """Some proxies add a line of their own where others add to the last."""
    headers = CIMultiDict([("X-Forwarded-For", "6.6.6.6"), ("X-Forwarded-For", "198.51.100.1")])
    transport = SimpleNamespace(get_extra_info=lambda name, default=None: ("127.0.0.1", 1))
    asked = make_mocked_request("GET", "/", headers=headers, transport=cast(Any, transport))
    assert client_of(asked) == "198.51.100.1"


async def test_a_client_that_asks_too_often_is_told_to_wait(serve: Serve, alice: Account) -> None:
    publish(alice, title="Flowers of the meadow")
    async with serve("few", burst_requests=2, requests_per_s=0.1) as group:
        await group.follow(alice)
        assert [(await group.get(SEARCH))[0] for _ in range(3)] == [200, 200, 429]
        code, headers, body = await group.get(SEARCH)
        assert (code, headers["Retry-After"]) == (429, "10")
        assert b"RateLimitExceeded" in body
        group.now[0] += 10
        assert (await group.get(SEARCH))[0] == 200
        assert group.shared.clients.served["429"] == 2


async def test_who_has_had_enough_bytes_waits_for_more(serve: Serve, alice: Account) -> None:
    big = publish(alice, "big", splits={"train": [b"x" * 100_000]})
    path = f"/xrpc/network.atd.store.getShard?digest={next(iter(big.shards))}"
    async with serve("bytes", burst_bytes=150_000, bytes_per_s=1000) as group:
        await group.follow(alice, "big")
        assert [(await group.get(path))[0] for _ in range(3)] == [200, 200, 429]
        assert group.shared.clients.sent_bytes == 200_000
        group.now[0] += 60
        assert (await group.get(path))[0] == 200


async def test_who_takes_an_answer_too_slowly_is_hung_up_on_and_delays_nobody(
    serve: Serve, alice: Account
) -> None:
    big = publish(alice, "big", splits={"train": [b"x" * 50_000_000]})
    path = f"/xrpc/network.atd.store.getShard?digest={next(iter(big.shards))}"
    async with serve("slow", at_once=1, grace_s=0.5, slowest_bytes_per_s=1e12) as group:
        await group.follow(alice, "big")
        host, _, port = group.origin.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await soon(lambda: group.shared.clients._active == 1)
        assert (await group.get(SEARCH))[0] == 429  # the one that it may have at once
        await soon(lambda: group.shared.clients._active == 0)
        assert (await group.get(SEARCH))[0] == 200
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(50_000_000)
        writer.close()


async def test_who_takes_a_shard_fast_enough_gets_all_of_it_however_long_that_takes(
    serve: Serve, alice: Account
) -> None:
    big = publish(alice, "big", splits={"train": [b"x" * 30_000_000]})
    path = f"/xrpc/network.atd.store.getShard?digest={next(iter(big.shards))}"
    async with serve("steady", grace_s=0.2, slowest_bytes_per_s=500_000) as group:
        await group.follow(alice, "big")
        reader, writer = await connected(group)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(1)
        assert len(await reader.read()) == 30_000_000
        writer.close()


async def test_who_takes_no_answers_at_all_is_hung_up_on_whatever_they_are(
    serve: Serve, alice: Account
) -> None:
    publish(alice, "many", splits={"train": [b"%d" % number for number in range(1000)]})
    path = "/xrpc/network.atd.catalog.getRelease?ref=@alice.test/many"
    async with serve("deaf", burst_requests=1e6, grace_s=0.5, slowest_bytes_per_s=1e12) as group:
        await group.follow(alice)
        assert len((await group.get(path))[2]) > 100_000
        host, _, port = group.origin.removeprefix("http://").partition(":")
        server = cast(Any, group.listener)._runner.server
        await soon(lambda: not server.connections)
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.connect((host, int(port)))
            deaf.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode() * 60)
            await soon(lambda: bool(server.connections))
            await soon(lambda: not server.connections)
        assert group.shared.clients._active == 0


async def test_answers_that_nobody_takes_do_not_fill_the_memory(
    serve: Serve, alice: Account
) -> None:
    publish(alice, "many", splits={"train": [b"%d" % number for number in range(1000)]})
    path = "/xrpc/network.atd.catalog.getRelease?ref=@alice.test/many"
    async with serve("memory", burst_requests=1e6, waiting_bytes_all=200_000) as group:
        await group.follow(alice)
        assert [(await group.get(path))[0] for _ in range(2)] == [200, 200]
        host, _, port = group.origin.removeprefix("http://").partition(":")
        server = cast(Any, group.listener)._runner.server
        await soon(lambda: not server.connections)
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.connect((host, int(port)))
            deaf.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode() * 60)
            await soon(lambda: any(one.writing_paused for one in server.connections))
            assert (await group.get(path))[0] == 429
            assert (await group.get("/health/live"))[0] == 200
            assert group.shared.clients.refused["memory"] == 1
        await soon(lambda: group.shared.clients.waiting_bytes == 0)
        assert (await group.get(path))[0] == 200


async def test_making_bundles_costs_more(serve: Serve, alice: Account) -> None:
    publish(alice)
    path = "/xrpc/network.atd.catalog.getProof?ref=@alice.test/flowers"
    async with serve("bundles", burst_requests=25, bundle_cost=10) as group:
        await group.follow(alice)
        assert [(await group.get(path))[0] for _ in range(3)] == [200, 200, 429]


async def test_an_answer_counts_until_it_is_sent(group: Group) -> None:
    assert (await group.get(SEARCH))[0] == 200
    await soon(lambda: group.shared.clients._active == 0)
    assert group.shared.clients.sent_bytes > 0


# ------------------------------------------------------------------ connections


async def connected(group: Group) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = group.origin.removeprefix("http://").partition(":")
    return await asyncio.open_connection(host, int(port))


async def is_hung_up_on(reader: asyncio.StreamReader) -> bool:
    """Whether the connection ends without a word."""
    try:
        return await asyncio.wait_for(reader.read(), 10) == b""
    except ConnectionError:
        return True


async def test_connections_have_an_end_before_the_daemon_has_no_descriptors_left(
    serve: Serve,
) -> None:
    async with serve("full", connections_all=5) as group:
        open_ = [await connected(group) for _ in range(5)]
        reader, _ = await connected(group)
        assert await is_hung_up_on(reader)
        assert group.shared.connections.refused == 1
        for _, writer in open_:
            writer.close()


async def test_who_asks_for_nothing_is_hung_up_on(serve: Serve) -> None:
    async with serve("idle", idle_s=30) as group:
        silent = await connected(group)
        slow = await connected(group)
        slow[1].write(b"GET /health/live HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        await slow[1].drain()
        server = cast(Any, group.listener)._runner.server
        await soon(lambda: len(server.connections) == 2)
        group.shared.connections.sweep(server)
        group.now[0] += 29
        group.shared.connections.sweep(server)
        assert len(server.connections) == 2
        group.now[0] += 1
        group.shared.connections.sweep(server)
        for reader, _ in (silent, slow):
            assert await is_hung_up_on(reader)
        assert (await group.get("/health/live"))[0] == 200


@pytest.mark.parametrize(
    ("peers", "admitted"),
    [
        (["203.0.113.5"] * 2, False),
        (["203.0.113.5", "203.0.113.6"], True),
        (["2001:db8::1", "2001:db8::2"], False),
        (["127.0.0.1"] * 9, True),
    ],
)
def test_one_client_has_so_many_connections(peers: list[str], admitted: bool) -> None:
    def transport(peer: str) -> Any:
        return SimpleNamespace(get_extra_info=lambda name: (peer, 1))

    known = Connections(Limits(connections=2), lambda: 0.0)
    server = SimpleNamespace(
        connections=[SimpleNamespace(transport=transport(peer)) for peer in peers]
    )
    assert known.admits(transport(peers[0]), cast(Any, server)) is admitted
