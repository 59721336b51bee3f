"""Listening: cursors and backlog in a world, limits and loss on real sockets."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import re
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import WSCloseCode, web

from atd.errors import FrameRefused, Offline, RateLimited, Unreachable
from atd.protocol.frames import (
    MAX_FRAME_BYTES,
    AccountMessage,
    CommitMessage,
    ErrorMessage,
    IdentityMessage,
    InfoMessage,
    Message,
    read_frame,
)
from atd.protocol.live import verify_diff
from atd.protocol.rejects import Reject
from atd_daemon.config import Config
from atd_daemon.network.events import EventReader
from atd_daemon.network.transport import open_fetcher
from world import World, drop, hang, status

THING = "com.example.thing"


async def take(world: World, count: int, cursor: int | None = 0) -> list[Message]:
    """The next messages of the first PDS."""
    found: list[Message] = []
    async with EventReader(world.fetcher).open(world.pds().url, cursor) as frames:
        async for frame in frames:
            found.append(read_frame(frame))
            if len(found) == count:
                break
    return found


async def test_a_new_account_shows_in_the_backlog() -> None:
    world = World()
    alice = world.account()
    alice.put(THING, "one", {"n": 1})
    identity, account, first, second = await take(world, 4)
    assert isinstance(identity, IdentityMessage)
    assert isinstance(account, AccountMessage)
    assert isinstance(first, CommitMessage)
    assert isinstance(second, CommitMessage)
    assert verify_diff(first, alice.identity, [THING]).prev_data is None
    diff = verify_diff(second, alice.identity, [THING])
    assert [str(change.uri) for change in diff.changes] == [f"at://{alice.did}/{THING}/one"]
    assert (diff.since, diff.prev_data) == (first.rev, alice.history[0].commit.data)


async def test_a_listener_is_told_what_happens_later_and_a_cursor_goes_on() -> None:
    world = World()
    alice = world.account()
    waiting = asyncio.create_task(take(world, 2, None))
    while not world.pds().firehose.listeners:
        await asyncio.sleep(0)
    alice.put(THING, "one", {"n": 1})
    alice.put(THING, "two", {"n": 2})
    live = await waiting
    assert await take(world, 1, live[0].seq) == live[1:]  # type: ignore[union-attr]
    assert world.pds().firehose.listeners == 0


async def test_a_cursor_that_is_too_old_or_of_the_future_is_told() -> None:
    world = World()
    alice = world.account()
    alice.put(THING, "one", {"n": 1})
    world.pds().firehose.forget(keep=1)
    (info, last) = await take(world, 2, 1)
    assert isinstance(info, InfoMessage)
    assert info.name == "OutdatedCursor"
    assert isinstance(last, CommitMessage)
    (error,) = await take(world, 1, 99)
    assert isinstance(error, ErrorMessage)
    assert error.error == "FutureCursor"


@pytest.mark.parametrize(
    ("tell", "error"),
    [
        (drop(), Unreachable),
        (status(500), Unreachable),
        (status(200), Unreachable),
        (status(400), Unreachable),
        (status(429, retry_after="7"), RateLimited),
        (hang(), Unreachable),
    ],
)
async def test_a_host_that_does_not_let_listen_is_unreachable(
    tell: Callable[..., Awaitable[object]], error: type[Exception]
) -> None:
    world = World()
    world.lie(tell, path="subscribeRepos")  # type: ignore[arg-type]
    fetcher = world.fetcher_with(world.config(fetch_timeout_s=0.05))
    world.pds()
    with pytest.raises(error):
        async with EventReader(fetcher).open(world.pds().url, None):
            pass


async def test_a_connection_that_breaks_is_unreachable() -> None:
    world = World()
    world.account()

    async def listen() -> None:
        async with EventReader(world.fetcher).open(world.pds().url, 0) as frames:
            async for _ in frames:
                world.pds().firehose.disconnect()

    with pytest.raises(Unreachable, match="connection reset"):
        await listen()


async def test_a_frame_over_the_limit_ends_the_connection() -> None:
    world = World()
    world.pds().firehose.put_frame(bytes(MAX_FRAME_BYTES + 1))
    with pytest.raises(FrameRefused) as caught:
        await take(world, 1)
    assert caught.value.reason == Reject.TOO_LARGE


async def test_offline_nobody_is_listened_to() -> None:
    world = World()
    fetcher = world.fetcher_with(world.config(offline=True))
    with pytest.raises(Offline):
        async with EventReader(fetcher).open(world.pds().url, None):
            pass


# --- real sockets ---------------------------------------------------------------------------------

WS_KEY = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
Talk = Callable[[web.WebSocketResponse], Awaitable[None]]


@contextlib.asynccontextmanager
async def talking(talk: Talk, *, autoping: bool = True) -> AsyncIterator[str]:
    """A server that says what it is told to say; its origin."""

    async def handle(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(max_msg_size=0, autoping=autoping)
        await socket.prepare(request)
        await talk(socket)
        return socket

    app = web.Application()
    app.router.add_get("/xrpc/com.atproto.sync.subscribeRepos", handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def listened(talk: Talk, **limits: float) -> list[bytes]:
    async with talking(talk, autoping=talk is not silent) as origin:
        return await heard(origin, **limits)


async def heard(origin: str, **limits: float) -> list[bytes]:
    """All that the server at ``origin`` sends."""
    place = origin.removeprefix("http://")
    config = Config.under(World().config().config_dir, allow_hosts=frozenset({place}), **limits)
    fetcher = open_fetcher(config)
    try:
        async with asyncio.timeout(10), EventReader(fetcher).open(origin, 3) as frames:
            return [frame async for frame in frames]
    finally:
        await fetcher.close()


async def silent(socket: web.WebSocketResponse) -> None:
    """Take no notice of pings."""
    while not socket.closed:
        await asyncio.sleep(0.05)


async def test_what_is_sent_comes_in_whole_and_in_order() -> None:
    async def talk(socket: web.WebSocketResponse) -> None:
        for size in (1, 70_000, MAX_FRAME_BYTES):
            await socket.send_bytes(bytes(size))

    assert [len(frame) for frame in await listened(talk)] == [1, 70_000, MAX_FRAME_BYTES]


async def test_a_frame_too_large_is_never_read_to_its_end() -> None:
    async def talk(socket: web.WebSocketResponse) -> None:
        with contextlib.suppress(ConnectionError):
            await socket.send_bytes(bytes(MAX_FRAME_BYTES + 1))

    with pytest.raises(FrameRefused) as caught:
        await listened(talk)
    assert caught.value.reason == Reject.TOO_LARGE


async def test_text_is_no_frame() -> None:
    async def talk(socket: web.WebSocketResponse) -> None:
        await socket.send_str("hello")

    with pytest.raises(FrameRefused) as caught:
        await listened(talk)
    assert caught.value.reason == Reject.BAD_FRAME


async def test_a_server_that_says_goodbye_ends_the_stream() -> None:
    async def talk(socket: web.WebSocketResponse) -> None:
        await socket.send_bytes(b"one")
        await socket.close(code=WSCloseCode.GOING_AWAY)

    assert await listened(talk) == [b"one"]


async def test_a_server_that_vanishes_is_unreachable() -> None:
    async def talk(socket: web.WebSocketResponse) -> None:
        await socket.send_bytes(b"one")
        transport = socket._req.transport  # type: ignore[union-attr]
        assert transport is not None
        transport.abort()

    with pytest.raises(Unreachable, match="lost"):
        await listened(talk)


async def test_a_server_that_does_not_answer_to_pings_is_unreachable() -> None:
    with pytest.raises(Unreachable, match="lost"):
        await listened(silent, event_ping_s=0.2)


async def test_a_ping_is_answered() -> None:
    answers: list[bytes] = []

    async def talk(socket: web.WebSocketResponse) -> None:
        await socket.ping(b"are you there?")
        answers.append((await socket.receive()).data)
        await socket.send_bytes(b"one")

    async with talking(talk, autoping=False) as origin:
        assert await heard(origin) == [b"one"]
    assert answers == [b"are you there?"]


async def test_a_host_that_only_pings_is_hung_up_on_and_holds_up_nobody() -> None:
    turns: list[int] = []

    async def talk(socket: web.WebSocketResponse) -> None:
        transport = socket._req.transport  # type: ignore[union-attr]
        assert transport is not None
        transport.write(b"\x89\x00" * 100_000)
        for turn in range(1000):
            await asyncio.sleep(0)
            turns.append(turn)

    with pytest.raises(Unreachable, match="pings and nothing else"):
        await listened(talk)
    assert len(turns) > 100


@pytest.mark.parametrize("agreed", [False, True])
async def test_a_compressed_message_is_refused_even_where_the_server_says_it_was_agreed(
    agreed: bool,
) -> None:
    """A hundred kilobytes would become a hundred megabytes."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"permessage-deflate" not in head
        (key,) = re.findall(rb"(?i)sec-websocket-key: (\S+)", head)
        answer = base64.b64encode(hashlib.sha1(key + WS_KEY).digest())
        offer = b"Sec-WebSocket-Extensions: permessage-deflate\r\n" if agreed else b""
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + answer + b"\r\n" + offer + b"\r\n"
        )
        deflate = zlib.compressobj(wbits=-15)
        bomb = (deflate.compress(bytes(4_000_000)) + deflate.flush(zlib.Z_SYNC_FLUSH))[:-4]
        writer.write(b"\xc2\x7e" + len(bomb).to_bytes(2) + bomb)
        await writer.drain()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        with pytest.raises(Unreachable, match="reserved bits"):
            await heard(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")


async def test_who_wants_to_listen_is_sent_nowhere_else() -> None:
    """aiohttp would follow, to a literal address even without asking the resolver."""

    async def redirect(request: web.Request) -> web.StreamResponse:
        raise web.HTTPFound("http://127.0.0.2:1/xrpc/com.atproto.sync.subscribeRepos")

    app = web.Application()
    app.router.add_get("/{any:.*}", redirect)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    origin = f"http://127.0.0.1:{runner.addresses[0][1]}"
    allowed = frozenset({origin.removeprefix("http://")})
    fetcher = open_fetcher(Config.under(World().config().config_dir, allow_hosts=allowed))
    try:
        with pytest.raises(Unreachable, match="redirects"):
            async with EventReader(fetcher).open(origin, None):
                pass
    finally:
        await fetcher.close()
        await runner.cleanup()


async def test_a_private_address_is_not_listened_to() -> None:
    fetcher = open_fetcher(World().config())
    try:
        with pytest.raises(Unreachable, match="private"):
            async with EventReader(fetcher).open("https://127.0.0.1", None):
                pass
    finally:
        await fetcher.close()
