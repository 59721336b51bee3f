"""The misbehaving server and the bench of `store_servers`, for every test of the store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from atd_daemon.config import Config
from atd_daemon.network.transport import open_fetcher
from atd_daemon.store import Store
from store_servers import QUICK, Bench, Server


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    yield server
    listening.close()


@pytest.fixture
async def bench(tmp_path: Path, server: Server) -> AsyncIterator[Bench]:
    config = Config.under(
        tmp_path,
        allow_hosts=frozenset({server.host}),
        stream_idle_timeout_s=1.0,
        fetch_timeout_s=5.0,
    )
    fetcher = open_fetcher(config)
    folder = tmp_path / "cache" / "shards"
    bench = Bench(folder, config, fetcher, Store(folder, fetcher, config, policy=QUICK))
    yield bench
    await bench.store.close()
    await fetcher.close()
