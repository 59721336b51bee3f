"""A real HTTP server on loopback that serves some files, and can misbehave about each."""

from __future__ import annotations

import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Served:
    """One file, and how it is served.

    Args:
        etag: sent with every answer; None: no validator at all.
        cut: of the first answer, send this many bytes and close the connection.
        hold: of the first answer, send this many bytes, then call ``holding`` and close.
        ignore_range: always send everything.
        redirect: answer with this address.
        status: answer with this, and nothing.
    """

    data: bytes = b""
    etag: str | None = None
    cut: int | None = None
    hold: int | None = None
    holding: Callable[[], None] = field(default=lambda: time.sleep(30))
    ignore_range: bool = False
    announce: int | None = None
    redirect: str | None = None
    status: int | None = None


class FileServer:
    """``files`` by path; ``requests`` is what was asked: method, path, Range."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self._scheme = "http" if context is None else "https"
        self.files: dict[str, Served] = {}
        self.requests: list[tuple[str, str, str | None]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                """Be silent."""

            def do_HEAD(self) -> None:
                outer.answer(self, body=False)

            def do_GET(self) -> None:
                outer.answer(self, body=True)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self._server.server_address[1]}"

    def url(self, path: str) -> str:
        return f"{self._scheme}://{self.place}{path}"

    def serve(self, path: str, data: bytes, **options: object) -> str:
        """Serve ``data`` at ``path``; returns its address."""
        self.files[path] = Served(data, **options)  # type: ignore[arg-type]
        return self.url(path)

    def gets(self) -> list[str]:
        """The paths that were asked for, in order."""
        return [path for method, path, _ in self.requests if method == "GET"]

    @contextmanager
    def running(self) -> Iterator[FileServer]:
        self._thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()

    def answer(self, request: BaseHTTPRequestHandler, *, body: bool) -> None:
        ranged = request.headers.get("Range")
        self.requests.append((request.command, request.path, ranged))
        served = self.files.get(request.path, Served(status=404))
        if served.status is not None or served.redirect is not None:
            request.send_response(served.status or 302)
            if served.redirect is not None:
                request.send_header("Location", served.redirect)
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        start = self._start(request, served, ranged)
        data = served.data[start:]
        request.send_response(206 if start else 200)
        if start:
            total = len(served.data)
            request.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        if served.etag is not None:
            request.send_header("ETag", served.etag)
        length = len(data) if served.announce is None else served.announce
        request.send_header("Content-Length", str(length))
        request.end_headers()
        if body:
            self._send(request, served, data)

    @staticmethod
    def _start(request: BaseHTTPRequestHandler, served: Served, ranged: str | None) -> int:
        match = re.fullmatch(r"bytes=(\d+)-", ranged or "")
        condition = request.headers.get("If-Range")
        if match is None or served.ignore_range or condition not in (None, served.etag):
            return 0
        return int(match[1])

    @staticmethod
    def _send(request: BaseHTTPRequestHandler, served: Served, data: bytes) -> None:
        short = served.cut if served.hold is None else served.hold
        held, served.cut, served.hold = served.hold is not None, None, None
        request.wfile.write(data if short is None else data[:short])
        request.wfile.flush()
        if held:
            served.holding()
        if short is not None:
            request.close_connection = True
