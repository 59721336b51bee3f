"""Following who publishes from a host of their own: the daemon's own PDS, over real sockets."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from atd.names import SCHEMA
from atd.protocol.cbor import to_json
from atd.records import SchemaRecord
from atd_daemon.config import Config
from atd_daemon.sync.follow.states import State
from following import RealFollowing, until
from host.serving import Served, creation, deletion
from reference.network import free_ports
from world.datasets import SCHEMA as FIELDS
from world.datasets import WHEN


def schema(number: int) -> dict[str, Any]:
    record: dict[str, Any] = to_json(SchemaRecord("s", f"{number}.0.0", FIELDS, WHEN).to_value())  # type: ignore[assignment]
    return record


def key(number: int) -> str:
    return f"s:{number}.0.0"


async def test_a_host_of_ones_own_is_followed_through_its_restart(tmp_path: Path) -> None:
    folder, port = tmp_path / "host", free_ports(1)
    config = Config.under(tmp_path / "bob", allow_hosts=frozenset({f"localhost:{port}"}))
    async with RealFollowing.of(config) as bob:
        with Served(folder, port=port) as served:
            account = served.make()
            client = served.client(account)
            client.put(SCHEMA, key(1), schema(1))
            assert await bob.follow(account) is State.SYNCHRONIZED
            await bob.has(account, key(1))
            writes = [creation(SCHEMA, key(n), schema(n)) for n in range(2, 100)]
            await asyncio.to_thread(client.apply, *writes, deletion(SCHEMA, key(1)))
            await bob.has(account, *map(key, range(2, 100)))
        (stream,) = bob.follower.streams.values()
        await until(lambda: stream.since is None, "the connection is gone")
        with Served(folder, port=port) as again:
            client = again.client(account)
            await asyncio.to_thread(client.put, SCHEMA, key(1), schema(1))
            await bob.has(account, *map(key, range(1, 100)))
            assert await bob.rejects() == []
            (row,) = bob.catalog.following.rows()
            assert row.complete
            assert row.delay_s is not None
