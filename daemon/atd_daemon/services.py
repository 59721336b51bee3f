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
from atd_daemon.publishing.tools import Tools
from atd_daemon.store import Store
from atd_daemon.sync.bundles import Bundler
from atd_daemon.sync.cache import SIDECARS, Cache
from atd_daemon.sync.follow.follower import Follower
from atd_daemon.sync.follow.timing import Time, WallTime
from atd_daemon.sync.identities import CatalogIdentities
from atd_daemon.sync.keeping import Keeping
from atd_daemon.sync.previews import FOLDER, Previews
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
    previews: Previews
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
        build = _Building(settings, config, fetcher, clock, stack)
        catalog = Catalog(config.state_dir / "index.sqlite")
        stack.callback(catalog.close)
        store = Store(config.cache_dir / "shards", fetcher, config)
        stack.push_async_callback(store.close)
        beside = Store(config.cache_dir / FOLDER, fetcher, config)
        stack.push_async_callback(beside.close)
        host = build.host()
        directory = Directory(fetcher, txt, config, clock=clock, cache=CatalogIdentities(catalog))
        pds = MirroredReader(fetcher, config)
        accounts = Accounts(config.state_dir, fetcher, directory, config)
        resolver = Resolver(directory, pds, catalog, config, clock=clock)
        follower = build.follower(catalog, resolver, pds, waiting or WallTime(clock))
        publishing = await build.publishing(directory, pds, accounts, resolver, store)
        cache = await build.cache(catalog, store)
        faces: dict[str, Listener] = {"host": host}
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
            bundler=Bundler(directory, resolver, catalog, clock),
            previews=Previews(beside),
            mirrors=MirrorSearch(fetcher),
            publishing=publishing,
            host=host,
            health=build.health(catalog, follower, faces),
            faces=faces,
            clock=clock,
            started_at=started_at,
            tcp=tcp,
        )


@dataclass(frozen=True)
class _Building:
    """Builds the parts that take more than a line; each is closed when ``stack`` unwinds."""

    settings: Settings
    config: Config
    fetcher: Fetcher
    clock: Clock
    stack: contextlib.AsyncExitStack

    def host(self) -> HostListener:
        """The embedded host, and where it will listen."""
        host = Host.open(self.config.state_dir / "host", self.clock)
        self.stack.callback(host.close)
        listener = HostListener(host, *split_host_port(self.settings.host_listen))
        self.stack.push_async_callback(listener.close)
        return listener

    def follower(
        self, catalog: Catalog, resolver: Resolver, pds: PdsReader, waiting: Time
    ) -> Follower:
        """Who follows publishers; it is not started."""
        follower = Follower(
            catalog,
            resolver,
            pds,
            EventReader(self.fetcher),
            check_every_s=self.settings.check_every_s,
            clock_skew_s=self.config.clock_skew_s,
            relay=self.settings.relay,
            time=waiting,
        )
        self.stack.push_async_callback(follower.close)
        return follower

    async def publishing(
        self,
        directory: Directory,
        pds: PdsReader,
        accounts: Accounts,
        resolver: Resolver,
        store: Store,
    ) -> Publishing:
        """Publishing over its journal; what dead processes staged is swept away."""
        journal = Journal(self.config.state_dir / "journal.sqlite", clock=self.clock)
        self.stack.callback(journal.close)
        tools = Tools(
            accounts=accounts,
            resolver=resolver,
            store=store,
            journal=journal,
            makers=Makers(accounts, pds, self.fetcher, self.settings.s3_endpoint),
            clock=PublishingClock(now=self.clock),
        )
        publishing = Publishing(tools, directory, pds, self.config.cache_dir / "staging")
        await asyncio.to_thread(publishing.sweep)
        return publishing

    async def cache(self, catalog: Catalog, store: Store) -> Cache:
        """The keeper of the quota, at work."""
        indexes = self.config.cache_dir / SIDECARS
        quota = self.config.cache_quota_bytes
        cache = Cache(catalog.holdings, store, quota, indexes, self.clock)
        await asyncio.to_thread(cache.begin)
        self.stack.push_async_callback(_ended, asyncio.create_task(cache.run()), cache)
        return cache

    def health(
        self, catalog: Catalog, follower: Follower, faces: dict[str, Listener]
    ) -> HealthWatch:
        """What says how the daemon is; its pulse is measured from now on."""
        pulse = Pulse()
        beating = asyncio.create_task(pulse.run())
        self.stack.callback(beating.cancel)

        def troubles() -> Iterator[str]:
            yield from (f"following has stopped at {what}" for what in sorted(follower.stopped))
            for face in faces.values():
                if face.problem is not None:
                    yield f"{face.what}: {face.problem}"

        within_s = self.settings.fresh_within_s or 2 * self.settings.check_every_s
        folders = [("index", self.config.state_dir), ("store", self.config.cache_dir)]
        return HealthWatch(catalog, pulse, folders, troubles, self.clock, within_s=within_s)


async def _ended(keeping: asyncio.Task[None], cache: Cache) -> None:
    """Let ``cache`` write what it has to write, and keep its quota no longer."""
    keeping.cancel()
    await asyncio.wait([keeping])
    await asyncio.to_thread(cache.write)
