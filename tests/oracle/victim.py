"""A process that has daemons which follow, to be killed: run by ``test_killed.py``.

``python victim.py FOLDER PLC_URL PLACES DID…`` prints the process id of a new daemon for each line
that it reads. Daemons are forked from a process that has everything loaded, so that dying and
coming back takes no second.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

from atd.protocol.syntax import Did
from atd_daemon.catalog import Catalog
from atd_daemon.config import Config
from atd_daemon.network.directory import Directory
from atd_daemon.network.events import EventReader
from atd_daemon.network.pds import PdsReader
from atd_daemon.network.transport import open_fetcher
from atd_daemon.sync.follow.follower import Follower
from atd_daemon.sync.identities import CatalogIdentities
from atd_daemon.sync.resolve import Resolver

SPEED = 100.0
CHECK_EVERY_S = 120.0


class Fast:
    """`timing.Time` in which every second is a hundredth of one."""

    def __init__(self) -> None:
        self._started = time.time()

    def now(self) -> float:
        """See `Time.now`."""
        return self._started + (time.time() - self._started) * SPEED

    async def sleep(self, seconds: float) -> None:
        """See `Time.sleep`."""
        await asyncio.sleep(seconds / SPEED)

    def chance(self) -> float:
        """See `Time.chance`."""
        return 0.5


class Nameless:
    """A DNS without records: people are followed by DID."""

    async def txt(self, name: str) -> list[str]:
        """See `names.TxtResolver.txt`."""
        return []

    async def exists(self, name: str) -> bool:
        """See `names.TxtResolver.exists`."""
        return False


async def follow(config: Config, dids: list[str]) -> None:
    """Be a daemon that follows ``dids``, for ever."""
    catalog, fetcher, fast = (
        Catalog(config.state_dir / "index.sqlite"),
        open_fetcher(config),
        Fast(),
    )
    directory = Directory(
        fetcher, Nameless(), config, clock=fast.now, cache=CatalogIdentities(catalog)
    )
    pds = PdsReader(fetcher, config)
    follower = Follower(
        catalog,
        Resolver(directory, pds, catalog, config, clock=fast.now),
        pds,
        EventReader(fetcher),
        check_every_s=CHECK_EVERY_S,
        clock_skew_s=config.clock_skew_s,
        time=fast,
    )
    await follower.start()
    for did in dids:
        await follower.follow(Did(did))
    await asyncio.Event().wait()


def main(folder: str, plc_url: str, places: str, *dids: str) -> None:
    """Fork a daemon for each line that is read, and print its process id."""
    config = Config.under(
        Path(folder),
        plc_url=plc_url,
        allow_hosts=frozenset(places.split()),
        dns_server="127.0.0.1:1",
    )
    print("ready", flush=True)
    while sys.stdin.readline():
        pid = os.fork()
        if pid == 0:
            asyncio.run(follow(config, list(dids)))
        print(pid, flush=True)
        os.waitpid(pid, 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
