"""``network.atd.catalog.searchDatasets`` and ``resolveName``: finding a data set in the index.

Both ask nobody: they know what was listed, loaded or followed before.

Which data set a name alone means is decided here, and nowhere else (docs/decisions/0017): the only
one of this name; among several, the only one whose name begins with its publisher's proved domain;
else none. The answer says why.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from atd.names import check_name
from atd_daemon.catalog import NamedDataset
from atd_daemon.catalog.model import Facets
from atd_daemon.catalog.query import Filters
from atd_daemon.server import views
from atd_daemon.server.moments import parse_since
from atd_daemon.services import Services

MAX_CANDIDATES: Final = 50

Json = dict[str, Any]


async def search_datasets(services: Services, given: Json) -> Json:
    """Answer ``network.atd.catalog.searchDatasets``."""
    page = await asyncio.to_thread(
        services.catalog.search,
        given["q"],
        filters_of(given, services.clock()),
        sort=given["sort"],
        facets=given.get("facets", False),
        limit=given["limit"],
        cursor=given.get("cursor"),
    )
    return views.present(
        datasets=[views.dataset_entry(entry) for entry in page.entries],
        cursor=page.cursor,
        facets=page.facets and _facets(page.facets),
    )


def filters_of(given: Json, now_s: float) -> Filters:
    """The filters among the parameters of a search; raises InvalidSyntax."""
    since = given.get("since")
    return Filters(
        licenses=tuple(given.get("licenses", ())),
        publishers=tuple(given.get("publishers", ())),
        tags=tuple(given.get("tags", ())),
        tasks=tuple(given.get("tasks", ())),
        modalities=tuple(given.get("modalities", ())),
        fields=tuple(given.get("fields", ())),
        kinds=tuple(given.get("kinds", ())),
        types=tuple(given.get("types", ())),
        since=None if since is None else views.moment(parse_since(since, now_s)),
        min_samples=given.get("minSamples"),
        max_samples=given.get("maxSamples"),
        min_size=given.get("minSize"),
        max_size=given.get("maxSize"),
    )


async def resolve_name(services: Services, given: Json) -> Json:
    """Answer ``network.atd.catalog.resolveName``."""
    name = check_name(given["name"])
    found = services.catalog.named(name, MAX_CANDIDATES)
    chosen, reason = choose(found)
    return views.present(
        chosen=chosen and _candidate(chosen),
        reason=reason,
        candidates=[_candidate(one) for one in found],
    )


def choose(found: Sequence[NamedDataset]) -> tuple[NamedDataset | None, str]:
    """Which of the data sets of one name it means, those of the domain first, and why."""
    proved = [one for one in found if one.domain_proved]
    if not found:
        return None, "no data set of this name is known here"
    if len(found) == 1:
        said = (
            f"and it is of its publisher's proved domain {found[0].handle}"
            if proved
            else "and nothing proves that its publisher owns the name"
        )
        return found[0], f"the only one of this name that is known here, {said}"
    others = f"{len(found) - 1} other{'' if len(found) == 2 else 's'} of this name"
    if len(proved) == 1:
        return proved[0], (
            f"of its publisher's proved domain {proved[0].handle}, unlike {others} known here"
        )
    kind = "none" if not proved else f"{len(proved)}"
    return None, f"{len(found)} of this name are known here, {kind} of its publisher's domain"


def _candidate(one: NamedDataset) -> Json:
    return views.present(
        uri=str(one.uri),
        did=str(one.did),
        handle=one.handle and str(one.handle),
        name=one.name,
        domainProved=one.domain_proved,
    )


def _facets(facets: Facets) -> Json:
    values = {
        name: [{"value": one.value, "count": one.count} for one in getattr(facets, name)]
        for name in Facets.NAMES
    }
    return {"counted": facets.counted, "complete": facets.complete, **values}
