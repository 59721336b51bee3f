"""Proof bundles of what is in the index: everything that a third party needs, in one file.

The records come out of the index with the proofs under which they entered, the keys' evidence from
the directory. Two things may stand in the way of a bundle that others can check: the proofs are of
too many commits, or of keys that are the publisher's no more. Then the publisher's repository is
asked for anew, once. What was put together is checked by the very code that others check it with
before it is given out.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from atd import __version__
from atd.bundles import (
    MAX_BUNDLE_BYTES,
    Checked,
    Claim,
    Evidence,
    HandleAnswer,
    Manifest,
    Noted,
    check_bundle,
    make_bundle,
)
from atd.bundles.check import references
from atd.errors import Conflict, PreviousKey, ProofError, RecordAbsent, TooLarge
from atd.names import DATASET, RELEASE
from atd.protocol import plc
from atd.protocol.cbor import Cid, Value
from atd.protocol.identity import Identity
from atd.protocol.syntax import AtUri, Datetime, Did, spell_datetime
from atd.records import StrongRef, parse_block
from atd.refs import parse_dataset_ref
from atd_daemon.catalog import Catalog, StoredRecord
from atd_daemon.network.directory import Directory
from atd_daemon.sync.resolve import Resolver

MAKER: Final = f"atd {__version__}"


@dataclass(frozen=True)
class Made:
    """The bytes of a bundle and what they prove."""

    data: bytes
    checked: Checked


class Bundler:
    """Makes bundles. ``clock`` gives seconds since 1970."""

    def __init__(
        self, directory: Directory, resolver: Resolver, catalog: Catalog, clock: Callable[[], float]
    ) -> None:
        self._directory = directory
        self._resolver = resolver
        self._catalog = catalog
        self._clock = clock

    async def make(self, ref: str) -> Made:
        """A bundle of a data set, a release, or a single record of ours, asked for anew.

        Args:
            ref: ``@handle/name[@version]``, or the URI of one of our records.

        Raises:
            AtdError: as `Resolver.dataset`; TooLarge: it would be larger than bundles are.
        """
        subject = await self._subject(ref)
        try:
            return await self.of(subject, refresh=True)
        except (PreviousKey, ProofError):
            # Proved while another key was current, or by very many commits: have it all anew.
            await self._resolver.publisher(subject.did, refresh=True)
        return await self.of(await self._subject(ref), refresh=True)

    async def of(self, subject: AtUri, *, refresh: bool = False) -> Made:
        """A bundle of what the index has at ``subject``, and below it.

        Args:
            refresh: ask for the keys' evidence anew; else what is remembered may do.

        Raises:
            RecordAbsent: the index does not have all of it.
            ProofError: others could not check it.
        """
        records = await asyncio.to_thread(self._collected, subject)
        known = {
            did: await self._evidence(did, refresh)
            for did in dict.fromkeys(one.uri.did for one in records)
        }
        return await asyncio.to_thread(self._made, records, list(known.values()))

    # --- what ------------------------------------------------------------------------------------

    async def _subject(self, ref: str) -> AtUri:
        """The record that is meant, with all below it in the index."""
        if ref.startswith("at://") and AtUri.parse(ref).collection not in (DATASET, RELEASE):
            found = await self._resolver.record(ref)
            for below in references(found.record):
                await self._resolver.record(below)
            return found.uri
        asked = replace(parse_dataset_ref(ref), split=None)
        resolved = await self._resolver.dataset(asked)
        if not asked.is_latest or resolved.head is None:
            return resolved.release.uri
        return resolved.head.uri

    def _collected(self, subject: AtUri) -> list[StoredRecord]:
        """The record at ``subject`` and all that it means, each before what it refers to."""
        first = self._catalog.record(subject)
        if first is None:
            raise RecordAbsent(f"the index has no {subject}")
        records = [first]
        seen = {StrongRef(first.uri, first.cid)}
        for stored in records:  # which grows
            for ref in references(parse_block(stored.uri, stored.block)):
                if ref in seen:
                    continue
                seen.add(ref)
                found = self._catalog.pinned(ref.uri, ref.cid)
                if found is None:
                    raise RecordAbsent(f"the index does not have {ref.uri} as {ref.cid}")
                records.append(found)
        return records

    # --- who -------------------------------------------------------------------------------------

    async def _evidence(self, did: Did, refresh: bool) -> tuple[Evidence, list[dict[str, Value]]]:
        """What shows whose key it is, and the operations that this names."""
        identity = await self._directory.resolve(did)
        known = await self._directory.key_evidence(did, refresh=refresh)
        handle = self._handle(identity)
        at = _moment(known.at_s)
        if did.method != "plc":
            return Evidence(did, at, known.source, document=known.text, handle=handle), []
        entries = plc.audited(did, json.loads(known.text))
        bodies = [entry["operation"] for entry in entries]
        noted = tuple(
            Noted(Cid.parse(entry["cid"]), Datetime.parse(entry["createdAt"])) for entry in entries
        )
        return Evidence(did, at, known.source, noted, handle=handle), bodies

    def _handle(self, identity: Identity) -> HandleAnswer | None:
        """The handle that led here, and when it was asked for."""
        if identity.handle is None:
            return None
        age_s = self._directory.age_s(identity.handle)
        if age_s is None:
            return None
        return HandleAnswer(identity.handle, _moment(self._clock() - age_s))

    # --- the file --------------------------------------------------------------------------------

    def _made(
        self,
        records: list[StoredRecord],
        known: Iterable[tuple[Evidence, list[dict[str, Value]]]],
    ) -> Made:
        total = sum(len(one.proof) for one in records)
        if total > 2 * MAX_BUNDLE_BYTES:
            raise _too_large(total)
        evidence = list(known)
        manifest = Manifest(
            _moment(self._clock()),
            MAKER,
            tuple(one for one, _ in evidence),
            tuple(Claim(one.uri, one.cid, one.commit, _moment(one.verified_at)) for one in records),
        )
        operations = [body for _, bodies in evidence for body in bodies]
        data = make_bundle(manifest, operations, [one.proof for one in records])
        if len(data) > MAX_BUNDLE_BYTES:
            raise _too_large(len(data))
        checked = check_bundle(data, now_s=self._clock())
        if checked.subject.ref != StrongRef(records[0].uri, records[0].cid):
            raise Conflict(f"{records[0].uri} changed while its bundle was made")
        return Made(data, checked)


def _too_large(size: int) -> TooLarge:
    return TooLarge(
        f"the bundle would have {size} bytes, at most {MAX_BUNDLE_BYTES} are allowed",
        next_step="make one of each of its shard lists, by their at:// addresses",
    )


def _moment(at_s: float) -> Datetime:
    return Datetime(spell_datetime(datetime.fromtimestamp(at_s, UTC)))
