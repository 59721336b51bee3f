"""``network.atd.store.*``: shards by digest, verified before anyone reads a byte."""

from __future__ import annotations

from typing import Any, Final

from aiohttp import web

from atd.protocol.cbor import Cid
from atd.protocol.syntax import AtUri
from atd.refs import parse_dataset_ref
from atd_daemon.server import views
from atd_daemon.server.files import send_shard
from atd_daemon.server.streams import Events
from atd_daemon.services import Services
from atd_daemon.store import ShardWant
from atd_daemon.store.download import Progress
from atd_daemon.sync.together import together

AT_ONCE: Final = 3
"""Downloads of one pull at a time: enough to keep a line busy, few enough to be polite."""


async def pull(services: Services, given: dict[str, Any], events: Events) -> dict[str, Any]:
    """Answer ``network.atd.store.pull``."""
    resolved = await services.resolver.dataset(
        parse_dataset_ref(given["ref"]),
        splits=given.get("splits") or None,
        allow_previous_key=given.get("allowPreviousKey", False),
    )
    services.shelf.remember(resolved)
    names = {shard.entry.digest: shard.entry.name for shard in resolved.shards}
    tally = _Tally({shard.entry.digest: shard.want for shard in resolved.shards}, names, events)

    async def one(want: ShardWant) -> None:
        await services.store.ensure(want, tally.report)
        tally.finished(want)

    await together(one, tally.wants.values(), at_once=AT_ONCE)
    return {
        **views.release_summary(resolved),
        "shards": len(resolved.shards),
        "samples": sum(shard.entry.samples for shard in resolved.shards),
        "bytes": sum(shard.entry.size for shard in resolved.shards),
        "fetched": tally.fetched,
    }


async def locate_shard(services: Services, given: dict[str, Any]) -> dict[str, Any]:
    """Answer ``network.atd.store.locateShard``."""
    path = await services.shelf.have(Cid.parse(given["digest"]), _release(given))
    return {"path": str(path), "size": path.stat().st_size}


async def get_shard(
    services: Services, given: dict[str, Any], request: web.Request
) -> web.StreamResponse:
    """Answer ``network.atd.store.getShard``."""
    digest = Cid.parse(given["digest"])
    return send_shard(request, await services.shelf.have(digest, _release(given)), digest)


def _release(given: dict[str, Any]) -> AtUri | None:
    return AtUri.parse(given["release"]) if "release" in given else None


class _Tally:
    """How far a pull is, over all its shards."""

    def __init__(self, wants: dict[Cid, ShardWant], names: dict[Cid, str], events: Events) -> None:
        self.wants = wants
        self.fetched = 0
        self._names = names
        self._events = events
        self._done = dict.fromkeys(wants, 0)
        self._fetching: set[Cid] = set()
        self._finished = 0
        self._total = sum(want.size for want in wants.values())

    def report(self, progress: Progress) -> None:
        """Take note of a download: whoever reports was not here."""
        digest = progress.want.digest
        self._fetching.add(digest)
        self._done[digest] = progress.done
        self._say(digest)

    def finished(self, want: ShardWant) -> None:
        """Take note that a shard is there."""
        if want.digest in self._fetching:
            self.fetched += want.size
        self._done[want.digest] = want.size
        self._finished += 1
        self._say(want.digest)

    def _say(self, digest: Cid) -> None:
        self._events.progress(
            done=sum(self._done.values()),
            total=self._total,
            shards=self._finished,
            shardsTotal=len(self.wants),
            name=self._names[digest],
        )
