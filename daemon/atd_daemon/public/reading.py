"""What may be read by everybody: data sets of followed publishers, out of the index alone.

Every lookup asks again whether the publisher is still followed and active and the data set still
listed, so that what is deleted, taken down or unfollowed is gone with the next request. What is not
served does not exist, whatever the index has of it.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Final

from atd.errors import HandleAbsent, Offline, RecordAbsent
from atd.names import COLLECTIONS, DATASET, RELEASE, split_release_key
from atd.protocol.identity import Identity
from atd.protocol.syntax import AtUri, Did, Handle
from atd.records import Dataset, Record, StrongRef, head_uri
from atd.refs import DatasetRef
from atd_daemon.catalog import Catalog, DatasetEntry, StoredRecord
from atd_daemon.catalog.query import Filters
from atd_daemon.catalog.search import Sort
from atd_daemon.config import Config
from atd_daemon.sync.follow.states import State
from atd_daemon.sync.found import Found, Indexed, ResolvedDataset, found_of
from atd_daemon.sync.release import ReleaseWalk, of_kind

_ADVICE: Final = "ask the publisher's own server"


class Reading:
    """The index as strangers may see it."""

    def __init__(self, catalog: Catalog, config: Config) -> None:
        self.catalog = catalog
        self._config = config

    def followed(self) -> list[Did]:
        """Whose data sets are served."""
        rows = self.catalog.following.rows()
        return [row.did for row in rows if row.state != State.INACTIVE]

    def serves(self, did: Did) -> bool:
        """Whether data sets of ``did`` are served at all."""
        row = self.catalog.following.row(did)
        return row is not None and row.state != State.INACTIVE

    def listed(self, did: Did, name: str) -> bool:
        """Whether this data set is served."""
        return self.serves(did) and self.catalog.dataset(did, name) is not None

    def identity(self, actor: Did | Handle) -> Identity:
        """Who ``actor`` is, as far as it was proved here.

        Raises:
            HandleAbsent, RecordAbsent: nobody whose data sets are served.
        """
        did = actor if isinstance(actor, Did) else self.catalog.did_of(actor)
        if did is None:
            raise HandleAbsent(f"nothing of {actor} is served here", next_step=_ADVICE)
        answer = self.catalog.answer(did)
        if not self.serves(did) or answer is None or not answer[0]:
            raise RecordAbsent(f"nothing of {actor} is served here", next_step=_ADVICE)
        identity = Identity.from_document(json.loads(answer[0]))
        publisher = self.catalog.publisher(did)
        handle = None if publisher is None else publisher.handle
        return identity.proving(handle) if handle in identity.claimed and handle else identity

    def datasets(self, did: Did) -> list[DatasetEntry]:
        """The data sets of one publisher that are served."""
        return self.catalog.datasets(did) if self.serves(did) else []

    def search(
        self, text: str, filters: Filters, *, sort: Sort, limit: int, cursor: str | None
    ) -> tuple[list[DatasetEntry], str | None]:
        """Data sets that are served; a page may be shorter than asked for. Blocks."""
        page = self.catalog.search(text, filters, sort=sort, limit=limit, cursor=cursor)
        return [entry for entry in page.entries if self.serves(entry.did)], page.cursor

    async def dataset(self, ref: DatasetRef) -> ResolvedDataset:
        """A data set down to its shard lists, all of it out of the index.

        Raises:
            RecordAbsent: it is not served, or the index does not have all of it.
        """
        identity = self.identity(ref.authority)
        self._require(identity.did, ref.name)
        walk = ReleaseWalk(
            _Indexed(self), identity, self._config, refresh=False, allow_previous_key=False
        )
        splits = None if ref.split is None else (ref.split,)
        whole = replace(ref, authority=identity.did, split=None)
        # Thousands of shard lists may have to be decoded, which nobody else should wait for.
        return await asyncio.to_thread(asyncio.run, walk.run(whole, splits))

    def head(self, did: Did, name: str) -> Found[Dataset]:
        """The card of a data set; raises as `dataset`."""
        self._require(did, name)
        return of_kind(self.found(head_uri(did, name)), Dataset)

    def record(self, uri: AtUri) -> StoredRecord:
        """One record with its proof.

        Raises:
            RecordAbsent: it is not served.
        """
        did, rkey = uri.authority, str(uri.rkey or "")
        name = rkey if uri.collection == DATASET else None
        if uri.collection == RELEASE:
            name = split_release_key(rkey)[0]
        stored = None
        if isinstance(did, Did) and str(uri.collection) in COLLECTIONS:
            served = self.serves(did) if name is None else self.listed(did, name)
            stored = self.catalog.record(uri) if served else None
        if stored is None:
            raise RecordAbsent(f"{uri} is not served here", next_step=_ADVICE)
        return stored

    def found(self, ref: AtUri | StrongRef) -> Found[Record]:
        """A record as a typed value; raises as `record`.

        What a served record refers to by CID belongs to it, whoever's it is: a schema may be
        another publisher's.
        """
        stored: StoredRecord | None
        if isinstance(ref, StrongRef):
            stored = self.catalog.pinned(ref.uri, ref.cid)
            if stored is None:
                raise RecordAbsent(f"{ref.uri} is not here as {ref.cid}", next_step=_ADVICE)
        else:
            stored = self.record(ref)
        return found_of(stored)

    def _require(self, did: Did, name: str) -> None:
        if not self.listed(did, name):
            raise RecordAbsent(f"{did}/{name} is not served here", next_step=_ADVICE)


class _Indexed:
    """`release.Records` over what is served."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    async def record(
        self, ref: AtUri | StrongRef, *, refresh: bool, allow_previous_key: bool
    ) -> Found[Record]:
        """See `release.Records.record`."""
        return self._reading.found(ref)

    def has(self, ref: StrongRef) -> bool:
        """See `release.Records.has`."""
        return self._reading.catalog.pinned(ref.uri, ref.cid) is not None

    async def publisher(self, actor: Did, *, allow_previous_key: bool) -> Indexed:
        """Nothing is fetched here."""
        raise Offline(f"not all of {actor} is here")
