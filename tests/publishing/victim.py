"""A process that publishes and kills itself, with SIGKILL, at the k-th point between two steps.

Run by ``test_sigkill.py``: ``python victim.py NAME SEED KILL_AT`` with the environment of a
daemon. It prints every checkpoint that it passes, and at the end the result as JSON.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import signal
import sys
from datetime import UTC, datetime

import numpy as np

from atd.publishing.packing import pack
from atd.publishing.sources.opening import open_source
from atd.settings import Settings
from atd_daemon.publishing.asked import Begin, Commit
from atd_daemon.publishing.publication import Publishing
from atd_daemon.services import open_services


class Silent:
    """Hears nothing."""

    def step(self, **values: object) -> None: ...

    def progress(self, **values: object) -> None: ...


async def main(name: str, seed: int, kill_at: int) -> None:
    settings = Settings.load()
    settings.prepare()
    passed = 0

    def checkpoint(step: str) -> None:
        nonlocal passed
        passed += 1
        print(step, flush=True)
        if passed == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    async with open_services(settings, datetime.now(UTC)) as services:
        if not services.accounts.list():
            await services.accounts.login(os.environ["VICTIM_HANDLE"], "hunter2")
        tools = dataclasses.replace(services.publishing.tools, checkpoint=checkpoint)
        staging = services.config.cache_dir / "staging"
        publishing = Publishing(tools, services.directory, services.pds, staging)
        begun = await publishing.begin(Begin(name=name, shard_size=65536))
        assert begun.id
        assert begun.staging
        noise = np.random.default_rng(seed).integers(0, 255, (60, 1000), dtype=np.uint8)
        pack(open_source({"noise": noise}), begun.staging, begun.cuts)
        published = await publishing.commit(begun.id, Commit(consent=True), Silent())
        print(json.dumps(published.to_json()), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
