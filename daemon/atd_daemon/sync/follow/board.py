"""What the parts of following share: the repositories, what is due for them, and what was counted.

Rules. A state changes here and nowhere else, by the table of `states`, and is in the index before
whoever changed it goes on. What is due is a moment of the injected clock; the same need twice is
one need at the earlier moment. Counts of rejects are gathered and written every `FLUSH_S`: their
keys are followed publishers, hosts that are connected and a fixed set of reasons.

Everything but the work given to `in_thread` belongs to the event loop's thread.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from atd.errors import AtdError
from atd.protocol.rejects import Reject
from atd.protocol.syntax import Did
from atd_daemon.catalog import Catalog
from atd_daemon.catalog.following import Following
from atd_daemon.sync.follow.repo import (
    MAX_ALL_HELD_BYTES,
    MAX_HELD,
    MAX_HELD_BYTES,
    MAX_HOST_HELD_BYTES,
    Held,
    Need,
    Repo,
)
from atd_daemon.sync.follow.states import Event, State, after
from atd_daemon.sync.follow.timing import Time
from atd_daemon.sync.together import to_the_end

T = TypeVar("T")

FLUSH_S: Final = 2.0
THREADS: Final = 4
AT_ONCE: Final = 2
"""Questions and resyncs of one host at a time."""
CLAIMS: Final = 100
CLAIM_EVERY_S: Final = 0.2
"""Questions that the events of one host bring about: so many at once, then one in so long. They go
to others, the directory of DIDs among them, whom nobody shall make us flood."""

_log = logging.getLogger(__name__)


class Board:
    """The shared state of a `Follower`."""

    def __init__(self, catalog: Catalog, time: Time) -> None:
        self.repos: dict[Did, Repo] = {}
        self.time = time
        self.held_bytes = 0
        self._held_of: Counter[str] = Counter()
        self.changed: Callable[[], None] = lambda: None
        """Called after every change that lists or metrics would show."""
        self._catalog = catalog
        self._heap: list[tuple[float, int, Did]] = []
        self._pushed = 0
        self._news = asyncio.Event()
        self._shifted = asyncio.Condition()
        self._gates: dict[str, asyncio.Semaphore] = {}
        self._turns: dict[str, float] = {}
        self._counts: dict[tuple[Did | None, str, str], tuple[int, str]] = {}
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="follow")

    @property
    def store(self) -> Following:
        """What outlives the daemon."""
        return self._catalog.following

    async def in_thread(self, do: Callable[[], T]) -> T:
        """Run ``do`` beside the event loop. Each host has one thing of its own here at a time."""
        return await to_the_end(asyncio.get_running_loop().run_in_executor(self._threads, do))

    def close(self) -> None:
        """Let the threads end."""
        self._threads.shutdown(wait=True)

    def gate(self, origin: str | None) -> asyncio.Semaphore:
        """How many questions one host is asked at a time."""
        return self._gates.setdefault(origin or "", asyncio.Semaphore(AT_ONCE))

    def forget_gate(self, origin: str) -> None:
        """Nobody is at this host any more."""
        self._gates.pop(origin, None)
        self._turns.pop(origin, None)
        if not self._held_of[origin]:
            del self._held_of[origin]

    # --- states -----------------------------------------------------------------------------------

    async def shift(self, repo: Repo, event: Event) -> None:
        """Let ``event`` happen to ``repo``; on return its state is in the index."""
        state = after(repo.state, event)
        if state is repo.state:
            return
        _log.debug("%s: %s after %s", repo.did, state, event)
        repo.state = state
        await self.in_thread(lambda: self.store.set_state(repo.did, state))
        await self.tell()

    async def gap(self, repo: Repo, delay_s: float) -> None:
        """Something of ``repo`` is missing: it is to be read again in ``delay_s``."""
        await self.shift(repo, Event.GAP)
        now = self.time.now()
        await self.in_thread(lambda: self.store.behind(repo.did, now=now))
        self.need(repo, Need.RESYNC, delay_s)

    async def tell(self) -> None:
        """Wake whoever waits for a state."""
        async with self._shifted:
            self._shifted.notify_all()
        self.changed()

    async def wait_for(self, holds: Callable[[], bool]) -> None:
        """Wait until something is so; looked at after each change of a state."""
        async with self._shifted:
            await self._shifted.wait_for(holds)

    async def fail(self, repo: Repo, error: AtdError) -> None:
        """Note what went wrong with ``repo``, in words."""
        repo.error = error
        now = self.time.now()
        await self.in_thread(lambda: self.store.failed(repo.did, error, now=now))

    # --- what is due ------------------------------------------------------------------------------

    def need(self, repo: Repo, need: Need, delay_s: float = 0.0) -> None:
        """Note that ``repo`` needs something, at the latest after ``delay_s``."""
        due = self.time.now() + delay_s
        if repo.due.get(need, due + 1) <= due:
            return
        repo.due[need] = due
        self._pushed += 1
        heapq.heappush(self._heap, (due, self._pushed, repo.did))
        self._news.set()

    def need_again(self, repo: Repo, need: Need, every_s: float, origin: str) -> None:
        """As `need`, but not more often than ``every_s``: for what strangers can bring about.

        Nor does one of them bring about too much at a time: what the events of ``origin`` make us
        ask, beyond `CLAIMS` at once, waits for one another, `CLAIM_EVERY_S` each.
        """
        now, asked_at = self.time.now(), repo.asked_at.get(need)
        wait = 0.0 if asked_at is None else max(0.0, asked_at + every_s - now)
        turn = max(self._turns.get(origin, 0.0), now - CLAIMS * CLAIM_EVERY_S) + CLAIM_EVERY_S
        wait = max(wait, turn - now)
        if repo.due.get(need, now + wait + 1) > now + wait:
            self._turns[origin] = turn
            self.need(repo, need, wait)

    def due(self) -> Iterator[Repo]:
        """The repositories for which something is due now, and whom nobody tends yet."""
        now = self.time.now()
        while self._heap and self._heap[0][0] <= now:
            repo = self.repos.get(heapq.heappop(self._heap)[2])
            if repo is not None and not repo.tended:
                yield repo

    async def wait_for_due(self) -> None:
        """Wait until something is due, or something new is needed."""
        self._news.clear()
        waiting: list[asyncio.Future[object]] = [asyncio.ensure_future(self._news.wait())]
        if self._heap:
            pause = max(0.0, self._heap[0][0] - self.time.now())
            waiting.append(asyncio.ensure_future(self.time.sleep(pause)))
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()

    # --- holding ----------------------------------------------------------------------------------

    def has_room(self, repo: Repo, event: Held) -> bool:
        """Whether one more event may be kept for ``repo``, and from its host, and at all."""
        return (
            len(repo.held) < MAX_HELD
            and repo.held_bytes + event.size <= MAX_HELD_BYTES
            and self._held_of[event.origin] + event.size <= MAX_HOST_HELD_BYTES
            and self.held_bytes + event.size <= MAX_ALL_HELD_BYTES
        )

    def hold(self, repo: Repo, event: Held) -> None:
        """Keep an event until the resync of ``repo`` is done."""
        repo.hold(event)
        self.held_bytes += event.size
        self._held_of[event.origin] += event.size

    def release(self, repo: Repo) -> Held:
        """The oldest event that was kept for ``repo``."""
        event = repo.release()
        self.held_bytes -= event.size
        self._held_of[event.origin] -= event.size
        return event

    def drop_held(self, repo: Repo, origin: str | None = None) -> None:
        """Keep nothing for ``repo`` any more, or nothing that came from ``origin``."""
        kept = [] if origin is None else [one for one in repo.held if one.origin != origin]
        while repo.held:
            self.release(repo)
        for event in kept:
            self.hold(repo, event)

    # --- rejects ----------------------------------------------------------------------------------

    def reject(self, did: Did | None, host: str, reason: Reject | str, message: str) -> None:
        """Count a message that broke a rule; ``did`` counts only if it is followed."""
        key = (did if did in self.repos else None, host, str(reason))
        self._counts[key] = (self._counts.get(key, (0, ""))[0] + 1, message)

    async def flush(self) -> None:
        """Write the counts."""
        counts, self._counts = self._counts, {}
        if counts:
            now = self.time.now()
            await self.in_thread(lambda: self.store.count_rejects(counts, now=now))
            self.changed()

    def followed(self, state: State) -> int:
        """How many repositories are in ``state``."""
        return sum(repo.state is state for repo in self.repos.values())
