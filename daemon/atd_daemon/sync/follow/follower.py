"""The face of following: who is followed, and the tasks that keep the index equal to them.

`Follower.start` begins to follow again whoever was followed; the tasks are:

- one for each host with a followed publisher, and one for the relay if one is set: it reads events;
- one for each repository that something is due for, which ends when it is done;
- one that wakes those, and one that writes the counts of rejects.

A defect in one of them is logged and told of the repository or host concerned; the others go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from atd.errors import AtdError, DaemonError
from atd.protocol.identity import Identity
from atd.protocol.syntax import Did, Handle
from atd_daemon.catalog import Catalog
from atd_daemon.catalog.following import Followed, RejectCount
from atd_daemon.network.pds import PdsReader
from atd_daemon.sync.follow.board import FLUSH_S, Board
from atd_daemon.sync.follow.intake import Intake
from atd_daemon.sync.follow.repo import SETTLED, Need, Repo
from atd_daemon.sync.follow.states import Event, State
from atd_daemon.sync.follow.stream import EventSource, Stream
from atd_daemon.sync.follow.tending import Tender
from atd_daemon.sync.follow.timing import HOST, Time
from atd_daemon.sync.resolve import Resolver

CONFIRM_EVERY_S: Final = 10.0
"""How often strangers can make us ask about one publisher."""
_START_SPREAD_S: Final = 30.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Report:
    """What is known of one followed publisher now.

    ``row`` is what the index has; ``handle`` is its handle where that is proved; ``connected``
    whether the events of its host are being read; ``records`` how many records of ours it has.
    """

    row: Followed
    handle: Handle | None
    connected: bool
    host_error: AtdError | None
    records: int
    rejects: tuple[RejectCount, ...]


@dataclass(frozen=True, slots=True)
class HostReport:
    """A host whose events are read, or should be."""

    origin: str
    is_relay: bool
    publishers: int
    connected_at: float | None
    cursor: int | None
    error: AtdError | None
    rejects: tuple[RejectCount, ...]


class Follower:
    """Follows publishers, from `start` to `close`. Belongs to the event loop's thread."""

    def __init__(
        self,
        catalog: Catalog,
        resolver: Resolver,
        pds: PdsReader,
        events: EventSource,
        *,
        check_every_s: float,
        clock_skew_s: float,
        confirm_every_s: float = CONFIRM_EVERY_S,
        relay: str | None = None,
        time: Time,
    ) -> None:
        self.board = Board(catalog, time)
        self.streams: dict[str, Stream] = {}
        self._catalog = catalog
        self._resolver = resolver
        self._events = events
        self._relay = relay
        self._check_every_s = check_every_s
        self._intake = Intake(self.board, clock_skew_s, confirm_every_s)
        self._tender = Tender(
            self.board, self._intake, resolver, pds, self, check_every_s=check_every_s
        )
        self._intake.identify = self._tender.identify
        self._tasks: set[asyncio.Task[None]] = set()
        self._started = False
        self.stopped: set[str] = set()
        """Tasks that a defect ended, which nothing starts again; empty while all is well."""
        # Tasks outlive whoever asked for them, and must not inherit that caller's ATD_OFFLINE.
        self._context = contextvars.copy_context()

    # --- life -------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Follow again whoever was followed. More than once is once."""
        if self._started:
            return
        self._started = True
        board = self.board
        for row in await board.in_thread(board.store.rows):
            self._take_up(row)
        for host in await board.in_thread(board.store.hosts):
            if host.origin not in self.streams and host.origin != self._relay:
                await board.in_thread(partial(board.store.forget_host, host.origin))
        if self._relay is not None:
            self._open(self._relay, is_relay=True)
        self._spawn(self._schedule(), "what is due")
        self._spawn(self._flush(), "the counts of rejects")

    async def close(self) -> None:
        """Stop following until the next start; what was processed is remembered."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for stream in self.streams.values():
            await stream.save()
        await self.board.flush()
        self.board.close()

    def _take_up(self, row: Followed) -> None:
        """Go on with a publisher where the daemon that ended left it."""
        state = State(row.state)
        if state not in (State.SYNCHRONIZED, State.INACTIVE):
            state = State.DESYNCHRONIZED
        repo = Repo(row.did, state, head=row.head, host=row.host)
        self.board.repos[row.did] = repo
        if row.host is not None:
            self._attach(repo, row.host)
        need = Need.RESYNC if state is State.DESYNCHRONIZED else Need.CHECK
        spread_s = min(_START_SPREAD_S, self._check_every_s) if need is Need.CHECK else 1.0
        self.board.need(repo, need, spread_s * self.board.time.chance())

    # --- what can be asked ------------------------------------------------------------------------

    async def follow(self, actor: Handle | Did | str) -> tuple[Identity, bool]:
        """Follow a publisher from now on. Who it is, and whether that is new.

        Raises:
            AtdError: it cannot be resolved, or has no PDS; then it is not followed.
        """
        await self.start()
        identity = await self._resolver.identity(actor, refresh=True)
        pds, board = identity.pds, self.board
        known = board.repos.get(identity.did)
        if known is not None:
            known.identity, known.identity_at = identity, board.time.now()
            if known.host != pds:
                board.need(known, Need.IDENTITY)
            if known.state is State.INACTIVE:
                board.need(known, Need.STATUS)
            elif known.state is not State.SYNCHRONIZED:
                await board.shift(known, Event.BEGUN)  # so that its end is waited for
                board.need(known, Need.RESYNC)
            return identity, False
        now = board.time.now()
        state = State.DESYNCHRONIZED
        await board.in_thread(lambda: board.store.add(identity.did, state, now=now))
        repo = Repo(identity.did, state, identity=identity, identity_at=now)
        board.repos[identity.did] = repo
        self._attach(repo, pds)
        board.need(repo, Need.RESYNC)
        return identity, True

    async def unfollow(self, actor: Handle | Did | str, *, forget: bool = False) -> Did | None:
        """Follow a publisher no more; who it was, None: it was not followed.

        Args:
            forget: also drop everything that the index has of it, but its newest revision.
        """
        await self.start()
        did = await self._did_of(actor)
        repo = self.board.repos.pop(did, None)
        if repo is not None:
            await _ended(repo.task)
            self.board.drop_held(repo)
            await self._detach(repo)
        board = self.board
        removed = await board.in_thread(lambda: board.store.remove(did, forget=forget))
        await board.tell()
        return did if removed or repo is not None else None

    async def _did_of(self, actor: Handle | Did | str) -> Did:
        """The DID of somebody who is followed, even if the handle does not resolve any more."""
        name = str(actor).removeprefix("@")
        if name.startswith("did:"):
            return Did.parse(name)
        known = self._catalog.did_of(Handle.parse(name))
        if known is not None and known in self.board.repos:
            return known
        return (await self._resolver.identity(name)).did

    def is_live(self, did: Did) -> bool:
        """Whether a publisher is synchronized, and the events of its host are being read."""
        repo = self.board.repos.get(did)
        stream = None if repo is None else self.streams.get(repo.host or "")
        if repo is None or stream is None or stream.since is None:
            return False
        return repo.state is State.SYNCHRONIZED and repo.behind is None

    async def settled(self, did: Did) -> State:
        """Wait until the first answer about a publisher is there: the state that it is in."""
        repos = self.board.repos
        await self.board.wait_for(lambda: did not in repos or repos[did].state in SETTLED)
        repo = repos.get(did)
        return State.DESYNCHRONIZED if repo is None else repo.state

    async def following(self) -> list[Report]:
        """Every followed publisher, in the order in which they were followed."""
        await self.start()
        board = self.board
        await board.flush()
        rows, records, rejects = await board.in_thread(
            lambda: (board.store.rows(), board.store.records(), board.store.rejects())
        )
        return [self._report(row, records.get(row.did, 0), rejects) for row in rows]

    async def hosts(self) -> list[HostReport]:
        """Every host whose events are read, and the relay."""
        board = self.board
        await board.flush()
        stored, rejects = await board.in_thread(
            lambda: (board.store.hosts(), board.store.rejects())
        )
        cursors = {host.origin: host.cursor for host in stored}
        return [
            HostReport(
                origin=origin,
                is_relay=stream.is_relay,
                publishers=len(board.repos) if stream.is_relay else len(stream.dids),
                connected_at=stream.since,
                cursor=cursors.get(origin),
                error=stream.error,
                rejects=tuple(r for r in rejects if r.did is None and r.host == origin),
            )
            for origin, stream in sorted(self.streams.items())
        ]

    def _report(self, row: Followed, records: int, rejects: list[RejectCount]) -> Report:
        known = self._catalog.publisher(row.did)
        repo = self.board.repos.get(row.did)
        stream = None if repo is None else self.streams.get(repo.host or "")
        relay = self.streams.get(self._relay or "")
        heard = any(one is not None and one.since is not None for one in (stream, relay))
        return Report(
            row=row,
            handle=None if known is None else known.handle,
            connected=heard,
            host_error=None if stream is None or heard else stream.error,
            records=records,
            rejects=tuple(reject for reject in rejects if reject.did == row.did),
        )

    # --- hosts ------------------------------------------------------------------------------------

    async def settle_at(self, repo: Repo, origin: str) -> None:
        """See `tending.Homes.settle_at`."""
        await self._detach(repo)
        self._attach(repo, origin)

    def _attach(self, repo: Repo, origin: str) -> None:
        repo.host = origin
        self._open(origin).dids.add(repo.did)

    async def _detach(self, repo: Repo) -> None:
        """Read the events of its host no more if nobody else is there."""
        stream = self.streams.get(repo.host or "")
        repo.host = None
        if stream is None:
            return
        stream.dids.discard(repo.did)
        stream.holding.discard(repo.did)
        if stream.dids or stream.is_relay:
            return
        del self.streams[stream.origin]
        self.board.forget_gate(stream.origin)
        await _ended(stream.task)
        await self.board.in_thread(lambda: self.board.store.forget_host(stream.origin))

    def _open(self, origin: str, *, is_relay: bool = False) -> Stream:
        stream = self.streams.get(origin)
        if stream is None:
            stream = Stream(origin, self._events, self.board, self._intake, is_relay=is_relay)
            self.streams[origin] = stream
            stream.task = self._spawn(self._listen(stream), f"the events of {origin}")
        return stream

    # --- tasks ------------------------------------------------------------------------------------

    def _spawn(self, work: Coroutine[Any, Any, None], what: str) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work, context=self._context)
        self._tasks.add(task)
        task.add_done_callback(self._done(what))
        return task

    def _done(self, what: str) -> Callable[[asyncio.Task[None]], None]:
        def done(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            error = None if task.cancelled() else task.exception()
            if error is not None:
                self.stopped.add(what)
                _log.error("following stopped at %s", what, exc_info=error)

        return done

    async def _listen(self, stream: Stream) -> None:
        """Read the events of one host; what breaks here is told of it, and tried again later."""
        while True:
            try:
                await stream.run()
            except Exception as error:
                _log.error("a defect while listening to %s", stream.origin, exc_info=error)
                stream.error = DaemonError(f"a defect in atd: {type(error).__name__}")
                stream.since = None
            await self.board.time.sleep(HOST.longest_s)

    async def _schedule(self) -> None:
        """Have tended whatever something is due for."""
        while True:
            for repo in self.board.due():
                repo.tended = True
                repo.task = self._spawn(self._tend(repo), repo.did)
            await self.board.wait_for_due()

    async def _tend(self, repo: Repo) -> None:
        """Tend one repository; what breaks here is told of it, and tried again with patience."""
        try:
            await self._tender.tend(repo)
        except AtdError as error:  # such as a full disk
            await self._broke(repo, error)
        except Exception as error:
            _log.error("a defect while following %s", repo.did, exc_info=error)
            await self._broke(repo, DaemonError(f"a defect in atd: {type(error).__name__}"))

    async def _broke(self, repo: Repo, error: AtdError) -> None:
        repo.error = error
        with contextlib.suppress(AtdError):
            await self.board.fail(repo, error)
            await self.board.shift(repo, Event.REFUSED)
        self.board.need(repo, Need.RESYNC, self._check_every_s)

    async def _flush(self) -> None:
        """Write the counts of rejects now and then."""
        while True:
            await self.board.time.sleep(FLUSH_S)
            with contextlib.suppress(AtdError):  # such as a full disk: the next ones may be written
                await self.board.flush()


async def _ended(task: asyncio.Task[None] | None) -> None:
    """End a task, and wait until what it was writing is written."""
    if task is not None and not task.done():
        task.cancel()
        await asyncio.wait([task])
