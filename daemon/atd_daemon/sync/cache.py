"""Which shards may stay: a quota, and never without those that are pinned or being read.

The longest unused go first. What belongs here: `Cache`, which stands between whoever wants a shard
and the store, takes note of every use, and makes room. What is there and right is the store's
business; when it was used and what is pinned is kept by `catalog.holdings`.

Rules. A file that a reader has open is locked by it, and `Store.remove` gives up at once: it stays,
whatever the quota says. So does what was handed out a moment ago and may not be open yet. A quota
that cannot be kept is exceeded; only keeping on purpose what it has no room for is refused
(`Cache.check_room`). What is begun counts too, and goes first once nobody goes on with it. Uses
are written a few at a time: a killed daemon forgets how lately something was used, never what is
pinned. Where the disk is so full that the index cannot be written, shards can still be let go.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from atd.errors import AtdError, Busy, DigestMismatch, StorageFault
from atd.protocol.cbor import Cid
from atd.protocol.syntax import AtUri
from atd_daemon.catalog.holdings import Holding, Holdings, Use
from atd_daemon.store import ShardWant, Store
from atd_daemon.store.download import Report
from atd_daemon.store.layout import size_of
from atd_daemon.store.leftovers import Kind, Leftover, is_fresh
from atd_daemon.store.threads import to_the_end

SIDECARS: Final = "indexes"
"""The folder below the cache where readers keep member indexes (`atd.shards.sidecars`, which has
numpy, and so does not belong in a daemon)."""

GRACE_S: Final = 60.0
"""How long a reader has to open what was handed out to it."""

WRITE_EVERY_S: Final = 5.0
"""How long uses are collected before they are written."""

LOOK_EVERY_S: Final = 60.0
"""How often the quota is looked at, besides whenever a shard comes in."""

IDLE_S: Final = 3600.0
"""How long an unfinished download that nobody works on may stay where the quota is exceeded."""

_FORGET_S: Final = 30 * 86400.0
"""After which the sidecar of a shard that is not in the store is removed."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Trimmed:
    """What making room came to, in shards and bytes; ``over`` is what is still too much, and
    ``unfinished`` how much of what is left belongs to downloads that are not finished."""

    removed: int = 0
    freed: int = 0
    pinned: int = 0
    in_use: int = 0
    size: int = 0
    over: int = 0
    unfinished: int = 0


