"""The life of a data set on this machine: kept, partly here, outdated, removed, forgotten.

What belongs here: `Keeping`, which knows what is kept and what of it is here, what would go when
something is removed, and which shards of a newer release take the place of which that are here.

Rules. What is kept is in the index (`catalog.kept`), what is here is what the store says; a kill
between the two is put right by doing the same again. Looking at what is kept asks nobody: its
records are in the index. A shard that another kept release has is never removed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace

from atd.errors import AtdError, LocalError
from atd.names import split_release_key
from atd.protocol.cbor import Cid
from atd.protocol.syntax import AtUri, Did
from atd.refs import DatasetRef
from atd_daemon.catalog import Catalog
from atd_daemon.catalog.holdings import Holding
from atd_daemon.catalog.kept import KeptDataset
from atd_daemon.network.fetch import offline_now
from atd_daemon.store import Store
from atd_daemon.sync.cache import Cache, Trimmed
from atd_daemon.sync.found import FoundShard, FoundSplit, ResolvedDataset
from atd_daemon.sync.renewal import Renewal, all_of, is_known, renewal
from atd_daemon.sync.resolve import Resolver
from atd_daemon.sync.together import together

Shared = dict[Cid, tuple[AtUri, str | None]]
"""Shards that stay, and what has them too: a release, or a split of it."""


@dataclass(frozen=True)
class Checked:
    """A kept data set compared with its publisher: ``error`` if that could not be done, ``newest``
    and ``renewal`` if there is a newer release."""

    kept: KeptDataset
    newest: ResolvedDataset | None = None
    renewal: Renewal | None = None
    error: AtdError | None = None


@dataclass(frozen=True)
class Going:
    """What removing would do: ``held`` would go but for pins and readers; ``shared`` stay because
    a kept release has them too, or another split of this one; which one is said."""

    did: Did
    name: str
    held: tuple[Holding, ...]
    shared: Shared = field(default_factory=dict)
    whole: bool = False
    kept: bool = False
    releases: frozenset[str] = frozenset()

    @property
    def is_nothing(self) -> bool:
        """Whether nothing of it is here, nor kept."""
        return not self.held and not self.shared and not self.kept


class Keeping:
    """What is kept here. Its coroutines belong to the daemon's loop."""

    def __init__(
        self,
        catalog: Catalog,
        resolver: Resolver,
        store: Store,
        cache: Cache,
        clock: Callable[[], float],
    ) -> None:
        self.kept = catalog.kept
        self._catalog = catalog
        self._resolver = resolver
        self._store = store
        self._cache = cache
        self._clock = clock

    # --- pulling ---------------------------------------------------------------------------------

    async def begin(self, resolved: ResolvedDataset, shards: Sequence[FoundShard]) -> None:
        """Take note that these are being pulled, so that an interrupted pull is known.

        Raises:
            StorageFault: the quota has no room for them.
        """
        sizes = {shard.entry.digest: shard.entry.size for shard in shards}
        await asyncio.to_thread(self._cache.check_room, sizes, resolved.release.uri)
        await asyncio.to_thread(self.kept.begin, self._row(resolved))
        await self._name(resolved, sizes)

    async def finish(self, resolved: ResolvedDataset, shards: Sequence[FoundShard]) -> int:
        """These shards were pulled: the data set is kept at this release, with all that is here.

        Returns:
            How many of them are here. It may be fewer: the quota, or somebody, took them meanwhile.
        """
        here = await self.here()
        await self._name(resolved, here)
        await asyncio.to_thread(self.kept.set, self._row(resolved))
        return sum(shard.entry.digest in here for shard in shards)

    async def _name(self, resolved: ResolvedDataset, digests: Collection[Cid]) -> None:
        """Take note of what the release calls these of its shards."""
        named = [
            (shard.entry.digest, shard.entry.name)
            for shard in resolved.shards
            if shard.entry.digest in digests
        ]
        uri = resolved.release.uri
        await asyncio.to_thread(self._cache.holdings.belongs, uri, named)

    def _row(self, resolved: ResolvedDataset) -> KeptDataset:
        release = resolved.release
        name = release.record.name
        return KeptDataset(resolved.identity.did, name, release.uri, release.cid, self._clock())

    # --- looking ---------------------------------------------------------------------------------

    async def here(self) -> frozenset[Cid]:
        """The digests of the shards that are in the store."""
        return await asyncio.to_thread(lambda: frozenset(self._store.digests()))

    async def look(self, ref: DatasetRef) -> ResolvedDataset:
        """A data set at the release that is kept or that ``ref`` names, else the latest.

        Nobody is asked for what is kept, unless some of its shard lists are not in the index; if
        those cannot be had, their splits have no shards here.
        """
        ref = await self._resolver.settled(ref)
        did = await self.did_of(ref)
        row = self.kept.get(did, ref.name)
        known = None
        if row is not None and ref.version in (None, row.version):
            with contextlib.suppress(AtdError):
                known = await self._known(row)
            if known is not None and all(map(is_known, known.splits)):
                return known
        version = ref.version if row is None or known is None else row.version
        try:
            return await self._resolver.dataset(DatasetRef(did, ref.name, version))
        except AtdError:
            if known is None:
                raise
            return known

    async def did_of(self, ref: DatasetRef) -> Did:
        """Whose data set it is; the index knows that of whatever is here."""
        actor = ref.authority
        did = actor if isinstance(actor, Did) else self._catalog.did_of(actor)
        return (await self._resolver.identity(actor)).did if did is None else did

    async def _known(self, row: KeptDataset) -> ResolvedDataset:
        """The kept release, out of the index alone. A split whose shard lists are not there, since
        nothing of it was pulled, has no shards here.

        Raises:
            AtdError: the release is not there any more, or it has other content by now.
        """
        ref = DatasetRef(row.did, row.name, row.version)
        with _asking_nobody():
            found = await self._resolver.dataset(ref, splits=[])
            if found.release.cid != row.cid:
                raise LocalError(f"{row.release} has other content than when it was pulled")
            splits: list[FoundSplit] = []
            for split in found.release.record.splits:
                try:
                    part = await self._resolver.dataset(ref, splits=[split.name])
                    splits += part.splits
                except AtdError:
                    splits.append(FoundSplit(split, (), ()))
        return replace(found, splits=tuple(splits))

    # --- newer releases --------------------------------------------------------------------------

    async def check(self, rows: Sequence[KeptDataset]) -> list[Checked]:
        """Ask the publishers of these; what cannot be found out is said of each."""
        return await together(self._checked, rows)

    async def _checked(self, row: KeptDataset) -> Checked:
        try:
            newest = await self._resolver.dataset(DatasetRef(row.did, row.name))
            if newest.release.cid == row.cid:
                return Checked(row)
            return Checked(row, newest, await self.renewal(row, newest))
        except AtdError as error:
            return Checked(row, error=error)

    async def renewal(self, row: KeptDataset, newest: ResolvedDataset) -> Renewal:
        """What ``newest`` changes of what is here of the release that is kept.

        Where that release is not known any more, everything that is not here is new.
        """
        here = await self.here()
        try:
            known = await self._known(row)
        except AtdError:
            return all_of(newest.splits, here)
        return await asyncio.to_thread(renewal, known.splits, newest.splits, here)

    async def changed(self, resolved: ResolvedDataset) -> tuple[FoundShard, ...]:
        """The shards of a release that take the place of those that are here of the kept one.

        Raises:
            LocalError: the data set is not kept.
        """
        name = resolved.release.record.name
        row = self.kept.get(resolved.identity.did, name)
        if row is None:
            raise LocalError(f"{name} is not kept here", next_step="fetch it with: atd pull REF")
        found = await self.renewal(row, resolved)
        return tuple(shard for _, shard in found.fetch)

    # --- removing --------------------------------------------------------------------------------

    async def going(
        self, ref: DatasetRef, splits: Sequence[str] | None, numbers: Sequence[int] | None
    ) -> Going:
        """What removing this would do.

        Args:
            ref: all versions of a data set, or one.
            splits, numbers: only these, of the version that `look` gives.

        Raises:
            LocalError: there is no such split or shard.
        """
        await asyncio.to_thread(self._cache.reconcile)
        ref = await self._resolver.settled(ref)
        did = await self.did_of(ref)
        held = await asyncio.to_thread(self._cache.holdings.all)
        row = self.kept.get(did, ref.name)
        if splits is None and ref.split is not None:
            splits = [ref.split]
        if splits is None and numbers is None:
            return await self._all_going(did, ref, row, held)
        resolved = await self.look(ref)
        chosen = choose(resolved, splits, numbers)
        wanted = {shard.entry.digest for shard in chosen}
        uri = resolved.release.uri
        taken = {id(shard) for shard in chosen}
        shared = await self._shared(wanted, held, {str(uri)})
        for split in resolved.splits:
            for shard in split.shards:
                if id(shard) not in taken and shard.entry.digest in wanted:
                    shared.setdefault(shard.entry.digest, (uri, split.split.name))
        here = {one.digest for one in held}
        return Going(
            did,
            ref.name,
            tuple(one for one in held if one.digest in wanted - shared.keys()),
            {digest: by for digest, by in shared.items() if digest in here},
            kept=row is not None,
        )

    async def _all_going(
        self, did: Did, ref: DatasetRef, row: KeptDataset | None, held: Sequence[Holding]
    ) -> Going:
        """As `going`, for one version or all; it works without any record."""
        named = {uri for one in held for uri in one.names} | set(self._cache.holdings.releases())
        uris = {uri for uri in named if _is_of(uri, did, ref)}
        wanted: set[Cid] = set()
        mine = row is not None and ref.version in (None, row.version)
        if row is not None and mine:
            uris.add(str(row.release))
            # A killed daemon may have forgotten for whom the last few shards came.
            with contextlib.suppress(AtdError):
                wanted = {shard.entry.digest for shard in (await self._known(row)).shards}
        wanted = {
            one.digest for one in held if one.digest in wanted or not uris.isdisjoint(one.names)
        }
        shared = await self._shared(wanted, held, uris)
        going = tuple(one for one in held if one.digest in wanted - shared.keys())
        return Going(did, ref.name, going, shared, True, mine, frozenset(uris))

    async def _shared(
        self, wanted: Collection[Cid], held: Sequence[Holding], mine: Collection[str]
    ) -> Shared:
        """Those of the shards that another kept release has, with its URI."""
        found: Shared = {}
        for row in self.kept.all():
            uri = str(row.release)
            if uri in mine:
                continue
            digests = {one.digest for one in held if uri in one.names}
            with contextlib.suppress(AtdError):
                digests |= {shard.entry.digest for shard in (await self._known(row)).shards}
            found |= dict.fromkeys(digests.intersection(wanted), (row.release, None))
        return found

    async def remove(self, going: Going, *, force: bool) -> Trimmed:
        """Let it go, but for what is being read, and what is pinned if not ``force``.

        A whole data set of which nothing stays is kept no longer.
        """
        digests = [one.digest for one in going.held]
        if force:
            for target in [*map(str, digests), *sorted(going.releases)]:
                await asyncio.to_thread(self._cache.holdings.unpin, target)
        done = await asyncio.to_thread(self._cache.remove, digests, pinned_too=force)
        if going.whole and going.kept and not done.pinned and not done.in_use:
            await asyncio.to_thread(self.kept.forget, going.did, going.name)
        return done


