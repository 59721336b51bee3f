"""The one way out of this room: an HTTP request at a time, standard library only.

What belongs here: asking one address for one object, or the rest of one, and nothing of what that
is good for.

Rules. Only https; plain http for a ``host:port`` that the setting ``allow_hosts`` names. Redirects
are followed five times at most, each checked in the same way, and never out of https. No proxies,
no credentials, no cookies, no content encoding: what is hashed is what lies on the server. A server
that goes silent is given up, and so is one that only drips.

An address that a stranger chose, in a published recipe, is asked under `atd.addresses` besides: its
host is looked up once, only public addresses of it are connected to, and the one that was checked
is the one that is connected to, also for each redirect. Addresses that the user wrote, in a recipe
of theirs, may well be those of a server at home.
"""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, urljoin, urlsplit

from atd import __version__
from atd.addresses import Place, place_of
from atd.addresses import admitted as admitted_addresses
from atd.errors import Absent, Offline, RateLimited, Unreachable
from atd.protocol.syntax import quote
from atd.recipes.access import Access
from atd.settings import Settings
from atd.validators import Version

SILENCE_S: Final = 30.0
MAX_REDIRECTS: Final = 5
CHUNK_BYTES: Final = 1 << 18
SLOWEST_BYTES: Final = 30 * 256
"""What has to come within `SLOW_S`: less is no download but a way to keep us waiting."""
SLOW_S: Final = 30.0

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_NOT_THERE: Final = frozenset({400, 401, 402, 403, 404, 410, 451})
_PLAIN: Final = re.compile(r"[!-~]{1,8192}")


class RefusedError(Exception):
    """An address is not asked, now or later: ``error`` says why, and is what users see."""

    def __init__(self, error: Unreachable) -> None:
        super().__init__(error.message)
        self.error = error


@dataclass(slots=True)
class Reply:
    """What a server answered: its status, what its headers say, and its body as it comes."""

    status: int
    headers: Mapping[str, str]
    chunks: Iterator[bytes]

    @property
    def length(self) -> int | None:
        """How many bytes the body has, if that is said."""
        text = self.headers.get("content-length", "")
        return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else None

    @property
    def version(self) -> Version:
        """The validators that came with it."""
        return Version.of(self.headers)


@contextmanager
def asked(
    url: str, access: Access, *, method: str = "GET", headers: Mapping[str, str] | None = None
) -> Iterator[Reply]:
    """Ask for ``url``; the body is read inside the ``with`` block.

    Raises:
        Offline: the network is switched off.
        Absent: it is not there, or not for us (400 to 404, 410 …).
        RateLimited: the server says to wait.
        RefusedError: the address, or one that it redirects to, may not be asked.
        Unreachable: no answer, no usable one, too slow.
    """
    sent = {
        "User-Agent": f"atd/{__version__}",
        "Accept": "*/*",
        "Accept-Encoding": "identity",
        **(headers or {}),
    }
    for _ in range(MAX_REDIRECTS + 1):
        parts = admitted(url, access.settings)
        line = _strict_line(url, access) if access.stranger else _line(parts)
        try:
            with _blaming(parts):
                line.request(method, _target(parts), headers=sent)
                answer = line.getresponse()
                said = {name.lower(): value for name, value in answer.getheaders()}
            if answer.status in _REDIRECTS:
                url = _next(url, said.get("location", ""))
                continue
            _judge(answer.status, said, parts)
            yield Reply(answer.status, said, _body(answer, parts, method == "HEAD"))
            return
        finally:
            line.close()
    raise _refused(f"more than {MAX_REDIRECTS} redirects, the last to {quote(url, 200)}")


def admitted(url: str, settings: Settings) -> SplitResult:
    """The parts of ``url``, if it may be asked.

    Raises:
        Offline: the network is switched off. RefusedError: see there.
    """
    if settings.offline:
        raise Offline(f"{quote(url, 200)} has to be fetched, and the network is switched off")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _refused(f"not a URL that can be fetched: {quote(url, 200)}") from None
    if not _PLAIN.fullmatch(url) or not parts.hostname or "@" in parts.netloc or port == 0:
        raise _refused(f"not a URL that can be fetched: {quote(url, 200)}")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    place = f"{host}:{port or 80}"
    if parts.scheme != "https" and not (parts.scheme == "http" and place in settings.allow_hosts):
        raise _refused(
            f"expected an https URL, got {quote(url, 200)}",
            f"if you trust the way there, add {place} to ATD_ALLOW_HOSTS",
        )
    return parts


