"""What the local index saw change: ``atd.log`` and ``atd.history``.

What belongs here: the two questions and the value they answer with. Nothing is asked of a network:
the index tells what it saw, since it began to look.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from atd import api
from atd.connection import Connection, Param
from atd.refs import parse_authority
from atd.service import resolved

_PAGE: Final = 500


@dataclass(frozen=True)
class ChangeInfo:
    """Something that changed in one record, as the index saw it.

    Attributes:
        seen_at: when it was seen, in UTC, as RFC 3339.
        key: the record key: the data set's name, ``NAME:VERSION`` for releases and schemas.
        action: ``create``, ``update`` or ``delete``.
        cid: what is there since; None after a deletion.
        previous: what was there before.
        alarm: ``moved`` (other content in a record that never changes), ``backwards`` (the latest
            version is an earlier one than before), ``unreadable``; None: nothing is odd.
        differences: how it differs from what was before, a line each, ``+ tag vision``; None where
            that is not known any more.
        compatible: of a release with another schema than the one before: whether code for the old
            samples reads the new ones.
        raw: the daemon's answer (``network.atd.catalog.defs#change``).
    """

    seen_at: str
    did: str
    handle: str | None
    uri: str
    collection: str
    key: str
    action: str
    cid: str | None
    previous: str | None
    rev: str
    commit: str
    alarm: str | None
    differences: tuple[str, ...] | None
    compatible: bool | None
    raw: Mapping[str, Any] = field(repr=False)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ChangeInfo:
        """From ``network.atd.catalog.defs#change``."""
        differences = value.get("differences")
        return cls(
            seen_at=value["seenAt"],
            did=value["did"],
            handle=value.get("handle"),
            uri=value["uri"],
            collection=value["collection"],
            key=value["key"],
            action=value["action"],
            cid=value.get("cid"),
            previous=value.get("previous"),
            rev=value["rev"],
            commit=value["commit"],
            alarm=value.get("alarm"),
            differences=None if differences is None else tuple(map(line_of, differences)),
            compatible=value.get("compatible"),
            raw=value,
        )


def log(
    actor: str | None = None,
    *,
    since: str | None = None,
    alarms: bool = False,
    shards: bool = False,
    limit: int = 50,
    connection: Connection | None = None,
) -> list[ChangeInfo]:
    """What changed, newest first.

    Args:
        actor: a publisher (a handle or a DID); all that are known where it is None.
        since: seen at this moment or later: ``2026``, ``2026-01``, ``2026-01-31``, a full datetime,
            or ``12h``, ``7d``, ``2w`` before now.
        alarms: only what is worth a second look (see `ChangeInfo.alarm`).
        shards: shard lists as well, of which there are many.
        limit: how many at most.

    Raises:
        InvalidSyntax: ``since`` is no moment.
        AtdError: who ``actor`` is could not be found out.
    """
    params: dict[str, Param] = {
        "actor": None if actor is None else str(parse_authority(actor)),
        "since": since,
        "alarms": alarms,
        "shards": shards,
    }
    return _pages(connection or Connection(), api.LIST_LOG, params, limit)


def history(ref: str, *, limit: int = 50, connection: Connection | None = None) -> list[ChangeInfo]:
    """What was seen of one data set, its card, releases and schemas, newest first.

    Raises:
        AtdError: as `atd.show`, for who the publisher is.
    """
    daemon = connection or Connection()
    return _pages(daemon, api.GET_HISTORY, {"ref": str(resolved(ref, daemon))}, limit)


def _pages(
    daemon: Connection, endpoint: api.Endpoint, params: dict[str, Param], limit: int
) -> list[ChangeInfo]:
    """As many as are wanted, page by page."""
    found: list[ChangeInfo] = []
    cursor: str | None = None
    while len(found) < limit:
        size = min(limit - len(found), _PAGE)
        answer = daemon.call(endpoint, {**params, "limit": size, "cursor": cursor})
        found += map(ChangeInfo.from_json, answer["changes"])
        cursor = answer.get("cursor")
        if cursor is None:
            break
    return found


def line_of(difference: Mapping[str, Any]) -> str:
    """``~ licence: MIT -> CC0-1.0``, ``+ tag: vision``, ``- field mask``."""
    before, after = difference.get("before"), difference.get("after")
    words = " -> ".join(one for one in (before, after) if one is not None)
    return f"{difference['sign']} {difference['what']}" + (f": {words}" if words else "")
