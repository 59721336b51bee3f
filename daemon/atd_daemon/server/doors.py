"""Who may come in: the owner through the Unix socket, or by TCP with the token.

The Unix socket is mode 0600 in a 0700 folder, and the kernel says which user is at the other end.
TCP exists only when it was asked for, and any web page can send requests to loopback: so the Host
must be ours (a name that was rebound to 127.0.0.1 carries its own), the Origin too, and the token,
which only the owner can read, is compared in constant time. No CORS header is ever sent.
"""

from __future__ import annotations

import hmac
import os
import socket
from dataclasses import dataclass
from typing import Protocol

from aiohttp import web

from atd.connection import peer_uid


class RefusedError(Exception):
    """This request may not come in: an HTTP status, an XRPC error name and why."""

    def __init__(self, status: int, name: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.name = name
        self.message = message


class Door(Protocol):
    """Decides whether a request may come in."""

    def check(self, request: web.Request) -> None:
        """Raise RefusedError for a request that may not."""
        ...


@dataclass(frozen=True, slots=True)
class UnixDoor:
    """Lets in the user whose daemon this is, and root, who can do anything anyway."""

    def check(self, request: web.Request) -> None:
        """See `Door.check`."""
        transport = request.transport
        line = None if transport is None else transport.get_extra_info("socket")
        if line is None or line.family != socket.AF_UNIX:
            raise RefusedError(403, "Forbidden", "expected a connection by the Unix socket")
        uid = peer_uid(line, line.getsockname())
        if uid not in (os.getuid(), 0):
            raise RefusedError(403, "Forbidden", f"this daemon belongs to another user than {uid}")


@dataclass(frozen=True, slots=True)
class TcpDoor:
    """Lets in requests to our own loopback address that carry the token."""

    port: int
    token: str

    @property
    def hosts(self) -> tuple[str, ...]:
        """The only values of the Host header that are ours."""
        return (f"127.0.0.1:{self.port}", f"localhost:{self.port}")

    def check(self, request: web.Request) -> None:
        """See `Door.check`."""
        if request.headers.getall("Host", []) not in [[host] for host in self.hosts]:
            raise RefusedError(403, "Forbidden", f"expected the Host {self.hosts[0]}")
        origins = request.headers.getall("Origin", [])
        if any(origin not in [f"http://{host}" for host in self.hosts] for origin in origins):
            raise RefusedError(403, "Forbidden", "requests from other origins are not answered")
        if request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
            raise RefusedError(403, "Forbidden", "requests from other sites are not answered")
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(
            given.strip().encode("utf-8", "surrogateescape"), self.token.encode()
        ):
            raise RefusedError(
                401, "AuthenticationRequired", "expected the token of run/token as Bearer"
            )
