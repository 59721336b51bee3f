"""Fetching, with every limit kept: the policy between the daemon and everybody else's servers.

Each request has a byte limit and a deadline. Where it may go is decided by `addresses`, before
the name is looked up and again afterwards, by the transport, which connects to the address that
was checked. Redirects are followed here, by hand: at most ``max_redirects``, only for GET and
HEAD, each judged like a first request, never from https to http, and credentials do not follow to
another origin. No cookies, no proxies from the environment, no compressed bodies.

What went wrong is told apart: what we could not find out is Unreachable (no answer, a timeout, a
5xx, a body over its limit), being told to wait is RateLimited, a switched-off network is Offline.
Any other status comes back as a Reply, for the caller knows what a 404 means.

`Transport` is what the outside world looks like from here; `transport` has the real one, and the
tests have a whole world that lies. Both run under the policy of this module.
"""

from __future__ import annotations

import asyncio
import email.utils
import json as jsonlib
import time
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Protocol
from urllib.parse import urljoin

from atd.addresses import Place, parse_url, place_of
from atd.errors import Offline, RateLimited, Unreachable
from atd.protocol.syntax import quote
from atd_daemon.config import Config

offline_now: ContextVar[bool] = ContextVar("offline_now", default=False)
"""Set for one task: its caller has ATD_OFFLINE, whatever the daemon was started with."""

Body = bytes | AsyncIterable[bytes] | None
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_SECRETS = frozenset({"authorization", "proxy-authorization", "cookie"})
_ERROR_BYTES = 16 * 1024
TEN_YEARS_S: Final = 315_360_000.0


@dataclass(frozen=True)
class Reply:
    """A whole answer: header names are lower case, ``url`` is where it finally came from."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str = ""

    @property
    def media_type(self) -> str:
        """The content type without its parameters, lower case; empty if none was given."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    def json(self) -> dict[str, Any]:
        """The body as a JSON object.

        Raises:
            Unreachable: another content type (a captive portal's HTML …) or not a JSON object.
        """
        if self.media_type != "application/json" and not self.media_type.endswith("+json"):
            raise Unreachable(
                f"expected JSON from {host_of(self.url)}, got {quote(self.media_type or 'no type')}"
            )
        try:
            value = jsonlib.loads(self.body)
        except (ValueError, RecursionError):
            raise Unreachable(f"{host_of(self.url)} sent JSON that does not parse") from None
        if not isinstance(value, dict):
            raise Unreachable(f"expected a JSON object from {host_of(self.url)}")
        return value


@dataclass(frozen=True)
class StreamReply:
    """An answer whose body is read piece by piece; a piece too many or too late raises."""

    status: int
    headers: Mapping[str, str]
    chunks: AsyncIterator[bytes]
    url: str = ""


