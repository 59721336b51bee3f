"""The part of the Hugging Face Hub that fetching a data set asks for, over a folder.

``ROOT/OWNER/NAME/…`` is served as the data set ``OWNER/NAME``; use it with ``HF_ENDPOINT``.
"""

from __future__ import annotations

import hashlib
import http.server
import json
import re
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

COMMIT = "a" * 40


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    root: Path

    def log_message(self, *args: object) -> None:
        """Nothing: tests are quiet."""

    def do_HEAD(self) -> None:
        self._route(head=True)

    def do_GET(self) -> None:
        self._route(head=False)

    def _route(self, *, head: bool) -> None:
        path = urllib.parse.unquote(urllib.parse.urlparse(self.path).path)
        if found := re.fullmatch(r"/datasets/([^/]+/[^/]+)/resolve/[^/]+/(.*)", path):
            self._file(self.root / found[1] / found[2], head)
        elif found := re.fullmatch(r"/api/datasets/([^/]+/[^/]+)/tree/[^/]+/?", path):
            self._listing(found[1], head)
        elif found := re.fullmatch(r"/api/datasets/([^/]+/[^/]+)(?:/revision/[^/]+)?", path):
            self._listing(found[1], head, about=True)
        else:
            self._send(404, b"{}", head)

    def _listing(self, name: str, head: bool, *, about: bool = False) -> None:
        if not (self.root / name).is_dir():
            self._send(404, b"{}", head, {"X-Error-Code": "RepoNotFound"})
            return
        files = [p for p in sorted((self.root / name).rglob("*")) if p.is_file()]
        names = [str(p.relative_to(self.root / name)) for p in files]
        if name.endswith("/liar"):  # it lists a file of its own as one that is outside of it
            names = [f"../../../../{said}" if said.startswith("evil") else said for said in names]
        listed: Any = [
            {"type": "file", "path": said, "size": path.stat().st_size, "oid": digest(path)}
            for said, path in zip(names, files, strict=True)
        ]
        if about:
            siblings = [{"rfilename": said} for said in names]
            listed = {"id": name, "sha": COMMIT, "private": False, "siblings": siblings, "tags": []}
        self._send(200, json.dumps(listed).encode(), head)

    def _file(self, path: Path, head: bool) -> None:
        if not path.is_file():
            self._send(404, b"{}", head, {"X-Error-Code": "EntryNotFound"})
            return
        told = {"ETag": f'"{digest(path)}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        self._send(200, path.read_bytes(), head, told)

    def _send(self, code: int, body: bytes, head: bool, told: dict[str, str] | None = None) -> None:
        self.send_response(code)
        for name, value in {"Content-Length": str(len(body)), **(told or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if not head:
            self.wfile.write(body)


def digest(path: Path) -> str:
    """As git names a blob."""
    data = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@contextmanager
def serving(root: Path) -> Iterator[str]:
    """The endpoint of a hub over ``root``, for the time of a ``with`` block."""
    handler = type("Over", (Handler,), {"root": root})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()
