"""The previews of releases: fetched as blobs, proved by the digest in the record, kept a while.

Belongs here: from a proved release to what its preview says. The files lie in a store of their own,
beside that of the shards and outside of its quota: they are small, and a list of what is kept does
not name them. The oldest go when there are many.
"""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Final

from atd.errors import Busy, IdentityMismatch, LexiconError, RecordAbsent, StorageFault
from atd.protocol.cbor import Cid
from atd.records import Release
from atd.statistics.document import MAX_BYTES, Preview
from atd_daemon.store import ShardWant, Store
from atd_daemon.store.sources import Blob, Source
from atd_daemon.sync.found import ResolvedDataset

FOLDER: Final = "previews"
MOST: Final = 500
"""Previews that are kept: half a gigabyte at the very most."""


class Previews:
    """Reads previews; ``store`` holds their files."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def of(self, resolved: ResolvedDataset) -> Preview:
        """The preview of a release.

        Raises:
            RecordAbsent: the release has none.
            LexiconError: it is larger than one may be, no preview, or of other data.
            AtdError: as `Store.ensure`.
        """
        release, did = resolved.release.record, resolved.identity.did
        what = f"the preview of {release.name} {release.version}"
        blob = release.preview
        if blob is None:
            raise RecordAbsent(
                f"the release {release.name} {release.version} has no preview",
                next_step="look at samples of its shards with: atd preview",
            )
        if blob.size > MAX_BYTES:
            raise LexiconError(f"{what}: expected at most {MAX_BYTES} bytes, found {blob.size}")
        sources: tuple[Source, ...] = ()
        with contextlib.suppress(IdentityMismatch):  # no server to ask; it may be here
            sources = (Blob(did, resolved.identity.pds, blob.cid),)
        path = await self._store.ensure(ShardWant(blob.cid, blob.size, sources))
        preview = await asyncio.to_thread(_read, path, what)
        _check(preview, release, what)
        await asyncio.to_thread(self._make_room)
        return preview

    def _make_room(self) -> None:
        """Let the oldest go, where there are too many."""
        held = list(self._store.digests())
        if len(held) <= MOST:
            return
        ages: list[tuple[float, Cid]] = []
        for digest in held:
            path = self._store.path(digest)
            with contextlib.suppress(FileNotFoundError):  # somebody else makes room as well
                if path is not None:
                    ages.append((path.stat().st_mtime, digest))
        for _, digest in sorted(ages, key=lambda one: one[0])[: max(len(ages) - MOST, 0)]:
            with contextlib.suppress(Busy, StorageFault):  # somebody reads it just now
                self._store.remove(digest)


def _read(path: Path, what: str) -> Preview:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise StorageFault(f"cannot read {what} at {path}: {error.strerror}") from error
    return Preview.from_bytes(data, what)


def _check(preview: Preview, release: Release, what: str) -> None:
    """A preview that contradicts its release is shown to nobody."""
    said = [(one.name, one.samples, one.shards, one.size) for one in preview.splits]
    signed = [(one.name, one.samples, one.shards, one.size) for one in release.splits]
    if said != signed:
        raise LexiconError(f"{what}: its splits are not those of the release")
