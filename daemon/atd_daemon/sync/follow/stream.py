"""Reading the events of one host: connect, read, hand on, connect again.

A stream is read by one task, one event after the other: while its sink works, the host has to wait,
so nothing is queued here but what the transport's own bounded buffer holds. Between two events the
other tasks get their turn. A host that sends nonsense is hung up on, and whoever is hung up on or
cannot be reached is tried again later and later.

The cursor is how far events were processed. Held events are not: while one waits, the cursor stays
before it, so that a daemon that is killed hears it again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Final, Protocol

from atd.errors import AtdError, FrameRefused, Offline, RateLimited, Unreachable
from atd.protocol.frames import (
    ErrorMessage,
    InfoMessage,
    Message,
    UnknownMessage,
    read_frame,
)
from atd.protocol.rejects import Reject
from atd.protocol.syntax import Did, quote
from atd_daemon.catalog.following import Position
from atd_daemon.sync.follow.board import Board
from atd_daemon.sync.follow.judging import Told
from atd_daemon.sync.follow.timing import HOST, HOUR_S

SAVE_EVERY_S: Final = 5.0
STEADY_S: Final = 60.0
"""A connection that lasted so long was a good one: the next is tried at once."""
NONSENSE: Final = 50
"""Frames in a row that cannot be read, after which a host is hung up on."""
_LARGE_BYTES: Final = 64 * 1024  # a larger frame is read in a thread, beside the event loop
_TURN_S: Final = 0.005  # how long a host may go on without giving the others a turn
_MAX_SEQ: Final = 2**63 - 1
_SEEN: Final = 4096  # publishers whose newest commit a connection remembers to have told


class EventSource(Protocol):
    """Where the frames of a host come from: `network.events`, or a world in memory."""

    def open(
        self, origin: str, cursor: int | None
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Connect to ``com.atproto.sync.subscribeRepos`` of ``origin``, from after ``cursor``.

        Raises:
            Unreachable, Offline, RateLimited: no connection, or it broke.
            FrameRefused: a frame was too large; the connection is at its end.
        """
        ...


class Sink(Protocol):
    """Who takes the messages of a stream: `intake`."""

    async def take(self, stream: Stream, message: Message) -> None:
        """Process one message; when this returns, it is processed, held, or refused for good."""
        ...

    async def connected(self, stream: Stream, *, replays: bool) -> None:
        """The stream is open; unless it ``replays``, there may be something before its start."""
        ...

    async def outdated(self, stream: Stream) -> None:
        """Events between the cursor and the first that the host still has are lost."""
        ...


