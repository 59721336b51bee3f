"""Tending one repository: resolve, confirm, check, resync, each when it is due.

One task tends a repository at a time, so what it does here never races with itself; it does race
with the repository's live events, which `intake` takes in or holds meanwhile. Questions to one host
pass its gate: a host that answers slowly slows down its own publishers only.

A resync ends in three steps: the whole repository is in the index; every event that was held since
it began is processed; then it is synchronized. A daemon that is killed before the third step finds
it unsynchronized, and begins anew.
"""

from __future__ import annotations

import logging
from typing import Final, Protocol

from atd.errors import (
    AccountInactive,
    AtdError,
    DidAbsent,
    IdentityMismatch,
    Offline,
    RateLimited,
    StaleRevision,
    Unreachable,
)
from atd.protocol.cbor import Cid
from atd.protocol.identity import Identity
from atd.protocol.rejects import Reject
from atd.protocol.syntax import Did, Tid, quote
from atd_daemon.catalog.following import Head
from atd_daemon.network.pds import RepoStatus
from atd_daemon.sync.follow import timing
from atd_daemon.sync.follow.board import Board
from atd_daemon.sync.follow.intake import Intake
from atd_daemon.sync.follow.repo import Need, Repo
from atd_daemon.sync.follow.states import Event, State
from atd_daemon.sync.follow.stream import Stream
from atd_daemon.sync.found import Indexed

GRACE_S: Final = 10.0
"""How long an event may take from its PDS to us before its absence means something."""
AGAIN_S: Final = 60.0
"""After which a status or an identity is asked for again that could not be had."""
IDENTITY_EVERY_S: Final = 6 * timing.HOUR_S
"""How often a handle is proved anew, though nothing tells of a change."""
DOCUMENT_EVERY_S: Final = timing.HOUR_S
"""How often a document is looked at, though nothing tells of a change: for so long, a PDS that
hides it can go on signing with a key that was taken from it."""
DOCUMENTS_PER_S: Final = 1.0
"""Documents that are asked for in the mean at most: nearly all are of one directory."""
GONE: Final = "deleted"

_log = logging.getLogger(__name__)


class Sources(Protocol):
    """Where the truth about a publisher comes from: the part of `Resolver` that is needed here."""

    async def identity(self, actor: Did, *, refresh: bool = False) -> Identity:
        """Who it is."""
        ...

    async def document(self, did: Did) -> Identity:
        """What its document says now."""
        ...

    async def publisher(self, actor: Did) -> Indexed:
        """Bring all of it into the index."""
        ...


class Hosts(Protocol):
    """What a PDS is asked: the part of `PdsReader` that is needed here."""

    async def latest_commit(self, identity: Identity) -> tuple[Cid, Tid]:
        """What it says is the head."""
        ...

    async def repo_status(self, identity: Identity) -> RepoStatus:
        """What it says of the account."""
        ...


class Homes(Protocol):
    """Who reads whose events: the part of `Follower` that is needed here."""

    streams: dict[str, Stream]

    async def settle_at(self, repo: Repo, origin: str) -> None:
        """The events of ``repo`` come from ``origin`` from now on."""
        ...


