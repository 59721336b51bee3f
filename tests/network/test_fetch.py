"""Fetching from real servers on loopback that do what hostile servers do."""

from __future__ import annotations

import asyncio
import gzip
import os
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiohttp import web

from atd.errors import Offline, RateLimited, Unreachable
from atd_daemon.config import Config
from atd_daemon.network.fetch import HttpFetcher, offline_now, retry_after_s
from atd_daemon.network.transport import HttpTransport, Lookup

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
KIB = 1024


@asynccontextmanager
async def serving(
    tls: ssl.SSLContext | None = None, **handlers: Handler
) -> AsyncIterator[tuple[str, int]]:
    """A server with a handler for each path; its origin on 127.0.0.1, and its port."""
    app = web.Application(client_max_size=64 * KIB * KIB)
    for name, handler in handlers.items():
        app.router.add_route("*", f"/{name}", handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    port: int = runner.addresses[0][1]
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{port}", port
    finally:
        await runner.cleanup()


@asynccontextmanager
async def fetching(
    port: int,
    *,
    hosts: tuple[str, ...] = (),
    lookup: Lookup | None = None,
    tls: ssl.SSLContext | None = None,
    **limits: Any,
) -> AsyncIterator[HttpFetcher]:
    """A fetcher that may speak to 127.0.0.1:port and to ``hosts``."""
    allowed = frozenset({f"127.0.0.1:{port}", *hosts})
    values = {"fetch_timeout_s": 5.0, "connect_timeout_s": 1.0, **limits}
    config = Config.under(Path("/nonexistent"), allow_hosts=allowed, **values)
    options: dict[str, Any] = {} if lookup is None else {"lookup": lookup}
    fetcher = HttpFetcher(config, HttpTransport(config, tls=tls, **options))
    try:
        yield fetcher
    finally:
        await fetcher.close()


async def drained(fetcher: HttpFetcher, url: str, **limits: Any) -> bytes:
    """The whole body, by streaming."""
    async with fetcher.stream("GET", url, **limits) as reply:
        return b"".join([chunk async for chunk in reply.chunks])


def answering(response: Callable[[], web.Response]) -> Handler:
    async def handler(request: web.Request) -> web.Response:
        return response()

    return handler


async def endless(request: web.Request) -> web.StreamResponse:
    reply = web.StreamResponse()
    await reply.prepare(request)
    while True:
        await reply.write(b"\0" * 64 * KIB)


async def slow(request: web.Request) -> web.StreamResponse:
    reply = web.StreamResponse()
    await reply.prepare(request)
    while True:
        await reply.write(b"x")
        await asyncio.sleep(0.02)


async def silent(request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(60)
    raise AssertionError("nobody waits that long")


async def test_a_good_answer_comes_back_whole() -> None:
    seen: dict[str, str] = {}

    async def echo(request: web.Request) -> web.Response:
        seen.update({k.lower(): v for k, v in request.headers.items()})
        return web.json_response({"got": (await request.read()).decode()}, status=201)

    async with serving(echo=echo) as (origin, port), fetching(port) as fetcher:
        reply = await fetcher.request("POST", f"{origin}/echo", json={"a": "é"}, max_bytes=1000)
    assert (reply.status, reply.json()) == (201, {"got": '{"a":"é"}'})
    assert seen["accept-encoding"] == "identity"
    assert seen["content-type"] == "application/json"
    assert "cookie" not in seen


async def test_an_endless_body_is_cut_at_the_limit() -> None:
    async with serving(x=endless) as (origin, port), fetching(port) as fetcher:
        with pytest.raises(Unreachable, match=r"127\.0\.0\.1:\d+ sent more than 1000000 bytes"):
            await fetcher.request("GET", f"{origin}/x", max_bytes=1_000_000)


async def test_a_body_that_announces_too_much_is_not_read() -> None:
    big = answering(lambda: web.Response(body=b"x" * 5000))
    async with serving(x=big) as (origin, port), fetching(port) as fetcher:
        with pytest.raises(Unreachable, match="announces 5000 bytes, the limit is 4999"):
            await fetcher.request("GET", f"{origin}/x", max_bytes=4999)
        assert len((await fetcher.request("GET", f"{origin}/x", max_bytes=5000)).body) == 5000


@pytest.mark.parametrize("handler", [slow, silent])
async def test_a_slow_or_silent_server_is_given_up_at_the_deadline(handler: Handler) -> None:
    async with serving(x=handler) as (origin, port), fetching(port) as fetcher:
        started = time.monotonic()
        with pytest.raises(Unreachable, match=r"did not answer within 0\.3 s"):
            await fetcher.request("GET", f"{origin}/x", max_bytes=1000, timeout_s=0.3)
        assert time.monotonic() - started < 2


async def test_a_decompression_bomb_is_refused_before_it_is_unpacked() -> None:
    bomb = gzip.compress(b"\0" * 10_000_000)
    packed = answering(lambda: web.Response(body=bomb, headers={"content-encoding": "gzip"}))
    async with serving(x=packed) as (origin, port), fetching(port) as fetcher:
        with pytest.raises(Unreachable, match="compressed"):
            await fetcher.request("GET", f"{origin}/x", max_bytes=100_000)


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (
            500,
            {"error": "InternalServerError", "message": "a\x1b[31m"},
            r"InternalServerError: a\\x1b",
        ),
        (502, None, "text/plain"),
        (503, {"message": "later"}, "later"),
    ],
)
async def test_a_server_error_is_unreachable_and_says_what_the_server_says(
    status: int, body: dict[str, str] | None, said: str
) -> None:
    def failing() -> web.Response:
        if body is None:
            return web.Response(status=status, text="bad gateway")
        return web.json_response(body, status=status)

    async with serving(x=answering(failing)) as (origin, port), fetching(port) as fetcher:
        with pytest.raises(Unreachable, match=rf"127\.0\.0\.1:\d+ answered {status} \(.*{said}"):
            await fetcher.request("GET", f"{origin}/x", max_bytes=1000)


