"""Mirrors: other daemons that may have a shard, asked before the places that its record names.

A mirror is one more source: its bytes are worth what their digest says. One that does not answer
is not asked again for `AWAY_S`, one that sent wrong bytes not for `LIED_S`, so that it costs a
moment, not one with every shard.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from typing import Final
from urllib.parse import urlencode

from atd import api
from atd.errors import AtdError, DigestMismatch
from atd.protocol.cbor import Cid
from atd_daemon.store.sources import Url

AWAY_S: Final = 60.0
LIED_S: Final = 3600.0

_log = logging.getLogger(__name__)


class Mirrors:
    """The mirrors at ``origins``, in the order in which they are to be asked."""

    def __init__(
        self, origins: tuple[str, ...], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._origins = origins
        self._clock = clock
        self._resting: dict[str, float] = {}

    def sources(self, digest: Cid) -> Iterator[tuple[str, Url]]:
        """Where to ask for a shard now: each mirror and the address of the shard there."""
        now_s = self._clock()
        for origin in self._origins:
            if self._resting.get(origin, now_s) <= now_s:
                query = urlencode({"digest": str(digest)})
                yield origin, Url(f"{origin}{api.GET_SHARD.path}?{query}")

    def failed(self, origin: str, error: AtdError) -> None:
        """It did not give what was asked for: leave it alone for a while."""
        lied = isinstance(error, DigestMismatch)
        self._resting[origin] = self._clock() + (LIED_S if lied else AWAY_S)
        _log.warning("the mirror %s is left alone for a while: %s", origin, error)
