"""Proving everything about a data set again, aloud: the steps of docs/verification.md, one by one.

Nothing is taken from the index or the directory's memory: handle, document, every record and, in
the store, every byte are asked for and checked anew. Each step says what was expected and what was
found. The first step that does not hold is the last one said, except for shards, which are all
looked at: a damaged file says nothing about the next one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

from atd.errors import AtdError, DigestMismatch, ProofError, RecordAbsent, StaleRevision
from atd.protocol import mst
from atd.protocol.car import read_car
from atd.protocol.cbor import Cid
from atd.protocol.commit import Commit
from atd.protocol.identity import Identity
from atd.protocol.syntax import AtUri, Did, quote
from atd.records import Record, head_uri, release_uri
from atd.refs import DatasetRef
from atd_daemon.network.directory import Directory
from atd_daemon.network.pds import PdsReader
from atd_daemon.store import Store
from atd_daemon.sync.found import Found, FoundShard, ResolvedDataset
from atd_daemon.sync.resolve import Resolver

STORED = "the store has the bytes that were signed"
REVISION = "9. no revision is older than one that was proved before, nor of the future"
IN_ORDER = "revisions from the newest that is known up to now"


@dataclass(frozen=True)
class Step:
    """One step of a proof. ``holds`` is None for what could not be checked because it is not here.

    ``error`` is the name of the error's class where it does not hold; ``shard`` is the shard that
    the step is about, None for all that comes before the shards.
    """

    name: str
    expected: str
    found: str
    holds: bool | None = True
    error: str | None = None
    shard: FoundShard | None = None


class _Broken(Exception):
    """Ends a proof at the step that does not hold."""

    def __init__(self, step: Step, cause: AtdError) -> None:
        super().__init__(step.name)
        self.step = step
        self.cause = cause


class Verifier:
    """Proves data sets again. After `steps`, ``resolved`` is the data set and ``failure`` the
    error of the first step that did not hold; either may be None.
    """

    def __init__(
        self,
        directory: Directory,
        pds: PdsReader,
        resolver: Resolver,
        store: Store,
        *,
        allow_previous_key: bool = False,
    ) -> None:
        self.resolved: ResolvedDataset | None = None
        self.failure: AtdError | None = None
        self._directory = directory
        self._pds = pds
        self._resolver = resolver
        self._store = store
        self._allow_previous_key = allow_previous_key

    async def steps(self, ref: DatasetRef) -> AsyncIterator[Step]:
        """Every step for ``ref``, as it is done. What does not hold is said, not raised."""
        try:
            identity = None
            async for step, proved in self._identity(ref):
                identity = proved
                yield step
            assert identity is not None
            first = _first_record(ref, identity.did)
            async for step in self._wire(identity, first):
                yield step
            resolved = await self._resolve(ref)
            self.resolved = resolved
            for step in _records(resolved, ref):
                yield step
        except _Broken as broken:
            self.failure = broken.cause
            yield broken.step
            return
        for number, shard in enumerate(resolved.shards, 1):
            yield await self._shard(shard, number, len(resolved.shards))

    async def _identity(self, ref: DatasetRef) -> AsyncIterator[tuple[Step, Identity | None]]:
        """Steps 1 to 3."""
        actor = ref.authority
        name = "1. the handle leads to one DID, by DNS or HTTPS"
        if not isinstance(actor, Did):
            with _Saying(name, f"one DID for {actor}"):
                did = await self._directory.handle_to_did(actor, refresh=True)
            yield Step(name, f"one DID for {actor}", did), None
        name = "2. the DID document is its own, and claims the handle"
        with _Saying(name, f"a document that claims {actor}"):
            identity = await self._resolver.identity(actor, refresh=True)
        claims = ", ".join(identity.claimed) or "no handle"
        yield Step(name, f"a document of {identity.did}", f"{identity.did} claims {claims}"), None
        name = "3. the document names a signing key and a PDS"
        with _Saying(name, "a key and a PDS"):
            found = f"{identity.key.to_did_key()} at {identity.pds}"
        yield Step(name, "a key and a PDS", found), identity

    async def _wire(self, identity: Identity, uri: AtUri) -> AsyncIterator[Step]:
        """Steps 4 to 7 for the first record, on the bytes as they come."""
        name = "4. every block of the proof hashes to its CID"
        with _Saying(name, "a CAR file whose blocks are what their CIDs say"):
            car = read_car(await self._pds.record_proof(identity, uri))
            root = car.blocks.get(car.roots[0]) if car.roots else None
        yield Step(name, "a CAR file with one root", f"{len(car.blocks)} blocks, all right")
        name = "5. the root is a commit of this DID"
        with _Saying(name, f"a version-3 commit of {identity.did}"):
            commit = Commit.decode(root or b"")
            if commit.did != identity.did:
                await self._again(uri)
                raise ProofError(f"the commit is one of {quote(commit.did)}")
        yield Step(name, f"a commit of {identity.did}", f"{commit.did} at rev {commit.rev}")
        name = "6. the commit is signed by the key of the document"
        expected, found = f"a signature by {identity.key.to_did_key()}", "that signature"
        if not identity.key.verify(commit.sig, commit.unsigned()):
            with _Saying(name, expected):
                await self._again(uri)
            found = "one by a previous key, under which it was proved before or which was allowed"
        yield Step(name, expected, found)
        name, expected = "7. the signed tree leads to the record", f"{uri} in {commit.data}"
        with _Saying(name, expected):
            cid = mst.find(car.blocks, commit.data, uri.path)
            if cid is None:
                await self._again(uri)
                raise RecordAbsent(f"there is no {uri} in the tree that was sent")
        yield Step(name, expected, str(cid))

    async def _again(self, uri: AtUri) -> None:
        """Leave it to the code that decides what is loaded to say what is wrong."""
        await self._resolver.record(uri, refresh=True, allow_previous_key=self._allow_previous_key)

    async def _resolve(self, ref: DatasetRef) -> ResolvedDataset:
        """Steps 4 to 9 for every record, by the code that decides what is loaded."""
        name = "8. every record is proved, typed, and reached by its CID"
        with (
            _Saying(name, "head, release, schema and shard lists"),
            _Saying(REVISION, IN_ORDER, only=StaleRevision),
        ):
            return await self._resolver.dataset(
                ref, refresh=True, allow_previous_key=self._allow_previous_key
            )

    async def _shard(self, shard: FoundShard, number: int, of: int) -> Step:
        """One shard in the store, hashed again."""
        entry, name = shard.entry, f"shard {number} of {of}, {shard.entry.name}: {STORED}"
        step = Step(name, f"{entry.digest}, {entry.size} bytes", "", shard=shard)
        try:
            path = await asyncio.to_thread(self._store.verify, entry.digest)
            if path is None:
                return replace(step, found="not in the store", holds=None)
            size = path.stat().st_size
            if size != entry.size:
                raise DigestMismatch(f"{entry.name} has {size} bytes, {entry.size} were signed")
        except DigestMismatch as error:
            self.failure = self.failure or error
            return replace(step, found=str(error), holds=False, error=type(error).__name__)
        return replace(step, found=f"{entry.digest}, {size} bytes")


class _Saying:
    """A step under way: an error inside ends the proof, and says which step it was."""

    def __init__(self, name: str, expected: str, only: type[AtdError] = AtdError) -> None:
        self._name = name
        self._expected = expected
        self._only = only

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, self._only):
            step = Step(self._name, self._expected, str(error), False, type(error).__name__)
            raise _Broken(step, error) from error


def _first_record(ref: DatasetRef, did: Did) -> AtUri:
    """The head, or the release where a version is asked for; an alias is the head's word."""
    if ref.version is None:
        return head_uri(did, ref.name)
    return release_uri(did, ref.name, ref.version)


def _records(resolved: ResolvedDataset, ref: DatasetRef) -> list[Step]:
    """A step for each record that `Resolver.dataset` proved."""
    expected: list[tuple[Found[Record], Cid | None]] = []
    if resolved.head is not None:
        expected.append((resolved.head, None))
    meant: Cid | None = None
    if resolved.head is not None and ref.version is None:
        named_so = ref.alias and resolved.head.record.alias(ref.alias)
        meant = (named_so.release if named_so else resolved.head.record.latest).cid
    expected.append((resolved.release, meant))
    expected.append((resolved.schema, resolved.release.record.schema.cid))
    expected += [(part, part.cid) for split in resolved.splits for part in split.parts]
    steps = []
    for found, cid in expected:
        what = "what its lexicon says"
        by = " (signed by a previous key, as allowed)" if found.previous_key else ""
        steps.append(
            Step(
                f"8. {found.uri} is proved and is what was referred to",
                what if cid is None else f"{cid}, {what}",
                f"{found.cid} at rev {found.rev}{by}",
            )
        )
    newest = max(found.rev for found, _ in expected)
    return [*steps, Step(REVISION, IN_ORDER, f"rev {newest} at most")]
