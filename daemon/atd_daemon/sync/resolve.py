"""From a name to proved, typed records: the only way for another's record into the catalog.

Each record goes through the nine steps of docs/verification.md: the directory does 1 to 3, the
proof 4 to 8, and here comes what needs memory and a clock:

9. The revision is not older than the newest that was known before we asked (rollback), and not
   more than ``clock_skew_s`` in the future (it would shut out every honest one after it).

What was asked for by strongRef (URI and CID), and what never changes (all but heads), come out of
the index where it has them: they were proved when they entered. Heads are asked for anew, except
with the network switched off. What is wrong with a record becomes a problem of that record, with
its reason; what is wrong with a publisher is noted there. That we could not find out is nobody's
fault, and is noted of the publisher only so that its freshness can be explained.

Whatever is written to the catalog is written in a thread: another publisher's whole repository may
be on its way in, which takes as long as it takes.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, islice
from typing import Final

from atd.errors import (
    Absent,
    AtdError,
    InvalidSyntax,
    LexiconError,
    Offline,
    PreviousKey,
    ProofError,
    RateLimited,
    RecordAbsent,
    RemoteError,
    StaleRevision,
    Unreachable,
)
from atd.names import COLLECTIONS, DATASET, RECIPE
from atd.protocol.cbor import Cid
from atd.protocol.identity import Identity
from atd.protocol.proof import VerifiedAbsence, VerifiedCommit, VerifiedRecord, VerifiedRepo
from atd.protocol.syntax import AtUri, Did, Handle, Nsid, RecordKey, Tid
from atd.records import Dataset, Record, StrongRef, head_uri, parse
from atd.refs import DatasetRef, parse_dataset_ref
from atd_daemon.catalog import Catalog, Changes, Flaw
from atd_daemon.config import Config
from atd_daemon.network.directory import Directory
from atd_daemon.network.fetch import offline_now
from atd_daemon.network.pds import PdsReader
from atd_daemon.sync.found import Found, Indexed, ResolvedDataset, found_of
from atd_daemon.sync.prover import Proven, Prover
from atd_daemon.sync.release import ReleaseWalk, named, of_kind
from atd_daemon.sync.together import together

_PIECE: Final = 500  # records of a repository that go in at once: a moment's work


class Resolver:
    """Proves what is asked for, and keeps the catalog up to date with it."""

    def __init__(
        self,
        directory: Directory,
        pds: PdsReader,
        catalog: Catalog,
        config: Config,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._directory = directory
        self._pds = pds
        self._catalog = catalog
        self._config = config
        self._clock = clock
        self._prover = Prover(directory, pds)
        self._seen: dict[Did, Identity] = {}

    async def identity(self, actor: Handle | Did | str, *, refresh: bool = False) -> Identity:
        """Who ``actor`` is, noted in the catalog; raises as `Directory.resolve`."""
        identity = await self._directory.resolve(actor, refresh=refresh)
        if self._seen.get(identity.did) != identity:
            await asyncio.to_thread(self._catalog.publisher_seen, identity, now=self._clock())
            if len(self._seen) > 1000:
                self._seen.clear()
            self._seen[identity.did] = identity
        return identity

    async def document(self, did: Did) -> Identity:
        """What the document of ``did`` says now, noted nowhere; raises as `Directory.document`."""
        return await self._directory.document(did)

    async def record(
        self,
        ref: AtUri | StrongRef | str,
        *,
        cid: Cid | None = None,
        refresh: bool = False,
        allow_previous_key: bool = False,
    ) -> Found[Record]:
        """One record of ours, proved and typed.

        Args:
            ref: where it is; a `StrongRef` says also what it is.
            cid: what it must be, if ``ref`` does not say.
            refresh: ask the publisher even if the index has it.
            allow_previous_key: accept a commit that only an earlier key of the publisher signed.

        Raises:
            RecordAbsent: there is none, proved.
            ProofError: a step does not hold, or another record is there than ``cid`` names.
            PreviousKey, StaleRevision, LexiconError, IdentityMismatch: as they say.
            DidAbsent, AccountInactive, Unreachable: as they say.
        """
        uri, wanted = await self._place(ref, cid)
        if not refresh:
            known = self._known(uri, wanted)
            if known is not None:
                return known
        found = await self._ask(await self.identity(uri.did), uri, allow_previous_key)
        if wanted is not None and found.cid != wanted:
            raise ProofError(
                f"expected {wanted} at {uri}, but the publisher has {found.cid} there now",
                next_step="what was referred to is gone; ask the publisher for another version",
            )
        return found

    def has(self, ref: StrongRef) -> bool:
        """Whether the index has exactly this content at this place."""
        return self._catalog.pinned(ref.uri, ref.cid) is not None

    async def dataset(
        self,
        ref: DatasetRef | str,
        *,
        splits: Sequence[str] | None = None,
        refresh: bool = False,
        allow_previous_key: bool = False,
    ) -> ResolvedDataset:
        """A data set at its latest release or the version asked for, down to its shard lists.

        Args:
            ref: ``@handle/name[@version][:split]``, or the URI of a data set or of a release.
            splits: whose shard lists to walk; None: the split of ``ref``, or all.
            refresh: ask the publisher for every record again.
            allow_previous_key: as in `record`.

        Raises:
            LocalError: there is no such split.
            LexiconError: also if the totals of a split are not those of its shards.
            AtdError: as `record`.
        """
        asked = parse_dataset_ref(ref) if isinstance(ref, str) else ref
        identity = await self.identity(asked.authority, refresh=refresh)
        walk = ReleaseWalk(
            self, identity, self._config, refresh=refresh, allow_previous_key=allow_previous_key
        )
        if splits is None and asked.split is not None:
            splits = (asked.split,)
        try:
            return await walk.run(asked, splits)
        except (RemoteError, RecordAbsent) as error:
            # A head whose release is broken is broken; each record's own fault is noted already.
            if walk.subject is not None and not isinstance(error, StaleRevision):
                await asyncio.to_thread(
                    self._catalog.problem, walk.subject, error, now=self._clock()
                )
            raise

    async def settled(self, ref: DatasetRef) -> DatasetRef:
        """``ref`` with the version that its alias, if it has one, stands for now.

        Raises:
            RecordAbsent: the data set has no such alias.
            AtdError: as `record`, for the head.
        """
        if ref.alias is None:
            return ref
        did = (await self.identity(ref.authority)).did
        head = of_kind(await self.record(head_uri(did, ref.name)), Dataset)
        return replace(ref, alias=None, version=named(head, ref.alias).version)

    async def publisher(
        self, actor: Handle | Did | str, *, refresh: bool = False, allow_previous_key: bool = False
    ) -> Indexed:
        """Bring everything of a publisher into the index: its whole repository in one go.

        A repository that is too large to be had whole, or a server that does not give it, is read
        record by record instead, each with its proof.

        Raises:
            AtdError: as `record`, for the repository.
        """
        identity = await self.identity(actor, refresh=refresh)
        try:
            return await self._whole(identity, allow_previous_key)
        except (Offline, RateLimited):
            raise
        except Unreachable as error:
            try:
                return await self._piecemeal(identity, allow_previous_key)
            except Unreachable:
                raise error from None

    # --- asking ----------------------------------------------------------------------------------

    async def _place(
        self, ref: AtUri | StrongRef | str, cid: Cid | None
    ) -> tuple[AtUri, Cid | None]:
        """The place with a DID for its authority, and what must be there."""
        if isinstance(ref, StrongRef):
            return ref.uri, ref.cid
        uri = AtUri.parse(ref) if isinstance(ref, str) else ref
        if uri.collection is None or uri.rkey is None:
            raise InvalidSyntax(f"{uri} names no single record: collection and key are needed")
        if not isinstance(uri.authority, Did):
            identity = await self.identity(uri.authority)
            uri = AtUri(identity.did, uri.collection, uri.rkey)
        return uri, cid

    def _known(self, uri: AtUri, cid: Cid | None) -> Found[Record] | None:
        """What the index has, where that is an answer."""
        stored = self._catalog.record(uri)
        if stored is None or (cid is not None and stored.cid != cid):
            return None
        offline = self._config.offline or offline_now.get()
        if cid is None and _moves(uri) and not offline:
            return None
        return found_of(stored)

    async def _ask(self, identity: Identity, uri: AtUri, allow_previous_key: bool) -> Found[Record]:
        """Ask the publisher, prove the answer, and enter it."""
        floor = self._catalog.rev_floor(identity.did)
        try:
            proven = await self._prover.record(identity, uri)
            trusted = self._check_commit(proven, proven.what.commit, floor, allow_previous_key)
            return await asyncio.to_thread(self._enter, proven.what, trusted)
        except AtdError as error:
            await asyncio.to_thread(self._note, identity.did, uri, error)
            raise

    def _enter(self, what: VerifiedRecord | VerifiedAbsence, trusted: bool) -> Found[Record]:
        """Take what was proved into the index, if its key is ``trusted`` for that."""
        now, commit = self._clock(), what.commit
        if isinstance(what, VerifiedAbsence):
            if trusted:
                self._catalog.delete(what, now=now)
            raise RecordAbsent(f"there is no {what.uri} (signed at rev {commit.rev})", proof=what)
        record = parse(what)
        if trusted:
            self._catalog.put(what, record, now=now)
            publisher = self._catalog.publisher(commit.did)
            if publisher is not None and publisher.error is not None:
                self._catalog.publisher_error(commit.did, None, now=now)
        return Found(
            uri=what.uri,
            cid=what.cid,
            rev=commit.rev,
            commit=commit.cid,
            block=what.block,
            record=record,
            verified_at=now,
            previous_key=not trusted,
        )

    def _check_commit(
        self,
        proven: Proven[VerifiedRecord | VerifiedAbsence] | Proven[VerifiedRepo],
        commit: VerifiedCommit,
        floor: Tid | None,
        allow_previous_key: bool,
    ) -> bool:
        """Step 9, and what a previous key means. Whether it may enter the index.

        A commit that was proved while the key was current stays proved. Any other that only a
        previous key signed is never remembered, or the memory would excuse it next time.
        """
        trusted = not proven.previous_key or self._catalog.knows_commit(commit.did, commit.cid)
        if not trusted and not allow_previous_key:
            raise PreviousKey(
                f"commit {commit.cid} of {commit.did} (rev {commit.rev}) is signed by a previous"
                f" key, not by {proven.identity.key.to_did_key()}"
            )
        if floor is not None and commit.rev < floor:
            raise StaleRevision(
                f"expected {commit.did} at rev {floor} or later, got rev {commit.rev}: its server"
                " is behind, or hides what came after",
                next_step="ask again in a while; if it persists, tell the publisher",
            )
        ahead_s = commit.rev.micros / 1e6 - self._clock()
        if ahead_s > self._config.clock_skew_s:
            raise StaleRevision(
                f"rev {commit.rev} of {commit.did} lies {ahead_s:.0f} s in the future",
                next_step="check the clock of this machine; if it is right, tell the publisher",
            )
        return trusted

    def _note(self, did: Did, uri: AtUri | None, error: AtdError) -> None:
        """Keep what was found out: of the record where it is at fault, else of its publisher."""
        now = self._clock()
        at_fault = isinstance(error, ProofError | LexiconError)
        if at_fault and uri is not None:
            self._catalog.problem(uri, error, now=now)
        elif isinstance(error, RecordAbsent | Offline):
            return
        elif isinstance(error, RemoteError | Absent | Unreachable):
            self._catalog.publisher_error(did, error, now=now)

    # --- everything of a publisher ---------------------------------------------------------------

    async def _whole(self, identity: Identity, allow_previous_key: bool) -> Indexed:
        """The whole repository, proved and made the state of the index."""
        floor = self._catalog.rev_floor(identity.did)
        try:
            proven = await self._prover.repo(identity)
            repo = proven.what
            if not self._check_commit(proven, repo.commit, floor, allow_previous_key):
                return Indexed(proven.identity, repo.commit, None)
            halt = threading.Event()
            changes = await self._prover.heavy.run(
                proven.identity.pds, lambda: self._snapshot(repo, halt), give_up=halt.set
            )
        except AtdError as error:
            await asyncio.to_thread(self._note, identity.did, None, error)
            raise
        return Indexed(proven.identity, repo.commit, changes)

    def _snapshot(self, repo: VerifiedRepo, halt: threading.Event) -> Changes:
        """Make the index equal to a repository.

        A large one goes in by pieces that nobody has to wait for long, each record with its proof;
        what is gone, and that this is all, is written with the last piece. Nobody waits for the
        answer any more when ``halt`` is set.
        """
        flaws: list[Flaw] = []

        def refused(uri: AtUri, error: RemoteError) -> None:
            flaws.append(Flaw(uri, type(error).__name__, str(error)))

        def read() -> Iterator[tuple[VerifiedRecord, Record]]:
            for collection in COLLECTIONS:
                for verified in repo.records(Nsid(collection), refused):
                    try:
                        parsed = parse(verified)
                    except RemoteError as error:
                        refused(verified.uri, error)
                    else:
                        yield verified, parsed

        self._catalog.check_repo(repo)
        created = updated = 0
        records = read()
        while len(piece := list(islice(records, _PIECE))) == _PIECE:
            new, other = self._catalog.put_all(piece, now=self._clock())
            created, updated = created + new, updated + other
            if halt.is_set():
                raise Unreachable(f"reading the repository of {repo.commit.did} was given up")
        rest = chain(piece, records)
        last = self._catalog.publisher_snapshot(repo, rest, flaws, now=self._clock())
        return Changes(created + last.created, updated + last.updated, last.deleted)

    async def _piecemeal(self, identity: Identity, allow_previous_key: bool) -> Indexed:
        """Each record that the PDS lists or that we knew, proved one by one.

        The commit that is proved first is the one that all of them are at, or later.
        """
        floor = self._catalog.rev_floor(identity.did)
        somewhere = AtUri(identity.did, Nsid(DATASET), RecordKey("self"))
        first = await self._prover.record(identity, somewhere)
        self._check_commit(first, first.what.commit, floor, allow_previous_key)
        uris: set[AtUri] = set()
        for collection in COLLECTIONS:
            listed = await self._pds.list_records(identity, Nsid(collection))
            uris |= {hint.uri for hint in listed}
            uris |= {stored.uri for stored in self._catalog.records(identity.did, collection)}

        async def ask(uri: AtUri) -> None:
            try:
                await self._ask(identity, uri, allow_previous_key)
            except PreviousKey:
                raise  # not this record's fault, and the same for every other
            except (RemoteError, RecordAbsent):
                pass  # noted, and the others may be well

        await together(ask, sorted(uris, key=str))
        return Indexed(first.identity, first.what.commit, None)


def _moves(uri: AtUri) -> bool:
    """Whether the record there may change: heads do, of data sets and of recipes."""
    return uri.collection == DATASET or (uri.collection == RECIPE and ":" not in str(uri.rkey))