class Stream:
    """The events of the host at ``origin``.

    ``told`` is, for this connection, the newest proved commit of each repository; ``since`` is when
    it was connected, None while it is not; ``waits`` says that it will try again later.
    """

    def __init__(
        self, origin: str, source: EventSource, board: Board, sink: Sink, *, is_relay: bool = False
    ) -> None:
        self.origin = origin
        self.is_relay = is_relay
        self.dids: set[Did] = set()
        self.holding: set[Did] = set()
        self.told: dict[Did, Told] = {}
        self.since: float | None = None
        self.error: AtdError | None = None
        self.waits = False
        self.task: asyncio.Task[None] | None = None
        self._source = source
        self._board = board
        self._sink = sink
        self._done: int | None = None
        self._last: int | None = None
        self._saved: int | None = None
        self._saved_at = 0.0
        self._nonsense = 0
        self._may_lack = False

    # --- how far it is ----------------------------------------------------------------------------

    def position(self, through: int | None = None) -> Position | None:
        """How far events are processed, if the one numbered ``through`` is; None: nowhere yet."""
        done = self._done if through is None else through
        if done is None:
            return None
        waiting = [
            seq
            for did in self.holding
            if (repo := self._board.repos.get(did)) is not None
            and (seq := repo.first_held(self.origin)) is not None
        ]
        return Position(self.origin, min([done, *(seq - 1 for seq in waiting)]))

    async def save(self) -> None:
        """Write down how far it is."""
        position = self.position()
        if position is None or position.cursor == self._saved:
            return
        now = self._board.time.now()
        await self._board.in_thread(lambda: self._board.store.move(position, now=now))
        self._saved, self._saved_at = position.cursor, now

    def tell(self, did: Did, told: Told) -> None:
        """Remember what this connection told of a repository."""
        if did not in self.told and len(self.told) >= _SEEN:
            del self.told[next(iter(self.told))]
        self.told[did] = told

    # --- reading ----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Read until cancelled."""
        failures = 0
        while True:
            connected_at = self._board.time.now()
            error = await self._connection()
            await self._lost(error)
            if self._board.time.now() - connected_at > STEADY_S:
                failures = 0
            wait_s = HOST.delay_s(failures, self._board.time.chance())
            if isinstance(error, RateLimited) and error.retry_after_s is not None:
                wait_s = max(wait_s, min(error.retry_after_s, HOUR_S))
            if isinstance(error, Offline):
                wait_s = HOST.longest_s
            failures += 1
            self.waits = True
            await self._board.time.sleep(wait_s)
            self.waits = False

    async def _connection(self) -> AtdError:
        """Read one connection to its end; why it ended."""
        origin, board = self.origin, self._board
        cursor = await board.in_thread(lambda: board.store.cursor(origin))
        self._done = self._saved = self._last = cursor
        self._nonsense = 0
        self._may_lack = cursor is not None
        self.told.clear()
        self._drop_held()
        try:
            async with self._source.open(origin, cursor) as frames:
                now = board.time.now()
                await board.in_thread(lambda: board.store.host_connected(origin, now=now))
                self.since, self.error = now, None
                await self._sink.connected(self, replays=cursor is not None)
                board.changed()
                turn_at = asyncio.get_running_loop().time()
                async for frame in frames:
                    await self._frame(frame)
                    if asyncio.get_running_loop().time() - turn_at > _TURN_S:
                        await asyncio.sleep(0)
                        turn_at = asyncio.get_running_loop().time()
        except AtdError as error:  # also such as a full disk: later, it may work
            if isinstance(error, FrameRefused):
                self._refuse(error)
            return error
        finally:
            self.since = None
        return Unreachable(f"{origin} ended its event stream")

    def _drop_held(self) -> None:
        """Forget what this host told and what waits: the cursor is before it, it comes again."""
        for did in self.holding:
            if did in self._board.repos:
                self._board.drop_held(self._board.repos[did], self.origin)
        self.holding.clear()

    async def _lost(self, error: AtdError) -> None:
        """The connection is gone."""
        now, board = self._board.time.now(), self._board
        self.error = error
        with contextlib.suppress(AtdError):  # such as a full disk: said already, and tried again
            await self.save()
            await board.in_thread(lambda: board.store.host_failed(self.origin, error, now=now))
        board.changed()

    async def _frame(self, frame: bytes) -> None:
        """Read one frame and have it processed."""
        try:
            if len(frame) > _LARGE_BYTES:
                message = await self._board.in_thread(lambda: read_frame(frame))
            else:
                message = read_frame(frame)
        except FrameRefused as error:
            self._refuse(error)
            self._nonsense += 1
            if self._nonsense >= NONSENSE:
                raise Unreachable(
                    f"{self.origin} sent {NONSENSE} frames in a row that cannot be read"
                ) from error
            await self._pass(error.seq)
            return
        self._nonsense = 0
        await self._message(message)
        self._may_lack = False

    async def _message(self, message: Message) -> None:
        if isinstance(message, ErrorMessage):
            await self._ended(message)
        elif isinstance(message, InfoMessage):
            if message.name == "OutdatedCursor":
                await self._outdated()
        elif isinstance(message, UnknownMessage):
            what = f"a message of the kind {quote(message.kind)}"
            self._board.reject(None, self.origin, Reject.UNKNOWN_MESSAGE, what)
            await self._pass(message.seq)
        elif message.seq > _MAX_SEQ or (self._last is not None and message.seq <= self._last):
            what = f"message {message.seq} came after {self._last}"
            self._board.reject(message.did, self.origin, Reject.BAD_SEQUENCE, what)
        else:
            self._last = message.seq
            await self._sink.take(self, message)
            await self._pass(message.seq)

    async def _pass(self, seq: int | None) -> None:
        """A message is processed; now and then that is written down."""
        if seq is not None and seq <= _MAX_SEQ:
            self._done = seq if self._done is None else max(seq, self._done)
        if self._board.time.now() - self._saved_at > SAVE_EVERY_S:
            await self.save()

    async def _outdated(self) -> None:
        """The host says that it lacks what came after our cursor.

        It knows that when we connect and says it first. Said later it would be an excuse, made up
        for what it withheld.
        """
        if self._may_lack:
            await self._sink.outdated(self)
        else:
            what = "the host says OutdatedCursor, which it would have known when we connected"
            self._board.reject(None, self.origin, Reject.BAD_SEQUENCE, what)

    async def _ended(self, message: ErrorMessage) -> None:
        """The host says why it hangs up."""
        if message.error == "FutureCursor":
            # It counts anew, as after its database was lost: what it counted before means nothing.
            self._done = None
            await self._board.in_thread(lambda: self._board.store.rewind(self.origin))
            await self._sink.outdated(self)
        raise Unreachable(
            f"{self.origin} ended its event stream: {quote(message.error)}"
            f" {quote(message.message or '')}"
        )

    def _refuse(self, error: FrameRefused) -> None:
        did = None if error.did is None else Did(error.did)
        self._board.reject(did, self.origin, error.reason, error.message)
