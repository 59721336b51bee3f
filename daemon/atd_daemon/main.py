"""The daemon's process: ``python -m atd_daemon.main``, started by a client or by hand.

It becomes the one daemon of its home, builds the parts, opens the doors, says that it is ready, and
serves until it is told to stop (by SIGTERM, SIGINT or ``atd daemon stop``). Then the doors close
first, work in flight gets `GRACE_S`, and the parts close last.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

from aiohttp import web

from atd import __version__, api
from atd.errors import AtdError
from atd.settings import Settings
from atd_daemon import lifecycle
from atd_daemon.inflight import InFlight
from atd_daemon.public.opening import open_public
from atd_daemon.server import TcpDoor, UnixDoor, create_app
from atd_daemon.server.doors import Door
from atd_daemon.services import Services, open_services

GRACE_S: Final = 5.0

_log = logging.getLogger("atd_daemon")

Ready = Callable[[], None]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the daemon until it is stopped; returns an exit code of `atd.errors`."""
    parser = argparse.ArgumentParser(prog="python -m atd_daemon.main", description=__doc__)
    parser.add_argument("--tcp", type=int, metavar="PORT", help="also serve on 127.0.0.1:PORT")
    parser.add_argument("--ready-fd", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.ready_fd is None:
        return _report(lambda: run(Settings.load(), tcp=given.tcp))
    with contextlib.closing(_Word(given.ready_fd)) as word:
        return _report(
            lambda: run(Settings.load(), tcp=given.tcp, ready=word.ready, detached=True),
            word,
        )


def run(
    settings: Settings,
    *,
    tcp: int | None = None,
    ready: Ready | None = None,
    detached: bool = False,
) -> None:
    """Be the daemon of ``settings`` until it is told to stop.

    Args:
        tcp: also listen on this port of the loopback address (0: any), with a token.
        ready: called once, when requests are answered.
        detached: nobody watches: log to the file alone, and leave the caller's folder.

    Raises:
        Busy: another process is the daemon of this home.
        StorageFault: the folders, the socket or the log cannot be used.
    """
    with lifecycle.only_daemon(settings):
        handler = lifecycle.keep_log(settings, None if detached else sys.stderr)
        if detached:
            lifecycle.detach()
        with contextlib.closing(handler):
            asyncio.run(_serve(settings, tcp, ready or (lambda: None)))


async def _serve(settings: Settings, port: int | None, ready: Ready) -> None:
    """Build the parts, open the doors, wait for the end, close in the opposite order."""
    async with contextlib.AsyncExitStack() as stack:
        line = stack.enter_context(lifecycle.listening(settings.socket_path))
        started_at = stack.enter_context(lifecycle.announced(settings))
        loopback = None if port is None else stack.enter_context(lifecycle.loopback(port))
        address = None if loopback is None else "{}:{}".format(*loopback.getsockname())
        services = await stack.enter_async_context(open_services(settings, started_at, tcp=address))
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, services.stop.set)
        await _open(stack, services, UnixDoor(), lambda runner: web.SockSite(runner, line))
        if loopback is not None:
            door = TcpDoor(loopback.getsockname()[1], lifecycle.new_token(settings))
            await _open(stack, services, door, lambda runner: web.SockSite(runner, loopback))
        await services.host.start()
        public = await open_public(services)
        if public is not None:
            stack.push_async_callback(public.close)
        await services.follower.start()
        _log.info("atd %s serves at %s", __version__, settings.socket_path)
        ready()
        await services.stop.wait()
        _log.info("stopping")


async def _open(
    stack: contextlib.AsyncExitStack,
    services: Services,
    door: Door,
    site: Callable[[web.AppRunner], web.BaseSite],
) -> None:
    """Serve the control application by ``door``, until the stack unwinds."""
    app = create_app(services, door)
    stack.push_async_callback(InFlight(app).end)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=GRACE_S, handle_signals=False)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await site(runner).start()


class _Word:
    """The pipe to the client that started us: one line, ready or the error."""

    def __init__(self, handle: int) -> None:
        self._file = os.fdopen(handle, "w", encoding="utf-8")

    def ready(self) -> None:
        """Say that requests are answered."""
        self._say({"ready": True})

    def failed(self, error: AtdError) -> None:
        """Say why there is no daemon."""
        self._say(api.error_to_wire(error))

    def close(self) -> None:
        """Let go of the pipe."""
        self._file.close()

    def _say(self, value: dict[str, Any]) -> None:
        # The client may have given up waiting; the daemon serves all the same.
        with contextlib.suppress(BrokenPipeError, ValueError):
            self._file.write(json.dumps(value) + "\n")
            self._file.close()


def _report(body: Callable[[], None], word: _Word | None = None) -> int:
    """Run ``body``; an error goes to the client that waits, or to stderr."""
    try:
        body()
    except AtdError as error:
        if word is not None:
            word.failed(error)
        print(f"atd: {error.message}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
