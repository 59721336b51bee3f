"""``network.atd.daemon.*``: what the daemon is, and its end."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from atd import __version__
from atd_daemon.server.views import moment
from atd_daemon.services import Services


async def get_status(services: Services, given: dict[str, Any]) -> dict[str, Any]:
    """Answer ``network.atd.daemon.getStatus``."""
    usage = await asyncio.to_thread(services.store.usage)
    status: dict[str, Any] = {
        "version": __version__,
        "pid": os.getpid(),
        "socket": str(services.settings.socket_path),
        "settings": services.settings.digest(),
        "startedAt": moment(services.started_at),
        "offline": services.config.offline,
        "memory": resident_bytes(),
        "accounts": [],
        "index": {"publishers": 0, "datasets": 0, "records": 0, "problems": 0, "size": 0},
        "store": {
            "shards": usage.shards,
            "size": usage.shard_bytes + usage.unfinished_bytes,
            "path": str(services.config.cache_dir / "shards"),
        },
    }
    if services.tcp is not None:
        status["tcp"] = services.tcp
    return status


async def stop(services: Services, given: dict[str, Any]) -> dict[str, Any]:
    """Answer ``network.atd.daemon.stop``: the answer goes out before the door closes."""
    services.stop.set()
    return {"pid": os.getpid()}


def resident_bytes() -> int:
    """The resident memory of this process; 0 where the system does not say (proc(5))."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0
