"""Heavy work: a host waits for itself first, and nobody's answer waits for it."""

from __future__ import annotations

import asyncio
import threading

import pytest

from atd_daemon.sync.heavy import THREADS, HeavyWork

HOST = "https://pds.example"


async def begun(*events: threading.Event) -> None:
    """Wait until work that tells so has begun."""
    for event in events:
        assert await asyncio.to_thread(event.wait, 10)


def waiting(begins: threading.Event, ends: threading.Event) -> None:
    begins.set()
    assert ends.wait(30)


async def test_a_host_has_one_thing_done_at_a_time_and_others_are_not_held_up() -> None:
    heavy, end = HeavyWork(), threading.Event()
    first, second = threading.Event(), threading.Event()
    asked = [
        asyncio.create_task(heavy.run(HOST, lambda: waiting(first, end))),
        asyncio.create_task(heavy.run(HOST, lambda: waiting(second, end))),
    ]
    await begun(first)
    assert await heavy.run("https://other.example", lambda: "done") == "done"
    assert not second.is_set()
    end.set()
    await asyncio.gather(*asked)
    assert second.is_set()


async def test_hosts_that_fill_all_threads_leave_those_of_answers_free() -> None:
    heavy, end = HeavyWork(), threading.Event()
    starts = [threading.Event() for _ in range(THREADS)]
    asked = [
        asyncio.create_task(heavy.run(f"https://{n}.example", lambda s=start: waiting(s, end)))
        for n, start in enumerate(starts)
    ]
    await begun(*starts)
    assert await asyncio.wait_for(asyncio.to_thread(lambda: "an answer"), 10) == "an answer"
    end.set()
    await asyncio.gather(*asked)


async def test_an_error_is_the_askers_and_the_next_has_its_turn() -> None:
    heavy = HeavyWork()

    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await heavy.run(HOST, fail)
    assert await heavy.run(HOST, lambda: 1) == 1


async def test_who_gives_up_waits_until_the_work_is_over() -> None:
    heavy, begins, ends, over = HeavyWork(), threading.Event(), threading.Event(), []

    def work() -> None:
        waiting(begins, ends)
        over.append(True)

    task = asyncio.create_task(heavy.run(HOST, work, give_up=ends.set))
    await begun(begins)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert over == [True]
