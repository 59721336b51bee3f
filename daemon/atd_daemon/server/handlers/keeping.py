"""``network.atd.keeping.*``: what is kept here, what is newer, what goes, and what is left over."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

from atd.errors import LocalError
from atd.names import split_release_key
from atd.protocol.cbor import Cid
from atd.protocol.syntax import AtUri
from atd.refs import DatasetRef, parse_dataset_ref
from atd_daemon.catalog.kept import KeptDataset
from atd_daemon.server import views
from atd_daemon.services import Services
from atd_daemon.store.leftovers import Leftover
from atd_daemon.sync.found import FoundSplit
from atd_daemon.sync.keeping import Checked, choose

Json = dict[str, Any]


async def get_dataset(services: Services, given: Json) -> Json:
    """Answer ``network.atd.keeping.getDataset``."""
    ref = parse_dataset_ref(given["ref"])
    resolved = await services.keeping.look(ref)
    split = given.get("split", ref.split)
    if split is not None:
        choose(resolved, [split], None)
    services.shelf.remember(resolved)
    here = await services.keeping.here()
    kept = services.keeping.kept.get(resolved.identity.did, ref.name)
    held = await asyncio.to_thread(services.cache.holdings.all)
    pinned = {one.digest for one in held if one.pinned}
    return {
        **views.release_summary(resolved),
        "kept": kept is not None and kept.release == resolved.release.uri,
        "splits": [
            _split(one, here) | ({"files": _files(one, here, pinned)} if split is not None else {})
            for one in resolved.splits
            if split in (None, one.split.name)
        ],
    }


def _split(found: FoundSplit, here: frozenset[Cid]) -> Json:
    stored = [shard.entry for shard in found.shards if shard.entry.digest in here]
    return {
        "name": found.split.name,
        "shards": found.split.shards,
        "samples": found.split.samples,
        "size": found.split.size,
        "stored": len(stored),
        "storedSamples": sum(entry.samples for entry in stored),
        "storedSize": sum(entry.size for entry in stored),
    }


def _files(found: FoundSplit, here: frozenset[Cid], pinned: set[Cid]) -> list[Json]:
    return [
        {
            "number": number,
            "name": shard.entry.name,
            "digest": str(shard.entry.digest),
            "samples": shard.entry.samples,
            "size": shard.entry.size,
            "stored": shard.entry.digest in here,
            "pinned": shard.entry.digest in pinned,
        }
        for number, shard in enumerate(found.shards)
    ]


async def list_outdated(services: Services, given: Json) -> Json:
    """Answer ``network.atd.keeping.listOutdated``."""
    rows = await asyncio.to_thread(services.keeping.kept.all)
    if "ref" in given:
        ref = parse_dataset_ref(given["ref"])
        did = await services.keeping.did_of(ref)
        rows = [row for row in rows if (row.did, row.name) == (did, ref.name)]
        if not rows:
            raise _not_kept(ref)
    checked = await services.keeping.check(rows)
    return {"datasets": [_checked(services, one) for one in checked]}


def _checked(services: Services, one: Checked) -> Json:
    answer = _named(services, one.kept) | {"outdated": one.newest is not None}
    if one.error is not None:
        answer |= {"error": type(one.error).__name__, "detail": str(one.error)}
    if one.newest is None or one.renewal is None:
        return answer
    return answer | {
        "latest": one.newest.release.record.version,
        "latestUri": str(one.newest.release.uri),
        "latestCid": str(one.newest.release.cid),
        "replaced": one.renewal.replaced,
        "size": sum(shard.entry.size for _, shard in one.renewal.fetch),
        "shards": [
            {
                "split": split,
                "name": shard.entry.name,
                "digest": str(shard.entry.digest),
                "size": shard.entry.size,
            }
            for split, shard in one.renewal.fetch
        ],
    }


async def remove(services: Services, given: Json) -> Json:
    """Answer ``network.atd.keeping.remove``."""
    ref = parse_dataset_ref(given["ref"])
    force = given.get("force", False)
    going = await services.keeping.going(ref, given.get("splits") or None, given.get("shards"))
    if going.is_nothing:
        raise LocalError(f"nothing of {ref} is here", next_step="see what is: atd ls, atd cache ls")
    freed = [one for one in going.held if force or not one.pinned]
    answer = {
        "did": str(going.did),
        "name": going.name,
        "removed": len(freed),
        "freed": sum(one.size for one in freed),
        "pinned": len(going.held) - len(freed),
        "inUse": 0,
        "shared": [
            {"digest": str(digest), "with": _friendly(services, *by)}
            for digest, by in sorted(going.shared.items(), key=str)
        ],
    }
    if not given.get("dryRun", False):
        done = await services.keeping.remove(going, force=force)
        answer |= {"removed": done.removed, "freed": done.freed}
        answer |= {"pinned": done.pinned, "inUse": done.in_use}
    answer["kept"] = services.keeping.kept.get(going.did, going.name) is not None
    return answer


async def untrack(services: Services, given: Json) -> Json:
    """Answer ``network.atd.keeping.untrack``."""
    ref = parse_dataset_ref(given["ref"])
    keeping = services.keeping
    row = keeping.kept.get(await keeping.did_of(ref), ref.name)
    if row is None:
        raise _not_kept(ref)
    await asyncio.to_thread(services.cache.reconcile)
    held = await asyncio.to_thread(services.cache.holdings.all)
    mine = [one for one in held if str(row.release) in one.names]
    await asyncio.to_thread(keeping.kept.forget, row.did, row.name)
    return _named(services, row) | {
        "shards": len(mine),
        "size": sum(one.size for one in mine),
        "pinned": sum(one.pinned for one in mine),
    }


async def collect(services: Services, given: Json) -> Json:
    """Answer ``network.atd.keeping.collect``."""
    dry_run = given.get("dryRun", False)
    return await asyncio.to_thread(_collected, services, dry_run)


def _collected(services: Services, dry_run: bool) -> Json:
    store = services.store
    found = [*store.leftovers(), *services.cache.leftovers()]
    staged = [Leftover("staging", path, _size(path)) for path in services.publishing.over()]
    gone = [*found, *staged]
    if not dry_run:
        gone = store.drop(found)
        for one in staged:
            shutil.rmtree(one.path, ignore_errors=True)
        gone += [one for one in staged if not one.path.exists()]
    return {
        "leftovers": [{"kind": one.kind, "path": str(one.path), "size": one.size} for one in gone],
        "freed": sum(one.size for one in gone),
        "dryRun": dry_run,
    }


def _size(folder: Path) -> int:
    """Bytes of the files below ``folder``."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _not_kept(ref: DatasetRef) -> LocalError:
    return LocalError(f"{ref} is not kept here", next_step="keep it with: atd pull REF")


def _named(services: Services, row: KeptDataset) -> Json:
    publisher = services.catalog.publisher(row.did)
    handle = None if publisher is None else publisher.handle
    return views.present(
        uri=str(row.release),
        cid=str(row.cid),
        did=str(row.did),
        handle=None if handle is None else str(handle),
        name=row.name,
        version=row.version,
    )


def _friendly(services: Services, uri: AtUri, split: str | None) -> str:
    """A release, or a split of it, as people write it."""
    name, version = split_release_key(str(uri.rkey))
    publisher = services.catalog.publisher(uri.did)
    handle = None if publisher is None else publisher.handle
    return str(DatasetRef(uri.did if handle is None else handle, name, version, split))