class Fetcher(Protocol):
    """What the rest of the daemon may do with a network."""

    async def request(
        self,
        method: str,
        url: str,
        *,
        max_bytes: int,
        headers: Mapping[str, str] | None = None,
        json: Any = None,
        body: Body = None,
        timeout_s: float | None = None,
    ) -> Reply:
        """Send a request and read the whole answer, of at most ``max_bytes``.

        ``json`` is sent as application/json; ``body`` as it is (give its content-length in
        ``headers`` where it is known and not bytes). ``timeout_s`` is the deadline of it all.

        Raises:
            Unreachable: no usable answer: refused address, timeout, 5xx, too large …
            RateLimited: 429.
            Offline: the network is switched off.
        """
        ...

    def stream(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
        max_bytes: int | None = None,
    ) -> AbstractAsyncContextManager[StreamReply]:
        """Open an answer for reading; raises like `request`, also while its chunks are read.

        ``timeout_s`` bounds the time to the first byte and between any two pieces; a body slower
        than ``stream_min_bytes_per_s`` on the whole is given up. ``max_bytes`` defaults to the
        largest shard.
        """
        ...

    def listen(
        self, url: str, *, max_bytes: int
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Open a web socket at an https (or allowed http) ``url`` and read its binary messages.

        The iterator ends where the server ends the stream. It may be silent for long: pings tell
        whether anybody is there.

        Raises:
            Unreachable, RateLimited, Offline: as `request`; also while messages are read, when the
                connection is lost or does not answer to pings.
            FrameRefused: a message of more than ``max_bytes``, or one that is not binary.
        """
        ...


@dataclass(frozen=True)
class Request:
    """One request on the wire; ``place`` was admitted by `addresses.place_of`."""

    method: str
    url: str
    place: Place
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body = None


@dataclass(frozen=True)
class RawReply:
    """Status line, headers (lower case) and the body as it arrives."""

    status: int
    headers: Mapping[str, str]
    chunks: AsyncIterator[bytes]


class Transport(Protocol):
    """One exchange: resolves ``place.host``, admits the addresses, connects to one of them.

    Follows no redirects, sends no cookies, undoes no compression. Raises Unreachable for whatever
    goes wrong below HTTP.
    """

    def open(self, request: Request) -> AbstractAsyncContextManager[RawReply]:
        """Send the request; the reply's chunks can be read while the context is open."""
        ...

    def listen(
        self, request: Request, max_bytes: int
    ) -> AbstractAsyncContextManager[RawReply | AsyncIterator[bytes]]:
        """Open a web socket: its binary messages as they come, or the answer of who refuses it.

        Raises, also while messages are read: Unreachable; FrameRefused for a message that is too
        large or not binary.
        """
        ...

    async def close(self) -> None:
        """Let go of every connection."""
        ...


def host_of(url: str) -> str:
    """The host of ``url`` (and its port, if unusual) for a message; printable whatever it is."""
    try:
        return parse_url(url).label
    except Unreachable:
        return quote(url)


class HttpFetcher:
    """The Fetcher: this module's policy over a transport."""

    def __init__(
        self, config: Config, transport: Transport, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._config = config
        self._transport = transport
        self._clock = clock

    async def close(self) -> None:
        """Close the transport."""
        await self._transport.close()

    async def request(
        self,
        method: str,
        url: str,
        *,
        max_bytes: int,
        headers: Mapping[str, str] | None = None,
        json: Any = None,
        body: Body = None,
        timeout_s: float | None = None,
    ) -> Reply:
        """See `Fetcher.request`."""
        sent = {name.lower(): value for name, value in (headers or {}).items()}
        if json is not None:
            body = jsonlib.dumps(json, separators=(",", ":"), ensure_ascii=False).encode()
            sent["content-type"] = "application/json"
        limit_s = self._config.fetch_timeout_s if timeout_s is None else timeout_s
        try:
            async with (
                asyncio.timeout(limit_s),
                self._follow(method, url, sent, body) as (
                    reply,
                    final,
                ),
            ):
                data = await _collect(reply, max_bytes, final)
        except TimeoutError:
            raise Unreachable(f"{host_of(url)} did not answer within {limit_s:g} s") from None
        return Reply(reply.status, reply.headers, data, final)

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
        max_bytes: int | None = None,
    ) -> AsyncIterator[StreamReply]:
        """See `Fetcher.stream`."""
        sent = {name.lower(): value for name, value in (headers or {}).items()}
        idle_s = self._config.stream_idle_timeout_s if timeout_s is None else timeout_s
        limit = self._config.max_shard_bytes if max_bytes is None else max_bytes
        follow = self._follow(method, url, sent, None)
        try:
            async with asyncio.timeout(idle_s):
                reply, final = await follow.__aenter__()
        except TimeoutError:
            raise Unreachable(f"{host_of(url)} did not answer within {idle_s:g} s") from None
        chunks = self._paced(reply, final, idle_s, limit)
        try:
            async with aclosing(chunks):
                yield StreamReply(reply.status, reply.headers, chunks, final)
        finally:
            await follow.__aexit__(None, None, None)

    @asynccontextmanager
    async def listen(self, url: str, *, max_bytes: int) -> AsyncIterator[AsyncIterator[bytes]]:
        """See `Fetcher.listen`. Redirects are not followed."""
        if self._config.offline or offline_now.get():
            raise Offline(f"{host_of(url)} is needed, and the network is switched off")
        place = place_of(url, self._config.allow_hosts)
        opening = self._transport.listen(Request("GET", url, place), max_bytes)
        limit_s = self._config.fetch_timeout_s
        try:
            async with asyncio.timeout(limit_s):
                messages = await opening.__aenter__()
        except TimeoutError:
            raise Unreachable(f"{place.label} did not answer within {limit_s:g} s") from None
        try:
            if isinstance(messages, RawReply):
                await self._check(messages, place)
                raise Unreachable(f"{place.label} answered {messages.status}, not a stream")
            yield messages
        finally:
            await opening.__aexit__(None, None, None)

    @asynccontextmanager
    async def _follow(
        self, method: str, url: str, headers: dict[str, str], body: Body
    ) -> AsyncIterator[tuple[RawReply, str]]:
        """Open ``url``, or where it redirects to; statuses that mean failure are raised."""
        headers = {"accept-encoding": "identity", **headers}
        for _ in range(self._config.max_redirects + 1):
            if self._config.offline or offline_now.get():
                raise Offline(f"{host_of(url)} is needed, and the network is switched off")
            place = place_of(url, self._config.allow_hosts)
            async with self._transport.open(Request(method, url, place, headers, body)) as reply:
                if reply.status not in _REDIRECTS:
                    await self._check(reply, place)
                    yield reply, url
                    return
                target, there = self._redirected(method, url, place, reply)
            if there.origin != place.origin:
                headers = {k: v for k, v in headers.items() if k not in _SECRETS}
            url = target
        raise Unreachable(f"{host_of(url)} redirects more than {self._config.max_redirects} times")

    def _redirected(
        self, method: str, url: str, place: Place, reply: RawReply
    ) -> tuple[str, Place]:
        """Where ``reply`` sends us, absolute and admitted."""
        location = reply.headers.get("location", "")
        if method not in ("GET", "HEAD"):
            raise Unreachable(f"{place.label} redirects a {method}, which is not followed")
        if not location:
            raise Unreachable(f"{place.label} answered {reply.status} without a location")
        try:
            target = urljoin(url, location)
        except ValueError:
            raise Unreachable(f"{place.label} redirects to {quote(location, 200)}") from None
        found = place_of(target, self._config.allow_hosts)
        if place.scheme == "https" and found.scheme != "https":
            raise Unreachable(f"{place.label} redirects from https to {quote(target, 200)}")
        return target, found

    async def _check(self, reply: RawReply, place: Place) -> None:
        """Raise for the statuses that say that we could not find out."""
        if reply.status == 429:
            wait_s = retry_after_s(reply.headers, self._clock())
            if wait_s is None:
                raise RateLimited(f"{place.label} tells us to wait")
            until = datetime.fromtimestamp(self._clock() + wait_s, UTC)
            raise RateLimited(
                f"{place.label} tells us to wait for {wait_s:.0f} s",
                retry_after_s=wait_s,
                next_step=f"run the same command again after {until:%Y-%m-%d %H:%M:%S} UTC",
            )
        if reply.status >= 500 or reply.status < 200:
            said = await _said(reply)
            raise Unreachable(f"{place.label} answered {reply.status}{said}")
        if reply.headers.get("content-encoding", "identity").lower() not in ("identity", ""):
            raise Unreachable(f"{place.label} sent a compressed body, which was not asked for")

    async def _paced(
        self, reply: RawReply, url: str, idle_s: float, limit: int
    ) -> AsyncGenerator[bytes, None]:
        """The chunks of a stream, as long as they are neither too many nor too slow."""
        started, total = time.monotonic(), 0
        chunks = aiter(reply.chunks)
        while True:
            try:
                async with asyncio.timeout(idle_s):
                    chunk = await anext(chunks)
            except StopAsyncIteration:
                return
            except TimeoutError:
                raise Unreachable(f"{host_of(url)} sent nothing for {idle_s:g} s") from None
            total += len(chunk)
            if total > limit:
                raise Unreachable(f"{host_of(url)} sent more than {limit} bytes")
            age_s = time.monotonic() - started
            floor = self._config.stream_min_bytes_per_s
            if age_s > self._config.stream_grace_s and total < age_s * floor:
                raise Unreachable(f"{host_of(url)} sends less than {floor:g} bytes a second")
            yield chunk


def retry_after_s(headers: Mapping[str, str], now: float) -> float | None:
    """How long a 429 tells us to wait, in seconds; None if it does not say.

    ``retry-after`` is seconds or an HTTP date (RFC 9110), ``ratelimit-reset`` seconds, or the
    epoch second as the reference PDS has it.
    """
    for name in ("retry-after", "ratelimit-reset"):
        text = headers.get(name, "").strip()
        if text.isascii() and text.isdigit() and len(text) < 12:
            value = float(text)
            # No limiter asks for ten years: a number of that size is a date.
            return _sane(value - now if value > TEN_YEARS_S else value)
        try:
            return _sane(email.utils.parsedate_to_datetime(text).timestamp() - now)
        except (ValueError, TypeError, IndexError, OverflowError):
            continue
    return None


def _sane(wait_s: float) -> float:
    """A wait that can be added to a date."""
    return min(max(0.0, wait_s), TEN_YEARS_S)


async def _collect(reply: RawReply, max_bytes: int, url: str) -> bytes:
    """The whole body, of at most ``max_bytes``."""
    declared = reply.headers.get("content-length", "")
    if declared.isdigit() and len(declared) < 20 and int(declared) > max_bytes:
        raise Unreachable(f"{host_of(url)} announces {declared} bytes, the limit is {max_bytes}")
    pieces, total = [], 0
    async for chunk in reply.chunks:
        total += len(chunk)
        if total > max_bytes:
            raise Unreachable(f"{host_of(url)} sent more than {max_bytes} bytes")
        pieces.append(chunk)
    return b"".join(pieces)


async def _said(reply: RawReply) -> str:
    """What a failing server says of itself, for the message: an XRPC error, or its media type."""
    head = b""
    async for chunk in reply.chunks:
        head += chunk
        if len(head) > _ERROR_BYTES:
            return ""
    kind = reply.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        return f" ({kind[:60]!a})" if kind else ""
    try:
        value = jsonlib.loads(head)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(value, dict):
        return ""
    words = [str(value[name])[:200] for name in ("error", "message") if value.get(name)]
    return f" ({ascii(': '.join(words))[1:-1]})" if words else ""
