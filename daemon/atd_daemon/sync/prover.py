"""From an identity to something proved, with the two excuses that a bad signature may have.

The publisher may have a new key that we did not hear of: the document is fetched again, once. Or
the head may still be signed by its previous key, as after a migration until the first write: that
is a state of its own, `PreviousKey`, because it may also be what a thief of the old key serves.
An account that moved since we asked is looked for at its new server, once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from atd.errors import AccountInactive, Offline, ProofError, RateLimited, RecordAbsent, Unreachable
from atd.protocol.car import Car, read_car
from atd.protocol.commit import Commit
from atd.protocol.identity import Identity
from atd.protocol.keys import PublicKey
from atd.protocol.proof import (
    MAX_ENTRIES_BYTES,
    VerifiedAbsence,
    VerifiedRecord,
    VerifiedRepo,
    prove_repo,
    verify_record,
)
from atd.protocol.syntax import AtUri, Did
from atd_daemon.network.directory import Directory
from atd_daemon.network.pds import PdsReader
from atd_daemon.sync.heavy import HeavyWork

T = TypeVar("T")
A = TypeVar("A", bytes, Car)
_LARGE_BYTES = 256 * 1024  # more than this is verified beside the event loop


@dataclass(frozen=True)
class Proven(Generic[T]):
    """Something proved, for whom, and whether only a previous key of the publisher signed it."""

    what: T
    identity: Identity
    previous_key: bool = False


class Prover:
    """Asks the PDS that an identity names, and proves what it answers.

    ``heavy`` is where that takes its time.
    """

    def __init__(self, directory: Directory, pds: PdsReader) -> None:
        self.heavy = HeavyWork()
        self._directory = directory
        self._pds = pds

    async def record(
        self, identity: Identity, uri: AtUri
    ) -> Proven[VerifiedRecord | VerifiedAbsence]:
        """The record at ``uri``, or the proof that there is none.

        Raises:
            ProofError, AccountInactive, IdentityMismatch, DidAbsent, Unreachable: as they say.
        """

        def verify(car: bytes, by: Identity) -> VerifiedRecord | VerifiedAbsence:
            try:
                return verify_record(car, by, uri)
            except RecordAbsent as absent:
                if not isinstance(absent.proof, VerifiedAbsence):
                    raise
                return absent.proof

        return await self._prove(identity, lambda by: self._pds.record_proof(by, uri), verify)

    async def repo(self, identity: Identity) -> Proven[VerifiedRepo]:
        """The whole repository; raises as `record`."""

        def verify(car: Car, by: Identity) -> VerifiedRepo:
            return prove_repo(car, by, max_entries_bytes=MAX_ENTRIES_BYTES)

        return await self._prove(identity, self._pds.repo, verify)

    async def _prove(
        self,
        identity: Identity,
        fetch: Callable[[Identity], Awaitable[A]],
        verify: Callable[[A, Identity], T],
    ) -> Proven[T]:
        try:
            car = await fetch(identity)
        except (AccountInactive, Unreachable) as error:
            if isinstance(error, Offline | RateLimited):
                raise
            moved = await self._asked_again(identity)
            if moved.pds == identity.pds:
                raise
            identity = moved
            car = await fetch(identity)
        try:
            return Proven(await self._run(verify, car, identity), identity)
        except ProofError as error:
            if await asyncio.to_thread(_signer, car, identity.did, [identity.key]) is not None:
                raise _from(identity, error) from error
        return await self._excuse(car, identity, fetch, verify)

    async def _excuse(
        self,
        car: A,
        identity: Identity,
        fetch: Callable[[Identity], Awaitable[A]],
        verify: Callable[[A, Identity], T],
    ) -> Proven[T]:
        """What a commit that the known key did not sign may still be."""
        fresh = await self._asked_again(identity)
        if fresh.pds != identity.pds:
            car = await fetch(fresh)
        try:
            return Proven(await self._run(verify, car, fresh), fresh)
        except ProofError as error:
            keys = await self._directory.previous_keys(identity.did)
            signer = await asyncio.to_thread(_signer, car, identity.did, keys)
            if signer is None:
                raise _from(fresh, error) from error
        return Proven(await self._run(verify, car, fresh.with_key(signer)), fresh, True)

    async def _run(self, verify: Callable[[A, Identity], T], car: A, identity: Identity) -> T:
        if isinstance(car, bytes) and len(car) < _LARGE_BYTES:
            return verify(car, identity)
        return await self.heavy.run(identity.pds, lambda: verify(car, identity))

    async def _asked_again(self, identity: Identity) -> Identity:
        """The identity as it is now, under the handle that was proved if it still claims it."""
        fresh = await self._directory.resolve(identity.did, refresh=True)
        if identity.handle is not None and identity.handle in fresh.claimed:
            return fresh.proving(identity.handle)
        return fresh


def _from(identity: Identity, error: ProofError) -> ProofError:
    """The error with who sent what does not prove."""
    return ProofError(f"{error.message} (sent by {identity.pds})", next_step=error.next_step)


def _signer(car: bytes | Car, did: Did, keys: Sequence[PublicKey]) -> PublicKey | None:
    """Which of ``keys`` signed the commit of ``did`` in ``car``, whatever is below it.

    There may be thousands of keys and half a gigabyte of blocks: the file is read once for all.
    """
    try:
        parsed = read_car(car) if isinstance(car, bytes) else car
        commit = Commit.decode(parsed.blocks[parsed.roots[0]])
    except (ProofError, LookupError):
        return None
    if commit.did != did:
        return None
    message = commit.unsigned()
    return next((key for key in keys if key.verify(commit.sig, message)), None)
