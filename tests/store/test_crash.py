"""Killed at any moment, or with the disk full: nothing partial shows, and a rerun converges."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys

import pytest

from atd.protocol.cbor import RAW, Cid
from atd_daemon.store import Store
from store_servers import QUICK, honest, payload

DATA = payload(10_000)
DIGEST = Cid.of(DATA, RAW)

DOWNLOAD = """
import asyncio, os, resource, signal, sys
from pathlib import Path
from atd.protocol.cbor import Cid
from atd.errors import AtdError
from atd_daemon.config import Config
from atd_daemon.network.transport import open_fetcher
from atd_daemon.store import RetryPolicy, ShardWant, Store, Url

home, url, digest, size, kill_at, file_limit = sys.argv[1:]
left = [int(kill_at)]

def progress(_):
    left[0] -= 1
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)

async def main():
    config = Config.under(Path(home), allow_hosts=frozenset({url.split("/")[2]}))
    fetcher = open_fetcher(config)
    policy = RetryPolicy(tries=1, pause_s=0.0, flush_bytes=1000)
    store = Store(Path(home) / "cache" / "shards", fetcher, config, policy=policy)
    if int(file_limit):
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(file_limit), int(file_limit)))
    want = ShardWant(Cid.parse(digest), int(size), (Url(url),))
    try:
        print(await store.ensure(want, progress))
    except AtdError as error:
        print(type(error).__name__, error)
    await fetcher.close()

asyncio.run(main())
"""

ADOPT = """
import os, signal, sys, threading, time
from pathlib import Path
from atd.protocol.cbor import Cid
from atd_daemon.config import Config
from atd_daemon.store import Store
home, path, digest, size, wait = sys.argv[1:]
store = Store(Path(home) / "cache" / "shards", None, Config.under(Path(home)))
print("ready", flush=True)
threading.Thread(
    target=lambda: (time.sleep(float(wait)), os.kill(os.getpid(), signal.SIGKILL)), daemon=True
).start()
store.adopt(Path(path), Cid.parse(digest), int(size))
time.sleep(5)
"""


async def run(code: str, *args: object) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        code,
        *map(str, args),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert not err, err.decode()
    return process.returncode or 0, out.decode()


def slices(data):
    """Serves in pieces, so that progress is made in steps."""
    good = honest(data)

    async def behave(asked, to):
        start = asked.offset
        if start >= len(data):
            return await good(asked, to)
        extra = {"ETag": '"one"'}
        if start:
            extra["Content_Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        await to.head(206 if start else 200, Content_Length=len(data) - start, **extra)
        for at in range(start, len(data), 1000):
            await to.send(data[at : at + 1000])
            await asyncio.sleep(0.005)

    return behave


async def test_sigkill_at_every_chunk_leaves_nothing_visible_and_converges(bench, server, tmp_path):
    url = server.on("/a", slices(DATA)).url
    kills = 0
    for turn in range(40):
        # Each turn gets a little further than the last: one or two chunks, then SIGKILL.
        args = (tmp_path, url, DIGEST, len(DATA), 2 + turn % 2, 0)
        code, out = await run(DOWNLOAD, *args)
        if code != -signal.SIGKILL:
            break
        kills += 1
        assert not bench.shard_file(DATA).exists()
        assert all(size <= len(DATA) for size in bench.partial_sizes())
    assert kills >= 3
    assert out.strip() == str(bench.shard_file(DATA))
    assert bench.shard_file(DATA).read_bytes() == DATA
    assert bench.left_over() == []
    offsets = [asked.offset for asked in server.asked]
    assert offsets == sorted(offsets)
    assert offsets[-1] > 0


async def test_what_a_kill_left_beside_a_whole_shard_goes_at_the_next_start(bench, server):
    """As when the process dies between making the shard visible and sweeping up behind it."""
    await bench.ensure(bench.want(DATA, server.on("/a", honest(DATA))))
    other = Cid.of(b"not here yet", RAW)
    partials = bench.folder / "partial"
    for name in (f"{DIGEST}.{'0' * 16}.json", f"{DIGEST}.lock", f"{DIGEST}.adopted", "notes"):
        (partials / name).write_text("{}")
    (partials / f"{other}.{'0' * 16}").write_bytes(b"not")
    again = Store(bench.folder, bench.fetcher, bench.config, policy=QUICK)
    assert bench.left_over() == sorted([f"{other}.{'0' * 16}", "notes"])
    assert again.path(DIGEST) == bench.shard_file(DATA)


async def test_a_full_disk_is_said_leaves_nothing_visible_and_can_be_resumed(
    bench, server, tmp_path
):
    url = server.on("/a", honest(DATA)).url
    code, out = await run(DOWNLOAD, tmp_path, url, DIGEST, len(DATA), 0, 4096)
    assert code == 0
    assert re.match(r"StorageFault no space left to write .*/partial/", out)
    assert not bench.shard_file(DATA).exists()
    assert bench.partial_sizes() == [4096]
    code, out = await run(DOWNLOAD, tmp_path, url, DIGEST, len(DATA), 0, 0)
    assert out.strip() == str(bench.shard_file(DATA))
    assert [asked.offset for asked in server.asked] == [0, 4096]
    assert bench.shard_file(DATA).read_bytes() == DATA


async def test_a_folder_that_cannot_be_written_is_said(bench, server):
    want = bench.want(DATA, server.on("/a", honest(DATA)))
    (bench.folder / "partial").rmdir()
    (bench.folder / "partial").write_text("not a folder")
    with pytest.raises(Exception, match=r"cannot use .*partial") as refused:
        await bench.ensure(want)
    assert type(refused.value).__name__ == "StorageFault"
    assert server.asked == []


@pytest.mark.parametrize("wait_s", [0.0, 0.002, 0.005, 0.01, 0.02, 0.04, 0.08])
async def test_sigkill_while_adopting_loses_nothing(bench, tmp_path, wait_s):
    data = payload(8_000_000)
    digest = Cid.of(data, RAW)
    path = tmp_path / "staged.tar"
    path.write_bytes(data)
    code, _ = await run(ADOPT, tmp_path, path, digest, len(data), wait_s)
    assert code == -signal.SIGKILL
    again = Store(bench.folder, bench.fetcher, bench.config, policy=QUICK)
    assert path.exists() or again.path(digest) is not None
    here = again.adopt(path, digest, len(data))
    assert here.read_bytes() == data
    assert not path.exists()
    assert os.stat(here).st_mode & 0o777 == 0o444
