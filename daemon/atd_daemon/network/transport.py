"""The real way out: the only module that imports an HTTP client (aiohttp).

One exchange at a time, under the rules of `fetch`. The name is looked up here, the answer goes
through `addresses.admitted`, and aiohttp connects to what came out of it: a second lookup that
answers otherwise (DNS rebinding) cannot happen in between. TLS is verified against the host's
name with the system's authorities (``SSL_CERT_FILE`` is honoured by OpenSSL).
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from atd.addresses import Place, admitted
from atd.errors import FrameRefused, Unreachable
from atd.protocol.rejects import Reject
from atd.protocol.syntax import quote
from atd_daemon.config import Config
from atd_daemon.network.fetch import Body, HttpFetcher, RawReply, Request

CHUNK_BYTES = 256 * 1024
_PINGS = 1000
"""In a row without a message, after which a host is hung up on; one in half a minute is usual."""
_CLOSING_S = 2.0  # how long a server may take to say goodbye; it is gone either way
Lookup = Callable[[str, int], Awaitable[list[str]]]
"""Host and port to IP addresses, as text. Raises OSError where there is no answer."""


async def system_lookup(host: str, port: int) -> list[str]:
    """The addresses that this machine's resolver has for ``host``."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(item[4][0]) for item in found))


class _Refused(OSError):
    """Carries our own refusal through aiohttp, which turns other errors into its own."""

    def __init__(self, error: Unreachable) -> None:
        super().__init__(str(error))
        self.error = error


class _CheckedResolver(AbstractResolver):
    """Answers aiohttp with addresses that were admitted, and with nothing else."""

    def __init__(self, lookup: Lookup, allow_hosts: frozenset[str]) -> None:
        self._lookup = lookup
        self._allow_hosts = allow_hosts

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        try:
            addresses = admitted(
                Place("https", host, port), await self._lookup(host, port), self._allow_hosts
            )
        except Unreachable as error:
            raise _Refused(error) from error
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        """Nothing is held."""


class HttpTransport:
    """`fetch.Transport` over aiohttp. Made and used within one event loop."""

    def __init__(
        self,
        config: Config,
        *,
        lookup: Lookup = system_lookup,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._config = config
        self._lookup = lookup
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None
        self._sockets: aiohttp.ClientSession | None = None

    @asynccontextmanager
    async def open(self, request: Request) -> AsyncIterator[RawReply]:
        """See `fetch.Transport.open`."""
        host = request.place.label
        try:
            async with self._connected().request(
                request.method,
                URL(request.url, encoded=True),
                headers=request.headers,
                data=_payload(request.body),
                allow_redirects=False,
            ) as reply:
                yield RawReply(reply.status, _lower(reply.headers), _chunks(reply, host))
                reply.close()
        except aiohttp.ClientError as error:
            raise _translated(error, host) from error
        except (OSError, ValueError) as error:
            if isinstance(error, TimeoutError):
                raise
            raise Unreachable(f"cannot fetch from {host}: {_plain(error)}") from error

    @asynccontextmanager
    async def listen(
        self, request: Request, max_bytes: int
    ) -> AsyncIterator[RawReply | AsyncIterator[bytes]]:
        """See `fetch.Transport.listen`."""
        host = request.place.label
        try:
            async with self._listening().ws_connect(
                URL(request.url, encoded=True),
                heartbeat=self._config.event_ping_s,
                autoping=False,
                compress=0,  # nor is it asked for: what comes in is as large as it is
                max_msg_size=max_bytes + 1,  # aiohttp means "less than"
                timeout=aiohttp.ClientWSTimeout(ws_close=_CLOSING_S),
            ) as socket:
                yield _messages(socket, host, max_bytes)
        except aiohttp.WSServerHandshakeError as error:
            yield RawReply(error.status, _lower(error.headers or {}), _nothing())
        except aiohttp.ClientError as error:
            raise _translated(error, host) from error
        except (OSError, ValueError) as error:
            if isinstance(error, TimeoutError | _Refused):
                raise getattr(error, "error", error) from None
            raise Unreachable(f"cannot listen to {host}: {_plain(error)}") from error

    async def close(self) -> None:
        """Close the connections."""
        for session in (self._session, self._sockets):
            if session is not None:
                await session.close()
        self._session = self._sockets = None

    def _connected(self) -> aiohttp.ClientSession:
        """The session, made on first use because it belongs to a running loop."""
        if self._session is None:
            self._session = self._made(64, 8, ())
        return self._session

    def _listening(self) -> aiohttp.ClientSession:
        """The session of the sockets, which stay open: they take no place from the requests."""
        if self._sockets is None:
            tracing = aiohttp.TraceConfig()
            tracing.on_request_redirect.append(_no_redirect)
            self._sockets = self._made(0, 0, (tracing,))
        return self._sockets

    def _made(
        self, limit: int, limit_per_host: int, tracing: Sequence[aiohttp.TraceConfig]
    ) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            resolver=_CheckedResolver(self._lookup, self._config.allow_hosts),
            use_dns_cache=False,
            ssl=True if self._tls is None else self._tls,
            limit=limit,
            limit_per_host=limit_per_host,
        )
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
            requote_redirect_url=False,
            read_bufsize=CHUNK_BYTES,
            skip_auto_headers=("accept-encoding",),
            headers={"user-agent": "atd (+https://pypi.org/project/atd-catalog/)"},
            # `fetch` keeps the deadlines of whole requests; here only what it cannot see.
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._config.connect_timeout_s),
            trace_configs=list(tracing),
        )