async def test_other_statuses_are_for_the_caller() -> None:
    missing = answering(lambda: web.json_response({"error": "NotFound"}, status=404))
    async with serving(x=missing) as (origin, port), fetching(port) as fetcher:
        reply = await fetcher.request("GET", f"{origin}/x", max_bytes=1000)
    assert (reply.status, reply.json()) == (404, {"error": "NotFound"})


async def test_being_told_to_wait_says_how_long() -> None:
    limited = answering(lambda: web.Response(status=429, headers={"retry-after": "7"}))
    async with serving(x=limited) as (origin, port), fetching(port) as fetcher:
        with pytest.raises(RateLimited, match="wait for 7 s") as caught:
            await fetcher.request("GET", f"{origin}/x", max_bytes=1000)
    assert caught.value.retry_after_s == 7


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "120"}, 120),
        ({"ratelimit-reset": "1750000090"}, 90),
        ({"ratelimit-reset": "90"}, 90),
        ({"retry-after": "Sun, 15 Jun 2025 15:07:40 GMT"}, 60),
        ({"retry-after": "Sun, 15 Jun 2025 15:00:00 GMT"}, 0),
        ({"retry-after": "soon", "ratelimit-reset": "5"}, 5),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "9" * 400}, None),
        ({"retry-after": f"Mon, 01 Jan {10**20} 00:00:00 GMT"}, None),
        ({}, None),
    ],
)
def test_how_long_to_wait_is_read_in_every_form(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert retry_after_s(headers, now=1_750_000_000.0) == seconds


async def test_html_is_no_json() -> None:
    page = answering(lambda: web.Response(text="<p>log in", content_type="text/html"))
    async with serving(x=page) as (origin, port), fetching(port) as fetcher:
        reply = await fetcher.request("GET", f"{origin}/x", max_bytes=1000)
    with pytest.raises(Unreachable, match=r"expected JSON from 127\.0\.0\.1:\d+, got 'text/html'"):
        reply.json()


@pytest.mark.parametrize("text", ["[1]", "{", "[" * 100_000, "nul", ""])
async def test_json_that_is_no_object_is_no_answer(text: str) -> None:
    broken = answering(lambda: web.Response(text=text, content_type="application/json"))
    async with serving(x=broken) as (origin, port), fetching(port) as fetcher:
        reply = await fetcher.request("GET", f"{origin}/x", max_bytes=200_000)
    with pytest.raises(Unreachable):
        reply.json()


def redirecting(target: str, code: int = 302) -> Handler:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(status=code, headers={"location": target})

    return handler


async def test_redirects_are_followed_and_the_last_place_is_told() -> None:
    good = answering(lambda: web.Response(text="here"))
    async with (
        serving(a=redirecting("/b", 301), b=redirecting("c", 308), c=good) as (origin, port),
        fetching(port) as fetcher,
    ):
        reply = await fetcher.request("GET", f"{origin}/a", max_bytes=1000)
    assert (reply.body, reply.url) == (b"here", f"{origin}/c")


async def test_a_redirect_loop_ends() -> None:
    async with serving(a=redirecting("/a")) as (origin, port), fetching(port) as fetcher:
        with pytest.raises(Unreachable, match="redirects more than 5 times"):
            await fetcher.request("GET", f"{origin}/a", max_bytes=1000)


@pytest.mark.parametrize(
    "target",
    [
        "http://169.254.169.254/latest/meta-data/",
        "https://169.254.169.254/",
        "http://127.0.0.1:1/",
        "https://[::1]/",
        "//10.0.0.1/",
        "file:///etc/passwd",
        "https://user@example.com/",
        "http://[broken",
        "",
    ],
)
async def test_a_redirect_to_where_we_do_not_go_is_not_followed(target: str) -> None:
    async with serving(a=redirecting(target)) as (origin, port), fetching(port) as fetcher:
        with pytest.raises(Unreachable):
            await fetcher.request("GET", f"{origin}/a", max_bytes=1000)


async def test_a_redirected_post_is_not_sent_again() -> None:
    async with serving(a=redirecting("/b", 307)) as (origin, port), fetching(port) as fetcher:
        with pytest.raises(Unreachable, match="redirects a POST"):
            await fetcher.request("POST", f"{origin}/a", body=b"x", max_bytes=1000)


async def test_credentials_do_not_follow_a_redirect_to_another_origin() -> None:
    seen: list[str | None] = []

    async def note(request: web.Request) -> web.Response:
        seen.append(request.headers.get("authorization"))
        return web.Response()

    async with (
        serving(note=note) as (other, other_port),
        serving(a=redirecting(f"{other}/note"), b=redirecting("/c"), c=note) as (origin, port),
        fetching(port, hosts=(f"127.0.0.1:{other_port}",)) as fetcher,
    ):
        headers = {"Authorization": "Bearer secret"}
        await fetcher.request("GET", f"{origin}/a", headers=headers, max_bytes=10)
        await fetcher.request("GET", f"{origin}/b", headers=headers, max_bytes=10)
    assert seen == [None, "Bearer secret"]


async def test_https_never_leads_to_plain_http() -> None:
    authority = trustme.CA()
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(served)
    trusted = ssl.create_default_context()
    authority.configure_trust(trusted)
    plain = answering(lambda: web.Response(text="plain"))
    async with (
        serving(plain=plain) as (target, plain_port),
        serving(served, a=redirecting(f"{target}/plain"), ok=plain) as (origin, port),
        fetching(port, hosts=(f"127.0.0.1:{plain_port}",), tls=trusted) as fetcher,
    ):
        assert (await fetcher.request("GET", f"{origin}/ok", max_bytes=10)).body == b"plain"
        with pytest.raises(Unreachable, match="from https to"):
            await fetcher.request("GET", f"{origin}/a", max_bytes=10)


async def test_a_certificate_that_nobody_vouches_for_is_refused() -> None:
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(served)
    page = answering(lambda: web.Response(text="x"))
    async with serving(served, x=page) as (origin, port), fetching(port) as fetcher:
        with pytest.raises(Unreachable, match=r"cannot verify that 127\.0\.0\.1"):
            await fetcher.request("GET", f"{origin}/x", max_bytes=10)


async def test_a_name_that_leads_inside_is_refused_after_the_lookup() -> None:
    reached: list[str] = []

    async def note(request: web.Request) -> web.Response:
        reached.append(request.path)
        return web.Response()

    async def lookup(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    async with serving(x=note) as (_, port), fetching(port, lookup=lookup) as fetcher:
        with pytest.raises(
            Unreachable, match=r"evil\.example\.com leads to 127\.0\.0\.1"
        ) as caught:
            await fetcher.request("GET", f"https://evil.example.com:{port}/x", max_bytes=10)
    assert not reached
    assert f"evil.example.com:{port}" in caught.value.next_step


async def test_a_name_that_answers_differently_the_second_time_gains_nothing() -> None:
    """DNS rebinding: what is connected to is the address that was checked, looked up once."""
    reached: list[str] = []
    lookups: list[str] = []

    async def note(request: web.Request) -> web.Response:
        reached.append(request.path)
        return web.Response()

    async def lookup(host: str, port: int) -> list[str]:
        lookups.append(host)
        return ["198.41.0.4"] if len(lookups) == 1 else ["127.0.0.1"]

    async with (
        serving(x=note) as (_, port),
        fetching(port, lookup=lookup, connect_timeout_s=0.2) as fetcher,
    ):
        url = f"https://evil.example.com:{port}/x"
        with pytest.raises(Unreachable):
            await fetcher.request("GET", url, max_bytes=10)
        assert lookups == ["evil.example.com"]
        with pytest.raises(Unreachable, match="leads to"):
            await fetcher.request("GET", url, max_bytes=10)
    assert not reached


async def test_a_name_on_the_list_is_reached_where_it_leads() -> None:
    async def lookup(host: str, port: int) -> list[str]:
        assert host == "pds.test"
        return ["127.0.0.1"]

    page = answering(lambda: web.Response(text="intranet"))
    async with serving(x=page) as (_, port):
        allowed = (f"pds.test:{port}",)
        async with fetching(port, hosts=allowed, lookup=lookup) as fetcher:
            reply = await fetcher.request("GET", f"http://pds.test:{port}/x", max_bytes=10)
    assert reply.body == b"intranet"


async def test_nobody_there_is_unreachable() -> None:
    async with serving() as (origin, port):
        pass
    async with fetching(port) as fetcher:
        with pytest.raises(
            Unreachable, match=r"cannot connect to 127\.0\.0\.1:\d+: connection refused"
        ):
            await fetcher.request("GET", f"{origin}/x", max_bytes=10)


async def test_a_name_that_does_not_exist_is_unreachable() -> None:
    async def lookup(host: str, port: int) -> list[str]:
        raise OSError("Name or service not known")

    async with fetching(1, lookup=lookup) as fetcher:
        with pytest.raises(Unreachable, match=r"nowhere\.example\.com"):
            await fetcher.request("GET", "https://nowhere.example.com/", max_bytes=10)


async def test_a_connection_that_breaks_off_is_no_answer() -> None:
    async def cut(request: web.Request) -> web.StreamResponse:
        reply = web.StreamResponse(headers={"content-length": "1000"})
        await reply.prepare(request)
        await reply.write(b"x" * 10)
        assert request.transport is not None
        request.transport.abort()
        return reply

    async with serving(x=cut) as (origin, port), fetching(port) as fetcher:
        with pytest.raises(Unreachable):
            await fetcher.request("GET", f"{origin}/x", max_bytes=1000)
        with pytest.raises(Unreachable):
            await drained(fetcher, f"{origin}/x")


async def test_offline_asks_nobody() -> None:
    async with fetching(1, offline=True) as fetcher:
        with pytest.raises(Offline, match=r"pds\.example\.com"):
            await fetcher.request("GET", "https://pds.example.com/", max_bytes=10)
    async with fetching(1) as fetcher:
        token = offline_now.set(True)
        try:
            with pytest.raises(Offline):
                await drained(fetcher, "https://pds.example.com/")
        finally:
            offline_now.reset(token)


async def test_a_stream_is_read_to_its_end() -> None:
    data = bytes(range(256)) * 4096
    whole = answering(lambda: web.Response(body=data))
    async with serving(x=whole) as (origin, port), fetching(port) as fetcher:
        assert await drained(fetcher, f"{origin}/x") == data


async def test_a_stream_may_be_left_early() -> None:
    page = answering(lambda: web.Response(text="still here"))
    async with serving(x=endless, ok=page) as (origin, port), fetching(port) as fetcher:
        async with fetcher.stream("GET", f"{origin}/x") as reply:
            assert await anext(reply.chunks)
        assert (await fetcher.request("GET", f"{origin}/ok", max_bytes=99)).body == b"still here"


async def test_a_stream_is_cut_at_its_limit() -> None:
    async with serving(x=endless) as (origin, port), fetching(port) as fetcher:
        with pytest.raises(Unreachable, match="sent more than 500000 bytes"):
            await drained(fetcher, f"{origin}/x", max_bytes=500_000)


async def test_a_stream_that_trickles_is_given_up() -> None:
    limits = {"stream_grace_s": 0.1, "stream_min_bytes_per_s": 1000.0}
    async with serving(x=slow) as (origin, port), fetching(port, **limits) as fetcher:
        with pytest.raises(Unreachable, match="less than 1000 bytes a second"):
            await drained(fetcher, f"{origin}/x")


async def test_a_stream_that_stops_is_given_up() -> None:
    async def stops(request: web.Request) -> web.StreamResponse:
        reply = web.StreamResponse()
        await reply.prepare(request)
        await reply.write(b"first")
        await asyncio.sleep(30)
        return reply

    async with serving(x=stops) as (origin, port), fetching(port) as fetcher:
        with pytest.raises(Unreachable, match=r"sent nothing for 0\.2 s"):
            await drained(fetcher, f"{origin}/x", timeout_s=0.2)


async def test_a_body_of_known_size_is_streamed_up() -> None:
    seen: dict[str, Any] = {}

    async def take(request: web.Request) -> web.Response:
        seen["length"] = request.headers.get("content-length")
        seen["size"] = len(await request.read())
        return web.json_response({})

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(10):
            yield b"x" * 100_000

    async with serving(take=take) as (origin, port), fetching(port) as fetcher:
        headers = {"content-length": "1000000"}
        await fetcher.request(
            "POST", f"{origin}/take", headers=headers, body=pieces(), max_bytes=100
        )
    assert seen == {"length": "1000000", "size": 1_000_000}


async def test_the_proxies_of_the_environment_are_not_used() -> None:
    page = answering(lambda: web.Response(text="direct"))
    before = os.environ.copy()
    os.environ["http_proxy"] = "http://127.0.0.1:1"
    try:
        async with serving(x=page) as (origin, port), fetching(port) as fetcher:
            assert (await fetcher.request("GET", f"{origin}/x", max_bytes=99)).body == b"direct"
    finally:
        os.environ.clear()
        os.environ.update(before)


async def test_a_flood_of_headers_is_no_answer() -> None:
    flood = answering(lambda: web.Response(headers={"x": "y" * 100_000}))
    async with serving(x=flood) as (origin, port), fetching(port) as fetcher:
        with pytest.raises(Unreachable):
            await fetcher.request("GET", f"{origin}/x", max_bytes=99)
