"""From a digest to a verified file: only digests that a proved record names are ever served.

Whoever asks for a digest asks the daemon to fetch something, so nothing but a proved record says
what may be fetched and from where. The shards of releases that were lately resolved are remembered;
for all others the shard lists in the index are looked through.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from atd.errors import InvalidSyntax, RecordAbsent
from atd.names import RELEASE, SHARDS
from atd.protocol.cbor import Cid
from atd.protocol.syntax import AtUri, Did
from atd.records import ShardPart, parse_block
from atd.refs import DatasetRef, parse_dataset_ref
from atd_daemon.catalog import Catalog, StoredRecord
from atd_daemon.store import ShardWant
from atd_daemon.store.download import Report
from atd_daemon.sync.cache import Cache
from atd_daemon.sync.found import FoundShard, ResolvedDataset, sources_of
from atd_daemon.sync.resolve import Resolver

REMEMBERED_SHARDS: Final = 100_000


@dataclass(frozen=True, slots=True)
class Named:
    """A shard as a proved record names it: for the release ``release``, where that is known."""

    want: ShardWant
    name: str
    release: AtUri | None = None


@dataclass(frozen=True, slots=True)
class Located:
    """The verified file of a shard, and its bytes."""

    path: Path
    size: int


class Shelf:
    """Finds the proved shard behind a digest and has the store fetch it."""

    def __init__(self, catalog: Catalog, resolver: Resolver, cache: Cache) -> None:
        self._catalog = catalog
        self._resolver = resolver
        self._cache = cache
        self._releases: OrderedDict[AtUri, Mapping[Cid, FoundShard]] = OrderedDict()

    def remember(self, resolved: ResolvedDataset) -> None:
        """Keep the shards of ``resolved`` at hand: its reader is about to ask for them."""
        uri = resolved.release.uri
        shards = {shard.entry.digest: shard for shard in resolved.shards}
        known = self._releases.pop(uri, {})
        self._releases[uri] = {**known, **shards}
        while sum(map(len, self._releases.values())) > REMEMBERED_SHARDS:
            self._releases.popitem(last=False)

    async def have(
        self,
        digest: Cid,
        release: AtUri | None = None,
        report: Report | None = None,
        *,
        suspect: bool = False,
    ) -> Located:
        """The verified file of the shard ``digest``, fetched if the store does not have it.

        Args:
            release: the release that it belongs to; asked for where the index does not have it.
            suspect: hash it first, whatever is remembered of it; a damaged one is fetched anew.

        Raises:
            RecordAbsent: no proved record names this digest.
            AtdError: as `Store.ensure`.
        """
        named = await self._named(digest, release)
        if suspect:
            await self._cache.check(digest)
        path = await self._cache.have(
            named.want, report, release=named.release, name=named.name, handed=True
        )
        return Located(path, named.want.size)

    async def _named(self, digest: Cid, release: AtUri | None) -> Named:
        ref = None if release is None else release_ref(release)
        for uri, shards in self._releases.items():
            if digest in shards and release in (None, uri):
                return _named(shards[digest], uri)
        did = None if release is None else (await self._resolver.identity(release.authority)).did
        found = await asyncio.to_thread(self._indexed, digest, did)
        if found is None and ref is not None:
            resolved = await self._resolver.dataset(ref)
            self.remember(resolved)
            uri = resolved.release.uri
            shard = self._releases.get(uri, {}).get(digest)
            found = None if shard is None else _named(shard, uri)
        if found is None:
            where = "that is known here" if release is None else f"of the release {release}"
            raise RecordAbsent(
                f"no proved record {where} names the shard {digest}",
                next_step="look the data set up first: atd show @HANDLE/NAME",
            )
        known = release is not None and release.authority == did
        return found if found.release is not None or not known else replace(found, release=release)

    def _indexed(self, digest: Cid, did: Did | None) -> Named | None:
        """The shard as the lists in the index name it, with the places of all that agree."""
        found: Named | None = None
        for stored in self._catalog.records_naming(SHARDS, digest):
            if did is not None and stored.uri.did != did:
                continue
            for other in self._wants(stored, digest):
                if found is None:
                    found = other
                elif other.want.size == found.want.size:
                    places = dict.fromkeys((*found.want.sources, *other.want.sources))
                    found = replace(found, want=replace(found.want, sources=tuple(places)))
        return found

    def _wants(self, stored: StoredRecord, digest: Cid) -> list[Named]:
        part = parse_block(stored.uri, stored.block)
        assert isinstance(part, ShardPart), "its collection says so"
        publisher = self._catalog.publisher(stored.uri.did)
        pds = None if publisher is None else publisher.pds
        return [
            Named(
                ShardWant(digest, entry.size, sources_of(part, entry, stored.uri.did, pds)),
                entry.name,
            )
            for entry in part.shards
            if entry.digest == digest
        ]


def _named(shard: FoundShard, release: AtUri) -> Named:
    return Named(shard.want, shard.entry.name, release)


def release_ref(uri: AtUri) -> DatasetRef:
    """The release at ``uri``, to be resolved.

    Raises:
        InvalidSyntax: it is the URI of something else.
    """
    if uri.collection != RELEASE:
        raise InvalidSyntax(f"expected the URI of a {RELEASE}, got {uri}")
    return parse_dataset_ref(str(uri))
