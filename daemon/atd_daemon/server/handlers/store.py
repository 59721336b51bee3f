"""``network.atd.store.*``: shards by digest, verified before anyone reads a byte."""

from __future__ import annotations

from typing import Any, Final

from aiohttp import web

from atd.protocol.cbor import Cid
from atd.protocol.syntax import AtUri
from atd.records import ShardEntry
from atd.refs import parse_dataset_ref
from atd_daemon.server import views
from atd_daemon.server.files import send_shard
from atd_daemon.server.streams import Events
from atd_daemon.services import Services
from atd_daemon.store import Progress
from atd_daemon.store.download import Report
from atd_daemon.sync.found import FoundShard
from atd_daemon.sync.keeping import choose
from atd_daemon.sync.shelf import Located
from atd_daemon.sync.together import together

AT_ONCE: Final = 3
"""Downloads of one pull at a time: enough to keep a line busy, few enough to be polite."""


async def pull(services: Services, given: dict[str, Any], events: Events) -> dict[str, Any]:
    """Answer ``network.atd.store.pull``."""
    changed = given.get("changed", False)
    resolved = await services.resolver.dataset(
        parse_dataset_ref(given["ref"]),
        splits=None if changed else given.get("splits") or None,
        allow_previous_key=given.get("allowPreviousKey", False),
    )
    services.shelf.remember(resolved)
    if changed:
        shards = await services.keeping.changed(resolved)
    else:
        shards = choose(resolved, None, given.get("shards"))
    await services.keeping.begin(resolved, shards)
    tally = _Tally({shard.entry.digest: shard for shard in shards}, events)

    async def one(shard: FoundShard) -> None:
        await services.cache.have(
            shard.want,
            tally.report,
            release=resolved.release.uri,
            name=shard.entry.name,
        )
        tally.finished(shard.entry)

    await together(one, tally.shards.values(), at_once=AT_ONCE)
    stored = await services.keeping.finish(resolved, shards)
    return {
        **views.release_summary(resolved),
        "shards": len(shards),
        "stored": stored,
        "samples": sum(shard.entry.samples for shard in shards),
        "bytes": sum(shard.entry.size for shard in shards),
        "fetched": tally.fetched,
        **views.present(deprecated=views.deprecated(resolved)),
    }


async def locate_shard(services: Services, given: dict[str, Any]) -> dict[str, Any]:
    """Answer ``network.atd.store.locateShard``."""
    return _said(await _have(services, given))


async def fetch_shard(services: Services, given: dict[str, Any], events: Events) -> dict[str, Any]:
    """Answer ``network.atd.store.fetchShard``: `locate_shard`, saying how far it is."""

    def report(progress: Progress) -> None:
        events.progress(done=progress.done, total=progress.want.size)

    return _said(await _have(services, given, report))


async def get_shard(
    services: Services, given: dict[str, Any], request: web.Request
) -> web.StreamResponse:
    """Answer ``network.atd.store.getShard``."""
    found = await _have(services, given)
    return send_shard(request, found.path, Cid.parse(given["digest"]))


async def _have(services: Services, given: dict[str, Any], report: Report | None = None) -> Located:
    return await services.shelf.have(
        Cid.parse(given["digest"]),
        _release(given),
        report,
        suspect=given.get("suspect", False),
    )


def _said(found: Located) -> dict[str, Any]:
    return {"path": str(found.path), "size": found.size}


def _release(given: dict[str, Any]) -> AtUri | None:
    return AtUri.parse(given["release"]) if "release" in given else None


class _Tally:
    """How far a pull is, over all its shards."""

    def __init__(self, shards: dict[Cid, FoundShard], events: Events) -> None:
        self.shards = shards
        self.fetched = 0
        self._events = events
        self._done = dict.fromkeys(shards, 0)
        self._sum = 0
        self._fetching: set[Cid] = set()
        self._finished = 0
        self._total = sum(shard.entry.size for shard in shards.values())

    def report(self, progress: Progress) -> None:
        """Take note of a download: whoever reports was not here."""
        digest = progress.want.digest
        self._fetching.add(digest)
        self._say(digest, progress.done)

    def finished(self, entry: ShardEntry) -> None:
        """Take note that a shard is there."""
        if entry.digest in self._fetching:
            self.fetched += entry.size
        self._finished += 1
        self._say(entry.digest, entry.size)

    def _say(self, digest: Cid, done: int) -> None:
        self._sum += done - self._done[digest]
        self._done[digest] = done
        self._events.progress(
            done=self._sum,
            total=self._total,
            shards=self._finished,
            shardsTotal=len(self.shards),
            name=self.shards[digest].entry.name,
        )
