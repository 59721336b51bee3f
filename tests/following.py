"""The following half of a daemon: in a world whose clock is turned by hand, or as it is."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from atd.names import COLLECTIONS, SCHEMA
from atd.protocol.syntax import Did, Nsid
from atd_daemon.catalog import Catalog
from atd_daemon.config import Config
from atd_daemon.network.directory import Directory
from atd_daemon.network.events import EventReader
from atd_daemon.network.names import DnsResolver
from atd_daemon.network.pds import PdsReader
from atd_daemon.network.transport import open_fetcher
from atd_daemon.sync.follow.follower import Follower
from atd_daemon.sync.follow.repo import Repo
from atd_daemon.sync.follow.states import State
from atd_daemon.sync.follow.timing import WallTime
from atd_daemon.sync.identities import CatalogIdentities
from atd_daemon.sync.resolve import Resolver
from world import Account, World
from world.daemons import Reader

PATIENCE_S = 60.0
CHECK_EVERY_S = 900.0


class HandTime:
    """`timing.Time` by a world's clock: sleepers wake when the world's time passes."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = 0

    def now(self) -> float:
        """See `Time.now`."""
        return self._world.now()

    def chance(self) -> float:
        """See `Time.chance`: always the middle."""
        return 0.5

    async def sleep(self, seconds: float) -> None:
        """See `Time.sleep`."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        wake: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._count += 1
        heapq.heappush(self._sleepers, (self.now() + seconds, self._count, wake))
        await wake

    def pass_time(self, seconds: float) -> None:
        """Let the world's time pass, and wake whom it concerns."""
        self._world.pass_time(seconds)
        while self._sleepers and self._sleepers[0][0] <= self.now():
            wake = heapq.heappop(self._sleepers)[2]
            if not wake.done():
                wake.set_result(None)


@dataclass
class Following:
    """A daemon that follows: everything that tests look at."""

    world: World
    reader: Reader
    follower: Follower
    time: HandTime
    closed: bool = field(default=False)

    @classmethod
    @contextlib.asynccontextmanager
    async def of(
        cls, world: World, folder: Path, *, relay: str | None = None, **values: Any
    ) -> AsyncIterator[Following]:
        """A daemon whose things live in ``folder``; the same folder again is a restart."""
        reader = Reader.of(world, folder, **values)
        hand = HandTime(world)
        follower = Follower(
            reader.catalog,
            reader.resolver,
            reader.pds,
            EventReader(world.fetcher_with(reader.config)),
            check_every_s=CHECK_EVERY_S,
            clock_skew_s=reader.config.clock_skew_s,
            relay=relay,
            time=hand,
        )
        daemon = cls(world, reader, follower, hand)
        try:
            await follower.start()
            yield daemon
        finally:
            await daemon.close()

    async def close(self) -> None:
        """Stop in good order."""
        if not self.closed:
            self.closed = True
            await self.follower.close()
            await self.reader.store.close()
            self.reader.catalog.close()

    @property
    def catalog(self) -> Catalog:
        """Its index."""
        return self.reader.catalog

    # --- doing ------------------------------------------------------------------------------------

    async def follow(self, account: Account) -> State:
        """Follow, and wait for the first answer."""
        await self.follower.follow(account.handle)
        return await self.follower.settled(account.did)

    async def pass_time(self, seconds: float, step_s: float = 5.0) -> None:
        """Let time pass in steps, with everything done that comes due in between."""
        await self.quiet()
        while seconds > 0:
            self.time.pass_time(min(step_s, seconds))
            seconds -= step_s
            await self.quiet()

    async def quiet(self) -> None:
        """Wait until every event was processed and nothing is due, for a few turns of the loop."""
        for _ in range(3):
            await asyncio.sleep(0.001)
            await until(self._is_quiet, "everything is processed")

    def _is_quiet(self) -> bool:
        board = self.follower.board
        now = self.time.now()
        if any(repo.tended or self._is_due(repo, now) for repo in board.repos.values()):
            return False
        streams = self.follower.streams.values()
        if any(stream.since is None and not stream.waits for stream in streams):
            return False
        return all(pds.firehose.is_heard for pds in self.world.pdses)

    def _is_due(self, repo: Repo, now: float) -> bool:
        return any(due <= now for due in repo.due.values())

    # --- looking ----------------------------------------------------------------------------------

    def state(self, account: Account) -> State:
        """The state in memory, which must be the one in the index."""
        row = self.catalog.following.row(account.did)
        repo = self.follower.board.repos[account.did]
        assert row is not None
        assert row.state == repo.state
        return repo.state

    def indexed(self, did: Did) -> dict[str, str]:
        """What the index has of a publisher: ``collection/rkey`` to CID."""
        return {
            f"{collection}/{stored.uri.rkey}": str(stored.cid)
            for collection in COLLECTIONS
            for stored in self.catalog.records(did, collection)
        }

    def is_true(self, account: Account) -> bool:
        """Whether the index has exactly the records that can be read."""
        flawed = {f"{p.uri.collection}/{p.uri.rkey}" for p in self.catalog.problems(account.did)}
        wanted = {key: cid for key, cid in truth(account).items() if key not in flawed}
        return self.indexed(account.did) == wanted

    async def rejects(self, account: Account | None = None) -> dict[str, int]:
        """How often each rule was broken by messages about ``account`` (None: about nobody)."""
        await self.follower.board.flush()
        counted: dict[str, int] = {}
        for reject in self.catalog.following.rejects():
            if reject.did == (None if account is None else account.did):
                counted[reject.reason] = counted.get(reject.reason, 0) + reject.count
        return counted


