"""XRPC as HTTP: which account a request is for, who asks, what goes in, how refusals come out.

Every handler of the host is written against these few functions, so that each request passes the
same gates in the same order: the account by ``Host``, the session where one is needed, a body of
bounded size and known type, parameters of the right form.

Source: atproto.com/specs/xrpc.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeVar

from aiohttp import web
from aiohttp.web import RequestPayloadError

from atd.errors import InvalidSyntax, LexiconError, StorageFault
from atd.protocol.cbor import Cid, Value, from_json
from atd.protocol.syntax import Did, Nsid, RecordKey, quote
from atd_daemon.host.account import Account
from atd_daemon.host.host import Host
from atd_daemon.host.refusal import Refusal, invalid

T = TypeVar("T")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

HOST: Final = web.AppKey("host", Host)
_LOG: Final = logging.getLogger(__name__)

_STATUS: Final = {
    "AuthMissing": 401,
    "AuthenticationRequired": 401,
    "NotFound": 404,
    "UnknownHost": 404,
    "MethodNotAllowed": 405,
    "RequestTimeout": 408,
    "PayloadTooLarge": 413,
    "BlobTooLarge": 413,
    "RateLimitExceeded": 429,
    "MethodNotImplemented": 501,
    "InternalServerError": 500,
    "TooManyStreams": 503,
}
"""Refusals that are not plain 400."""


# --- out ------------------------------------------------------------------------------------------


@web.middleware
async def answer_refusals(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every way of failing into ``{"error", "message"}``, and public reads open to pages."""
    try:
        response = await handler(request)
    except Refusal as refusal:
        response = refused(refusal)
    except StorageFault as fault:
        _LOG.error("%s %s: %s", request.method, request.path, fault)
        response = refused(Refusal("InternalServerError", "The host's storage has a fault"))
    except web.HTTPRequestEntityTooLarge as error:
        response = refused(Refusal("PayloadTooLarge", str(error.text)))
    except web.HTTPException as error:
        response = refused(_of_http(request, error))
    except TimeoutError:
        response = refused(Refusal("RequestTimeout", "The request did not arrive in time"))
    except (ConnectionError, RequestPayloadError):
        response = refused(invalid("The connection was lost"))  # nobody hears it, and nobody need
    except Exception:
        _LOG.exception("%s %s", request.method, request.path)
        response = refused(Refusal("InternalServerError", "Internal Server Error"))
    if request.method in ("GET", "HEAD") and not response.prepared:
        response.headers.setdefault("Access-Control-Allow-Origin", "*")
    return response


def refused(refusal: Refusal) -> web.Response:
    """The answer for a refusal."""
    headers = {}
    if refusal.retry_after_s is not None:
        headers["Retry-After"] = str(math.ceil(refusal.retry_after_s))
    body = {"error": refusal.name, "message": refusal.message}
    return web.json_response(body, status=_STATUS.get(refusal.name, 400), headers=headers)


def _of_http(request: web.Request, error: web.HTTPException) -> Refusal:
    if isinstance(error, web.HTTPMethodNotAllowed):
        return Refusal("MethodNotAllowed", f"Incorrect HTTP method ({request.method})")
    if request.path.startswith("/xrpc/"):
        return Refusal("MethodNotImplemented", "Method Not Implemented")
    return Refusal("NotFound", error.reason)


# --- which account, and who asks ------------------------------------------------------------------


def account_of(request: web.Request) -> Account:
    """The account that the ``Host`` header asks for.

    Raises:
        Refusal: UnknownHost.
    """
    account = request.app[HOST].find(request.host)
    if account is None:
        raise Refusal("UnknownHost", f"No account is served at {quote(request.host)}")
    return account


def bearer(request: web.Request) -> str:
    """The token of the request.

    Raises:
        Refusal: AuthMissing, or InvalidToken for another kind of authorization.
    """
    header = request.headers.get("Authorization")
    if not header:
        raise Refusal("AuthMissing", "Authentication Required")
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer":
        raise Refusal("InvalidToken", "Unexpected authorization type")
    return token.strip()


async def authenticate(request: web.Request) -> Account:
    """The account that the request is for, if its access token says that it may write there.

    Raises:
        Refusal: AuthMissing, InvalidToken or ExpiredToken.
    """
    account = account_of(request)
    await asyncio.to_thread(account.sessions.check, bearer(request))
    return account


def require_did(account: Account, did: str) -> None:
    """Refuse another repository than the account's.

    Raises:
        Refusal: RepoNotFound.
    """
    if did != account.did:
        raise Refusal("RepoNotFound", f"Could not find repo for DID: {quote(did)}")


