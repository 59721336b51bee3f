"""``network.atd.cache.*``: what the store holds, what may go, and whether it is still right."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from atd.errors import AtdError, DigestMismatch, InvalidSyntax, LocalError, StorageFault
from atd.names import split_release_key
from atd.protocol.cbor import RAW, Cid
from atd.protocol.syntax import AtUri, Did
from atd.refs import DatasetRef, parse_dataset_ref
from atd_daemon.catalog.holdings import Holding
from atd_daemon.server import views
from atd_daemon.server.streams import Events
from atd_daemon.services import Services
from atd_daemon.store import Progress
from atd_daemon.sync.cache import Trimmed

Json = dict[str, Any]


async def list_cache(services: Services, given: Json) -> Json:
    """Answer ``network.atd.cache.list``."""
    cache = services.cache
    await asyncio.to_thread(cache.reconcile)
    held = await asyncio.to_thread(cache.holdings.all)
    usage = await asyncio.to_thread(services.store.usage)
    answer = views.present(
        quota=cache.quota,
        size=usage.shard_bytes,
        shards=usage.shards,
        pinned=sum(one.size for one in held if one.pinned),
        damaged=usage.damaged,
        damagedSize=usage.damaged_bytes,
        unfinishedSize=usage.unfinished_bytes,
        releases=[_release(services, uri, held) for uri in cache.holdings.releases()],
    )
    if given.get("files", False):
        answer["files"] = [_file(one) for one in held]
    return answer


async def prune(services: Services, given: Json) -> Json:
    """Answer ``network.atd.cache.prune``."""
    cache = services.cache
    most = given.get("size", cache.quota)
    dry_run = given.get("dryRun", False)
    done = await asyncio.to_thread(cache.prune, most, dry_run=dry_run)
    return views.present(quota=cache.quota, unfinished=done.unfinished, **_trimmed(done))


async def remove(services: Services, given: Json) -> Json:
    """Answer ``network.atd.cache.remove``."""
    cache = services.cache
    await asyncio.to_thread(cache.reconcile)
    held = await asyncio.to_thread(cache.holdings.all)
    target = _target(given["target"])
    if isinstance(target, Cid):
        wanted = {one.digest for one in held if one.digest == target}
    else:
        uris = await _releases_of(services, target, cache.holdings.releases())
        wanted = {one.digest for one in held if not uris.isdisjoint(one.names)}
    if not wanted:
        raise LocalError(
            f"nothing of {target} is in the store", next_step="see what is: atd cache ls"
        )
    return _trimmed(await asyncio.to_thread(cache.remove, wanted))


async def pin(services: Services, given: Json) -> Json:
    """Answer ``network.atd.cache.pin``."""
    target = _target(given["target"])
    holdings = services.cache.holdings
    if isinstance(target, Cid):
        await asyncio.to_thread(holdings.pin, target, now=services.clock())
        return {"targets": [str(target)]}
    resolved = await services.resolver.dataset(target)
    services.shelf.remember(resolved)
    uri = resolved.release.uri
    shards = [(shard.entry.digest, shard.entry.name) for shard in resolved.shards]
    await asyncio.to_thread(holdings.belongs, uri, shards)
    await asyncio.to_thread(holdings.pin, uri, now=services.clock())
    return {"targets": [str(uri)]}


async def unpin(services: Services, given: Json) -> Json:
    """Answer ``network.atd.cache.unpin``."""
    target = _target(given["target"])
    holdings = services.cache.holdings
    pins = await asyncio.to_thread(holdings.pins)
    if isinstance(target, Cid):
        wanted = {str(target)}.intersection(pins)
    else:
        releases = [one for one in pins if one.startswith("at://")]
        wanted = await _releases_of(services, target, releases)
    if not wanted:
        raise LocalError(f"{target} is not pinned", next_step="see what is: atd cache ls")
    for one in sorted(wanted):
        await asyncio.to_thread(holdings.unpin, one)
    return {"targets": sorted(wanted)}


async def verify(services: Services, given: Json, events: Events) -> Json:
    """Answer ``network.atd.cache.verify``: every file hashed, and a damaged one fetched anew."""
    await asyncio.to_thread(services.cache.reconcile)
    held = await asyncio.to_thread(services.cache.holdings.all)
    total, done, damaged, repaired = sum(one.size for one in held), 0, 0, 0
    for one in held:
        events.progress(done=done, total=total, shards=0, shardsTotal=len(held))
        try:
            await asyncio.to_thread(services.store.verify, one.digest)
        except DigestMismatch as error:
            damaged += 1
            step = await _repaired(services, one, error, events, given.get("fetch", True))
            repaired += step["repaired"]
            events.step(**step)
        except StorageFault as error:  # of this file; the others are looked at all the same
            damaged += 1
            events.step(**_damage(one, error), error=type(error).__name__, detail=error.next_step)
        done += one.size
    return {"shards": len(held), "size": total, "damaged": damaged, "repaired": repaired}


async def _repaired(
    services: Services, one: Holding, found: AtdError, events: Events, fetch: bool
) -> Json:
    """What is to be said of a damaged file, after it was fetched from wherever it can be had."""
    step = _damage(one, found)
    if not fetch:
        return step

    def report(progress: Progress) -> None:
        events.progress(done=progress.done, total=one.size, name=step["name"])

    release = AtUri.parse(min(one.names)) if one.names else None
    try:
        await services.shelf.have(one.digest, release, report)
    except AtdError as error:
        return {**step, "error": type(error).__name__, "detail": str(error)}
    return {**step, "repaired": True}


def _damage(one: Holding, found: AtdError) -> Json:
    """What was found of a file that is not right."""
    name = min(one.names.values(), default=str(one.digest))
    return {"name": name, "digest": str(one.digest), "found": str(found), "repaired": False}


def _target(text: str) -> DatasetRef | Cid:
    """What ``text`` names: a data set, or the digest of a shard."""
    try:
        cid = Cid.parse(text)
    except InvalidSyntax:
        return parse_dataset_ref(text)
    if cid.codec != RAW:
        raise InvalidSyntax(f"expected a data set or the digest of a shard, got the CID {cid}")
    return cid


async def _releases_of(services: Services, ref: DatasetRef, known: Iterable[str]) -> set[str]:
    """Those of the releases ``known`` that ``ref`` names; all versions where it names none.

    Nobody is asked where the index says who the publisher is: what is here can be let go offline.
    """
    ref = await services.resolver.settled(ref)
    actor = ref.authority
    did = actor if isinstance(actor, Did) else services.catalog.did_of(actor)
    if did is None:
        did = (await services.resolver.identity(actor)).did
    return {
        uri
        for uri in known
        if AtUri.parse(uri).authority == did
        and _key(uri)[0] == ref.name
        and ref.version in (None, _key(uri)[1])
    }


def _key(uri: str) -> tuple[str, str]:
    return split_release_key(str(AtUri.parse(uri).rkey))


def _release(services: Services, uri: str, held: Iterable[Holding]) -> Json:
    """What is here of one release."""
    here = [one for one in held if uri in one.names]
    name, version = _key(uri)
    did = AtUri.parse(uri).did
    publisher = services.catalog.publisher(did)
    listed = (one for one in services.catalog.releases(did, name) if str(one.uri) == uri)
    entry = next(listed, None)
    return views.present(
        uri=uri,
        did=str(did),
        handle=None if publisher is None or publisher.handle is None else str(publisher.handle),
        name=name,
        version=version,
        shards=len(here),
        shardsTotal=None if entry is None else entry.shards,
        size=sum(one.size for one in here),
        usedAt=views.moment(max(one.used_at for one in here)) if here else None,
        pinned=uri in services.cache.holdings.pins(),
    )


def _file(one: Holding) -> Json:
    return {
        "digest": str(one.digest),
        "size": one.size,
        "usedAt": views.moment(one.used_at),
        "pinned": one.pinned,
        "names": sorted(set(one.names.values())),
    }


def _trimmed(done: Trimmed) -> Json:
    return {
        "removed": done.removed,
        "freed": done.freed,
        "pinned": done.pinned,
        "inUse": done.in_use,
        "size": done.size,
        "over": done.over,
    }
