"""The host as a web application: its routes, its middlewares, and nothing that binds a port.

This listener is public. It carries the routes of a PDS and no route that controls the daemon:
reading is for everybody, writing needs a session of the account that the ``Host`` header names. It
speaks plain HTTP and is made to stand behind a proxy that speaks TLS and passes ``Host`` on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Final

from aiohttp import WSCloseCode, web

from atd.errors import StorageFault
from atd_daemon.host import routes_repo, routes_server, routes_sync
from atd_daemon.host.host import Host
from atd_daemon.host.throttle import Throttle
from atd_daemon.host.xrpc import HOST, answer_refusals

_LOG: Final = logging.getLogger(__name__)
_SCRYPT_AT_ONCE: Final = 2


def create_host_app(host: Host) -> web.Application:
    """The public application of ``host``, for a runner to serve.

    The caller keeps the host open for as long as the application runs, and closes it afterwards.
    """
    limits = host.limits
    app = web.Application(middlewares=[answer_refusals], client_max_size=limits.max_json_bytes)
    app[HOST] = host
    app[routes_server.THROTTLE] = Throttle(
        limits.failed_logins, limits.failed_logins_window_s, host.clock
    )
    app[routes_server.SCRYPT_SLOTS] = asyncio.Semaphore(_SCRYPT_AT_ONCE)
    app[routes_sync.CAR_SLOTS] = asyncio.Semaphore(limits.max_car_streams)
    app[routes_sync.STREAMS] = set()
    for routes in (routes_server.routes, routes_repo.routes, routes_sync.routes):
        app.add_routes(routes)
    app.cleanup_ctx.append(_tidy_up)
    app.on_shutdown.append(_end_streams)
    return app


async def _tidy_up(app: web.Application) -> AsyncIterator[None]:
    """While the application runs, drop blobs that were uploaded and never used."""
    tidying = asyncio.create_task(_tidy(app[HOST]))
    yield
    tidying.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await tidying


async def _tidy(host: Host) -> None:
    while True:
        await asyncio.sleep(host.limits.tidy_every_s)
        for account in host.accounts:
            try:
                await asyncio.to_thread(account.blobs.sweep)
            except StorageFault as fault:
                _LOG.error("unused blobs of %s stay: %s", account.did, fault)


async def _end_streams(app: web.Application) -> None:
    """Say goodbye to subscribers, so that the runner need not wait for them."""
    streams = app[routes_sync.STREAMS]
    for stream in list(streams):
        await stream.close(code=WSCloseCode.GOING_AWAY, message=b"the host is shutting down")
