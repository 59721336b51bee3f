"""What travels between a client and the world's servers: calls, answers, and plain web sites."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Call:
    """One request as a server sees it; header names are lower case."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def host(self) -> str:
        """``host`` or ``host:port`` as the URL has it."""
        return urlsplit(self.url).netloc

    @property
    def path(self) -> str:
        """The path, without the query."""
        return urlsplit(self.url).path

    @property
    def params(self) -> dict[str, str]:
        """The query; of a repeated parameter the first."""
        return {name: values[0] for name, values in parse_qs(urlsplit(self.url).query).items()}

    def json(self) -> dict[str, Any]:
        """The body as a JSON object."""
        value = json.loads(self.body)
        assert isinstance(value, dict)
        return value


@dataclass(frozen=True)
class Answer:
    """One response. ``stream`` stands in for ``body`` where the body never ends well."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    stream: Callable[[], AsyncIterator[bytes]] | None = None

    async def chunks(self, size: int = 64 * 1024) -> AsyncIterator[bytes]:
        """The body, piece by piece."""
        if self.stream is not None:
            async with contextlib.aclosing(self.stream()) as pieces:  # type: ignore[type-var]
                async for piece in pieces:
                    yield piece
            return
        for start in range(0, len(self.body), size):
            yield self.body[start : start + size]


Server = Callable[[Call], Awaitable[Answer]]


def json_answer(value: Mapping[str, Any], status: int = 200, **headers: str) -> Answer:
    """An answer in JSON."""
    body = json.dumps(value).encode()
    return Answer(status, {"content-type": "application/json; charset=utf-8", **headers}, body)


def text_answer(text: str, status: int = 200) -> Answer:
    """An answer in plain text."""
    return Answer(status, {"content-type": "text/plain; charset=utf-8"}, text.encode())


class Refusal(Exception):
    """An XRPC error that a handler raises to answer with it."""

    def __init__(self, status: int, error: str, message: str = "", **headers: str) -> None:
        super().__init__(error)
        body = {"error": error, "message": message or error}
        self.answer = json_answer(body, status, **headers)


class Site:
    """A web site: files by path, with ETag, Last-Modified and Range, as object stores serve them.

    ``ranges=False`` makes it ignore Range; ``etags=False`` leaves the validators out.
    """

    def __init__(self, *, ranges: bool = True, etags: bool = True) -> None:
        self.files: dict[str, tuple[bytes, str]] = {}
        self.ranges = ranges
        self.etags = etags

    def put(self, path: str, data: bytes, mime: str = "application/octet-stream") -> None:
        """Serve ``data`` at ``path`` (which starts with a slash)."""
        self.files[path] = data, mime

    def delete(self, path: str) -> None:
        """Stop serving ``path``."""
        del self.files[path]

    async def __call__(self, call: Call) -> Answer:
        if call.method not in ("GET", "HEAD"):
            return text_answer("method not allowed", 405)
        if call.path not in self.files:
            return text_answer("not found", 404)
        data, mime = self.files[call.path]
        headers = {"content-type": mime, "content-length": str(len(data))}
        etag = f'"{hashlib.sha256(data).hexdigest()[:16]}"'
        if self.etags:
            headers["etag"] = etag
        asked = call.headers.get("range", "") if self.ranges else ""
        if self.ranges:
            headers["accept-ranges"] = "bytes"
        if call.headers.get("if-range", etag) != etag:
            asked = ""
        if asked:
            return _ranged(asked, data, headers)
        return Answer(200, headers, b"" if call.method == "HEAD" else data)


def _ranged(asked: str, data: bytes, headers: dict[str, str]) -> Answer:
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", asked)
    if match is None or match.groups() == ("", ""):
        return Answer(200, headers, data)
    first, last = match.groups()
    start = len(data) - int(last) if not first else int(first)
    end = len(data) - 1 if not first or not last else min(int(last), len(data) - 1)
    if start > end or start < 0:
        return Answer(416, {**headers, "content-range": f"bytes */{len(data)}"})
    part = data[start : end + 1]
    headers |= {
        "content-range": f"bytes {start}-{end}/{len(data)}",
        "content-length": str(len(part)),
    }
    return Answer(206, headers, part)
