"""``network.atd.catalog.*``: what is published, and how it is proved.

Fresh enough. A publisher's head is asked for anew with every question, except where the caller said
that the index will do (``refresh`` is false) and it was proved less than `FRESH_S` ago, or its
publisher is followed and nothing of it is missing. With the network switched off the index answers,
and says when it was true.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from atd.errors import Absent, Offline, RemoteError, StaleRevision, Unreachable
from atd.names import split_release_key
from atd.protocol.identity import Identity
from atd.protocol.syntax import Did
from atd.records import Dataset, head_uri
from atd.refs import DatasetRef, parse_authority, parse_dataset_ref
from atd_daemon.catalog import DatasetEntry
from atd_daemon.network.fetch import offline_now
from atd_daemon.server import views
from atd_daemon.services import Services
from atd_daemon.sync.found import Found, ResolvedDataset
from atd_daemon.sync.release import of_kind

FRESH_S: Final = 300.0

Json = dict[str, Any]


async def list_datasets(services: Services, given: Json) -> Json:
    """Answer ``network.atd.catalog.listDatasets``."""
    catalog = services.catalog
    limit, after = given.get("limit"), given.get("cursor")
    if "actor" not in given:
        entries = await asyncio.to_thread(catalog.datasets, limit=limit, after=after)
        known = [views.publisher_problem(one) for one in catalog.publishers()]
        problems = [views.problem(one) for one in catalog.problems()]
        return views.present(
            datasets=await asyncio.to_thread(_listed, services, entries),
            problems=problems + [one for one in known if one is not None],
            cursor=_cursor(entries, limit),
        )
    refresh = given.get("refresh", False)
    identity = await services.resolver.identity(parse_authority(given["actor"]), refresh=refresh)
    await _bring_up_to_date(services, identity, refresh)
    problems = [views.problem(one) for one in catalog.problems(identity.did)]
    entries = catalog.datasets(identity.did, limit=limit, after=after)
    answer = views.present(
        did=str(identity.did),
        handle=identity.handle and str(identity.handle),
        datasets=await asyncio.to_thread(_listed, services, entries),
        cursor=_cursor(entries, limit),
        problems=problems,
    )
    publisher = catalog.publisher(identity.did)
    if publisher is None:
        return answer
    own = views.publisher_problem(publisher)
    if own is not None:
        problems.append(own)
    checked_at = publisher.complete_at
    at = None if checked_at is None else views.moment(checked_at)
    return answer | views.present(pds=publisher.pds, checkedAt=at)


def _listed(services: Services, entries: Sequence[DatasetEntry]) -> list[Json]:
    """Data sets for a list, each with what is here of the release that is kept, else the latest."""
    services.cache.reconcile()
    kept = {(row.did, row.name): row.release for row in services.keeping.kept.all()}
    counts = services.cache.holdings.counts()
    listed = []
    for entry in entries:
        release = kept.get((entry.did, entry.name))
        uri = entry.latest_uri if release is None else release
        listed.append(views.dataset_entry(entry))
        if release is not None or str(uri) in counts:
            versions = services.catalog.releases(entry.did, entry.name)
            listed[-1]["here"] = views.present(
                version=split_release_key(str(uri.rkey))[1],
                kept=release is not None,
                stored=counts.get(str(uri), 0),
                shards=next((one.shards for one in versions if one.uri == uri), None),
            )
    return listed


def _cursor(entries: Sequence[DatasetEntry], limit: int | None) -> str | None:
    """Where the next page begins: after this data set."""
    if limit is None or len(entries) < limit:
        return None
    return f"{entries[-1].did}/{entries[-1].name}"


async def get_dataset(services: Services, given: Json) -> Json:
    """Answer ``network.atd.catalog.getDataset``.

    A head that is proved is shown even where its release is not: with the reason.
    """
    ref = parse_dataset_ref(given["ref"])
    refresh, allow = given.get("refresh", False), given.get("allowPreviousKey", False)
    identity = await services.resolver.identity(ref.authority, refresh=refresh)
    fresh = not refresh and _is_fresh(services, identity.did, ref.name)
    try:
        resolved = await _resolved(services, ref, fresh, allow)
    except (RemoteError, Absent) as error:
        if isinstance(error, StaleRevision) or not ref.is_latest:
            raise
        card = await _head(services, identity, ref, allow)
        # The head proves, so it is its release that does not: a state to show, not to list.
        await asyncio.to_thread(services.catalog.problem, card.uri, error, now=services.clock())
        return await _shown(services, identity, card, None)
    card = resolved.head or await _head(services, identity, ref, allow)
    return await _shown(services, identity, card, resolved)


async def get_release(services: Services, given: Json) -> Json:
    """Answer ``network.atd.catalog.getRelease``."""
    ref = parse_dataset_ref(given["ref"])
    if given.get("refresh", False):
        await services.resolver.identity(ref.authority, refresh=True)
    resolved = await services.resolver.dataset(
        ref,
        splits=[given["split"]] if "split" in given else None,
        refresh=given.get("anew", False),
        allow_previous_key=given.get("allowPreviousKey", False),
    )
    services.shelf.remember(resolved)
    return await asyncio.to_thread(views.loader_manifest, resolved)


async def _bring_up_to_date(services: Services, identity: Identity, refresh: bool) -> None:
    """Index the publisher, unless the caller is content with what is known."""
    publisher = services.catalog.publisher(identity.did)
    at = None if publisher is None else publisher.complete_at
    if not refresh and at is not None and services.clock() - at < FRESH_S:
        return
    if not refresh and services.follower.is_live(identity.did):
        return
    try:
        await services.resolver.publisher(identity.did)
    except Unreachable as error:
        # With the network off, or content with less, what is known is the answer; when it was
        # known is said with it. Somebody never seen is not known.
        if at is None or (refresh and not isinstance(error, Offline)):
            raise


async def _head(
    services: Services, identity: Identity, ref: DatasetRef, allow: bool
) -> Found[Dataset]:
    """The card alone; raises as `Resolver.record`."""
    uri = head_uri(identity.did, ref.name)
    return of_kind(await services.resolver.record(uri, allow_previous_key=allow), Dataset)


async def _shown(
    services: Services,
    identity: Identity,
    card: Found[Dataset],
    resolved: ResolvedDataset | None,
) -> Json:
    """Everything that is known of one data set."""
    catalog, name = services.catalog, card.record.name
    release = None if resolved is None else resolved.release
    problems = [
        views.problem(one)
        for one in catalog.problems(identity.did)
        if views.concerns(one.uri, identity.did, name)
    ]
    publisher = catalog.publisher(identity.did)
    answer = views.present(
        dataset=views.head(card, identity, release),
        card=views.record_json(card),
        release=release and views.version(release, identity),
        releases=[
            views.release_entry(one, identity.handle)
            for one in catalog.releases(identity.did, name)
        ],
        pds=publisher and publisher.pds,
        proof=views.proof_of(card, identity.handle),
        problems=problems,
    )
    if resolved is not None:
        here = await asyncio.to_thread(lambda: set(services.store.digests()))
        answer["schema"] = views.schema(resolved.schema, name)
        answer["splits"] = [
            views.split(one, [shard.entry.digest in here for shard in one.shards])
            for one in resolved.splits
        ]
    return answer


def _is_fresh(services: Services, did: Did, name: str) -> bool:
    entry = services.catalog.dataset(did, name)
    if entry is None:
        return False
    return services.clock() - entry.verified_at < FRESH_S or services.follower.is_live(did)


async def _resolved(
    services: Services, ref: DatasetRef, fresh: bool, allow: bool
) -> ResolvedDataset:
    """The data set: from the index alone where that is fresh and has all of it."""
    if fresh:
        token = offline_now.set(True)
        try:
            return await services.resolver.dataset(ref, allow_previous_key=allow)
        except Offline:
            pass  # not all of it: ask
        finally:
            offline_now.reset(token)
    return await services.resolver.dataset(ref, allow_previous_key=allow)
