"""Sending shards: whole or by Range, by the kernel (sendfile), with the digest as strong ETag.

What a digest names never changes, so every precondition is answered from the digest alone.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from aiohttp import hdrs, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.web_request import BaseRequest

from atd import api
from atd.protocol.cbor import Cid

_JUDGED: Final = (
    hdrs.ACCEPT_ENCODING,  # would make aiohttp look for CID.tar.gz beside the shard
    hdrs.IF_MATCH,
    hdrs.IF_MODIFIED_SINCE,
    hdrs.IF_NONE_MATCH,
    hdrs.IF_RANGE,
    hdrs.IF_UNMODIFIED_SINCE,
)
_ONE_RANGE: Final = re.compile(r"bytes=(\d+-\d*|-\d+)")


class ShardResponse(web.FileResponse):
    """A verified file. aiohttp's own tag is made of time and size; this one is the digest."""

    def __init__(self, path: Path, digest: Cid) -> None:
        self._tag = f'"{digest}"'
        super().__init__(path, headers={hdrs.CONTENT_TYPE: api.SHARD, hdrs.ETAG: self._tag})

    @property
    def etag(self) -> Any:
        """Set once and for all."""
        return self._tag

    @etag.setter
    def etag(self, value: Any) -> None:
        """Ignore aiohttp's own."""

    async def prepare(self, request: BaseRequest) -> AbstractStreamWriter | None:
        """Send the head and the body; preconditions were judged by `send_shard`."""
        headers = request.headers.copy()
        for name in _JUDGED:
            headers.popall(name, None)
        if not _wants_range(request, self._tag):
            headers.popall(hdrs.RANGE, None)
        return await super().prepare(request.clone(headers=headers))


def send_shard(request: web.Request, path: Path, digest: Cid) -> web.StreamResponse:
    """The answer to a request for the verified file at ``path``.

    Preconditions and ranges follow RFC 9110, sections 13 and 14; a request for several ranges gets
    the whole file, which that RFC allows.
    """
    tag = f'"{digest}"'
    wanted = request.headers.get(hdrs.IF_MATCH)
    if wanted is not None and not _names(wanted, tag, weak=False):
        return web.json_response(
            {"error": "PreconditionFailed", "message": f"the shard's tag is {tag}"}, status=412
        )
    known = request.headers.get(hdrs.IF_NONE_MATCH)
    if known is not None and _names(known, tag, weak=True):
        return web.Response(status=304, headers={hdrs.ETAG: tag})
    return ShardResponse(path, digest)


def _wants_range(request: BaseRequest, tag: str) -> bool:
    """Whether the Range of ``request`` is one that is to be honoured."""
    only_if = request.headers.get(hdrs.IF_RANGE)
    single = _ONE_RANGE.fullmatch(request.headers.get(hdrs.RANGE, "").strip())
    return single is not None and (only_if is None or only_if.strip() == tag)


def _names(header: str, tag: str, *, weak: bool) -> bool:
    """Whether a list of entity tags names ``tag``."""
    tags = [part.strip() for part in header.split(",")]
    return "*" in tags or tag in tags or (weak and f"W/{tag}" in tags)
