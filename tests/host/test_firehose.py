"""subscribeRepos frame by frame: cursors, and that each commit can be checked and undone alone."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from atd.protocol.car import read_car
from atd.protocol.cbor import Cid, decode, encode
from atd.protocol.proof import verify_commit
from atd_daemon.host.limits import HostLimits
from atd_daemon.host.tree import Tree
from host.serving import Client, Served, answered, change, creation, deletion, refused

THING = "org.example.thing"


@dataclass(frozen=True)
class Frame:
    header: Any
    body: Any

    @classmethod
    def parse(cls, data: bytes) -> Frame:
        """Header and body: two DAG-CBOR values, one after the other."""
        for size in range(1, 64):
            with contextlib.suppress(Exception):
                header = decode(data[:size])
                return cls(header, decode(data[size:]))
        raise AssertionError(f"not a frame: {data[:64]!r}")

    @property
    def kind(self) -> str:
        return str(self.header.get("t", "error"))


@contextlib.asynccontextmanager
async def subscribed(client: Client, cursor: int | None = None) -> AsyncIterator[Any]:
    """A function that gives the next frame, or None when the stream is over."""
    url = f"ws://{client.served.domain}/xrpc/com.atproto.sync.subscribeRepos"
    params = {} if cursor is None else {"cursor": str(cursor)}
    async with aiohttp.ClientSession() as session, session.ws_connect(url, params=params) as ws:

        async def following() -> Frame | None:
            message = await ws.receive(timeout=10)
            return Frame.parse(message.data) if message.type is aiohttp.WSMsgType.BINARY else None

        yield following


async def all_frames(client: Client, cursor: int = 0) -> list[Frame]:
    newest = client.inside.events.newest()
    frames: list[Frame] = []
    async with subscribed(client, cursor) as following:
        while not frames or frames[-1].body.get("seq") != newest:
            frames.append(await following())
    return frames


def work(client: Client) -> None:
    answered(client.apply(*(creation(THING, f"k{n:03d}", {"n": n}) for n in range(150))))
    client.put(THING, "k007", {"n": -7})
    client.delete(THING, "k008")
    mixed = [deletion(THING, f"k{n:03d}") for n in range(20, 60)]
    mixed += [creation(THING, f"n{n:03d}", {"n": n}) for n in range(40)]
    mixed += [change(THING, f"k{n:03d}", {"n": -n}) for n in range(60, 80)]
    answered(client.apply(*mixed))
    for n in range(150):
        client.delete(THING, f"k{n:03d}")


async def test_each_commit_can_be_verified_and_undone_from_its_own_blocks(client: Client) -> None:
    """Signature, fields, chain, and operation inversion against prevData (sync 1.1)."""
    await asyncio.to_thread(work, client)
    identity = await asyncio.to_thread(client.identity)
    frames = await all_frames(client)
    assert [frame.body["seq"] for frame in frames] == list(range(1, len(frames) + 1))
    commits = [frame.body for frame in frames if frame.kind == "#commit"]
    rev, data = None, None
    for body in commits:
        verified = verify_commit(body["blocks"], identity)
        assert (verified.cid, verified.rev, verified.did) == (
            body["commit"],
            body["rev"],
            body["repo"],
        )
        assert (body["since"], body.get("prevData")) == (rev, data)
        undo(body, verified.data, data)
        rev, data = body["rev"], verified.data
    assert rev == client.inside.reader.head().rev
    assert sum(len(body["ops"]) for body in commits) > 300


def undo(body: Any, root: Cid, before: Cid | None) -> None:
    blocks = dict(read_car(body["blocks"]).blocks)
    tree = Tree(blocks.__getitem__, root)
    for op in body["ops"]:
        assert tree.find(op["path"]) == op["cid"]
        assert op["cid"] is None or op["cid"] in blocks
        assert ("prev" in op) == (op["action"] != "create")
    for op in body["ops"]:
        if op["action"] == "create":
            tree.delete(op["path"])
        else:
            tree.put(op["path"], op["prev"])
    assert before in (None, tree.seal().root)


async def test_without_a_cursor_only_what_comes_is_sent(client: Client) -> None:
    client.put(THING, "before", {})
    async with subscribed(client) as following:
        await settled(client)
        await asyncio.to_thread(client.put, THING, "after", {})
        frame = await following()
    assert [op["path"] for op in frame.body["ops"]] == [f"{THING}/after"]


async def settled(client: Client) -> None:
    """The subscription has begun: it is one of those that are told of news."""
    async with asyncio.timeout(10):
        while not client.inside.feed._waiting:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)


async def test_from_a_cursor_nothing_is_missed_or_repeated_while_commits_go_on(
    client: Client,
) -> None:
    async def write() -> None:
        for n in range(60):
            await asyncio.to_thread(client.put, THING, "a", {"n": n})

    writing = asyncio.create_task(write())
    seen: list[int] = []
    while len(seen) < 60:
        cursor = seen[-1] if seen else 4
        async with subscribed(client, cursor) as following:
            for _ in range(min(7, 60 - len(seen))):
                seen.append((await following()).body["seq"])
    await writing
    assert seen == list(range(5, 65))


async def test_a_cursor_of_the_future_is_refused_in_a_frame(client: Client) -> None:
    async with subscribed(client, 1000) as following:
        frame = await following()
        assert (frame.header, frame.body["error"]) == ({"op": -1}, "FutureCursor")
        assert await following() is None


async def test_a_cursor_from_before_the_log_is_told_so_and_goes_on(tmp_path: Path) -> None:
    now = [1_700_000_000.0]
    with Served(tmp_path / "h", clock=lambda: now[0]) as served:
        client = served.client(served.make())
        client.put(THING, "a", {"n": 1})
        now[0] += 4 * 86400
        client.login()
        client.put(THING, "a", {"n": 2})
        oldest = client.inside.events.newest()
        frames = await all_frames(client, 1)
        assert [frame.kind for frame in frames] == ["#info", "#commit"]
        assert frames[0].body["name"] == "OutdatedCursor"
        assert frames[1].body["seq"] == oldest
        # asking for all there is, or for just what follows, misses nothing
        assert [frame.kind for frame in await all_frames(client, 0)] == ["#commit"]
        assert [frame.kind for frame in await all_frames(client, oldest - 1)] == ["#commit"]


@pytest.mark.parametrize("cursor", ["-1", "x", "1e3", "9" * 30])
def test_a_cursor_that_is_none_is_refused(client: Client, cursor: str) -> None:
    url = f"{client.served.origin}/xrpc/com.atproto.sync.subscribeRepos"
    assert refused(client.http.get(url, params={"cursor": cursor}, timeout=10)) == (
        400,
        "InvalidRequest",
    )


def test_a_plain_request_is_told_that_it_is_a_websocket(client: Client) -> None:
    assert refused(client.get("com.atproto.sync.subscribeRepos")) == (400, "InvalidRequest")


async def test_a_consumer_that_does_not_read_is_dropped_and_the_others_are_not(
    tmp_path: Path,
) -> None:
    limits = HostLimits(max_lag_events=20, send_timeout_s=1.0)
    with Served(tmp_path / "h", limits=limits) as served:
        client = served.client(served.make())
        stuck = deaf_subscriber(served.port)
        await settled(client)
        async with subscribed(client, client.inside.events.newest()) as following:
            for n in range(40):
                await asyncio.to_thread(client.put, THING, "a", {"text": f"{n}" + "x" * 500_000})
                assert (await following()).kind == "#commit"
        async with asyncio.timeout(15):
            while client.inside.feed._waiting:
                await asyncio.sleep(0.05)
        stuck.close()


def deaf_subscriber(port: int) -> socket.socket:
    """A WebSocket that is opened and never read from."""
    raw = socket.create_connection(("127.0.0.1", port))
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.sendall(
        b"GET /xrpc/com.atproto.sync.subscribeRepos HTTP/1.1\r\n"
        b"Host: localhost:" + str(port).encode() + b"\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    return raw


async def test_a_live_consumer_that_falls_behind_is_told_that_it_is_too_slow(
    tmp_path: Path,
) -> None:
    limits = HostLimits(max_lag_events=5, page_bytes=1)
    with Served(tmp_path / "h", limits=limits) as served:
        client = served.client(served.make())
        feed = client.inside.feed.follow(client.inside.events.newest())
        live = asyncio.ensure_future(anext(feed))
        await settled(client)
        for n in range(10):
            await asyncio.to_thread(client.put, THING, "a", {"n": n})
        await live
        with pytest.raises(Exception, match="ConsumerTooSlow"):
            async for _ in feed:
                pass
        # one that is only catching up may take its time
        assert len(await all_frames(client, 0)) == 14


async def test_there_is_a_limit_to_subscribers(tmp_path: Path) -> None:
    with Served(tmp_path / "h", limits=HostLimits(max_subscribers=1)) as served:
        client = served.client(served.make())
        async with subscribed(client, 0) as first:
            assert (await first()).kind == "#identity"
            async with subscribed(client) as second:
                assert (await second()).body["error"] == "TooManySubscribers"


async def test_stopping_the_host_says_goodbye(tmp_path: Path) -> None:
    with Served(tmp_path / "h") as served:
        client = served.client(served.make())
        url = f"ws://{served.domain}/xrpc/com.atproto.sync.subscribeRepos"
        async with aiohttp.ClientSession() as session, session.ws_connect(url) as ws:
            await settled(client)
            stopping = asyncio.create_task(asyncio.to_thread(served.stop))
            message = await ws.receive(timeout=10)
            assert message.type is aiohttp.WSMsgType.CLOSE
            assert message.data == aiohttp.WSCloseCode.GOING_AWAY
        await stopping


def test_frames_are_canonical() -> None:
    frame = Frame.parse(encode({"op": 1, "t": "#x"}) + encode({"seq": 1}))
    assert (frame.kind, frame.body) == ("#x", {"seq": 1})