class Cache:
    """The shards of ``store``, at most ``quota`` bytes of them where it can be (None: no limit).

    Its methods block and belong in a thread, but for the coroutines.

    Args:
        indexes: the folder of the sidecars that readers leave, which go with their shards.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        holdings: Holdings,
        store: Store,
        quota: int | None,
        indexes: Path,
        clock: Callable[[], float],
    ) -> None:
        self.holdings = holdings
        self.quota = quota
        self._store = store
        self._indexes = indexes
        self._clock = clock
        self._uses: list[Use] = []
        self._written_at = time.monotonic()
        self._handed: dict[Cid, float] = {}
        self._only_here: set[Cid] = set()
        self._lock = threading.Lock()
        self._trimming = threading.Lock()
        store.watch(self._landed)

    async def have(
        self,
        want: ShardWant,
        report: Report | None = None,
        *,
        release: AtUri | None = None,
        name: str = "",
        handed: bool = False,
    ) -> Path:
        """The verified file that is wanted, fetched if it is not here; raises as `Store.ensure`.

        Args:
            release, name: for whom, and what that release calls it.
            handed: the path goes to a reader, who has yet to open it.
        """
        if handed:
            self._handed[want.digest] = time.monotonic()
        path = await self._store.ensure(want, report)
        if not want.sources and want.digest not in self._only_here:
            # Its record names no place that has it: let go, it would be gone for good.
            await to_the_end(self.holdings.pin, want.digest, now=self._clock())
            self._only_here.add(want.digest)
        due = self._note(Use(want.digest, self._clock(), release, name))
        if handed:
            self._handed[want.digest] = time.monotonic()
        if due:
            await to_the_end(self.write)
        return path

    async def check(self, digest: Cid) -> None:
        """Hash the file, if it is here; one that is damaged is set aside."""
        with contextlib.suppress(DigestMismatch):
            await to_the_end(self._store.verify, digest)

    def check_room(self, shards: Mapping[Cid, int], release: AtUri) -> None:
        """See that the quota has room for these shards of a release, by digest with their bytes.

        Else the first of them would go while the last come. What is here already is kept as long as
        the quota lets it, and what is pinned whatever the quota says.

        Raises:
            StorageFault: there is none.
        """
        pins = self.holdings.pins()
        if self.quota is None or str(release) in pins:
            return
        self.reconcile()
        held = {one.digest: one for one in self.holdings.all()}
        if shards.keys() <= held.keys():
            return
        pinned = sum(one.size for one in held.values() if one.pinned and one.digest not in shards)
        needed, room = sum(shards.values()), max(0, self.quota - pinned)
        if needed > room:
            raise StorageFault(
                f"{needed} bytes are to be kept, and the quota of {self.quota} bytes has room for"
                f" {room}",
                next_step="raise cache_quota, or pin it first: atd cache pin REF; or pull a part:"
                " --split, --shard",
            )

    def write(self) -> None:
        """Write the uses that were collected."""
        with self._lock:
            uses, self._uses = self._uses, []
            self._written_at = time.monotonic()
        if uses:
            self.holdings.used(uses)

    def begin(self) -> None:
        """Look what is there, whoever put it there, and make room if it is too much."""
        self.reconcile()
        self.trim()

    def reconcile(self) -> None:
        """Make what is known that which is there, if the index can be written."""
        with _later():
            self.write()
            self.holdings.reconcile(self._store.sizes(), now=self._clock())

    async def run(self) -> None:
        """Keep the quota until this is cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                await to_the_end(self.write)
                await to_the_end(self.trim)
            except AtdError as error:  # a full disk, say: it may have room the next time
                _log.warning("the cache cannot be kept: %s", error)

    def trim(self, spared: frozenset[Cid] = frozenset()) -> Trimmed:
        """Let go of the longest unused until the quota is kept; not of ``spared``."""
        if self.quota is None:
            return Trimmed()
        beside = self._store.damaged_bytes() + self._store.unfinished_bytes()
        if self.holdings.total() + beside <= self.quota:
            return Trimmed()
        with _later():
            self.write()
        return self._down_to(self.quota, spared | self._recent(), IDLE_S)

    def prune(self, most: int | None, *, dry_run: bool = False) -> Trimmed:
        """Let go of the longest unused until there are ``most`` bytes (None: all may stay), and of
        what is of no use: damaged files, and sidecars of shards that are long gone.

        Unlike `trim`, also of what was handed out a moment ago: its reader asks again.
        """
        self.reconcile()
        if not dry_run:
            self._sweep_sidecars()
        return self._down_to(most, frozenset(), 0.0, dry_run=dry_run)

    def remove(self, digests: Iterable[Cid], *, pinned_too: bool = False) -> Trimmed:
        """Let go of these, unless they are being read, or pinned and not ``pinned_too``."""
        with _later():
            self.write()
        wanted = set(digests)
        with self._trimming:
            held = [one for one in self.holdings.all() if one.digest in wanted]
            if pinned_too:
                held = [replace(one, pinned=False) for one in held]
            return self._let_go(held, 0, frozenset())

    def leftovers(self) -> list[Leftover]:
        """The sidecars of shards that are not in the store, and temporary files beside them.

        One may be of a shard outside the store: its reader makes it anew.
        """
        here = {str(digest) for digest in self._store.digests()}
        found = []
        for path in sorted(self._indexes.glob("??/*")):
            temporary = path.name.startswith(".")
            if not is_fresh(path) and (temporary or path.name.partition(".")[0] not in here):
                kind: Kind = "temporary" if temporary else "sidecar"
                found.append(Leftover(kind, path, size_of(path)))
        return found

    # -- inside -----------------------------------------------------------------------------

    def _note(self, use: Use) -> bool:
        """Take note of a use; whether it is time to write."""
        with self._lock:
            self._uses.append(use)
            return time.monotonic() - self._written_at > WRITE_EVERY_S

    def _landed(self, digest: Cid, size: int) -> None:
        """A file came into the store, in the thread that put it there."""
        self.holdings.put(digest, size, now=self._clock())
        left = self.trim(frozenset({digest}))
        if left.over:
            _log.info(
                "the cache is %d bytes over its quota: %d shards are pinned, %d in use",
                left.over,
                left.pinned,
                left.in_use,
            )

    def _recent(self) -> frozenset[Cid]:
        """What was handed out within `GRACE_S`."""
        since = time.monotonic() - GRACE_S
        for digest in [one for one, at in tuple(self._handed.items()) if at < since]:
            self._handed.pop(digest, None)
        return frozenset(tuple(self._handed))

    def _down_to(
        self, most: int | None, spared: frozenset[Cid], idle_s: float, *, dry_run: bool = False
    ) -> Trimmed:
        with self._trimming:
            freed = self._store.damaged_bytes() if dry_run else self._store.drop_damaged()
            held = self.holdings.all()
            size, begun = sum(one.size for one in held), self._store.unfinished_bytes()
            if most is not None and size + begun > most:
                idle = self._store.idle(idle_s)
                gone = sum(one.size for one in (idle if dry_run else self._store.drop(idle)))
                freed += gone
                begun = max(0, begun - gone) if dry_run else self._store.unfinished_bytes()
            limit = size if most is None else max(0, most - begun)
            found = self._let_go(held, limit, spared, dry_run=dry_run)
            over = 0 if most is None else max(0, found.size + begun - most)
            return replace(found, freed=found.freed + freed, over=over, unfinished=begun)

    def _let_go(
        self, held: list[Holding], most: int, spared: frozenset[Cid], *, dry_run: bool = False
    ) -> Trimmed:
        """Remove ``held``, the first first, until ``most`` bytes of them are left."""
        size = sum(one.size for one in held)
        removed: list[Holding] = []
        pinned = in_use = 0
        for one in held:
            if size <= most:
                break
            if one.pinned:
                pinned += 1
            elif one.digest in spared or not (dry_run or self._removed(one.digest)):
                in_use += 1
            else:
                removed.append(one)
                size -= one.size
        if not dry_run:
            with _later():
                self.holdings.drop([one.digest for one in removed])
        freed = sum(one.size for one in removed)
        return Trimmed(len(removed), freed, pinned, in_use, size, max(0, size - most))

    def _sweep_sidecars(self) -> None:
        """Remove the sidecars of shards that are not here and were not opened for long."""
        here = {str(digest) for digest in self._store.digests()}
        for path in self._indexes.glob("??/*"):
            with contextlib.suppress(OSError):
                old = path.stat().st_mtime < time.time() - _FORGET_S
                if old and path.name.partition(".")[0] not in here:
                    path.unlink()

    def _removed(self, digest: Cid) -> bool:
        """Whether the file is gone now, its sidecar with it."""
        try:
            self._store.remove(digest)
        except (Busy, StorageFault):  # being read or worked on; or no locks, so nobody can tell
            return False
        for path in (self._indexes / digest.digest[:1].hex()).glob(f"{digest}.*"):
            path.unlink(missing_ok=True)
        return True


@contextlib.contextmanager
def _later() -> Iterator[None]:
    """Go on where the index cannot be written: what it lacks, `Cache.reconcile` adds one day."""
    try:
        yield
    except StorageFault as error:
        _log.warning("the index does not say what is in the store: %s", error)
