"""``network.atd.catalog.getHistory`` and ``listLog``: what the index saw change.

Both ask nobody, and go back as far as this index does. How a record differs from the one before it
is told where the index still has both.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from atd.errors import InvalidSyntax, LexiconError
from atd.protocol.cbor import Cid, decode
from atd.protocol.syntax import AtUri, quote
from atd.records import Dataset, Record, Release, SchemaRecord, StrongRef, parse_value
from atd.refs import parse_authority, parse_dataset_ref
from atd.schema.differences import (
    Difference,
    card_differences,
    release_differences,
    schema_differences,
)
from atd.schema.evolve import Change as Step
from atd.schema.evolve import change as step_of
from atd_daemon.catalog import Catalog, Change
from atd_daemon.server import views
from atd_daemon.server.moments import parse_since
from atd_daemon.services import Services

_MAX_ID: Final = 2**62

Json = dict[str, Any]


async def get_history(services: Services, given: Json) -> Json:
    """Answer ``network.atd.catalog.getHistory``."""
    ref = parse_dataset_ref(given["ref"])
    identity = await services.resolver.identity(ref.authority)
    limit, below = given["limit"], _below(given.get("cursor"))

    def look() -> tuple[list[Change], list[Json]]:
        seen = services.catalog.history(identity.did, ref.name, limit=limit, below=below)
        return seen, [_change(services.catalog, one) for one in seen]

    seen, changes = await asyncio.to_thread(look)
    return views.present(
        did=str(identity.did),
        handle=identity.handle and str(identity.handle),
        name=ref.name,
        changes=changes,
        cursor=_cursor(seen, limit),
    )


async def list_log(services: Services, given: Json) -> Json:
    """Answer ``network.atd.catalog.listLog``."""
    did = None
    if "actor" in given:
        did = (await services.resolver.identity(parse_authority(given["actor"]))).did
    since = given.get("since")
    at = None if since is None else parse_since(since, services.clock()).timestamp()
    limit, below = given["limit"], _below(given.get("cursor"))

    def look() -> tuple[list[Change], list[Json]]:
        seen = services.catalog.log(
            did,
            since=at,
            alarms=given.get("alarms", False),
            shards=given.get("shards", False),
            limit=limit,
            below=below,
        )
        return seen, [_change(services.catalog, one) for one in seen]

    seen, changes = await asyncio.to_thread(look)
    return views.present(changes=changes, cursor=_cursor(seen, limit))


def _change(catalog: Catalog, change: Change) -> Json:
    """``network.atd.catalog.defs#change``."""
    differences, compatible = _differences(catalog, change)
    return views.present(
        uri=str(change.uri),
        did=str(change.uri.did),
        handle=change.handle and str(change.handle),
        collection=str(change.uri.collection),
        key=str(change.uri.rkey),
        action=change.action,
        cid=change.cid and str(change.cid),
        previous=change.prev_cid and str(change.prev_cid),
        rev=str(change.rev),
        commit=str(change.commit),
        seenAt=views.moment(change.seen_at),
        alarm=change.alarm,
        differences=None if differences is None else [one.to_json() for one in differences],
        compatible=compatible,
    )


def _differences(catalog: Catalog, change: Change) -> tuple[list[Difference] | None, bool | None]:
    """How a record differs from the one before it; of a release, whether old code reads it."""
    if change.cid is None:
        return None, None
    new = _content(catalog, change.uri, change.cid)
    before = None if change.prev_cid is None else StrongRef(change.uri, change.prev_cid)
    if before is None and isinstance(new, Release):
        before = catalog.release_before(change)
    old = None if before is None else _content(catalog, before.uri, before.cid)
    match old, new:
        case Dataset(), Dataset():
            return card_differences(old, new), None
        case SchemaRecord(), SchemaRecord():
            return schema_differences(old.schema, new.schema), None
        case Release(), Release():
            return _release_differences(catalog, old, new)
    return None, None


def _release_differences(
    catalog: Catalog, old: Release, new: Release
) -> tuple[list[Difference], bool | None]:
    """Those of the releases and of their schemas."""
    found = release_differences(old, new)
    if old.schema == new.schema:
        return found, None
    schemas = [_content(catalog, one.schema.uri, one.schema.cid) for one in (old, new)]
    match schemas:
        case [SchemaRecord() as before, SchemaRecord() as after]:
            found += schema_differences(before.schema, after.schema)
            return found, step_of(before.schema, after.schema) is not Step.MAJOR
    return found, None


def _content(catalog: Catalog, uri: AtUri, cid: Cid) -> Record | None:
    """The record that was there; None where it is not known any more, or no record to us."""
    block = catalog.content(uri, cid)
    value = None if block is None else decode(block)
    if not isinstance(value, dict):
        return None
    try:
        return parse_value(uri, value)
    except LexiconError:
        return None


def _below(cursor: str | None) -> int | None:
    if cursor is None:
        return None
    if not cursor.isascii() or not cursor.isdecimal() or int(cursor) > _MAX_ID:
        raise InvalidSyntax(
            f"expected the cursor of a page before, got {quote(cursor)}",
            next_step="ask again without a cursor",
        )
    return int(cursor)


def _cursor(seen: Sequence[Change], limit: int) -> str | None:
    return str(seen[-1].id) if len(seen) == limit else None
