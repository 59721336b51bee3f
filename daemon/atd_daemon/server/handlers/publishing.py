"""``network.atd.publishing.*``: from a staging folder to a proved release, and the undo.

The journal carries the state: a caller that goes away stops the work between two steps, and the
same command run again takes it up there.
"""

from __future__ import annotations

from typing import Any

from atd_daemon.publishing.asked import Begin, Commit
from atd_daemon.publishing.edit import Edit
from atd_daemon.server.streams import Events
from atd_daemon.services import Services


async def begin(services: Services, given: dict[str, Any]) -> dict[str, Any]:
    """Answer ``network.atd.publishing.begin``."""
    return (await services.publishing.begin(Begin.from_json(given))).to_json()


async def compare(services: Services, given: dict[str, Any]) -> dict[str, Any]:
    """Answer ``network.atd.publishing.compare``."""
    changes = await services.publishing.compare(given["id"])
    return {} if changes is None else {"changes": changes.to_json()}


async def commit(services: Services, given: dict[str, Any], events: Events) -> dict[str, Any]:
    """Answer ``network.atd.publishing.commit``."""
    published = await services.publishing.commit(given["id"], Commit.from_json(given), events)
    return published.to_json()


async def abandon(services: Services, given: dict[str, Any]) -> dict[str, Any]:
    """Answer ``network.atd.publishing.abandon``."""
    await services.publishing.abandon(given["id"])
    return {}


async def unpublish(services: Services, given: dict[str, Any], events: Events) -> dict[str, Any]:
    """Answer ``network.atd.publishing.unpublish``."""
    undone = await services.publishing.unpublish(
        given["name"],
        events,
        account=given.get("account"),
        consent=given.get("consent", False),
    )
    return undone.to_json()


async def edit(services: Services, given: dict[str, Any], events: Events) -> dict[str, Any]:
    """Answer ``network.atd.publishing.edit``."""
    return (await services.publishing.edit(Edit.from_json(given), events)).to_json()
