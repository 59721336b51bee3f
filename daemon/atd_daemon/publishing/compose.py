"""From a decision to records: shard lists, schema, release, head, as they will be sent.

Belongs here: how records are made out of what is staged, placed and published. Pure: record keys
and the time come from the journal, so that the same publication gives the same bytes whenever it
is resumed.

Shard lists. A list of the last release with the same content is referred to again. Lists are cut
where a shard's digest says so (between `MIN_PART` shards and 60,000 bytes), so that a shard more
or less changes the list that it is in, and not all that follow. Long lists of lists get lists of
their own, level by level.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from atd.errors import TooLarge
from atd.manifest import Manifest, ManifestShard
from atd.names import SHARDS
from atd.protocol.cbor import Cid, encode
from atd.protocol.syntax import AtUri, Did, Nsid, RecordKey, Tid
from atd.records import (
    BlobRef,
    Dataset,
    Record,
    Release,
    SchemaRecord,
    ShardEntry,
    ShardPart,
    Split,
    StrongRef,
    head_uri,
    release_uri,
    schema_uri,
)
from atd_daemon.publishing.asked import Commit
from atd_daemon.publishing.batches import Action, Write, batched
from atd_daemon.publishing.carrying import Carried
from atd_daemon.publishing.current import Current
from atd_daemon.publishing.decide import Decision
from atd_daemon.publishing.journal import Plan

MAX_PART_BYTES: Final = 60_000
MIN_PART: Final = 100
MAX_REFS: Final = 150
"""References in one record, at most: about 25 KB of them."""

_ENDS_PART: Final = 128
_MAX_RECORD_BYTES: Final = 900_000


@dataclass
class Composer:
    """Makes the records of one publication.

    Args:
        base: the URL recorded in each shard list.
        blobs: the blobs of the shards, by digest, where shards are blobs.
        kept: shards of the last release, by name, that are referred to as they stand.
        known: shard lists that can be referred to again, by their content.
        schema: the schema record to refer to; None: a new one is written.
        tid: the next fresh record key.
        now: seconds since 1970.
        preview: the blob that a new release names as its preview.
        carried: the recipe of the release.
    """

    did: Did
    name: str
    current: Current
    manifest: Manifest
    request: Commit
    base: str | None
    blobs: Mapping[Cid, BlobRef]
    kept: Mapping[str, ShardEntry]
    known: dict[str, StrongRef]
    schema: StrongRef | None
    tid: Callable[[], Tid]
    now: float
    preview: BlobRef | None = None
    carried: Carried = field(default_factory=Carried)
    writes: list[Write] = field(default_factory=list)

    def compose(self, decision: Decision, key: str) -> Plan:
        """The plan for ``decision``, which is to write something; ``key``: what it is made of."""
        version = decision.version
        if version is None:
            assert self.current.dataset is not None
            release = self.current.dataset.latest
        else:
            splits = tuple(
                self._split(name, shards) for name, shards in self.manifest.splits.items()
            )
            release = self._release(version, self.schema or self._schema(version), splits)
        head = self._head(release)
        return Plan(
            key=key,
            base=self.current.head.cid,
            head=head,
            release=release,
            about={},
            batches=batched(self.writes),
        )

    @property
    def _moment(self) -> datetime:
        return datetime.fromtimestamp(int(self.now * 1000) / 1000, UTC)

    # --- the records -----------------------------------------------------------------------------

    def _split(self, name: str, shards: Sequence[ManifestShard]) -> Split:
        entries = [self._entry(shard) for shard in shards]
        refs = [self._part(group) for group in grouped(entries)]
        while len(refs) > MAX_REFS:
            refs = [self._further(refs[at : at + MAX_REFS]) for at in range(0, len(refs), MAX_REFS)]
        return Split(
            name,
            tuple(refs),
            samples=sum(shard.samples for shard in shards),
            shards=len(shards),
            size=sum(shard.size for shard in shards),
        )

    def _entry(self, shard: ManifestShard) -> ShardEntry:
        kept = self.kept.get(shard.name)
        if kept is not None and kept.digest == shard.digest:
            return kept
        blob = self.blobs.get(shard.digest)
        return ShardEntry(shard.name, shard.digest, shard.size, shard.samples, blob)

    def _part(self, entries: Sequence[ShardEntry]) -> StrongRef:
        bases = () if self.base is None else (self.base,)
        return self._listed(ShardPart(tuple(entries), self._moment, bases))

    def _further(self, refs: Sequence[StrongRef]) -> StrongRef:
        return self._listed(ShardPart((), self._moment, parts=tuple(refs)))

    def _listed(self, part: ShardPart) -> StrongRef:
        """The reference to a shard list: one that exists, or one that is written."""
        content = content_of(part)
        if content not in self.known:
            uri = AtUri(self.did, Nsid(SHARDS), RecordKey(self.tid()))
            self.known[content] = self._write(Action.CREATE, uri, part)
        return self.known[content]

    def _schema(self, version: str) -> StrongRef:
        record = SchemaRecord(self.name, version, self.manifest.schema, self._moment)
        uri = schema_uri(self.did, self.name, version)
        return self._write(Action.CREATE, uri, record)

    def _release(self, version: str, schema: StrongRef, splits: tuple[Split, ...]) -> StrongRef:
        resolved = self.current.resolved
        record = Release(
            name=self.name,
            version=version,
            schema=schema,
            layout=self.manifest.layout,
            splits=splits,
            samples=self.manifest.samples,
            size=self.manifest.size,
            created_at=self._moment,
            cuts=self.manifest.cuts,
            previous=None if resolved is None else resolved.release.ref,
            notes=self.request.notes,
            derived_from=self.request.derived_from,
            preview=self.preview,
            recipe=self.carried.refer(
                self.did, version, self._moment, lambda *made: self._write(Action.CREATE, *made)
            ),
        )
        uri = release_uri(self.did, self.name, version)
        return self._write(Action.CREATE, uri, record)

    def _head(self, release: StrongRef) -> StrongRef:
        old = self.current.dataset
        created = self._moment if old is None else old.created_at
        kept: dict[str, Any] = {}
        if old is not None:
            kept = {"deprecated": old.deprecated, "aliases": old.aliases, "more": old.more}
        record = Dataset(
            name=self.name,
            latest=release,
            created_at=created,
            updated_at=None if old is None else self._moment,
            **kept,
            **self.request.card.over(old),
        )
        action = Action.CREATE if self.current.head.cid is None else Action.UPDATE
        return self._write(action, head_uri(self.did, self.name), record)

    def _write(self, action: Action, uri: AtUri, record: Record) -> StrongRef:
        write = Write.of(action, uri, record.to_value())
        if len(write.block) > _MAX_RECORD_BYTES:
            raise TooLarge(
                f"the record {uri} has {len(write.block)} bytes; a PDS takes 1,000,000",
                next_step="shorten the description, or use fewer fields or class names",
            )
        self.writes.append(write)
        assert write.cid is not None
        return StrongRef(uri, write.cid)


def content_of(part: ShardPart) -> str:
    """What a shard list says, when and where aside: SHA-256, in hex."""
    value = {key: item for key, item in part.to_value().items() if key != "createdAt"}
    return hashlib.sha256(encode(value)).hexdigest()


def grouped(entries: Iterable[ShardEntry]) -> Iterator[list[ShardEntry]]:
    """The entries of each shard list, in order."""
    group: list[ShardEntry] = []
    size = 0
    for entry in entries:
        more = len(encode(entry.to_value()))
        if group and size + more > MAX_PART_BYTES:
            yield group
            group, size = [], 0
        group.append(entry)
        size += more
        if len(group) >= MIN_PART and entry.digest.digest[-1] % _ENDS_PART == 0:
            yield group
            group, size = [], 0
    if group:
        yield group
