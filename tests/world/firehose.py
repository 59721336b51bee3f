"""A PDS's event stream: what its accounts did, frame by frame, with a backlog and cursors.

Frames are made when they are first read, so a world that nobody listens to pays nothing for them.
An honest stream tells the truth; whoever lies puts frames of its own into it (`Firehose.put`), or
keeps true ones out (`Firehose.muted`): see `world.frame_lies`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from atd.protocol.cbor import Cid, Value
from atd.protocol.mst import build
from atd_daemon.host.events import Op, commit_body, error_frame, frame, sync_body, timestamp
from atd_daemon.host.tree import Tree

if TYPE_CHECKING:
    from world.account import Account, Snapshot
    from world.network import World

Body = dict[str, Value]
MAX_OPERATIONS = 200
NOTHING = build({})[0]


@dataclass
class Event:
    """One event; ``make`` gives its frame."""

    seq: int
    make: Callable[[], bytes]

    @cached_property
    def frame(self) -> bytes:
        """The frame as it goes over the wire."""
        return self.make()


class Firehose:
    """The event stream of one PDS. ``oldest`` is the first event that it still has."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.events: list[Event] = []
        self.newest = 0
        self.oldest = 1
        self.listeners = 0
        self._silent = False
        self._waiting: dict[asyncio.Event, asyncio.AbstractEventLoop] = {}
        self._reached: dict[asyncio.Event, int] = {}
        self._cut = 0

    @property
    def is_heard(self) -> bool:
        """Whether every listener has processed every event."""
        reached = [self._reached.get(listener) for listener in self._waiting]
        return all(seq == self.newest for seq in reached)

    # --- what happened ---------------------------------------------------------------------------

    def commit(self, account: Account) -> None:
        """Tell of the newest commit of an account: as a #commit, or a #sync if it is too large."""
        after = account.head
        before = account.history[-2] if len(account.history) > 1 else None
        if len(operations(before, after)) > MAX_OPERATIONS:
            self.sync(account)
        else:
            self.tell("#commit", lambda: commit_of(account, before, after))

    def sync(self, account: Account) -> None:
        """Tell where an account's repository is now."""
        commit = account.head.commit
        self.tell("#sync", lambda: sync_body(account.did, commit.cid, commit.rev, commit.encode()))

    def identity(self, account: Account) -> None:
        """Tell that an identity may have changed."""
        handle = account.handle
        self.tell("#identity", lambda: {"did": account.did, "handle": handle})

    def account(self, account: Account) -> None:
        """Tell whether an account is active."""
        body = account_of(account.did, account.status)
        self.tell("#account", lambda: body)

    def tell(self, kind: str, body: Callable[[], Body]) -> None:
        """An honest event, unless the stream is muted."""
        if not self._silent:
            now = timestamp(self.world.now())
            seq = self.newest + 1
            self._append(seq, lambda: frame(kind, {**body(), "seq": seq, "time": now}))

    # --- lies ------------------------------------------------------------------------------------

    def put(self, kind: str, body: Mapping[str, Value]) -> int:
        """Tell whatever; returns its number. ``seq`` and ``time`` are filled in where missing."""
        seq = self.newest + 1
        whole = {"seq": seq, "time": timestamp(self.world.now()), **body}
        self._append(seq, lambda: frame(kind, whole))
        return seq

    def put_frame(self, data: bytes) -> None:
        """Send these very bytes."""
        self._append(self.newest + 1, lambda: data)

    @contextlib.contextmanager
    def muted(self) -> Iterator[None]:
        """Tell nothing of what happens meanwhile."""
        before, self._silent = self._silent, True
        try:
            yield
        finally:
            self._silent = before

    def forget(self, keep: int = 0) -> None:
        """Drop all but the newest events from the backlog, as retention does."""
        self.oldest = self.newest + 1 - keep
        self.events = [event for event in self.events if event.seq >= self.oldest]

    def disconnect(self) -> None:
        """Break every connection."""
        self._cut += 1
        self._wake()

    # --- telling it ------------------------------------------------------------------------------

    async def follow(self, cursor: int | None) -> AsyncIterator[bytes]:
        """The frames for one listener, as com.atproto.sync.subscribeRepos sends them."""
        news, cut = asyncio.Event(), self._cut
        self._waiting[news] = asyncio.get_running_loop()
        self.listeners += 1
        try:
            seq = self.newest if cursor is None else cursor
            if seq > self.newest:
                yield error_frame("FutureCursor", "Cursor in the future.")
                return
            if cursor is not None and 0 < cursor < self.oldest - 1:
                message = "Requested cursor exceeded limit. Possibly missing events"
                yield frame("#info", {"name": "OutdatedCursor", "message": message})
            seq = max(seq, self.oldest - 1)
            while True:
                news.clear()
                for event in self._after(seq):
                    seq = event.seq
                    yield event.frame
                    self._check(cut)
                self._reached[news] = seq  # whoever asks for more has processed what it got
                if seq == self.newest:
                    await news.wait()
                self._check(cut)
        finally:
            self.listeners -= 1
            del self._waiting[news]
            self._reached.pop(news, None)

    def _check(self, cut: int) -> None:
        if self._cut != cut:
            raise ConnectionResetError("connection reset by peer")

    def _after(self, seq: int) -> list[Event]:
        return self.events[max(0, seq + 1 - self.oldest) :]

    def _append(self, seq: int, make: Callable[[], bytes]) -> None:
        self.newest = seq
        self.events.append(Event(seq, make))
        self._wake()

    def _wake(self) -> None:
        for event, loop in list(self._waiting.items()):
            with contextlib.suppress(RuntimeError):  # its loop ended without it
                loop.call_soon_threadsafe(event.set)


# --- what frames say ------------------------------------------------------------------------------


def operations(before: Snapshot | None, after: Snapshot) -> list[Op]:
    """What happened between two states, in the order of the paths."""
    old = {} if before is None else before.records
    new = after.records
    ops = []
    for path in sorted(old.keys() | new.keys()):
        if old.get(path) != new.get(path):
            action = "create" if path not in old else "delete" if path not in new else "update"
            ops.append(Op(action, path, new.get(path), old.get(path)))
    return ops


def commit_of(account: Account, before: Snapshot | None, after: Snapshot) -> Body:
    """The true body of a #commit."""
    ops = operations(before, after)
    blocks: dict[Cid, bytes] = {after.commit.cid: after.commit.encode()}
    known = {} if before is None else before.tree
    blocks |= {cid: block for cid, block in after.tree.items() if cid not in known}
    tree = Tree(after.tree.__getitem__, after.commit.data)
    for op in ops:
        blocks |= tree.cover(op.path)
        if op.cid is not None:
            blocks[op.cid] = after.blocks[op.cid]
    return commit_body(
        account.did,
        (after.commit.cid, after.commit.rev),
        None if before is None else before.commit.rev,
        None if before is None else before.commit.data,
        ops,
        blocks,
    )


def account_of(did: str, status: str) -> Body:
    """The body of an #account."""
    body: Body = {"did": did, "active": status == "active"}
    return body if status == "active" else {**body, "status": status}
