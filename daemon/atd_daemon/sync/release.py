"""From the name of a data set to its shards: head, release, schema, shard lists.

Everything below the head is reached by strongRef and compared by CID, so that parts of two versions
can never be mixed. Totals that a release announces must be those of the shards that it lists.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol, TypeVar

from atd.errors import (
    Absent,
    IdentityMismatch,
    LexiconError,
    LocalError,
    RecordAbsent,
    Unreachable,
)
from atd.protocol.identity import Identity
from atd.protocol.syntax import AtUri, Did
from atd.records import (
    Alias,
    Dataset,
    RecipeRecord,
    Record,
    Release,
    SchemaRecord,
    ShardPart,
    Split,
    StrongRef,
    head_uri,
    release_uri,
)
from atd.refs import DatasetRef
from atd_daemon.config import Config
from atd_daemon.sync.found import (
    Found,
    FoundShard,
    FoundSplit,
    Indexed,
    ResolvedDataset,
)
from atd_daemon.sync.together import together

T = TypeVar("T", Dataset, Release, SchemaRecord, ShardPart, RecipeRecord)
_MANY: Final = 24  # from here on, one repository is asked for instead of records one by one


class Records(Protocol):
    """Where a walk gets its records: the part of `Resolver` that it needs."""

    async def record(
        self, ref: AtUri | StrongRef, *, refresh: bool, allow_previous_key: bool
    ) -> Found[Record]:
        """One record, proved and typed."""
        ...

    def has(self, ref: StrongRef) -> bool:
        """Whether it need not be asked for."""
        ...

    async def publisher(self, actor: Did, *, allow_previous_key: bool) -> Indexed:
        """Bring everything of a publisher into the index."""
        ...


class ReleaseWalk:
    """One walk, on behalf of `Resolver.dataset`.

    ``subject`` is the record that is broken if something below it is: the head, or the release
    where that was asked for; None as long as neither is proved.
    """

    def __init__(
        self,
        resolver: Records,
        identity: Identity,
        config: Config,
        *,
        refresh: bool,
        allow_previous_key: bool,
    ) -> None:
        self.subject: AtUri | None = None
        self._resolver = resolver
        self._identity = identity
        self._config = config
        self._refresh = refresh
        self._allow_previous_key = allow_previous_key
        self._parts_left = config.max_parts
        self._shards_left = config.max_shards
        self._parts: dict[StrongRef, Found[ShardPart]] = {}

    async def run(self, ref: DatasetRef, splits: Sequence[str] | None) -> ResolvedDataset:
        """Walk; raises as `Resolver.dataset`."""
        head, release = await self._release(ref)
        schema = await self._get(release.record.schema, SchemaRecord)
        release.record.layout.check_fits(schema.record.schema)
        wanted = _chosen(release.record, splits)
        await self._prepare(wanted)
        found = tuple([await self._split(split) for split in wanted])
        return ResolvedDataset(self._identity, head, release, schema, found)

    async def _release(self, ref: DatasetRef) -> tuple[Found[Dataset] | None, Found[Release]]:
        """The head, and the release that it points to or that was asked for."""
        did = self._identity.did
        if ref.alias is not None:
            head = await self._get(head_uri(did, ref.name), Dataset)
            release = await self._get(named(head, ref.alias).release, Release)
            self.subject = release.uri
            return head, release
        if ref.version is None:
            head = await self._get(head_uri(did, ref.name), Dataset)
            self.subject = head.uri
            return head, await self._get(head.record.latest, Release)
        release = await self._get(release_uri(did, ref.name, ref.version), Release)
        self.subject = release.uri
        try:
            return await self._get(head_uri(did, ref.name), Dataset), release
        except (Absent, Unreachable):
            return None, release  # a version stands on its own; the card is only its cover

    async def _prepare(self, splits: Sequence[Split]) -> None:
        """Many shard lists that are not in the index are had at once, with the repository."""
        if self._refresh:
            return
        missing = [part for split in splits for part in split.parts if not self._resolver.has(part)]
        if len(missing) > _MANY:
            await self._resolver.publisher(
                self._identity.did, allow_previous_key=self._allow_previous_key
            )

    async def _split(self, split: Split) -> FoundSplit:
        """The shard lists of one split, in order, and their shards."""
        parts = await self._leaves(split.parts, self._config.max_part_depth)
        did, pds = self._identity.did, _pds(self._identity)
        shards = tuple(
            FoundShard(entry, part.record, did, pds)
            for part in parts
            for entry in part.record.shards
        )
        totals = {
            "shards": (split.shards, len(shards)),
            "samples": (split.samples, sum(shard.entry.samples for shard in shards)),
            "size": (split.size, sum(shard.entry.size for shard in shards)),
        }
        for what, (said, counted) in totals.items():
            if said != counted:
                raise LexiconError(
                    f"split {split.name}: expected {what} {said} as the release says, its shard"
                    f" lists have {counted}"
                )
        return FoundSplit(split, tuple(parts), shards)

    async def _leaves(self, refs: Sequence[StrongRef], depth: int) -> list[Found[ShardPart]]:
        """The lists that hold shards, below these, in order.

        A list may stand in several places, and a few lists of lists then say millions of shards:
        so each is read once, and what all of them say is counted while they are walked.
        """
        if depth <= 0:
            raise LexiconError(
                f"shard lists of {self._identity.did} nest deeper than"
                f" {self._config.max_part_depth} levels"
            )
        self._parts_left -= len(refs)
        if self._parts_left < 0:
            raise LexiconError(f"expected at most {self._config.max_parts} shard lists")
        new = [ref for ref in dict.fromkeys(refs) if ref not in self._parts]
        self._parts.update(
            zip(new, await together(lambda ref: self._get(ref, ShardPart), new), strict=True)
        )
        leaves: list[Found[ShardPart]] = []
        for part in map(self._parts.__getitem__, refs):
            if part.record.parts:
                leaves += await self._leaves(part.record.parts, depth - 1)
                continue
            self._shards_left -= len(part.record.shards)
            if self._shards_left < 0:
                raise LexiconError(f"expected at most {self._config.max_shards} shards")
            leaves.append(part)
        return leaves

    async def _get(self, ref: AtUri | StrongRef, kind: type[T]) -> Found[T]:
        found = await self._resolver.record(
            ref, refresh=self._refresh, allow_previous_key=self._allow_previous_key
        )
        return of_kind(found, kind)


def of_kind(found: Found[Record], kind: type[T]) -> Found[T]:
    """The same, known to be of this kind."""
    if not isinstance(found.record, kind):
        raise LexiconError(f"expected a {kind.NSID} at {found.uri}")
    return found  # type: ignore[return-value]  # what was checked is its type parameter


def named(head: Found[Dataset], alias: str) -> Alias:
    """What the head calls ``alias``.

    Raises:
        RecordAbsent: it calls none so, as is proved by the head.
    """
    found = head.record.alias(alias)
    if found is None:
        names = ", ".join(one.name for one in head.record.aliases) or "none"
        raise RecordAbsent(
            f"{head.uri} has no alias {alias} (signed at rev {head.rev}); it has {names}",
            next_step="leave it out for the latest release, or name a version",
        )
    return found


def _chosen(release: Release, names: Sequence[str] | None) -> list[Split]:
    if names is None:
        return list(release.splits)
    known = {split.name: split for split in release.splits}
    for name in names:
        if name not in known:
            raise LocalError(
                f"{release.name} {release.version} has no split {name}",
                next_step=f"choose one of: {', '.join(known)}",
            )
    return [known[name] for name in dict.fromkeys(names)]


def _pds(identity: Identity) -> str | None:
    try:
        return identity.pds
    except IdentityMismatch:
        return None