def open_fetcher(config: Config) -> HttpFetcher:
    """A Fetcher over the real network; close it in the loop that used it."""
    return HttpFetcher(config, HttpTransport(config))


async def _no_redirect(
    session: aiohttp.ClientSession, context: object, params: aiohttp.TraceRequestRedirectParams
) -> None:
    """aiohttp would follow, without asking us where to."""
    host = quote(params.url.host or "", 200)[1:-1]
    raise _Refused(Unreachable(f"{host} redirects who wants to listen, which is not followed"))


async def _messages(
    socket: aiohttp.ClientWebSocketResponse, host: str, max_bytes: int
) -> AsyncIterator[bytes]:
    pings = 0
    while True:
        message = await socket.receive()
        if message.type is aiohttp.WSMsgType.BINARY:
            pings = 0
            yield message.data
        elif message.type in (aiohttp.WSMsgType.PING, aiohttp.WSMsgType.PONG):
            pings += 1
            if pings > _PINGS:
                raise Unreachable(f"{host} sent {_PINGS} pings and nothing else")
            if message.type is aiohttp.WSMsgType.PING:
                await socket.pong(message.data)
            await asyncio.sleep(0)  # or all that came would be answered in one turn
        elif message.type is aiohttp.WSMsgType.TEXT:
            raise FrameRefused(f"{host} sent text, not a frame", reason=Reject.BAD_FRAME)
        elif socket.close_code == aiohttp.WSCloseCode.MESSAGE_TOO_BIG:
            raise FrameRefused(
                f"{host} sent a frame of more than {max_bytes} bytes", reason=Reject.TOO_LARGE
            )
        elif socket.close_code == aiohttp.WSCloseCode.ABNORMAL_CLOSURE:
            raise Unreachable(f"the connection to {host} was lost")
        elif message.type is aiohttp.WSMsgType.ERROR:
            raise Unreachable(f"cannot listen to {host}: {_plain(message.data)}")
        else:
            return


async def _nothing() -> AsyncIterator[bytes]:
    pieces: tuple[bytes, ...] = ()
    for piece in pieces:
        yield piece


async def _chunks(reply: aiohttp.ClientResponse, host: str) -> AsyncIterator[bytes]:
    try:
        async for chunk in reply.content.iter_chunked(CHUNK_BYTES):
            yield chunk
    except aiohttp.ClientError as error:
        raise _translated(error, host) from error


def _payload(body: Body) -> Body:
    """``body`` as aiohttp wants it; large bytes are cut so that it need not warn or block."""
    if not isinstance(body, bytes) or len(body) <= CHUNK_BYTES:
        return body
    return aiohttp.BytesPayload(body)  # type: ignore[return-value]  # a Payload is accepted too


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    """Header names in lower case; of a repeated one the first counts."""
    found: dict[str, str] = {}
    for name, value in headers.items():
        found.setdefault(name.lower(), value)
    return found


def _translated(error: aiohttp.ClientError, host: str) -> Unreachable:
    """What went wrong below HTTP, in one line."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, _Refused):
            return cause.error
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientSSLError):
        return Unreachable(f"cannot verify that {host} is who it says: {_plain(error)}")
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return Unreachable(f"the name {host} cannot be looked up")
    if isinstance(error, aiohttp.ClientConnectorError) and error.os_error.errno:
        return Unreachable(f"cannot connect to {host}: {os.strerror(error.os_error.errno).lower()}")
    return Unreachable(f"cannot fetch from {host}: {_plain(error)}")


def _plain(error: Exception) -> str:
    return quote(str(error) or type(error).__name__, 300)[1:-1]
