"""The parts of a daemon, built and wired: what `create_app` and the handlers are given.

What belongs here: which part gets which, and the order in which they are opened and closed. No port
is bound and nothing is asked of a network.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from atd.settings import Settings, split_host_port
from atd_daemon.catalog import Catalog
from atd_daemon.config import Config
from atd_daemon.health import HealthWatch, Pulse
from atd_daemon.host.host import Host
from atd_daemon.host.listener import HostListener
from atd_daemon.listener import Listener
from atd_daemon.metrics import Family
from atd_daemon.network.account import Accounts
from atd_daemon.network.directory import Directory
from atd_daemon.network.events import EventReader
from atd_daemon.network.fetch import Fetcher
from atd_daemon.network.mirrors import MirroredReader, MirrorSearch
from atd_daemon.network.names import DnsResolver, TxtResolver
from atd_daemon.network.pds import PdsReader
from atd_daemon.network.transport import open_fetcher
from atd_daemon.publishing.destinations.kinds import Makers
from atd_daemon.publishing.journal import Journal
from atd_daemon.publishing.patience import Clock as PublishingClock
from atd_daemon.publishing.publication import Publishing
from atd_daemon.publishing.run import Tools
from atd_daemon.store import Store
from atd_daemon.sync.bundles import Bundler
from atd_daemon.sync.cache import SIDECARS, Cache
from atd_daemon.sync.follow.follower import Follower
from atd_daemon.sync.follow.timing import Time, WallTime
from atd_daemon.sync.identities import CatalogIdentities
from atd_daemon.sync.keeping import Keeping
from atd_daemon.sync.resolve import Resolver
from atd_daemon.sync.shelf import Shelf

Clock = Callable[[], float]
Meter = Callable[[], list[Family]]


@dataclass(frozen=True, kw_only=True)
class Services:
    """Everything that handlers may use. ``stop`` ends the daemon when it is set.

    ``tcp`` is the loopback address that is served beside the socket, if there is one. ``faces`` are
    the public listeners: ``host``, and ``public`` where that mode is on (`atd_daemon.public`); it
    adds what it counts to ``meters``.
    """

    settings: Settings
    config: Config
    directory: Directory
    pds: PdsReader
    accounts: Accounts
    catalog: Catalog
    store: Store
    resolver: Resolver
    follower: Follower
    cache: Cache
    keeping: Keeping
    shelf: Shelf
    bundler: Bundler
    mirrors: MirrorSearch
    publishing: Publishing
    host: HostListener
    health: HealthWatch
    faces: dict[str, Listener]
    meters: list[Meter] = field(default_factory=list)
    clock: Clock
    started_at: datetime
    tcp: str | None = None
    stop: asyncio.Event = field(default_factory=asyncio.Event)


@contextlib.asynccontextmanager
async def open_services(
    settings: Settings, started_at: datetime, *, tcp: str | None = None
) -> AsyncIterator[Services]:
    """The parts of a real daemon, on the real network; closed when the context ends.

    Raises:
        StorageFault: a folder or a database of its state cannot be used.
    """
    config = Config.from_settings(settings)
    fetcher = open_fetcher(config)
    try:
        async with wired(
            settings, config, fetcher, DnsResolver(config), started_at, tcp=tcp
        ) as services:
            yield services
    finally:
        await fetcher.close()


@contextlib.asynccontextmanager
async def wired(
    settings: Settings,
    config: Config,
    fetcher: Fetcher,
    txt: TxtResolver,
    started_at: datetime,
    *,
    clock: Clock = time.time,
    waiting: Time | None = None,
    tcp: str | None = None,
) -> AsyncIterator[Services]:
    """The parts over a given network, which may be one in memory."""
    async with contextlib.AsyncExitStack() as stack:
        catalog = Catalog(config.state_dir / "index.sqlite")
        stack.callback(catalog.close)
        store = Store(config.cache_dir / "shards", fetcher, config)
        stack.push_async_callback(store.close)
        host = Host.open(config.state_dir / "host", clock)
        stack.callback(host.close)
        listener = HostListener(host, *split_host_port(settings.host_listen))
        stack.push_async_callback(listener.close)
        directory = Directory(fetcher, txt, config, clock=clock, cache=CatalogIdentities(catalog))
        pds = MirroredReader(fetcher, config)
        accounts = Accounts(config.state_dir, fetcher, directory, config)
        resolver = Resolver(directory, pds, catalog, config, clock=clock)
        follower = Follower(
            catalog,
            resolver,
            pds,
            EventReader(fetcher),
            check_every_s=settings.check_every_s,
            clock_skew_s=config.clock_skew_s,
            relay=settings.relay,
            time=WallTime(clock) if waiting is None else waiting,
        )
        stack.push_async_callback(follower.close)
        journal = Journal(config.state_dir / "journal.sqlite", clock=clock)
        stack.callback(journal.close)
        tools = Tools(
            accounts=accounts,
            resolver=resolver,
            store=store,
            journal=journal,
            makers=Makers(accounts, pds, fetcher, settings.s3_endpoint),
            clock=PublishingClock(now=clock),
        )
        publishing = Publishing(tools, directory, pds, config.cache_dir / "staging")
        await asyncio.to_thread(publishing.sweep)
        indexes = config.cache_dir / SIDECARS
        cache = Cache(catalog.holdings, store, config.cache_quota_bytes, indexes, clock)
        await asyncio.to_thread(cache.begin)
        stack.push_async_callback(_ended, asyncio.create_task(cache.run()), cache)
        bundler = Bundler(directory, resolver, catalog, clock)
        faces: dict[str, Listener] = {"host": listener}
        health = _watch(catalog, follower, faces, config, settings, clock, stack)
        yield Services(
            settings=settings,
            config=config,
            directory=directory,
            pds=pds,
            accounts=accounts,
            catalog=catalog,
            store=store,
            resolver=resolver,
            follower=follower,
            cache=cache,
            keeping=Keeping(catalog, resolver, store, cache, clock),
            shelf=Shelf(catalog, resolver, cache),
            bundler=bundler,
            mirrors=MirrorSearch(fetcher),
            publishing=publishing,
            host=listener,
            health=health,
            faces=faces,
            clock=clock,
            started_at=started_at,
            tcp=tcp,
        )


def _watch(
    catalog: Catalog,
    follower: Follower,
    faces: dict[str, Listener],
    config: Config,
    settings: Settings,
    clock: Clock,
    stack: contextlib.AsyncExitStack,
) -> HealthWatch:
    """What says how the daemon is; its pulse is measured until ``stack`` unwinds."""
    pulse = Pulse()
    beating = asyncio.create_task(pulse.run())
    stack.callback(beating.cancel)

    def troubles() -> Iterator[str]:
        yield from (f"following has stopped at {what}" for what in sorted(follower.stopped))
        for face in faces.values():
            if face.problem is not None:
                yield f"{face.what}: {face.problem}"

    within_s = settings.fresh_within_s or 2 * settings.check_every_s
    folders = [("index", config.state_dir), ("store", config.cache_dir)]
    return HealthWatch(catalog, pulse, folders, troubles, clock, within_s=within_s)


async def _ended(keeping: asyncio.Task[None], cache: Cache) -> None:
    """Let ``cache`` write what it has to write, and keep its quota no longer."""
    keeping.cancel()
    await asyncio.wait([keeping])
    await asyncio.to_thread(cache.write)
