"""Listening to a host: the frames of its event stream, as bytes and not believed.

The stream is a web socket under the rules of `fetch`: the same addresses, limits and switches as
any request. What a frame says is read by `atd.protocol.frames`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from atd.errors import FrameRefused
from atd.protocol.frames import MAX_FRAME_BYTES
from atd.protocol.rejects import Reject
from atd_daemon.network.fetch import Fetcher, host_of
from atd_daemon.network.xrpc import method_url

SUBSCRIBE: Final = "com.atproto.sync.subscribeRepos"


class EventReader:
    """Opens event streams::

    async with events.open("https://pds.example.com", cursor) as frames:
        async for frame in frames:
            message = read_frame(frame)
    """

    def __init__(self, fetcher: Fetcher) -> None:
        self._fetcher = fetcher

    @asynccontextmanager
    async def open(self, origin: str, cursor: int | None) -> AsyncIterator[AsyncIterator[bytes]]:
        """The event stream of the host (PDS or relay) at ``origin``.

        Args:
            origin: such as ``https://pds.example.com``.
            cursor: the sequence number of the last event seen; 0 for all that the host still has;
                None for new events only.

        Raises:
            Unreachable, RateLimited, Offline: as any fetch, when it opens and while it is read.
            FrameRefused: a frame is larger than frames may be, or not binary; the connection is
                given up.
        """
        params = {} if cursor is None else {"cursor": cursor}
        url = method_url(origin, SUBSCRIBE, params)
        async with self._fetcher.listen(url, max_bytes=MAX_FRAME_BYTES) as messages:
            yield _bounded(messages, origin)


async def _bounded(messages: AsyncIterator[bytes], origin: str) -> AsyncIterator[bytes]:
    """``messages`` up to the first that is too large, whatever the transport let through."""
    async for message in messages:
        if len(message) > MAX_FRAME_BYTES:
            raise FrameRefused(
                f"{host_of(origin)} sent a frame of more than {MAX_FRAME_BYTES} bytes",
                reason=Reject.TOO_LARGE,
            )
        yield message
