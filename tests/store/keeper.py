"""A daemon's store and cache in a process that is going to be killed: it takes files in for ever.

Run as ``python keeper.py FOLDER``. Every shard is 5,000 bytes that follow from its number; one is
pinned, and the quota has room for eight. A line is printed for each that is in.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from atd.protocol.cbor import RAW, Cid
from atd_daemon.catalog import Catalog
from atd_daemon.config import Config
from atd_daemon.network.transport import open_fetcher
from atd_daemon.store import Store
from atd_daemon.sync.cache import Cache

SIZE = 5_000
QUOTA = 8 * SIZE


def shard(number: int) -> bytes:
    """The bytes of a shard."""
    return number.to_bytes(8) * (SIZE // 8)


def opened(folder: Path) -> tuple[Catalog, Store, Cache]:
    """The parts, over what is in ``folder``."""
    config = Config.under(folder)
    catalog = Catalog(folder / "index.sqlite")
    store = Store(folder / "shards", open_fetcher(config), config)
    cache = Cache(catalog.holdings, store, QUOTA, folder / "indexes", time.time)
    cache.begin()
    return catalog, store, cache


async def main(folder: Path) -> None:
    """Take shards in until somebody ends it."""
    _, store, cache = opened(folder)
    cache.holdings.pin(Cid.of(shard(0), RAW), now=time.time())
    for number in range(1_000_000):
        path = folder / f"staged-{number}"
        path.write_bytes(shard(number))
        store.adopt(path, Cid.of(shard(number), RAW), SIZE)
        print(number, flush=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
