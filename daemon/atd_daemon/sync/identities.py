"""What the directory remembers, kept in the index so that it outlives a restart."""

from __future__ import annotations

import asyncio

from atd_daemon.catalog import Catalog
from atd_daemon.network.directory import Remembered


class CatalogIdentities:
    """A `directory.IdentityCache` over a catalog."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def remembered(self, key: str) -> Remembered | None:
        """See `directory.IdentityCache.remembered`."""
        stored = self._catalog.answer(key)
        return None if stored is None else Remembered(*stored)

    async def remember(self, key: str, answer: Remembered) -> None:
        """See `directory.IdentityCache.remember`."""
        await asyncio.to_thread(self._catalog.put_answer, key, answer.text, answer.at_s)
