"""The public application: its routes, and what all its answers have in common.

`ROUTES` is all there is. Every request passes: the limits of its client, the method (GET or HEAD),
the lexicon of the query, and runs with the network switched off.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

from aiohttp import web

from atd import __version__, api
from atd.errors import AtdError, InvalidSyntax, LexiconError, Offline, RecordAbsent
from atd.lexicon_files import catalog
from atd_daemon.network.fetch import offline_now
from atd_daemon.public import answers
from atd_daemon.public.answers import Given, Json, PacedShard, Shared
from atd_daemon.public.limits import OverLimitError, client_of

SHARED = web.AppKey("shared", Shared)

_GET_RECORD: Final = "com.atproto.sync.getRecord"
_GET_RECORD_PARAMS: Final = ("did", "collection", "rkey")

JSON_ROUTES: Final[dict[str, Callable[[Shared, Given], Awaitable[Json]]]] = {
    api.SEARCH_DATASETS.nsid: answers.search,
    api.LIST_DATASETS.nsid: answers.list_datasets,
    api.GET_DATASET.nsid: answers.get_dataset,
    api.GET_RELEASE.nsid: answers.get_release,
    api.GET_PREVIEW.nsid: answers.get_preview,
}
CAR_ROUTES: Final[dict[str, Callable[[Shared, Given], Awaitable[bytes]]]] = {
    api.GET_PROOF.nsid: answers.get_proof,
    _GET_RECORD: answers.get_record,
}
CHECKS: Final = ("live", "ready", "fresh")
_COSTLY: Final = (api.PREFIX + api.GET_PROOF.nsid,)

_log = logging.getLogger(__name__)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def create_public_app(shared: Shared) -> web.Application:
    """The application that everybody may ask. It binds no port."""
    app = web.Application(middlewares=[_answer_errors, _limited], client_max_size=1024)
    app[SHARED] = shared
    for nsid, answer in JSON_ROUTES.items():
        app.router.add_get(api.PREFIX + nsid, partial(_json, nsid, answer))
    for nsid, car in CAR_ROUTES.items():
        app.router.add_get(api.PREFIX + nsid, partial(_car, nsid, car))
    app.router.add_get(api.PREFIX + api.GET_SHARD.nsid, _shard)
    for check in CHECKS:
        app.router.add_get(f"/health/{check}", partial(_health, check))
    app.on_response_prepare.append(_sign)
    return app


async def _json(
    nsid: str, answer: Callable[[Shared, Given], Awaitable[Json]], request: web.Request
) -> web.Response:
    return web.json_response(await answer(request.app[SHARED], _given(nsid, request)))


async def _car(
    nsid: str, answer: Callable[[Shared, Given], Awaitable[bytes]], request: web.Request
) -> web.Response:
    data = await answer(request.app[SHARED], _given(nsid, request))
    return web.Response(body=data, content_type=api.CAR)


async def _shard(request: web.Request) -> web.StreamResponse:
    given = _given(api.GET_SHARD.nsid, request)
    return await answers.get_shard(request.app[SHARED], given, request)


async def _health(check: str, request: web.Request) -> web.Response:
    return await answers.health(request.app[SHARED], check)


def _given(nsid: str, request: web.Request) -> Given:
    """The parameters of a query, checked against its lexicon; raises InvalidSyntax."""
    if nsid == _GET_RECORD:
        given: dict[str, Any] = {name: request.query.get(name, "") for name in _GET_RECORD_PARAMS}
        return given
    try:
        given = catalog().read_params(request.query.items(), nsid)
        str(given).encode()
    except LexiconError as error:
        raise InvalidSyntax(f"{nsid}: {error.message}") from None
    except UnicodeEncodeError:
        raise InvalidSyntax("expected text, got half of a surrogate pair") from None
    return given


@web.middleware
async def _limited(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let a client have what is its due, and no network."""
    clients = request.app[SHARED].clients
    name = client_of(request)
    cost = clients.limits.bundle_cost if request.path in _COSTLY else 1.0
    token = offline_now.set(True)
    try:
        with clients.entered(name, cost), request.app[SHARED].connections.busy(request.protocol):
            answer = await handler(request)
            # Sent now, so that it counts among what this client has at once, and keeps the
            # connection busy for as long as its size allows.
            if isinstance(answer, PacedShard):  # which is not in memory, and keeps its own time
                await _send(request, answer)
            else:
                body = answer.body if isinstance(answer, web.Response) else None
                size = len(body) if isinstance(body, bytes) else 0
                with clients.waiting(size):
                    clients.charge(name, size)
                    async with clients.in_time(request, size):
                        await _send(request, answer)
            return answer
    finally:
        offline_now.reset(token)


async def _send(request: web.Request, answer: web.StreamResponse) -> None:
    if not answer.prepared:
        await answer.prepare(request)
        await answer.write_eof()


@web.middleware
async def _answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Whatever goes wrong comes out as an XRPC error, and says nothing of this machine."""
    served = request.app[SHARED].clients.served
    try:
        answer = await handler(request)
        served[str(answer.status)] += 1
        return answer
    except OverLimitError as over:
        served["429"] += 1
        body = {"error": "RateLimitExceeded", "message": f"too much ({over.reason}): wait"}
        wait = {"Retry-After": str(max(1, math.ceil(over.wait_s)))}
        return web.json_response(body, status=429, headers=wait)
    except Offline:
        error: AtdError = RecordAbsent("not all of this is here")
    except AtdError as raised:
        error = raised
    except web.HTTPException as raised:
        served[str(raised.status)] += 1
        body = {"error": "InvalidRequest", "message": raised.reason}
        allow = raised.headers.get("Allow")
        return web.json_response(
            body, status=raised.status, headers=None if allow is None else {"Allow": allow}
        )
    except ConnectionError:
        raise
    except Exception as raised:
        _log.error("a defect at %s", request.path, exc_info=raised)
        served["500"] += 1
        body = {"error": "InternalServerError", "message": "a defect"}
        return web.json_response(body, status=500)
    return _refused(served, request, error)


def _refused(served: Any, request: web.Request, error: AtdError) -> web.Response:
    status = api.status_of(error)
    if status >= 500:
        # Of our own disk and index nobody outside needs to know more than that.
        _log.warning("%s: %s", request.path, error)
        error, status = AtdError("this server cannot answer just now"), 503
    served[str(status)] += 1
    name = "RecordNotFound" if request.path.endswith(_GET_RECORD) and status == 404 else None
    wire = api.error_to_wire(error)
    return web.json_response(wire if name is None else {**wire, "error": name}, status=status)


async def _sign(request: web.Request, response: web.StreamResponse) -> None:
    """What every answer carries: it is no page, and it may be gone tomorrow."""
    response.headers[api.VERSION_HEADER] = __version__
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Content-Security-Policy"] = "default-src 'none'"
