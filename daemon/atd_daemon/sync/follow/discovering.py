"""Finding publishers: what a PDS or a relay says about who may have data sets. Hints, all of it.

A PDS lists its repositories, and is asked of each which collections it has; a relay that keeps such
an index is asked by collection. Nothing found here enters the index: whoever is then followed is
resolved, and every record is proved.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from atd.errors import AccountInactive, Unreachable
from atd.names import COLLECTIONS, DATASET
from atd.protocol.syntax import Did, Nsid
from atd_daemon.network.pds import PdsReader
from atd_daemon.sync.together import together

MAX_PUBLISHERS: Final = 10_000
_PAGES: Final = 10_000  # of a list that has no end, or has empty pages

Report = Callable[[int, int], None]
"""How many accounts were looked at, and how many of them may be publishers."""


@dataclass(frozen=True, slots=True)
class Found:
    """The accounts that may publish data sets, in the order of the server.

    ``asked`` is how many were looked at; ``complete`` says that the server's list came to its end.
    """

    dids: tuple[Did, ...]
    asked: int
    complete: bool


async def at_pds(pds: PdsReader, origin: str, limit: int, report: Report) -> Found:
    """Ask the PDS at ``origin`` for its repositories, and what is in each.

    Raises:
        Unreachable, RateLimited, Offline: as any fetch.
    """
    found: dict[Did, None] = {}
    asked = 0
    cursor: str | None = None
    ours = frozenset(COLLECTIONS)

    async def publishes(did: Did) -> bool:
        try:
            return not ours.isdisjoint(await pds.describe_repo(origin, did))
        except AccountInactive:
            return False  # it left since it was listed

    for _ in range(_PAGES):
        page = await pds.list_repos(origin, cursor)
        active = [hosted.did for hosted in page.rows if hosted.active]
        answers = await together(publishes, active)
        found |= {did: None for did, yes in zip(active, answers, strict=True) if yes}
        asked += len(page.rows)
        report(asked, len(found))
        if len(found) >= limit or page.cursor is None:
            return Found(tuple(found)[:limit], asked, page.cursor is None)
        cursor = page.cursor
    raise Unreachable(f"{origin} lists its repositories without an end")


async def at_relay(pds: PdsReader, origin: str, limit: int, report: Report) -> Found:
    """Ask the relay at ``origin`` who has data sets.

    Raises:
        Unreachable: also where the relay keeps no such index; RateLimited, Offline: as any fetch.
    """
    found: dict[Did, None] = {}
    cursor: str | None = None
    for _ in range(_PAGES):
        page = await pds.list_repos_by_collection(origin, Nsid(DATASET), cursor)
        found |= dict.fromkeys(page.rows)
        report(len(found), len(found))
        if len(found) >= limit or page.cursor is None:
            return Found(tuple(found)[:limit], len(found), page.cursor is None)
        cursor = page.cursor
    raise Unreachable(f"{origin} lists publishers without an end")
