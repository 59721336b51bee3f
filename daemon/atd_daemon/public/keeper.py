"""Keeping at hand what strangers may ask for: the evidence of the keys of those who are followed.

A bundle needs the operations of its publisher's did:plc. They are fetched here, on the daemon's own
account and at its own pace, for every publisher that is followed: when there are none yet, and when
the DID document was asked for since. Never because somebody asked.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from atd.errors import AtdError
from atd.protocol.syntax import Did
from atd_daemon.network.directory import Directory
from atd_daemon.public.reading import Reading

LOOK_EVERY_S: Final = 30.0
AGAIN_S: Final = 600.0

_log = logging.getLogger(__name__)


class EvidenceKeeper:
    """Fetches evidence, one publisher at a time."""

    def __init__(self, directory: Directory, reading: Reading, clock: Callable[[], float]) -> None:
        self._directory = directory
        self._reading = reading
        self._clock = clock
        self._tried: dict[Did, float] = {}

    async def run(self) -> None:
        """Look now and then, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_EVERY_S)

    async def look(self) -> None:
        """Fetch what is missing or may be old."""
        followed = await asyncio.to_thread(self._reading.followed)
        self._tried = {did: at for did, at in self._tried.items() if did in set(followed)}
        for did in followed:
            now_s = self._clock()
            if not self._is_due(did) or now_s - self._tried.get(did, -AGAIN_S) < AGAIN_S:
                continue
            self._tried[did] = now_s
            try:
                await self._directory.key_evidence(did, refresh=True)
            except AtdError as error:
                _log.warning("no evidence of the keys of %s: %s", did, error)

    def _is_due(self, did: Did) -> bool:
        log_age_s, age_s = self._directory.evidence_age_s(did), self._directory.age_s(did)
        return log_age_s is None or (age_s is not None and age_s < log_age_s)
