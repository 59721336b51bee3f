"""A world whose publishers are followed by a daemon that is lied to, and what must be true after.

The law: whatever was told, once the daemon had time, its index is that of a fresh daemon which read
every publisher whole and with proof; and every lie was counted under its reason.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atd.names import COLLECTIONS
from atd.protocol.rejects import Reject
from atd_daemon.catalog import Catalog
from atd_daemon.sync.follow.follower import CONFIRM_EVERY_S
from atd_daemon.sync.follow.repo import Need
from atd_daemon.sync.follow.states import State
from atd_daemon.sync.follow.tending import AGAIN_S
from following import CHECK_EVERY_S, Following
from world import Account, World
from world.daemons import Reader
from world.frame_lies import LIES, Liar, Told

# What hangs or does not end costs a test real time.
LIMITS = {"fetch_timeout_s": 0.5, "stream_idle_timeout_s": 0.3, "max_repo_bytes": 2_000_000}
Counts = dict[tuple[str | None, str], int]
STEPS_S = (1.0, 11.0, 20.0, 60.0, 120.0, *(CHECK_EVERY_S / 2,) * 12)
"""How time passes until a daemon found out: soon in small steps, later in large ones."""


@dataclass
class Stage:
    """The people, the liar, and the daemon."""

    world: World
    people: list[Account]
    liar: Liar
    daemon: Following
    folder: Path
    stack: contextlib.AsyncExitStack

    @classmethod
    @contextlib.asynccontextmanager
    async def of(cls, folder: Path, seed: int, people: int = 3) -> AsyncIterator[Stage]:
        """A stage on which everybody is followed and nothing has happened yet."""
        world, dice = World(), random.Random(seed)
        accounts = [
            world.account(f"person{number}.test", f"pds{number % 2 + 1}")
            for number in range(people)
        ]
        async with contextlib.AsyncExitStack() as stack:
            daemon = await stack.enter_async_context(
                Following.of(world, folder / "followed", **LIMITS)
            )
            stage = cls(world, accounts, Liar(dice), daemon, folder, stack)
            for account in accounts:
                stage.liar.write(account)
                await daemon.follow(account)
            await stage.settle()
            yield stage

    async def restart(self) -> None:
        """End the daemon, and start another on what it left."""
        await self.daemon.close()
        again = Following.of(self.world, self.folder / "followed", **LIMITS)
        self.daemon = await self.stack.enter_async_context(again)

    # --- lying ------------------------------------------------------------------------------------

    async def lie(self, name: str, account: Account) -> Told:
        """Tell a lie at rest, wait until the truth is found, and see it counted."""
        self.world.honest()  # what is asked is answered: else nothing could be confirmed
        other = next(one for one in self.people if one.pds is not account.pds)
        leaves = name == "a commit of somebody who left"
        if leaves:
            account.become("deactivated")
            await self.settle()
        before = self.counts()
        told = self.liar.tell(name, account, other)
        await self.daemon.quiet()
        if leaves:
            account.become("active")
        if Reject.UNCONFIRMED in told.reasons:  # who asked just now asks again a little later
            await self.daemon.pass_time(AGAIN_S + 2 * CONFIRM_EVERY_S, 2 * CONFIRM_EVERY_S)
        await self.settle()
        await self.counted(told, before)
        return told

    async def counted(self, told: Told, before: Counts) -> None:
        """See that a lie moved a counter that it should have moved."""
        moved = {
            key: count - before.get(key, 0)
            for key, count in self.counts().items()
            if count > before.get(key, 0)
        }
        wanted = {(told.did, str(reason)) for reason in told.reasons}
        assert wanted & moved.keys(), f"{told.name!r} was counted as {moved}, not as {wanted}"

    def counts(self) -> Counts:
        """How often each reason was counted for each publisher (None: for nobody)."""
        found: Counts = {}
        for reject in self.daemon.catalog.following.rejects():
            key = (reject.did, reject.reason)
            found[key] = found.get(key, 0) + reject.count
        return found

    # --- the truth --------------------------------------------------------------------------------

    async def settle(self) -> None:
        """Let time pass until the daemon knows what is so."""
        await self.daemon.quiet()
        for step_s in STEPS_S:
            if self.hears() and all(self.is_known(account) for account in self.people):
                break
            await self.daemon.pass_time(step_s, step_s)
        wrong = [account.handle for account in self.people if not self.is_known(account)]
        assert not wrong, self.explain()
        await self.daemon.follower.board.flush()

    def hears(self) -> bool:
        """Whether the daemon listens to every host that it should."""
        return all(stream.since is not None for stream in self.daemon.follower.streams.values())

    def is_known(self, account: Account) -> bool:
        """Whether the daemon is where the account is."""
        repo = self.daemon.follower.board.repos[account.did]
        if account.status != "active":
            return repo.state is State.INACTIVE
        if Need.RESYNC in repo.due:
            return False  # it would find out whatever is told next, before that is counted
        head = repo.head
        at_head = head is not None and head.commit == account.head.commit.cid
        return repo.state is State.SYNCHRONIZED and at_head and repo.host == account.pds.url

    def explain(self) -> str:
        """What the daemon believes, for whoever reads a failure."""
        lines = [f"after {[told.name for told in self.liar.ledger]}:"]
        for account in self.people:
            repo = self.daemon.follower.board.repos[account.did]
            head = None if repo.head is None else repo.head.rev
            lines.append(
                f"{account.handle} is {account.status} at {account.head.commit.rev}, known as"
                f" {repo.state} at {head}, error {repo.error!r}, due {repo.due}"
            )
        return "\n".join([*lines, str(self.counts())])

    async def check(self) -> None:
        """See that the index is the one that a fresh daemon would make."""
        async with fresh(self.world, self.folder / f"fresh-{len(self.liar.ledger)}") as reader:
            for account in self.people:
                if account.status == "active":
                    await reader.resolver.publisher(account.did)
                mine, truth = view(self.daemon.catalog, account), view(reader.catalog, account)
                assert mine == truth, f"{account.handle}: {self.explain()}"


@contextlib.asynccontextmanager
async def fresh(world: World, folder: Path, **values: Any) -> AsyncIterator[Reader]:
    """A daemon that knows nothing yet."""
    reader = Reader.of(world, folder, **values)
    try:
        yield reader
    finally:
        await reader.store.close()
        reader.catalog.close()


def view(catalog: Catalog, account: Account) -> dict[str, Any]:
    """Everything that an index says of a publisher, but when it saw it and by which commit."""
    listed = [
        (entry.name, str(entry.cid), entry.title, entry.version)
        for entry in catalog.datasets(account.did)
    ]
    if account.status != "active":
        return {"listed": listed}
    records = {
        str(stored.uri): (str(stored.cid), stored.block)
        for collection in COLLECTIONS
        for stored in catalog.records(account.did, collection)
    }
    problems = {str(problem.uri): problem.reason for problem in catalog.problems(account.did)}
    return {"records": records, "listed": listed, "problems": problems}


ALL_LIES = sorted(LIES)