def require_repo(account: Account, repo: str) -> None:
    """Refuse another repository than the account's, named by DID or by handle.

    Raises:
        Refusal: RepoNotFound.
    """
    if repo != account.did and repo.lower() != account.handle:
        raise Refusal("RepoNotFound", f"Could not find repo: {quote(repo)}")


def require_own_repo(account: Account, repo: str) -> None:
    """Refuse to write to another repository than that of the session.

    Raises:
        Refusal: AuthenticationRequired.
    """
    if repo != account.did and repo.lower() != account.handle:
        raise Refusal("AuthenticationRequired", f"This session cannot write to {quote(repo)}")


# --- in -------------------------------------------------------------------------------------------


async def json_input(request: web.Request) -> Fields:
    """The JSON object in the body.

    Raises:
        Refusal: InvalidRequest.
    """
    if request.content_type != "application/json":
        raise invalid(f"Wrong request encoding (Content-Type): {quote(request.content_type)}")
    async with asyncio.timeout(request.app[HOST].limits.receive_timeout_s):
        data = await request.read()
    try:
        value = json.loads(data, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise invalid(f"Input is not JSON: {quote(str(error))}") from None
    if not isinstance(value, dict):
        raise invalid("Input must be an object")
    return Fields(value)


def _no_constant(name: str) -> object:
    raise ValueError(name)


def params(request: web.Request) -> Params:
    """The parameters of the query string."""
    return Params(dict(request.query))


class Fields:
    """The fields of an input, or the parameters of a query, each read with its type.

    Every method takes a name and raises Refusal InvalidRequest for a value of another form.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def optional(self, name: str) -> str | None:
        """A string, or None where there is none."""
        value = self._values.get(name)
        if value is None:
            return None
        if not isinstance(value, str):
            raise invalid(f"{name} must be a string, got {quote(value)}")
        return value

    def text(self, name: str) -> str:
        """A string that must be there."""
        value = self.optional(name)
        if not value:
            raise invalid(f"{name} is required")
        return value

    def flag(self, name: str) -> bool | None:
        """True or false; None where there is none."""
        value = self._values.get(name)
        if value is not None and not isinstance(value, bool):
            raise invalid(f"{name} must be true or false, got {quote(value)}")
        return value

    def did(self, name: str = "did") -> Did:
        """A DID that must be there."""
        return _checked(Did.parse, self.text(name))

    def nsid(self, name: str = "collection") -> Nsid:
        """An NSID that must be there."""
        return _checked(Nsid.parse, self.text(name))

    def rkey(self, name: str = "rkey") -> RecordKey:
        """A record key that must be there."""
        return _checked(RecordKey.parse, self.text(name))

    def cid(self, name: str) -> Cid | None:
        """A CID, or None where there is none."""
        text = self.optional(name)
        return None if text is None else _checked(Cid.parse, text)

    def has_null(self, name: str) -> bool:
        """Whether the field is there and null."""
        return name in self._values and self._values[name] is None

    def record(self, name: str) -> dict[str, Value]:
        """An object of the data model that must be there."""
        value = self._values.get(name)
        if not isinstance(value, dict):
            raise invalid(f"{name} must be an object, got {quote(value)}")
        try:
            return from_json(value)
        except LexiconError as error:
            raise invalid(f"Invalid {name}: {error}") from None

    def objects(self, name: str) -> list[Fields]:
        """A list of objects that must be there."""
        value = self._values.get(name)
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise invalid(f"{name} must be a list of objects")
        return [Fields(item) for item in value]


class Params(Fields):
    """The parameters of a query string, where everything is text."""

    def flag(self, name: str) -> bool | None:
        """``true`` or ``false``; None where there is none."""
        text = self.optional(name)
        if text not in ("true", "false", None):
            raise invalid(f"{name} must be true or false, got {quote(text)}")
        return None if text is None else text == "true"

    def integer(self, name: str, default: int | None, low: int, high: int) -> int | None:
        """A parameter of a query from ``low`` to ``high``; ``default`` where there is none."""
        text = self.optional(name)
        if text is None:
            return default
        if not text.isascii() or not text.isdigit() or not low <= int(text[:20]) <= high:
            raise invalid(f"{name} must be an integer from {low} to {high}, got {quote(text)}")
        return int(text)


def _checked(parse: Callable[[str], T], text: str) -> T:
    try:
        return parse(text)
    except InvalidSyntax as error:
        raise invalid(str(error)) from None
