"""Streams: steps in order, progress as a state, an end that is said, no work without a caller."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from atd.errors import DigestMismatch, RateLimited
from atd_daemon.server.streams import Events, stream

Run = Callable[[Events], Awaitable[dict[str, Any]]]


@asynccontextmanager
async def answering(run: Run) -> AsyncIterator[aiohttp.ClientResponse]:
    """The answer of a server that streams ``run``."""

    async def handle(request: web.Request) -> web.StreamResponse:
        return await stream(request, run)

    app = web.Application()
    app.router.add_get("/", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{port}/") as reply,
        ):
            yield reply
    finally:
        await runner.cleanup()


async def lines(run: Run) -> list[dict[str, Any]]:
    async with answering(run) as reply:
        assert reply.content_type == "application/jsonl"
        return [json.loads(line) for line in (await reply.text()).splitlines() if line]


async def test_steps_come_in_order_and_the_result_last() -> None:
    async def run(events: Events) -> dict[str, Any]:
        for number in range(100):
            events.step(name=str(number))
            if number % 10 == 0:
                await asyncio.sleep(0)
        return {"done": True}

    found = await lines(run)
    assert [line["step"]["name"] for line in found[:-1]] == [str(n) for n in range(100)]
    assert found[-1] == {"result": {"done": True}}


async def test_progress_is_a_state_and_is_throttled() -> None:
    async def run(events: Events) -> dict[str, Any]:
        for number in range(50_000):
            events.progress(done=number, total=50_000)
            if number % 5000 == 0:
                await asyncio.sleep(0.05)
        return {}

    said = [line["progress"]["done"] for line in await lines(run) if "progress" in line]
    assert 1 <= len(said) <= 12
    assert said == sorted(said)


async def test_an_error_is_the_last_line_with_its_next_step() -> None:
    async def run(events: Events) -> dict[str, Any]:
        events.step(name="before")
        raise DigestMismatch("expected a, found b", next_step="try another")

    found = await lines(run)
    assert found == [
        {"step": {"name": "before"}},
        {"error": "DigestMismatch", "message": "expected a, found b", "nextStep": "try another"},
    ]


async def test_how_long_to_wait_is_said() -> None:
    async def run(events: Events) -> dict[str, Any]:
        raise RateLimited("wait", retry_after_s=30)

    assert (await lines(run))[-1]["retryAfter"] == 30


async def test_a_defect_is_named_and_its_words_stay_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def run(events: Events) -> dict[str, Any]:
        raise ZeroDivisionError("secret words")

    (line,) = await lines(run)
    assert line["error"] == "InternalServerError"
    assert "ZeroDivisionError" in line["message"]
    assert "secret" not in json.dumps(line)
    assert "secret words" in caplog.text


async def test_a_client_that_goes_away_ends_the_work() -> None:
    ended = asyncio.Event()

    async def run(events: Events) -> dict[str, Any]:
        try:
            events.step(name="begun")
            await asyncio.sleep(60)
        finally:
            ended.set()
        return {}

    async with answering(run) as reply:
        assert b"begun" in await reply.content.readline()
        reply.close()
        await asyncio.wait_for(ended.wait(), 10)


async def test_work_that_ends_itself_slowly_is_waited_for() -> None:
    """What is cancelled may have something to write down; the next one must not overtake it."""
    written: list[str] = []

    async def run(events: Events) -> dict[str, Any]:
        events.step(name="begun")
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(0.2)
            written.append("journal")
            raise
        return {}

    async with answering(run) as reply:
        await reply.content.readline()
        reply.close()
    assert written == ["journal"]
