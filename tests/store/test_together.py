"""Many who want one shard: one download, shared progress, cancellation, two processes."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from atd.errors import Absent, DigestMismatch, Offline
from atd.protocol.cbor import RAW, Cid
from atd_daemon.network.fetch import offline_now
from atd_daemon.store import Store
from store_servers import QUICK, cut, honest, payload, status

DATA = payload()


def gated(data, gate, *, at=5000):
    """Sends the beginning, then waits to be let on."""

    async def behave(asked, to):
        start = asked.offset
        extra = {"ETag": '"one"'}
        if start:
            extra["Content_Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        await to.head(206 if start else 200, Content_Length=len(data) - start, **extra)
        await to.send(data[start : start + at])
        await gate.wait()
        await to.send(data[start + at :])

    return behave


async def until(condition):
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


async def test_many_at_once_share_one_download_and_its_progress(bench, server):
    gate, heard = asyncio.Event(), [[] for _ in range(20)]
    want = bench.want(DATA, server.on("/a", gated(DATA, gate)))
    tasks = [asyncio.create_task(bench.store.ensure(want, ears.append)) for ears in heard]
    await until(lambda: bench.partial_sizes() == [5000] or heard[0])
    gate.set()
    paths = await asyncio.gather(*tasks)
    assert set(paths) == {bench.shard_file(DATA)}
    assert len(server.asked) == 1
    assert all(ears[-1].done == len(DATA) for ears in heard)


async def test_a_failure_is_told_to_all_who_wait_and_tried_once(bench, server):
    want = bench.want(DATA, server.on("/a", status(404)))
    results = await asyncio.gather(
        *(bench.store.ensure(want) for _ in range(5)), return_exceptions=True
    )
    assert [type(result) for result in results] == [Absent] * 5
    assert len(server.asked) == 1


async def test_who_knows_another_place_tries_it_after_the_first_failed(bench, server):
    gate = asyncio.Event()

    async def gone(asked, to):
        await gate.wait()
        await status(404)(asked, to)

    bad, good = server.on("/bad", gone), server.on("/good", honest(DATA))
    first = asyncio.create_task(bench.store.ensure(bench.want(DATA, bad)))
    await until(lambda: server.asked)
    second = asyncio.create_task(bench.store.ensure(bench.want(DATA, bad, good)))
    await asyncio.sleep(0.05)  # to join the first; it gets there by itself too
    gate.set()
    with pytest.raises(Absent):
        await first
    assert await second == bench.shard_file(DATA)


async def test_who_may_use_the_network_does_not_fail_with_one_who_may_not(bench, server):
    want = bench.want(DATA, server.on("/a", honest(DATA)))

    async def offline():
        offline_now.set(True)
        return await bench.store.ensure(want)

    first, second = await asyncio.gather(
        offline(), bench.store.ensure(want), return_exceptions=True
    )
    # Whoever comes second joins the first, and what is fetched for one is there for the other.
    assert isinstance(first, Offline) or first == bench.shard_file(DATA)
    assert second == bench.shard_file(DATA)


async def test_one_who_leaves_does_not_disturb_the_others(bench, server):
    gate = asyncio.Event()
    want = bench.want(DATA, server.on("/a", gated(DATA, gate)))
    leaving, staying = (asyncio.create_task(bench.ensure(want)) for _ in range(2))
    await until(lambda: server.asked)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    gate.set()
    assert (await staying).read_bytes() == DATA
    assert len(server.asked) == 1


async def test_when_the_last_one_leaves_what_came_is_kept_and_resumed(bench, server):
    gate = asyncio.Event()
    want = bench.want(DATA, server.on("/a", gated(DATA, gate)))
    task = asyncio.create_task(bench.ensure(want))
    await until(lambda: bench.progress or bench.partial_sizes() == [5000])
    await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert bench.partial_sizes() == [5000]
    assert bench.store.path(want.digest) is None
    gate.set()
    assert (await bench.ensure(want)).read_bytes() == DATA
    assert [asked.offset for asked in server.asked] == [0, 5000]
    assert bench.left_over() == []


async def test_wanting_again_while_it_is_given_up_starts_anew(bench, server):
    gate = asyncio.Event()
    want = bench.want(DATA, server.on("/a", gated(DATA, gate)))
    task = asyncio.create_task(bench.ensure(want))
    await until(lambda: server.asked)
    task.cancel()
    again = asyncio.create_task(bench.ensure(want))
    gate.set()
    assert (await again).read_bytes() == DATA
    assert task.cancelled()


async def test_closing_the_store_gives_up_downloads_and_keeps_what_came(bench, server):
    want = bench.want(DATA, server.on("/a", gated(DATA, asyncio.Event())))
    task = asyncio.create_task(bench.ensure(want))
    await until(lambda: bench.partial_sizes())
    await bench.store.close()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [name for name in bench.left_over() if name.endswith(".lock")] == []


async def test_two_stores_of_one_folder_download_once(bench, server):
    gate = asyncio.Event()
    other = Store(bench.folder, bench.fetcher, bench.config, policy=QUICK)
    want = bench.want(DATA, server.on("/a", gated(DATA, gate)))
    tasks = [asyncio.create_task(store.ensure(want)) for store in (bench.store, other)]
    await until(lambda: server.asked)
    await asyncio.sleep(0.1)
    gate.set()
    assert set(await asyncio.gather(*tasks)) == {bench.shard_file(DATA)}
    assert len(server.asked) == 1


async def test_another_store_goes_on_where_the_first_stopped(bench, server):
    want = bench.want(DATA, server.on("/a", cut(DATA, 5000)))
    impatient = dataclasses.replace(QUICK, tries=1, progress_bytes=10**9)
    first = Store(bench.folder, bench.fetcher, bench.config, policy=impatient)
    with pytest.raises(Exception, match="could not be fetched"):
        await first.ensure(want)
    assert (await bench.ensure(want)).read_bytes() == DATA
    assert [asked.offset for asked in server.asked] == [0, 5000]


async def test_two_sizes_of_one_digest_are_not_one_wish(bench, server):
    url = server.on("/a", honest(DATA))
    right, wrong = await asyncio.gather(
        bench.store.ensure(bench.want(DATA, url)),
        bench.store.ensure(bench.want(DATA, url, size=len(DATA) - 1)),
        return_exceptions=True,
    )
    assert right == bench.shard_file(DATA)
    assert isinstance(wrong, DigestMismatch)
    with pytest.raises(DigestMismatch, match="its record says 19999 bytes"):
        await bench.ensure(bench.want(DATA, url, size=len(DATA) - 1))
    assert bench.store.path(Cid.of(DATA, RAW)) == bench.shard_file(DATA)
