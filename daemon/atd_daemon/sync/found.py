"""What resolving gives out: records that were proved, with their typed values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from atd.protocol.cbor import Cid
from atd.protocol.identity import Identity
from atd.protocol.proof import VerifiedCommit
from atd.protocol.syntax import AtUri, Did, Tid
from atd.records import (
    Dataset,
    Record,
    Release,
    SchemaRecord,
    ShardEntry,
    ShardPart,
    Split,
    StrongRef,
    parse_block,
)
from atd_daemon.catalog import Changes, StoredRecord
from atd_daemon.store.sources import Blob, ShardWant, Source, Url

R = TypeVar("R", bound=Record, covariant=True)


@dataclass(frozen=True)
class Found(Generic[R]):
    """A record that was proved at ``verified_at``, when ``commit`` at ``rev`` was its newest.

    ``previous_key`` says that the commit is signed by an earlier key of the publisher, which the
    caller had allowed.
    """

    uri: AtUri
    cid: Cid
    rev: Tid
    commit: Cid
    block: bytes
    record: R
    verified_at: float
    previous_key: bool = False

    @property
    def ref(self) -> StrongRef:
        """Exactly this content at this place."""
        return StrongRef(self.uri, self.cid)


def found_of(stored: StoredRecord) -> Found[Record]:
    """What the index has: proved when it was stored."""
    return Found(
        uri=stored.uri,
        cid=stored.cid,
        rev=stored.rev,
        commit=stored.commit,
        block=stored.block,
        record=parse_block(stored.uri, stored.block),
        verified_at=stored.verified_at,
    )


@dataclass(frozen=True)
class FoundShard:
    """One shard of a split: its signed entry, and the shard list that says where it is.

    There may be a million of them, so addresses are put together only when they are asked for.
    """

    entry: ShardEntry
    part: ShardPart
    did: Did
    pds: str | None

    @property
    def sources(self) -> tuple[Source, ...]:
        """Where the record says that it can be had, best first."""
        return sources_of(self.part, self.entry, self.did, self.pds)

    @property
    def want(self) -> ShardWant:
        """What to ask the store for."""
        return ShardWant(self.entry.digest, self.entry.size, self.sources)


@dataclass(frozen=True)
class FoundSplit:
    """One split with its shards, in order; the totals of ``split`` are checked against them."""

    split: Split
    parts: tuple[Found[ShardPart], ...]
    shards: tuple[FoundShard, ...]


@dataclass(frozen=True)
class ResolvedDataset:
    """A data set at one release, everything of it reached by strongRef and proved.

    ``head`` is None where a version was asked for and the head could not be had; ``splits`` are the
    splits that were asked for.
    """

    identity: Identity
    head: Found[Dataset] | None
    release: Found[Release]
    schema: Found[SchemaRecord]
    splits: tuple[FoundSplit, ...]

    @property
    def shards(self) -> tuple[FoundShard, ...]:
        """The shards of all these splits."""
        return tuple(shard for split in self.splits for shard in split.shards)


@dataclass(frozen=True)
class Indexed:
    """What asking for everything of a publisher gave.

    ``commit`` is what it was signed with. ``changes`` is None where the answer does not prove that
    it was everything: records were listed by the server and proved one by one, each at ``commit``
    or later, or only a previous key signed it and nothing was stored.
    """

    identity: Identity
    commit: VerifiedCommit
    changes: Changes | None

    @property
    def rev(self) -> Tid:
        """The revision at which it was proved."""
        return self.commit.rev


def sources_of(part: ShardPart, entry: ShardEntry, did: Did, pds: str | None) -> tuple[Source, ...]:
    """Where a proved record says that a shard can be had: the publisher's blob, then URLs."""
    urls = tuple(Url(url) for url in part.sources(entry))
    if entry.blob is None or pds is None:
        return urls
    return Blob(did, pds, entry.blob.cid), *urls
