"""A web server on loopback that misbehaves on request, and a bench to test a store at."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from atd.protocol.cbor import RAW, Cid
from atd_daemon.config import Config
from atd_daemon.network.fetch import HttpFetcher
from atd_daemon.store import Progress, RetryPolicy, ShardWant, Source, Store, Url

ETAG = '"one"'
QUICK = RetryPolicy(
    tries=3, pause_s=0.001, longest_wait_s=1.0, flush_bytes=1000, progress_bytes=1000
)


def payload(size: int = 20_000, seed: int = 1) -> bytes:
    """Bytes of which no part is like another."""
    return b"".join((seed * 1_000_003 + n).to_bytes(8) for n in range(size // 8 + 1))[:size]


@dataclass
class Asked:
    """One request as it came."""

    path: str
    headers: dict[str, str]

    @property
    def offset(self) -> int:
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("range", ""))
        return int(match[1]) if match else 0


class Connection:
    """What a behaviour writes its answer to."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer

    async def head(self, status: int, **headers: Any) -> None:
        lines = [f"HTTP/1.1 {status} Whatever", "Connection: close"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        await self.send("\r\n".join([*lines, "", ""]).encode())

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def chunk(self, data: bytes) -> None:
        """A piece of a chunked body; an empty one ends it."""
        await self.send(b"%x\r\n%s\r\n" % (len(data), data))


Behaviour = Callable[[Asked, Connection], Awaitable[None]]


@dataclass
class Server:
    """Answers each path with the behaviour that was set for it."""

    port: int = 0
    asked: list[Asked] = field(default_factory=list)
    behaviours: dict[str, Behaviour] = field(default_factory=dict)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def url(self, path: str) -> Url:
        return Url(f"http://{self.host}{path}")

    def on(self, path: str, behaviour: Behaviour) -> Url:
        self.behaviours[path] = behaviour
        return self.url(path)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            text = (await reader.readuntil(b"\r\n\r\n")).decode()
            first, *lines = text.split("\r\n")
            headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in lines) if k}
            asked = Asked(first.split(" ")[1], headers)
            self.asked.append(asked)
            behaviour = self.behaviours[asked.path.partition("?")[0]]
            await behaviour(asked, Connection(writer))
        writer.close()


def honest(data: bytes, *, etag: str | None = ETAG, ranges: bool = True) -> Behaviour:
    """As a good file server does it: validators, If-Range, 206 or 200."""

    async def behave(asked: Asked, to: Connection) -> None:
        extra = {} if etag is None else {"ETag": etag}
        condition = asked.headers.get("if-range")
        start = asked.offset
        if not ranges or (condition is not None and condition != etag):
            start = 0
        if start:
            end = len(data) - 1
            extra["Content_Range"] = f"bytes {start}-{end}/{len(data)}"
        await to.head(206 if start else 200, Content_Length=len(data) - start, **extra)
        await to.send(data[start:])

    return behave


def cut(data: bytes, at: int, *, times: int = 1, etag: str | None = ETAG) -> Behaviour:
    """Breaks the connection after ``at`` bytes of the first answers, then serves honestly."""
    good, left = honest(data, etag=etag), [times]

    async def behave(asked: Asked, to: Connection) -> None:
        if left[0] <= 0:
            return await good(asked, to)
        left[0] -= 1
        start = asked.offset
        extra = {} if etag is None else {"ETag": etag}
        if start:
            extra["Content_Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        await to.head(206 if start else 200, Content_Length=len(data) - start, **extra)
        await to.send(data[start : start + at])

    return behave


def status(code: int, **headers: Any) -> Behaviour:
    async def behave(asked: Asked, to: Connection) -> None:
        await to.head(code, Content_Length=2, **headers)
        await to.send(b"no")

    return behave


def first(*behaviours: Behaviour) -> Behaviour:
    """One behaviour for each request; the last for all that follow."""
    queue = list(behaviours)

    async def behave(asked: Asked, to: Connection) -> None:
        await (queue.pop(0) if len(queue) > 1 else queue[0])(asked, to)

    return behave


@dataclass
class Bench:
    """A store in a folder, and what it did."""

    folder: Path
    config: Config
    fetcher: HttpFetcher
    store: Store
    progress: list[Progress] = field(default_factory=list)

    def want(self, data: bytes, *sources: Source, size: int | None = None) -> ShardWant:
        return ShardWant(Cid.of(data, RAW), len(data) if size is None else size, sources)

    async def ensure(self, want: ShardWant) -> Path:
        return await self.store.ensure(want, self.progress.append)

    def shard_file(self, data: bytes) -> Path:
        digest = Cid.of(data, RAW)
        return self.folder / digest.digest[:1].hex() / f"{digest}.tar"

    def left_over(self) -> list[str]:
        """The names of what is unfinished."""
        return sorted(path.name for path in (self.folder / "partial").iterdir())

    def partial_sizes(self) -> list[int]:
        files = (self.folder / "partial").iterdir()
        return [p.stat().st_size for p in files if re.fullmatch(r"\.[0-9a-f]{16}", p.suffix)]
