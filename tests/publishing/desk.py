"""A publisher's desk in a world: the writing half of a daemon, and ways to look at what it did."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from atd.manifest import Manifest
from atd.protocol.cbor import Cid
from atd.publishing.packing import pack
from atd.publishing.previewing import write_preview
from atd.publishing.sources.opening import open_source
from atd_daemon.network.account import Accounts
from atd_daemon.publishing.asked import Begin, Begun, Commit, Published
from atd_daemon.publishing.destinations.kinds import Makers
from atd_daemon.publishing.journal import Journal
from atd_daemon.publishing.patience import Clock
from atd_daemon.publishing.publication import Publishing
from atd_daemon.publishing.tools import Tools
from atd_daemon.publishing.unpublish import Unpublished
from world import Account, World
from world.daemons import Reader
from world.wire import Call

YES = {"consent": True}
SMALL = 64 * 1024  # bytes of a shard: the least that can be asked for


class Killed(BaseException):
    """The process is gone: nothing after this line runs, not even an ``except Exception``."""


@dataclass
class Heard:
    """What a listener was told."""

    steps: list[dict[str, Any]] = field(default_factory=list)
    states: list[dict[str, Any]] = field(default_factory=list)

    def step(self, **values: Any) -> None:
        self.steps.append(values)

    def progress(self, **values: Any) -> None:
        self.states.append(values)

    @property
    def names(self) -> list[str]:
        return [step["name"] for step in self.steps]


@dataclass
class Checkpoints:
    """Counts the points between steps, and kills at one of them."""

    kill_at: int | None = None
    passed: list[str] = field(default_factory=list)

    def __call__(self, name: str) -> None:
        self.passed.append(name)
        if self.kill_at is not None and len(self.passed) == self.kill_at:
            raise Killed(name)


def numbers(count: int, *, start: int = 0) -> dict[str, Any]:
    """Samples of about a kilobyte each: ``count`` of them make ``count / 50`` small shards."""
    rows = np.arange(start, start + count)
    noise = np.random.default_rng(7).integers(0, 255, (start + count, 1000), dtype=np.uint8)
    return {"n": rows, "noise": noise[start:]}


class Desk:
    """The daemon of one publisher; ``opened`` anew it is the next process on the same home."""

    def __init__(
        self,
        world: World,
        folder: Path,
        *,
        checkpoint: Callable[[str], None] | None = None,
        endpoint: str | None = None,
        **values: Any,
    ) -> None:
        self.world = world
        self.reader = Reader.of(world, folder, **values)
        config = self.reader.config
        fetcher = world.fetcher_with(config)
        self.accounts = Accounts(config.state_dir, fetcher, self.reader.directory, config)
        self.journal = Journal(config.state_dir / "journal.sqlite", clock=world.now)

        async def sleep(seconds: float) -> None:
            world.pass_time(seconds)

        tools = Tools(
            accounts=self.accounts,
            resolver=self.reader.resolver,
            store=self.reader.store,
            journal=self.journal,
            makers=Makers(self.accounts, self.reader.pds, fetcher, endpoint),
            clock=Clock(world.now, sleep),
        )
        self.tools = tools if checkpoint is None else replace(tools, checkpoint=checkpoint)
        staging = config.cache_dir / "staging"
        self.publishing = Publishing(self.tools, self.reader.directory, self.reader.pds, staging)
        self.publishing.sweep()
        self.heard = Heard()

    def close(self) -> None:
        self.journal.close()
        self.reader.catalog.close()

    async def login(self, account: Account) -> None:
        await self.accounts.login(account.handle, account.password)

    async def begin(self, name: str = "numbers", **asked: Any) -> Begun:
        return await self.publishing.begin(Begin(name=name, **asked))

    async def publish(
        self,
        what: Any,
        name: str = "numbers",
        *,
        request: dict[str, Any] | None = None,
        preview: str = "none",
        **asked: Any,
    ) -> Published:
        """Begin, pack, commit: what a client does."""
        begun = await self.begin(name, **{"shard_size": SMALL, **asked})
        assert begun.id is not None
        assert begun.staging is not None
        staging = Path(begun.staging)
        packed = pack(open_source(what), staging, begun.cuts, name=name)
        write_preview(packed, staging, preview)
        given = Commit.from_json({**YES, **(request or {})})
        return await self.publishing.commit(begun.id, given, self.heard)

    async def unpublish(self, name: str = "numbers") -> Unpublished:
        return await self.publishing.unpublish(name, self.heard, consent=True)


@contextmanager
def opened(world: World, folder: Path, **values: Any) -> Iterator[Desk]:
    """A desk, closed at the end; a moment after whatever was before."""
    world.pass_time(1)
    desk = Desk(world, folder, **values)
    try:
        yield desk
    finally:
        desk.close()


def calls(world: World, method: str) -> list[Call]:
    """The requests for one XRPC method that reached a PDS."""
    return [call for call in world.calls if call.path == f"/xrpc/{method}"]


def uploads(world: World) -> list[Cid]:
    """The blobs that were sent, by digest."""
    sent = calls(world, "com.atproto.repo.uploadBlob")
    return [Cid.of(call.body, codec=0x55) for call in sent]


def keys(account: Account, collection: str) -> list[str]:
    """The record keys of a collection, in the repository as it is."""
    prefix = f"network.atd.{collection}/"
    return [key.removeprefix(prefix) for key in account.head.records if key.startswith(prefix)]


def record(account: Account, collection: str, rkey: str) -> Any:
    """A record as it is."""
    return account.value(account.head.records[f"network.atd.{collection}/{rkey}"])


def manifest_of(folder: Path) -> Manifest:
    return Manifest.load(folder)
