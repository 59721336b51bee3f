"""Ways to lie on the wire, for `World.lie`: each takes a call and the truth."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

from atd.protocol.car import read_car, write_car
from atd.protocol.cbor import Cid
from world.wire import Answer, Call, json_answer

Truth = Callable[[], Awaitable[Answer]]
Tell = Callable[[Call, Truth], Awaitable[Answer]]


def status(
    code: int, error: str = "InternalServerError", message: str = "no", **headers: str
) -> Tell:
    """Answer with this status and XRPC error; underscores in header names become dashes."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    async def tell(call: Call, truth: Truth) -> Answer:
        return json_answer({"error": error, "message": message}, code, **named)

    return tell


def html(code: int = 200) -> Tell:
    """Answer with a web page, as captive portals and error pages do."""
    page = b"<!doctype html><title>Please log in</title>"

    async def tell(call: Call, truth: Truth) -> Answer:
        return Answer(code, {"content-type": "text/html; charset=utf-8"}, page)

    return tell


def same_as(answer: Answer) -> Tell:
    """Answer with this, whatever was asked."""

    async def tell(call: Call, truth: Truth) -> Answer:
        return answer

    return tell


def drop(after_bytes: int | None = None) -> Tell:
    """Close the connection: at once, or in the middle of the body."""

    async def tell(call: Call, truth: Truth) -> Answer:
        if after_bytes is None:
            raise ConnectionResetError("connection reset by peer")
        answer = await truth()

        async def stream() -> AsyncIterator[bytes]:
            yield answer.body[:after_bytes]
            raise ConnectionResetError("connection reset by peer")

        headers = {"content-length": str(len(answer.body)), **answer.headers}
        return Answer(answer.status, headers, b"", stream)

    return tell


def hang() -> Tell:
    """Never answer."""

    async def tell(call: Call, truth: Truth) -> Answer:
        await asyncio.Event().wait()
        raise AssertionError("nobody sets that event")

    return tell


def endless(piece: bytes = b"\0" * 65536) -> Tell:
    """Answer with a body that does not end."""

    async def tell(call: Call, truth: Truth) -> Answer:
        answer = await truth()

        async def stream() -> AsyncIterator[bytes]:
            while True:
                yield piece
                await asyncio.sleep(0)

        headers = {k: v for k, v in answer.headers.items() if k != "content-length"}
        return Answer(answer.status, headers, b"", stream)

    return tell


def trickle(pause_s: float) -> Tell:
    """Answer with the true body, one byte at a time with a pause after each."""

    async def tell(call: Call, truth: Truth) -> Answer:
        answer = await truth()

        async def stream() -> AsyncIterator[bytes]:
            for byte in answer.body:
                yield bytes((byte,))
                await asyncio.sleep(pause_s)

        return replace(answer, body=b"", stream=stream)

    return tell


def redirect(location: str, code: int = 302) -> Tell:
    """Send the caller elsewhere."""
    return same_as(Answer(code, {"location": location}))


def redirect_loop() -> Tell:
    """Send the caller to where it is."""

    async def tell(call: Call, truth: Truth) -> Answer:
        return Answer(302, {"location": call.url})

    return tell


def body(change: Callable[[bytes], bytes]) -> Tell:
    """Answer with changed bytes."""

    async def tell(call: Call, truth: Truth) -> Answer:
        answer = await truth()
        headers = {k: v for k, v in answer.headers.items() if k != "content-length"}
        return Answer(answer.status, headers, change(answer.body))

    return tell


def truncated(keep: int) -> Tell:
    """Answer with the first ``keep`` bytes (negative: all but the last ones), and end well."""
    return body(lambda data: data[:keep])


def json_field(name: str, value: Any) -> Tell:
    """Answer with one field of the JSON object changed."""
    return body(lambda data: json.dumps({**json.loads(data), name: value}).encode())


def car(change: Callable[[Cid, dict[Cid, bytes]], Mapping[Cid, bytes] | bytes]) -> Tell:
    """Answer with a CAR whose blocks were changed; ``change`` gets the root and the blocks.

    It returns the blocks to write under the same root, or a whole CAR.
    """

    def changed(data: bytes) -> bytes:
        old = read_car(data)
        new = change(old.roots[0], dict(old.blocks))
        return new if isinstance(new, bytes) else write_car(old.roots[0], new.items())

    return body(changed)