def choose(
    resolved: ResolvedDataset, splits: Sequence[str] | None, numbers: Sequence[int] | None
) -> tuple[FoundShard, ...]:
    """The shards of a release that are meant: of these splits, or those with these numbers.

    Raises:
        LocalError: there is no such split or shard, or the numbers are of several splits.
    """
    known = {split.split.name: split for split in resolved.splits}
    what = f"{resolved.release.record.name} {resolved.release.record.version}"
    for name in splits or ():
        if name not in known:
            raise LocalError(
                f"{what} has no split {name}", next_step=f"choose one of: {', '.join(known)}"
            )
    chosen = list(known.values()) if splits is None else [known[name] for name in splits]
    if numbers is None:
        return tuple(shard for split in chosen for shard in split.shards)
    if len(chosen) != 1:
        raise LocalError(
            f"the numbers of shards are those of one split; {what} has {', '.join(known)}",
            next_step="say which with --split",
        )
    shards = chosen[0].shards
    for number in numbers:
        if not 0 <= number < len(shards):
            raise LocalError(
                f"{what} has no shard {number} in {chosen[0].split.name}, which has"
                f" {len(shards)}: 0 to {len(shards) - 1}",
                next_step="see them with: atd ls REF SPLIT",
            )
    return tuple(shards[number] for number in sorted(set(numbers)))


def _is_of(uri: str, did: Did, ref: DatasetRef) -> bool:
    parsed = AtUri.parse(uri)
    name, version = split_release_key(str(parsed.rkey))
    return parsed.authority == did and name == ref.name and ref.version in (None, version)


@contextlib.contextmanager
def _asking_nobody() -> Iterator[None]:
    token = offline_now.set(True)
    try:
        yield
    finally:
        offline_now.reset(token)
