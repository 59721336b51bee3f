"""``network.atd.daemon.getHealth``, ``/health/…`` and ``/metrics``: how the daemon is."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from aiohttp import web

from atd import __version__
from atd.protocol.syntax import Did
from atd_daemon import metrics
from atd_daemon.health import Health, Stale, Verdict
from atd_daemon.logs import FLOOD
from atd_daemon.metrics import Family
from atd_daemon.server import views
from atd_daemon.server.handlers.daemon import resident_bytes
from atd_daemon.services import Services
from atd_daemon.sync.follow.states import State

CHECKS: Final = ("live", "ready", "fresh")


async def get_health(services: Services, given: dict[str, Any]) -> dict[str, Any]:
    """Answer ``network.atd.daemon.getHealth``."""
    return said(services, await services.health.look())


async def plain(services: Services, check: str) -> web.Response:
    """Answer ``/health/CHECK``: 200 for yes, 503 for no, and the reasons."""
    health = await services.health.look()
    verdict: Verdict = getattr(health, check)
    body = _verdict(verdict)
    if check == "fresh":
        body |= {"followed": health.followed, "stale": _stale(services, health.stale)}
    return web.json_response(body, status=200 if verdict.ok else 503)


async def metrics_page(services: Services) -> web.Response:
    """Answer ``/metrics``."""
    health = await services.health.look()
    families = [*_process(services), *metrics.of_health(health)]
    families += await asyncio.to_thread(_stored, services)
    families += [family for meter in services.meters for family in meter()]
    text = metrics.expose(families)
    return web.Response(body=text.encode(), headers={"Content-Type": metrics.CONTENT_TYPE})


def said(services: Services, health: Health) -> dict[str, Any]:
    """The output of ``getHealth``."""
    return {
        "live": _verdict(health.live),
        "ready": _verdict(health.ready),
        "fresh": _verdict(health.fresh),
        "followed": health.followed,
        "within": round(health.within_s),
        "stale": _stale(services, health.stale),
    }


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {"ok": verdict.ok, "reasons": list(verdict.reasons), "notes": list(verdict.notes)}


def _stale(services: Services, stale: tuple[Stale, ...]) -> list[dict[str, Any]]:
    return [
        views.present(
            did=str(one.did),
            handle=_handle(services, one.did),
            state=one.state,
            knownAt=None if one.known_at is None else views.moment(one.known_at),
            reason=one.reason,
        )
        for one in stale
    ]


def _handle(services: Services, did: Did) -> str | None:
    publisher = services.catalog.publisher(did)
    return None if publisher is None or publisher.handle is None else str(publisher.handle)


def _process(services: Services) -> list[Family]:
    """The process itself."""
    one = Family.one
    info: dict[metrics.Labels, float] = {(("version", __version__),): 1.0}
    return [
        Family("atd_info", "gauge", "The daemon's version.", info),
        one(
            "atd_start_time_seconds",
            "gauge",
            "When it was started, since 1970.",
            services.started_at.timestamp(),
        ),
        one("atd_resident_memory_bytes", "gauge", "Its resident memory.", resident_bytes()),
        one(
            "atd_event_loop_late_seconds",
            "gauge",
            "The latest the event loop came round in the last minute.",
            services.health.pulse.worst_s,
        ),
        one(
            "atd_log_lines_left_out_total",
            "counter",
            "Lines that were not written to the log because there were too many.",
            FLOOD.dropped,
        ),
    ]


def _stored(services: Services) -> list[Family]:
    """Index, store, and who is followed. Blocks."""
    counts, usage = services.catalog.counts(), services.store.usage()
    following = services.catalog.following
    one = Family.one
    held = {
        "publishers": counts.publishers,
        "records": counts.records,
        "datasets": counts.datasets,
        "releases": counts.releases,
        "problems": counts.problems,
    }
    hosts = following.hosts()
    connected = sum(host.connected_at is not None for host in hosts)
    return [
        Family.by("atd_index_entries", "gauge", "What the index holds.", "kind", held),
        one("atd_index_bytes", "gauge", "The index on disk.", services.catalog.size_bytes()),
        one("atd_store_shards", "gauge", "Shard files, whole and right.", usage.shards),
        one("atd_store_bytes", "gauge", "Their bytes.", usage.shard_bytes),
        one(
            "atd_store_unfinished_bytes",
            "gauge",
            "Bytes of downloads that are not finished.",
            usage.unfinished_bytes,
        ),
        Family.by(
            "atd_hosts",
            "gauge",
            "Hosts whose events should be read, by whether they are.",
            "state",
            {"connected": connected, "away": len(hosts) - connected},
        ),
        *metrics.of_following(following.rows(), State, following.rejects(), services.clock()),
    ]
