"""``network.atd.sync.*``: who is followed, and how far."""

from __future__ import annotations

import asyncio
from typing import Any

from atd.errors import AtdError
from atd.protocol.identity import parse_origin
from atd.protocol.syntax import Did
from atd.refs import parse_authority
from atd_daemon.catalog.following import RejectCount
from atd_daemon.server.streams import Events
from atd_daemon.server.views import moment, present
from atd_daemon.services import Services
from atd_daemon.sync.follow.discovering import MAX_PUBLISHERS, at_pds, at_relay
from atd_daemon.sync.follow.follower import HostReport, Report

Json = dict[str, Any]


async def follow(services: Services, given: Json, events: Events) -> Json:
    """Answer ``network.atd.sync.follow``."""
    events.progress(done=0, total=0, name="resolving")
    identity, is_new = await services.follower.follow(parse_authority(given["actor"]))
    who = str(identity.handle or identity.did)
    events.step(name="resolved", detail=f"{who} is {identity.did} at {identity.pds}")
    if given.get("wait", True):
        events.progress(done=0, total=0, name="reading and proving the repository")
        await services.follower.settled(identity.did)
    reports = await services.follower.following()
    report = next((one for one in reports if one.row.did == identity.did), None)
    if report is None:
        raise asyncio.CancelledError  # somebody ended it meanwhile
    datasets = await asyncio.to_thread(services.catalog.datasets, identity.did)
    return {"publisher": publisher(report), "new": is_new, "datasets": len(datasets)}


async def unfollow(services: Services, given: Json) -> Json:
    """Answer ``network.atd.sync.unfollow``."""
    actor, forget = parse_authority(given["actor"]), given.get("forget", False)
    did = await services.follower.unfollow(actor, forget=forget)
    if did is None:
        return {"followed": False, "records": 0}
    left = await asyncio.to_thread(_records, services, did)
    return {"did": str(did), "followed": True, "records": left}


async def list_following(services: Services, given: Json) -> Json:
    """Answer ``network.atd.sync.listFollowing``."""
    reports, hosts = await services.follower.following(), await services.follower.hosts()
    return {
        "publishers": [publisher(one) for one in reports],
        "hosts": [host(one) for one in hosts],
    }


async def discover(services: Services, given: Json, events: Events) -> Json:
    """Answer ``network.atd.sync.discover``."""
    origin = parse_origin(given["origin"])
    ask = at_relay if given.get("relay", False) else at_pds

    def report(asked: int, found: int) -> None:
        events.progress(done=asked, total=0, name=f"looking ({found} found)")

    found = await ask(services.pds, origin, given.get("limit", MAX_PUBLISHERS), report)
    return {
        "publishers": [_candidate(services, did) for did in found.dids],
        "asked": found.asked,
        "complete": found.complete,
    }


def _candidate(services: Services, did: Did) -> Json:
    known = services.catalog.publisher(did)
    handle = None if known is None or known.handle is None else str(known.handle)
    followed = services.catalog.following.row(did) is not None
    return {**present(did=str(did), handle=handle), "followed": followed}


def _records(services: Services, did: Did) -> int:
    return services.catalog.following.count(did)


def publisher(report: Report) -> Json:
    """``network.atd.sync.defs#publisher``."""
    row = report.row
    error: Json | None = None
    if row.reason is not None and row.message is not None:
        at = None if row.error_at is None else moment(row.error_at)
        error = present(error=row.reason, message=row.message, at=at)
    return {
        **present(
            did=str(row.did),
            handle=None if report.handle is None else str(report.handle),
            state=row.state,
            status=row.status,
            host=row.host,
            since=moment(row.since_at),
            rev=None if row.head is None else str(row.head.rev),
            verifiedAt=_moment(row.verified_at),
            checkedAt=_moment(row.checked_at),
            behindAt=_moment(row.behind_at),
            delayMs=None if row.delay_s is None else round(row.delay_s * 1000),
            error=error,
            hostError=_error(report.host_error),
        ),
        "connected": report.connected,
        "complete": row.complete,
        "records": report.records,
        "rejects": [_reject(one) for one in report.rejects],
    }


def host(report: HostReport) -> Json:
    """``network.atd.sync.defs#host``."""
    return {
        **present(
            origin=report.origin,
            connectedAt=_moment(report.connected_at),
            cursor=report.cursor,
            error=_error(report.error),
        ),
        "relay": report.is_relay,
        "publishers": report.publishers,
        "connected": report.connected_at is not None,
        "rejects": [_reject(one) for one in report.rejects],
    }


def _reject(count: RejectCount) -> Json:
    return {
        "reason": count.reason,
        "host": count.host,
        "count": count.count,
        "lastAt": moment(count.last_at),
        "message": count.message,
    }


def _error(error: AtdError | None) -> Json | None:
    return None if error is None else {"error": type(error).__name__, "message": error.message}


def _moment(at: float | None) -> str | None:
    return None if at is None else moment(at)
