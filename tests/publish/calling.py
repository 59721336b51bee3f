"""``atd.publish`` and ``atd.plan``, called in another thread than the daemon's."""

from __future__ import annotations

import asyncio
from typing import Any

from atd import publishing
from serving import Client


async def publish(client: Client, what: Any, **options: Any) -> publishing.PublishedRelease:
    """Publish ``what``, as ``things`` where no other name is given."""
    given = {"name": "things", "connection": client.connection, **options}
    return await asyncio.to_thread(lambda: publishing.publish(what, **given))


async def plan(client: Client, what: Any, **options: Any) -> publishing.Plan:
    """What `publish` would do."""
    given = {"name": "things", "connection": client.connection, **options}
    return await asyncio.to_thread(lambda: publishing.plan(what, **given))
