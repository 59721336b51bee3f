"""The parts of a daemon, built and wired: what `create_app` and the handlers are given.

What belongs here: which part gets which. No port is bound and nothing is asked of a network.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime

from atd.settings import Settings
from atd_daemon.config import Config
from atd_daemon.network.directory import Directory
from atd_daemon.network.fetch import Fetcher
from atd_daemon.network.names import DnsResolver, TxtResolver
from atd_daemon.network.pds import PdsReader
from atd_daemon.network.transport import open_fetcher
from atd_daemon.store import Store


@dataclass(frozen=True, kw_only=True)
class Services:
    """Everything that handlers may use. ``stop`` ends the daemon when it is set."""

    settings: Settings
    config: Config
    fetcher: Fetcher
    directory: Directory
    pds: PdsReader
    store: Store
    started_at: datetime
    tcp: str | None = None
    stop: asyncio.Event = field(default_factory=asyncio.Event)


@asynccontextmanager
async def open_services(
    settings: Settings, started_at: datetime, *, tcp: str | None = None
) -> AsyncIterator[Services]:
    """The parts of a real daemon, on the real network; closed when the context ends."""
    config = Config.from_settings(settings)
    fetcher = open_fetcher(config)
    try:
        async with wired(
            settings, config, fetcher, DnsResolver(config), started_at, tcp=tcp
        ) as services:
            yield services
    finally:
        await fetcher.close()


@asynccontextmanager
async def wired(
    settings: Settings,
    config: Config,
    fetcher: Fetcher,
    txt: TxtResolver,
    started_at: datetime,
    *,
    tcp: str | None = None,
) -> AsyncIterator[Services]:
    """The parts over a given network, which may be one in memory."""
    store = Store(config.cache_dir / "shards", fetcher, config)
    try:
        yield Services(
            settings=settings,
            config=config,
            fetcher=fetcher,
            directory=Directory(fetcher, txt, config),
            pds=PdsReader(fetcher, config),
            store=store,
            started_at=started_at,
            tcp=tcp,
        )
    finally:
        await store.close()