def _refused(message: str, next_step: str | None = None) -> RefusedError:
    return RefusedError(Unreachable(message, next_step=next_step))


def _next(url: str, location: str) -> str:
    target = urljoin(url, location)
    if not location or (urlsplit(url).scheme == "https" and urlsplit(target).scheme != "https"):
        raise _refused(f"{quote(url, 200)} redirects to {quote(location, 200)}, out of https")
    return urlsplit(target)._replace(fragment="").geturl()


def _line(parts: SplitResult) -> http.client.HTTPConnection:
    assert parts.hostname is not None
    if parts.scheme == "https":
        context = ssl.create_default_context()
        return http.client.HTTPSConnection(
            parts.hostname, parts.port, timeout=SILENCE_S, context=context
        )
    return http.client.HTTPConnection(parts.hostname, parts.port, timeout=SILENCE_S)


class _Pinned(http.client.HTTPConnection):
    """A connection to one of ``addresses``, which were checked; nothing is looked up again."""

    def __init__(self, place: Place, addresses: list[str]) -> None:
        super().__init__(place.host, place.port, timeout=SILENCE_S)
        self._place, self._addresses = place, addresses
        if place.scheme == "https":
            self.default_port = http.client.HTTPS_PORT

    def connect(self) -> None:
        """Connect to the first address that answers; a certificate is for the name."""
        line = self._first()
        if self._place.scheme == "https":
            context = ssl.create_default_context()
            line = context.wrap_socket(line, server_hostname=self._place.host)
        self.sock = line

    def _first(self) -> socket.socket:
        trouble: OSError = ConnectionRefusedError("no address")
        for address in self._addresses:
            try:
                return socket.create_connection((address, self._place.port), SILENCE_S)
            except OSError as error:
                trouble = error
        raise trouble


def _strict_line(url: str, access: Access) -> http.client.HTTPConnection:
    """A connection to where ``url`` leads, if that may be connected to for a stranger."""
    allowed = access.settings.allow_hosts
    try:
        place = place_of(url, allowed)
    except Unreachable as error:
        raise RefusedError(error) from None
    found = (access.lookup or _look_up)(place.host, place.port)
    try:
        return _Pinned(place, admitted_addresses(place, found, allowed))
    except Unreachable as error:
        raise RefusedError(error) from None


def _look_up(host: str, port: int) -> list[str]:
    """The addresses of a host, each once, in the order in which they are tried."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Unreachable(f"{quote(host)} cannot be found: {error}") from None
    return list(dict.fromkeys(str(one[4][0]) for one in found))


def _target(parts: SplitResult) -> str:
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


@contextmanager
def _blaming(parts: SplitResult) -> Iterator[None]:
    """What goes wrong between us and a server is `Unreachable`, and says with whom."""
    host = quote(parts.hostname or "")
    try:
        yield
    except TimeoutError:
        raise Unreachable(f"{host} was silent for {SILENCE_S:.0f} s") from None
    except ssl.SSLCertVerificationError as error:
        raise Unreachable(f"{host} has no valid certificate: {error.verify_message}") from None
    except (http.client.HTTPException, ValueError) as error:
        raise Unreachable(f"{host} sent no usable answer: {quote(str(error), 200)}") from None
    except OSError as error:
        raise Unreachable(f"{host} cannot be reached: {error.strerror or error}") from None


def _judge(status: int, headers: Mapping[str, str], parts: SplitResult) -> None:
    host = quote(parts.hostname or "")
    if status in (200, 206, 416):
        if headers.get("content-encoding", "identity").lower() not in ("", "identity"):
            raise Unreachable(f"{host} answers in an encoding that was not asked for")
        return
    if status in _NOT_THERE:
        raise Absent(f"{host} answered {status}: it is not there, or not for us")
    if status in (429, 503):
        wait = headers.get("retry-after", "")
        seconds = float(wait) if re.fullmatch(r"[0-9]{1,6}", wait) else None
        raise RateLimited(f"{host} answered {status}: wait", retry_after_s=seconds)
    raise Unreachable(f"{host} answered {status}")


def _body(answer: http.client.HTTPResponse, parts: SplitResult, empty: bool) -> Iterator[bytes]:
    since, came = time.monotonic(), 0
    while not empty:
        with _blaming(parts):
            chunk = answer.read1(CHUNK_BYTES)
        if not chunk:
            return
        came += len(chunk)
        now = time.monotonic()
        if now - since >= SLOW_S:
            if came < SLOWEST_BYTES:
                raise Unreachable(f"{quote(parts.hostname or '')} sent {came} bytes in {SLOW_S} s")
            since, came = now, 0
        yield chunk
