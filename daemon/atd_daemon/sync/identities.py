"""What the directory remembers, kept in the index so that it outlives a restart."""

from __future__ import annotations

from atd_daemon.catalog import Catalog
from atd_daemon.network.directory import Remembered


class IndexedIdentities:
    """A `atd_daemon.network.directory.IdentityCache` in the index."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def remembered(self, key: str) -> Remembered | None:
        """See `IdentityCache.remembered`."""
        found = self._catalog.answer(key)
        return None if found is None else Remembered(*found)

    def remember(self, key: str, answer: Remembered) -> None:
        """See `IdentityCache.remember`."""
        self._catalog.put_answer(key, answer.text, answer.at_s)
