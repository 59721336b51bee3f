"""One thin function per endpoint: takes typed input, calls one service, gives the answer.

Three kinds, by what they answer with: a JSON object, a stream of events that ends in a result, or
a file.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from aiohttp import web

from atd import api
from atd_daemon.server.handlers import daemon
from atd_daemon.server.streams import Events
from atd_daemon.services import Services

Input = dict[str, Any]
Answer = Callable[[Services, Input], Awaitable[dict[str, Any]]]
Stream = Callable[[Services, Input, Events], Awaitable[dict[str, Any]]]
File = Callable[[Services, Input, web.Request], Awaitable[web.StreamResponse]]

ANSWERS: Final[Mapping[api.Endpoint, Answer]] = {
    api.GET_STATUS: daemon.get_status,
    api.STOP: daemon.stop,
}

STREAMS: Final[Mapping[api.Endpoint, Stream]] = {}

FILES: Final[Mapping[api.Endpoint, File]] = {}
