"""The application: which request goes where, and what every answer has in common.

A request passes, in order: the door (may it come in?), the table of endpoints (is there such a
one, and by this method?), the contract (are caller and daemon of one version and one home?), its
lexicon (is the input typed and within bounds?), and then its handler. Whatever goes wrong on the
way comes out as an XRPC error object, by the one table in `atd.api`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from atd import __version__, api
from atd.errors import AtdError, DaemonMismatch
from atd.protocol.syntax import quote
from atd_daemon.network.fetch import offline_now
from atd_daemon.server.doors import Door, RefusedError
from atd_daemon.server.handlers import ANSWERS, FILES, STREAMS, health
from atd_daemon.server.inputs import MAX_BODY_BYTES, read_input
from atd_daemon.server.streams import error_body, stream
from atd_daemon.services import Services

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

SERVICES = web.AppKey("services", Services)
DOOR = web.AppKey("door", Door)

_METHODS = {"query": ("GET", "HEAD"), "procedure": ("POST",)}
_log = logging.getLogger(__name__)


def create_app(services: Services, door: Door) -> web.Application:
    """The control application over ``services``, for requests that come in by ``door``.

    It serves the owner alone. The optional host's public application is another one.
    """
    app = web.Application(middlewares=[_answer_errors], client_max_size=MAX_BODY_BYTES)
    app[SERVICES] = services
    app[DOOR] = door
    app.router.add_route("*", api.PREFIX + "{nsid}", _dispatch)
    app.router.add_get("/health/{check:live|ready|fresh}", _health)
    app.router.add_get("/metrics", _metrics)
    app.on_response_prepare.append(_sign)
    return app


async def _sign(request: web.Request, response: web.StreamResponse) -> None:
    """What every answer carries: who answers, and that nothing of it is a page to show."""
    services = request.app[SERVICES]
    response.headers[api.VERSION_HEADER] = __version__
    response.headers[api.SETTINGS_HEADER] = services.settings.digest()
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Content-Security-Policy"] = "default-src 'none'"


@web.middleware
async def _answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let a request in and turn whatever it raises into an XRPC error."""
    try:
        request.app[DOOR].check(request)
        return await handler(request)
    except RefusedError as refused:
        headers = {"WWW-Authenticate": "Bearer"} if refused.status == 401 else None
        body = {"error": refused.name, "message": refused.message}
        return web.json_response(body, status=refused.status, headers=headers)
    except AtdError as error:
        return web.json_response(api.error_to_wire(error), status=api.status_of(error))
    except web.HTTPException as error:
        body = {"error": "InvalidRequest", "message": error.reason}
        allow = error.headers.get("Allow")
        return web.json_response(
            body, status=error.status, headers=None if allow is None else {"Allow": allow}
        )
    except Exception as error:
        return web.json_response(error_body(error), status=500)


async def _health(request: web.Request) -> web.StreamResponse:
    return await health.plain(request.app[SERVICES], request.match_info["check"])


async def _metrics(request: web.Request) -> web.StreamResponse:
    return await health.metrics_page(request.app[SERVICES])


async def _dispatch(request: web.Request) -> web.StreamResponse:
    """Find the endpoint, check the contract, read the input, call the handler."""
    nsid = request.match_info["nsid"]
    endpoint = api.ENDPOINTS.get(nsid)
    if endpoint is None:
        body = {"error": "MethodNotImplemented", "message": f"no endpoint {quote(nsid)}"}
        return web.json_response(body, status=501)
    if request.method not in _METHODS[endpoint.kind]:
        raise web.HTTPMethodNotAllowed(request.method, _METHODS[endpoint.kind])
    services = request.app[SERVICES]
    _check_contract(request, endpoint, services)
    # One connection's requests share a context: set it for each.
    token = offline_now.set(request.headers.get(api.OFFLINE_HEADER) == "1")
    try:
        given = await read_input(request, endpoint)
        return await _run(request, endpoint, services, given)
    finally:
        offline_now.reset(token)


async def _run(
    request: web.Request, endpoint: api.Endpoint, services: Services, given: dict[str, Any]
) -> web.StreamResponse:
    if endpoint in STREAMS:
        handler = STREAMS[endpoint]
        return await stream(request, lambda events: handler(services, given, events))
    if endpoint in FILES:
        return await FILES[endpoint](services, given, request)
    return web.json_response(await ANSWERS[endpoint](services, given))


def _check_contract(request: web.Request, endpoint: api.Endpoint, services: Services) -> None:
    """Refuse a caller of another version or with other settings, before anything was done.

    A caller that does not say (curl, say) is taken as it is.
    """
    if endpoint.any_version:
        return
    version = request.headers.get(api.VERSION_HEADER, __version__)
    if version != __version__:
        raise DaemonMismatch(
            f"the running daemon (process {os.getpid()}) is atd {__version__}, "
            f"the caller is atd {quote(version)}"
        )
    ours = services.settings.digest()
    if request.headers.get(api.SETTINGS_HEADER, ours) != ours:
        raise DaemonMismatch(
            f"the running daemon (process {os.getpid()}) was started with other settings "
            f"than the caller has"
        )
