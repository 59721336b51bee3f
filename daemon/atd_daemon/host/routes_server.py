"""Handlers of com.atproto.server and com.atproto.identity, and of the well-known paths."""

from __future__ import annotations

import asyncio
import ipaddress
from typing import Any, Final

from aiohttp import web

from atd import __version__
from atd_daemon.host.account import Account
from atd_daemon.host.refusal import Refusal
from atd_daemon.host.sessions import Tokens
from atd_daemon.host.throttle import Throttle
from atd_daemon.host.xrpc import HOST, account_of, authenticate, bearer, json_input, params

THROTTLE: Final = web.AppKey("throttle", Throttle)
SCRYPT_SLOTS: Final = web.AppKey("scrypt_slots", asyncio.Semaphore)

routes: Final = web.RouteTableDef()


@routes.get("/xrpc/_health")
async def health(request: web.Request) -> web.Response:
    """Whether the databases answer; whatever name the one who checks goes by."""
    for account in request.app[HOST].accounts:
        await asyncio.to_thread(account.reader.head)
    return web.json_response({"version": f"atd {__version__}"})


@routes.get("/.well-known/did.json")
async def did_document(request: web.Request) -> web.Response:
    """The DID document of the account at this domain."""
    account = account_of(request)
    if _name(request.host) != _name(account.domain.name):
        raise Refusal("NotFound", "No DID document is served at this name")
    return web.json_response(account.document())


@routes.get("/.well-known/atproto-did")
async def atproto_did(request: web.Request) -> web.Response:
    """The DID that the handle at this name belongs to."""
    account = account_of(request)
    if _name(request.host) != account.handle:
        raise Refusal("NotFound", "User not found")
    return web.Response(text=account.did)


@routes.get("/xrpc/com.atproto.identity.resolveHandle")
async def resolve_handle(request: web.Request) -> web.Response:
    """The DID of this account's handle; nobody else's."""
    account = account_of(request)
    if params(request).text("handle").lower() != account.handle:
        raise Refusal("HandleNotFound", "Unable to resolve handle")
    return web.json_response({"did": account.did})


@routes.get("/xrpc/com.atproto.server.describeServer")
async def describe_server(request: web.Request) -> web.Response:
    """What this server is, and how large its blobs may be."""
    account = account_of(request)
    return web.json_response(
        {
            "did": account.did,
            "availableUserDomains": [],
            "inviteCodeRequired": True,
            "blobUploadLimit": account.limits.max_blob_bytes,
            "links": {},
            "contact": {},
        }
    )


@routes.post("/xrpc/com.atproto.server.createSession")
async def create_session(request: web.Request) -> web.Response:
    """Log in with the app password."""
    account = account_of(request)
    body = await json_input(request)
    identifier, password = body.text("identifier"), body.text("password")
    throttle, address = request.app[THROTTLE], _address(request)
    throttle.check(address)
    throttle.failed(address)  # counted first: guesses sent all at once are counted too
    async with request.app[SCRYPT_SLOTS]:
        right = await asyncio.to_thread(account.sessions.matches, password)
    if not right or identifier.lower().removeprefix("@") not in (
        account.did.lower(),
        account.handle,
    ):
        raise Refusal("AuthenticationRequired", "Invalid identifier or password")
    throttle.succeeded(address)
    tokens = await asyncio.to_thread(account.sessions.begin)
    return web.json_response(_session(account, tokens))


@routes.post("/xrpc/com.atproto.server.refreshSession")
async def refresh_session(request: web.Request) -> web.Response:
    """Exchange a refresh token for new tokens."""
    account = account_of(request)
    tokens = await asyncio.to_thread(account.sessions.refresh, bearer(request))
    return web.json_response(_session(account, tokens))


@routes.post("/xrpc/com.atproto.server.deleteSession")
async def delete_session(request: web.Request) -> web.Response:
    """Log out."""
    account = account_of(request)
    await asyncio.to_thread(account.sessions.end, bearer(request))
    return web.Response()


@routes.get("/xrpc/com.atproto.server.getSession")
async def get_session(request: web.Request) -> web.Response:
    """Whose session this is."""
    return web.json_response(_session(await authenticate(request), None))


def _session(account: Account, tokens: Tokens | None) -> dict[str, Any]:
    session = {
        "did": account.did,
        "didDoc": account.document(),
        "handle": account.handle,
        "active": True,
    }
    if tokens is not None:
        session |= {"accessJwt": tokens.access, "refreshJwt": tokens.refresh}
    return session


def _name(authority: str) -> str:
    """The host name of ``host:port``."""
    return authority.lower().partition(":")[0]


def _address(request: web.Request) -> str:
    """Who asks: the peer, or whom a proxy on this machine says that it asks for.

    A proxy appends the address it saw, or a line with it, so only the last one is its word.
    """
    peer = request.remote or ""
    lines = request.headers.getall("X-Forwarded-For", [""])
    forwarded = lines[-1].rpartition(",")[2].strip()
    try:
        if forwarded and ipaddress.ip_address(peer).is_loopback:
            return _who(forwarded)
        return _who(peer)
    except ValueError:
        return peer


def _who(text: str) -> str:
    """One party for all the addresses that it has: of IPv6 that is a network of 2^64 at least."""
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(address), 64), strict=False))
