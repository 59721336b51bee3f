"""``network.atd.catalog.searchAt``: what another daemon lists, unproved."""

from __future__ import annotations

from typing import Any

from atd_daemon.services import Services


async def search_at(services: Services, given: dict[str, Any]) -> dict[str, Any]:
    """Answer ``network.atd.catalog.searchAt``."""
    asked = {name: value for name, value in given.items() if name != "at"}
    return await services.mirrors.search(given["at"], asked)