@dataclass
class RealFollowing:
    """A daemon that follows on the real network, by the real clock; accounts have a DID."""

    catalog: Catalog
    pds: PdsReader
    follower: Follower

    @classmethod
    @contextlib.asynccontextmanager
    async def of(cls, config: Config) -> AsyncIterator[RealFollowing]:
        """One whose things live where ``config`` says; the same folder again is a restart."""
        config.state_dir.mkdir(parents=True, exist_ok=True)
        fetcher = open_fetcher(config)
        catalog = Catalog(config.state_dir / "index.sqlite")
        cache = CatalogIdentities(catalog)
        directory = Directory(fetcher, DnsResolver(config), config, cache=cache)
        pds = PdsReader(fetcher, config)
        follower = Follower(
            catalog,
            Resolver(directory, pds, catalog, config),
            pds,
            EventReader(fetcher),
            check_every_s=CHECK_EVERY_S,
            clock_skew_s=config.clock_skew_s,
            confirm_every_s=0.5,
            time=WallTime(),
        )
        try:
            await follower.start()
            yield cls(catalog, pds, follower)
        finally:
            await follower.close()
            await fetcher.close()
            catalog.close()

    async def follow(self, account: HasDid) -> State:
        """Follow, and wait for the first answer."""
        await self.follower.follow(account.did)
        return await self.follower.settled(Did(account.did))

    def state(self, account: HasDid) -> State:
        """The state in memory."""
        return self.follower.board.repos[Did(account.did)].state

    def versions(self, account: HasDid) -> set[str]:
        """The keys of the schemas that the index has of an account."""
        return {str(one.uri.rkey) for one in self.catalog.records(Did(account.did), SCHEMA)}

    async def has(self, account: HasDid, *keys: str) -> None:
        """Wait until the index has exactly these schemas."""
        await until(lambda: self.versions(account) == set(keys), f"the index has {keys}")

    async def rejects(self) -> list[str]:
        """The reasons for which something was refused."""
        await self.follower.board.flush()
        return [reject.reason for reject in self.catalog.following.rejects()]


class HasDid(Protocol):
    """An account of any kind of server."""

    @property
    def did(self) -> str:
        """Its DID."""
        ...


def truth(account: Account) -> dict[str, str]:
    """What an account has of our collections."""
    return {
        key: str(cid)
        for key, cid in account.head.records.items()
        if Nsid(key.partition("/")[0]) in COLLECTIONS
    }


async def until(holds: Callable[[], bool], what: str) -> None:
    """Wait until something is so: threads and the loop need real moments, but nobody sleeps."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, f"waited {PATIENCE_S:g} s for: {what}"
        await asyncio.sleep(0.001)
