"""A web server for the shards of a folder, as slow as a long line: so that a download takes time.

It has what good file servers have: an ETag, Range and If-Range. It counts what it sends.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PIECE = 64 * 1024


@dataclass
class SlowServer:
    """Serves ``folder``; ``rate`` is in bytes per second and connection, 0: as fast as it goes.

    ``sent`` counts the bytes of each path, ``resumed`` the answers that began in the middle.
    """

    folder: Path
    rate: int = 0
    host: str = ""
    sent: Counter[str] = field(default_factory=Counter)
    resumed: int = 0

    @property
    def url(self) -> str:
        return f"http://{self.host}/"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, server: SlowServer, *args: object) -> None:
        self.state = server
        super().__init__(*args)  # type: ignore[arg-type]

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):  # who asked was killed
            super().handle()

    def do_GET(self) -> None:
        path = self.state.folder / self.path.lstrip("/")
        if not path.is_file():
            self.send_error(404)
            return
        data = path.read_bytes()
        etag = f'"{hashlib.sha256(data).hexdigest()[:16]}"'
        start = self._start(etag)
        self.send_response(206 if start else 200)
        self.send_header("ETag", etag)
        self.send_header("Content-Length", str(len(data) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            self.state.resumed += 1
        self.end_headers()
        self._send(data[start:])

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def _start(self, etag: str) -> int:
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        same = self.headers.get("If-Range", etag) == etag
        return int(match[1]) if match and same else 0

    def _send(self, data: bytes) -> None:
        for at in range(0, len(data), PIECE):
            piece = data[at : at + PIECE]
            self.wfile.write(piece)
            self.state.sent[self.path] += len(piece)
            if self.state.rate:
                time.sleep(len(piece) / self.state.rate)


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[SlowServer]:
    """Serve ``folder`` on loopback while the context is open."""
    state = SlowServer(folder)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, state)) as server:
        server.daemon_threads = True
        state.host = f"127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()
