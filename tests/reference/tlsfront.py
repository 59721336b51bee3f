"""Real HTTPS in front of a loopback server, with a throw-away CA.

It makes ``https://<handle>/.well-known/atproto-did`` real for whoever connects to its port for that
name and trusts ``ca_file``.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import trustme


class TlsFront:
    """HTTPS for ``names`` on 127.0.0.1, forwarded as plain bytes to ``upstream_port``.

    Args:
        names: the host names that its certificate holds for.
        upstream_port: the port on loopback that gets the decrypted bytes.
        ca_file: where the CA's certificate is written.
        port: where to listen; 0 takes a free one, and ``self.port`` says which.
    """

    def __init__(
        self, names: Sequence[str], upstream_port: int, ca_file: Path, port: int = 0
    ) -> None:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(ca_file))
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(*names).configure_cert(self._context)
        self._upstream_port = upstream_port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self.ca_file = ca_file
        self.port = port

    def __enter__(self) -> Self:
        self._thread.start()
        starting = asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self._context)
        server = asyncio.run_coroutine_threadsafe(starting, self._loop).result(5)
        self.port = server.sockets[0].getsockname()[1]
        self._server = server
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    async def _close(self) -> None:
        self._server.close()
        current = asyncio.current_task()
        open_tasks = [task for task in asyncio.all_tasks() if task is not current]
        for task in open_tasks:
            task.cancel()
        await asyncio.gather(*open_tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream = await asyncio.open_connection("127.0.0.1", self._upstream_port)
        await asyncio.gather(_pipe(reader, upstream[1]), _pipe(upstream[0], writer))


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()
