"""Taking in what a host tells: from a message to an effect on the index, or to a counted refusal.

A #commit of somebody who is followed has an effect if, in this order: it came from the publisher's
current PDS (or from the relay: it is signed anyway); the account is active; it is later than what
is known; it proves; and it continues the very head that is known. Then record, history, head and
cursor change in one transaction. Everything else is counted under its reason and makes us ask the
PDS: whether there is something newer (`Need.CHECK`), or all of it again where something is surely
missing (`Event.GAP`).

#identity and #account messages are signed by nobody. They only say what to ask for, and that is
asked at its source, not more often than every ``confirm_every_s`` for one publisher.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from atd.errors import AtdError, FrameRefused, LexiconError
from atd.names import COLLECTIONS
from atd.protocol.frames import (
    AccountMessage,
    CommitMessage,
    IdentityMessage,
    Message,
    SyncMessage,
)
from atd.protocol.identity import Identity
from atd.protocol.live import VerifiedDiff, verify_diff, verify_sync
from atd.protocol.proof import VerifiedAbsence, VerifiedCommit, VerifiedRecord
from atd.protocol.rejects import Reject
from atd.records import Record, parse
from atd_daemon.catalog.following import Head, Position
from atd_daemon.sync.follow.board import Board
from atd_daemon.sync.follow.judging import Meaning, Told, after_proof, before_proof
from atd_daemon.sync.follow.repo import Held, Need, Repo
from atd_daemon.sync.follow.states import State
from atd_daemon.sync.follow.stream import Stream
from atd_daemon.sync.follow.timing import GAPS

STEADY_S: Final = 900.0
"""A repository that was synchronized for so long has no failures in a row. It is three times the
longest pause: who makes gaps without end has the repository read once in each such pause at most.
"""
_MISSING: Final = frozenset(
    {Reject.BROKEN_CHAIN, Reject.TOO_BIG, Reject.PREV_DATA_MISSING, Reject.INCOMPLETE}
)
"""Reasons that say that there is something which cannot be had from the stream."""


class Intake:
    """The `stream.Sink` of all streams."""

    def __init__(self, board: Board, clock_skew_s: float, confirm_every_s: float) -> None:
        self.identify: Callable[[Repo], Awaitable[Identity | None]] = _unknown
        """How to find out who signs for a repository; None: it cannot be found out now."""
        self._board = board
        self._skew_s = clock_skew_s
        self._confirm_every_s = confirm_every_s

    # --- what a stream says -----------------------------------------------------------------------

    async def take(self, stream: Stream, message: Message) -> None:
        """See `stream.Sink.take`."""
        if isinstance(message, CommitMessage | SyncMessage):
            repo = self._board.repos.get(message.did)
            if repo is not None and self._is_home(stream, repo, message):
                await self._told(stream, repo, message)
        elif isinstance(message, IdentityMessage | AccountMessage):
            repo = self._board.repos.get(message.did)
            if repo is not None and self._is_home(stream, repo, message):
                self._claimed(stream, repo, message)

    async def connected(self, stream: Stream, *, replays: bool) -> None:
        """See `stream.Sink.connected`."""
        for repo in self._of(stream):
            if repo.state is State.UNREACHABLE:
                self._board.need(repo, Need.RESYNC, self._board.time.chance())
            elif not replays:
                self._missed(repo)

    async def outdated(self, stream: Stream) -> None:
        """See `stream.Sink.outdated`."""
        for repo in self._of(stream):
            self._missed(repo)

    def _of(self, stream: Stream) -> list[Repo]:
        """Whom a stream is the source for; what a relay misses, their own hosts tell."""
        known = self._board.repos
        return [known[did] for did in stream.dids if did in known]

    def _missed(self, repo: Repo) -> None:
        repo.missed = True
        self._board.need(repo, Need.CHECK)

    # --- one message ------------------------------------------------------------------------------

    def _is_home(
        self,
        stream: Stream,
        repo: Repo,
        message: CommitMessage | SyncMessage | IdentityMessage | AccountMessage,
    ) -> bool:
        """Whether its events are to come from this host; where not, asks anew where it is."""
        if stream.is_relay or repo.host == stream.origin:
            return True
        what = f"{repo.did} is at {repo.host}, message {message.seq} came from {stream.origin}"
        self._board.reject(repo.did, stream.origin, Reject.WRONG_HOST, what)
        self._board.need_again(repo, Need.IDENTITY, self._confirm_every_s, stream.origin)
        return False

    def _claimed(
        self, stream: Stream, repo: Repo, message: IdentityMessage | AccountMessage
    ) -> None:
        """Have asked at its source what nobody signed."""
        if isinstance(message, AccountMessage):
            repo.claimed_active = (stream.origin, message.active)
            self._board.need_again(repo, Need.STATUS, self._confirm_every_s, stream.origin)
        elif message.handle is not None:
            repo.claimed_handle = (stream.origin, message.handle)
        # A migration is told by #account or #identity alone; both change who and where it is.
        self._board.need_again(repo, Need.IDENTITY, self._confirm_every_s, stream.origin)

    async def _told(self, stream: Stream, repo: Repo, message: CommitMessage | SyncMessage) -> None:
        """A commit or a sync of a followed publisher, from where it may come from."""
        if repo.state is State.INACTIVE:
            what = f"{repo.did} is not active, message {message.seq} tells of a commit"
            self._board.reject(repo.did, stream.origin, Reject.INACTIVE, what)
            self._board.need_again(repo, Need.STATUS, self._confirm_every_s, stream.origin)
        elif repo.state is State.SYNCING:
            await self._hold(stream, repo, message)
        else:
            await self.process(stream, repo, message, stream.position(message.seq))

    async def _hold(self, stream: Stream, repo: Repo, message: CommitMessage | SyncMessage) -> None:
        """Keep it until the resync is done; if that is too much, the resync is done again."""
        event, board = Held(stream.origin, message), self._board
        if board.has_room(repo, event):
            board.hold(repo, event)
            stream.holding.add(repo.did)
            return
        board.drop_held(repo)
        await self._gap(repo)

    async def process(
        self,
        stream: Stream,
        repo: Repo,
        message: CommitMessage | SyncMessage,
        position: Position | None,
    ) -> None:
        """Judge, prove and take in one message; also called for what was held."""
        identity = await self.identify(repo)
        if identity is None:
            what = f"the identity of {repo.did} cannot be found out now"
            self._board.reject(repo.did, stream.origin, Reject.IDENTITY_UNKNOWN, what)
            await self._gap(repo)
            return
        try:
            if isinstance(message, SyncMessage):
                await self._sync(stream, repo, message, identity)
            else:
                await self._commit(stream, repo, message, identity, position)
        except FrameRefused as error:
            await self._refused(stream, repo, error)

    async def _sync(
        self, stream: Stream, repo: Repo, message: SyncMessage, identity: Identity
    ) -> None:
        """A #sync: the repository is somewhere, without how it came there."""
        commit = await self._board.in_thread(lambda: verify_sync(message, identity))
        meaning = self._judged(stream, repo, message.seq, commit)
        stream.tell(repo.did, Told(commit.rev, commit.cid))
        if meaning is Meaning.NEWS:
            await self._gap(repo)

    async def _commit(
        self,
        stream: Stream,
        repo: Repo,
        message: CommitMessage,
        identity: Identity,
        position: Position | None,
    ) -> None:
        if self._judged(stream, repo, message.seq, message) is Meaning.COVERED:
            return
        # What comes before a resync is proved as well, but only to count what does not prove.
        head = repo.head if repo.state in (State.SYNCHRONIZED, State.SYNCING) else None
        now = self._board.time.now()
        work = partial(self._apply, message, identity, head, position, now)
        diff = await self._board.in_thread(work)
        stream.tell(repo.did, Told(diff.commit.rev, diff.commit.cid))
        if head is None:
            self._board.need(repo, Need.RESYNC, self.pause(repo))
            return
        repo.head, repo.error = Head.of(diff.commit), None
        if repo.behind is not None and repo.head.rev >= repo.behind:
            repo.behind = None
        await self._board.tell()

    def _judged(
        self, stream: Stream, repo: Repo, seq: int, commit: CommitMessage | VerifiedCommit
    ) -> Meaning:
        """What the commit is, if it breaks no rule that needs memory."""
        cid = commit.commit if isinstance(commit, CommitMessage) else commit.cid
        latest_s = self._board.time.now() + self._skew_s
        told = stream.told.get(repo.did)
        meaning = before_proof(repo.head, told, commit.rev, cid, latest_s)
        if isinstance(meaning, Meaning):
            return meaning
        raise FrameRefused(
            f"the message {seq} about {repo.did} is of rev {commit.rev} and commit {cid};"
            f" known is {'nothing' if repo.head is None else repo.head.rev}",
            reason=meaning,
            did=repo.did,
            seq=seq,
        )

    def _apply(
        self,
        message: CommitMessage,
        identity: Identity,
        head: Head | None,
        position: Position | None,
        now: float,
    ) -> VerifiedDiff:
        """Prove, and take in on top of ``head``, in a thread; None: only prove."""
        diff = verify_diff(message, identity, COLLECTIONS)
        if head is None:
            return diff
        broken = after_proof(head, diff)
        if broken is not None:
            raise FrameRefused(
                f"the message {message.seq} about {message.did} continues rev {message.since}"
                f" (tree {message.prev_data}); known is rev {head.rev} (tree {head.data})",
                reason=broken,
                did=message.did,
                seq=message.seq,
            )
        self._board.store.apply(diff, [_read(change) for change in diff.changes], position, now=now)
        return diff

    async def _refused(self, stream: Stream, repo: Repo, error: FrameRefused) -> None:
        """Count it, and ask the PDS what it meant."""
        board = self._board
        board.reject(repo.did, stream.origin, error.reason, error.message)
        if error.reason in (Reject.STALE_REV, Reject.DUPLICATE):
            return  # nothing of it is news
        if error.reason in _MISSING and not stream.is_relay:
            await self._gap(repo)
            return
        if error.reason == Reject.BAD_SIGNATURE:
            board.need_again(repo, Need.IDENTITY, self._confirm_every_s, stream.origin)
        board.need_again(repo, Need.CHECK, self._confirm_every_s, stream.origin)

    async def _gap(self, repo: Repo) -> None:
        await self._board.gap(repo, self.pause(repo))

    def pause(self, repo: Repo) -> float:
        """How long to wait before a resync: not at all for whom it is rarely needed."""
        now, synced_at = self._board.time.now(), repo.synced_at
        if repo.state is State.SYNCHRONIZED and (synced_at is None or now - synced_at > STEADY_S):
            repo.failures = 0
        if repo.failures == 0:
            return 0.0
        return GAPS.delay_s(repo.failures - 1, self._board.time.chance())


async def _unknown(repo: Repo) -> Identity | None:
    return repo.identity


def _read(change: VerifiedRecord | VerifiedAbsence) -> Record | AtdError | None:
    """The typed record of a change, or why it has none."""
    if isinstance(change, VerifiedAbsence):
        return None
    try:
        return parse(change)
    except LexiconError as error:
        return error