class Tender:
    """Does what repositories need."""

    def __init__(
        self,
        board: Board,
        intake: Intake,
        sources: Sources,
        hosts: Hosts,
        homes: Homes,
        *,
        check_every_s: float,
    ) -> None:
        self._board = board
        self._intake = intake
        self._sources = sources
        self._hosts = hosts
        self._homes = homes
        self._check_every_s = check_every_s

    async def tend(self, repo: Repo) -> None:
        """Do everything that is due for ``repo``, in order, until nothing is."""
        board = self._board
        repo.tended = True
        try:
            while repo.did in board.repos:
                need = repo.take_due(board.time.now())
                if need is None:
                    return
                repo.asked_at[need] = board.time.now()
                await self._do(repo, need)
        finally:
            repo.tended = False

    async def _do(self, repo: Repo, need: Need) -> None:
        if need is Need.IDENTITY:
            await self._identity(repo)
        elif need is Need.DOCUMENT:
            await self._document(repo)
        elif need is Need.STATUS:
            await self._status(repo)
        elif need is Need.CHECK:
            await self._check(repo)
        else:
            await self._resync(repo)

    def _plan_identity(self, repo: Repo) -> None:
        """Have it resolved, and its document looked at, in a while, though nothing tells of a
        change."""
        board = self._board
        now = board.time.now()
        document_every_s = max(DOCUMENT_EVERY_S, self._turn_s())
        if repo.identity_at is None:  # the daemon was started since: not everybody at one moment
            repo.identity_at = now - IDENTITY_EVERY_S * board.time.chance()
        if repo.document_at is None:
            repo.document_at = now - document_every_s * board.time.chance()
        board.need(repo, Need.IDENTITY, max(0.0, repo.identity_at + IDENTITY_EVERY_S - now))
        board.need(repo, Need.DOCUMENT, max(0.0, repo.document_at + document_every_s - now))

    def _turn_s(self) -> float:
        """How long it takes to ask for everybody's document once."""
        return len(self._board.repos) / DOCUMENTS_PER_S

    def next_check(self, repo: Repo) -> None:
        """Plan the next look at its PDS, not at the same moment as everybody's."""
        spread = 0.75 + self._board.time.chance() / 2
        self._board.need(repo, Need.CHECK, self._check_every_s * spread)

    # --- identity ---------------------------------------------------------------------------------

    async def _document(self, repo: Repo) -> None:
        """See whether its document says what is known; if not, resolve it anew."""
        board, known = self._board, repo.identity
        repo.document_at = board.time.now()
        if known is None:
            return
        try:
            if (await self._sources.document(repo.did)).same_document(known):
                return
        except Unreachable:
            return  # the directory is away: the next time
        except AtdError:
            pass  # it is gone, or cannot be used: what that means is decided there
        board.need(repo, Need.IDENTITY)

    async def _identity(self, repo: Repo, *, refresh: bool = True) -> None:
        """Resolve it anew, and follow it to another PDS."""
        board = self._board
        try:
            identity = await self._sources.identity(repo.did, refresh=refresh)
            pds = identity.pds
        except Unreachable as error:
            if repo.identity is None:
                await self._unanswered(repo, error)
            else:  # what an event told is still to be found out
                board.need(repo, Need.IDENTITY, max(AGAIN_S, self._turn_s()))
            return
        except DidAbsent as error:
            await self._left(repo, GONE, AccountInactive(error.message))
            return
        except IdentityMismatch as error:
            await self._refused(repo, error)
            return
        before, repo.identity = repo.identity, identity
        repo.identity_at = repo.document_at = board.time.now()
        self._confirm_handle(repo, identity)
        if repo.host != pds:
            await self._moved(repo, pds)
        elif before is not None and before.key != identity.key:
            board.need(repo, Need.CHECK)

    async def _moved(self, repo: Repo, pds: str) -> None:
        """It is at another PDS now: whose events are heard from here on, after a resync."""
        first = repo.host is None
        await self._homes.settle_at(repo, pds)
        if not first:
            _log.info("%s moved to another PDS", repo.did)
            await self._board.shift(repo, Event.RETURNED)
            await self._board.gap(repo, 0.0)

    def _confirm_handle(self, repo: Repo, identity: Identity) -> None:
        claim, repo.claimed_handle = repo.claimed_handle, None
        if claim is not None and claim[1] not in identity.claimed:
            what = f"{claim[0]} said that {repo.did} is {quote(claim[1])}; its document does not"
            self._board.reject(repo.did, claim[0], Reject.UNCONFIRMED, what)

    async def known(self, repo: Repo) -> Identity | None:
        """Its identity, which may be some time old; None: it cannot be had now, which is noted."""
        if repo.identity is None:
            await self._identity(repo, refresh=False)
        return repo.identity

    async def identify(self, repo: Repo) -> Identity | None:
        """As `known`, for whoever reads events: it moves nothing, which would end the reading."""
        if repo.identity is None:
            try:
                identity = await self._sources.identity(repo.did)
                is_here = identity.pds == repo.host
            except AtdError:
                is_here = False
            if not is_here:
                self._board.need(repo, Need.IDENTITY)
                return None
            repo.identity = identity
        return repo.identity

    # --- account ----------------------------------------------------------------------------------

    async def _status(self, repo: Repo) -> None:
        """Ask its PDS whether the account is active."""
        identity = await self.known(repo)
        if identity is None:
            return
        claim, repo.claimed_active = repo.claimed_active, None
        try:
            async with self._board.gate(repo.host):
                status = await self._hosts.repo_status(identity)
        except AccountInactive as error:
            if not await self._found_elsewhere(repo, identity):
                await self._left(repo, "not hosted", error)
            return
        except Unreachable as error:
            repo.claimed_active = repo.claimed_active or claim  # still to be confirmed
            await self._board.fail(repo, error)
            self._board.need(repo, Need.STATUS, AGAIN_S)
            return
        if claim is not None and claim[1] != status.active:
            what = f"{claim[0]} said that {repo.did} is {'' if claim[1] else 'not '}active"
            self._board.reject(repo.did, claim[0], Reject.UNCONFIRMED, what)
        if not status.active:
            if await self._found_elsewhere(repo, identity):
                return
            word = status.status or "inactive"
            what = f"the account {repo.did} is {word}, says its PDS {repo.host}"
            await self._left(repo, word, AccountInactive(what))
        elif repo.state is State.INACTIVE:
            await self._board.shift(repo, Event.RETURNED)
            self._board.need(repo, Need.RESYNC)

    async def _found_elsewhere(self, repo: Repo, identity: Identity) -> bool:
        """Whether an account that its PDS does not know (any more) has moved."""
        await self._identity(repo)
        return repo.identity is not None and repo.identity.pds != identity.pds

    async def _left(self, repo: Repo, status: str, error: AccountInactive) -> None:
        """It is not active: listed no more, asked again at every check."""
        board = self._board
        board.drop_held(repo)
        repo.error = error
        now, store = board.time.now(), board.store
        await board.in_thread(lambda: store.left(repo.did, State.INACTIVE, status, error, now=now))
        await board.shift(repo, Event.LEFT)
        repo.due.pop(Need.RESYNC, None)
        self.next_check(repo)
        await board.tell()

    # --- checking ---------------------------------------------------------------------------------

    async def _check(self, repo: Repo) -> None:
        """Compare what its PDS shows with what is known: so that withholding shows."""
        identity = await self.known(repo)
        if identity is None:
            return
        self.next_check(repo)
        self._plan_identity(repo)
        if repo.state is State.INACTIVE:
            self._board.need(repo, Need.IDENTITY)
            self._board.need(repo, Need.STATUS)
            return
        before = repo.head
        if before is None or repo.state is not State.SYNCHRONIZED:
            return  # a resync is due, and asks more than this
        missed, repo.missed = repo.missed, False  # what is missed from here on, the next one finds
        try:
            async with self._board.gate(repo.host):
                commit, rev = await self._hosts.latest_commit(identity)
        except AccountInactive:
            self._board.need(repo, Need.STATUS)  # if it returns, all of it is read again
        except Unreachable as error:
            repo.missed |= missed
            await self._board.fail(repo, error)
        else:
            if repo.state is State.SYNCHRONIZED:  # still, after the question
                await self._compare(repo, before, commit, rev, missed=missed)

    async def _compare(
        self, repo: Repo, before: Head, commit: Cid, rev: Tid, *, missed: bool
    ) -> None:
        """What the head that the PDS shows says about the one that is known.

        Args:
            before: what was known when the PDS was asked; events may have come since.
            missed: whether events before that may have gone by unheard, by nobody's fault.
        """
        board, head, now = self._board, repo.head or before, self._board.time.now()
        if commit in (before.commit, head.commit) or before.rev < rev <= head.rev:
            repo.behind, repo.error = None, None
            await board.in_thread(lambda: board.store.checked(repo.did, now=now))
            await board.tell()
        elif rev <= before.rev:
            what = (
                f"{repo.did} is known as of rev {before.rev}, but {repo.host} shows rev {rev}"
                f" (commit {commit}): it went back"
            )
            reason = Reject.STALE_REV if rev < before.rev else Reject.EQUIVOCATION
            board.reject(repo.did, repo.host or "", reason, what)
            await board.gap(repo, self._intake.pause(repo))
        elif missed:
            await board.gap(repo, 0.0)
        elif repo.behind is not None and head.rev < repo.behind:
            what = f"{repo.host} shows rev {rev} of {repo.did}, and its stream did not tell it"
            board.reject(repo.did, repo.host or "", Reject.WITHHELD, what)
            await board.gap(repo, self._intake.pause(repo))
        else:
            repo.behind = rev
            await board.in_thread(lambda: board.store.behind(repo.did, now=now))
            board.need(repo, Need.CHECK, GRACE_S)

    # --- resync -----------------------------------------------------------------------------------

    async def _resync(self, repo: Repo) -> None:
        """Read all of it, then what was held meanwhile."""
        board = self._board
        if repo.state is State.INACTIVE or await self.known(repo) is None:
            return
        repo.failures += 1
        repo.missed = False  # all of it is read: what is lacking later was not told later
        board.drop_held(repo)
        await board.shift(repo, Event.BEGUN)
        try:
            async with board.gate(repo.host):
                indexed = await self._sources.publisher(repo.did)
        except AccountInactive as error:
            await self._status(repo)
            if repo.state is State.SYNCING:
                await self._unanswered(repo, error)
            return
        except Unreachable as error:
            await self._unanswered(repo, error)
            return
        except AtdError as error:
            await self._refused(repo, error)
            return
        await self._stored(repo, indexed)

    async def _stored(self, repo: Repo, indexed: Indexed) -> None:
        """All of it is in the index: take in what was held, and be synchronized."""
        board, head = self._board, Head.of(indexed.commit)
        if repo.did not in board.repos:
            return  # it is followed no more
        moved = indexed.identity.pds != repo.host
        repo.identity, repo.behind = indexed.identity, None
        if repo.head is None or head.rev >= repo.head.rev:
            repo.head = head
        if moved:
            await self._moved(repo, indexed.identity.pds)
        host, complete = indexed.identity.pds, indexed.changes is not None
        now, known, store = board.time.now(), repo.head, board.store
        await board.in_thread(
            lambda: store.resynced(repo.did, known, host=host, complete=complete, now=now)
        )
        await self._drain(repo)
        if repo.state is State.SYNCING:
            repo.synced_at, repo.error = board.time.now(), None
            await board.shift(repo, Event.CAUGHT_UP)
            self.next_check(repo)
        elif repo.state is not State.INACTIVE:
            pause = timing.GAPS.delay_s(repo.failures - 1, board.time.chance())
            board.need(repo, Need.RESYNC, pause)

    async def _drain(self, repo: Repo) -> None:
        """Process what was held, and what came while that was done."""
        board = self._board
        while repo.held and repo.state is State.SYNCING:
            event = repo.held[0]  # until it is processed, its host's cursor stays before it
            stream = self._homes.streams.get(event.origin)
            if stream is not None:
                await self._intake.process(stream, repo, event.message, None)
            if repo.held and repo.held[0] is event:
                board.release(repo)
        board.drop_held(repo)
        for stream in self._homes.streams.values():
            stream.holding.discard(repo.did)

    async def _unanswered(self, repo: Repo, error: AtdError) -> None:
        """It could not be found out: later again."""
        board = self._board
        board.drop_held(repo)
        await board.fail(repo, error)
        await board.shift(repo, Event.NO_ANSWER)
        wait_s = timing.UNREACHABLE.delay_s(max(0, repo.failures - 1), board.time.chance())
        if isinstance(error, RateLimited) and error.retry_after_s is not None:
            wait_s = max(wait_s, min(error.retry_after_s, timing.HOUR_S))
        if isinstance(error, Offline):
            wait_s = timing.UNREACHABLE.longest_s
        need = Need.IDENTITY if repo.identity is None else Need.RESYNC
        if repo.state is not State.INACTIVE:
            board.need(repo, need, wait_s)
            board.need(repo, Need.RESYNC, wait_s)

    async def _refused(self, repo: Repo, error: AtdError) -> None:
        """What it serves does not prove: later again, but less often."""
        board = self._board
        board.drop_held(repo)
        await board.fail(repo, error)
        await board.shift(repo, Event.REFUSED)
        if repo.state is State.INACTIVE:
            return
        if isinstance(error, StaleRevision):
            board.reject(repo.did, repo.host or "", Reject.STALE_REV, error.message)
        wait_s = timing.REFUSED.delay_s(max(0, repo.failures - 1), board.time.chance())
        board.need(repo, Need.RESYNC, wait_s)
