"""Which shards may be had: those that a listed release names, and that the store holds.

From a digest to the data sets that name it would be a look through all shard lists, which no
stranger may cause. So a table is kept of the shards that are *here*: built from the releases that
are listed, in a thread, at most every `REFRESH_S`, when somebody asks. Whether one of those data
sets is still listed is asked each time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from atd.errors import AtdError, RecordAbsent
from atd.protocol.cbor import Cid
from atd.protocol.syntax import Did
from atd.records import Release, ShardPart, StrongRef
from atd_daemon.public.reading import Reading
from atd_daemon.store import Store

REFRESH_S: Final = 15.0
_HASHED_AT_ONCE: Final = 2
_MAX_LISTS: Final = 100_000
_BYTES: Final = 32

Name = tuple[Did, str]


@dataclass(frozen=True, slots=True)
class _List:
    """A shard list: the SHA-256 of each shard, one after the other, and the lists below."""

    digests: bytes
    below: tuple[StrongRef, ...]


class SharedShards:
    """Finds the files of shards that are served."""

    def __init__(
        self, reading: Reading, store: Store, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._reading = reading
        self._store = store
        self._clock = clock
        self._named: dict[bytes, set[Name]] = {}
        self._lists: dict[Cid, _List] = {}
        self._built_at: float | None = None
        self._building = asyncio.Lock()
        self._hashing = asyncio.Semaphore(_HASHED_AT_ONCE)

    async def path(self, digest: Cid) -> Path:
        """The verified file.

        Raises:
            RecordAbsent: no data set that is served names it, or it is not here.
        """
        await self._bring_up_to_date()
        names = self._named.get(digest.digest, set())
        if any(self._reading.listed(did, name) for did, name in names):
            async with self._hashing:  # which only a file that changed needs
                path = await asyncio.to_thread(self._store.path, digest)
            if path is not None:
                return path
        raise RecordAbsent(
            f"the shard {digest} is not served here", next_step="ask where its record says"
        )

    async def _bring_up_to_date(self) -> None:
        async with self._building:
            if self._built_at is None or self._clock() - self._built_at >= REFRESH_S:
                self._named = await asyncio.to_thread(self._build)
                self._built_at = self._clock()

    def _build(self) -> dict[bytes, set[Name]]:
        """By the SHA-256 of each shard that is here, the listed data sets that name it."""
        here = {digest.digest for digest in self._store.digests()}
        named: dict[bytes, set[Name]] = {}
        used: dict[Cid, _List] = {}
        for did in self._reading.followed() if here else ():
            for entry in self._reading.datasets(did):
                for digests in self._digests(did, entry.name, used):
                    for at in range(0, len(digests), _BYTES):
                        one = digests[at : at + _BYTES]
                        if one in here:
                            named.setdefault(one, set()).add((did, entry.name))
        self._lists = used  # what nothing refers to any more is forgotten
        return named

    def _digests(self, did: Did, name: str, used: dict[Cid, _List]) -> Iterable[bytes]:
        """The digests in every shard list of every version of a data set."""
        catalog = self._reading.catalog
        for release in catalog.releases(did, name):
            try:
                record = self._reading.found(release.uri).record
            except AtdError:
                continue  # it went a moment ago
            assert isinstance(record, Release), "its collection says so"
            waiting = [part for split in record.splits for part in split.parts]
            seen: set[Cid] = set()
            while waiting and len(seen) < _MAX_LISTS:
                ref = waiting.pop()
                if ref.cid in seen:
                    continue
                seen.add(ref.cid)
                found = used.get(ref.cid) or self._lists.get(ref.cid) or self._read(ref)
                if found is not None:
                    used[ref.cid] = found
                    waiting += found.below
                    yield found.digests

    def _read(self, ref: StrongRef) -> _List | None:
        try:
            record = self._reading.found(ref).record
        except AtdError:
            return None
        assert isinstance(record, ShardPart), "its collection says so"
        return _List(b"".join(one.digest.digest for one in record.shards), record.parts)
