"""``network.atd.daemon.*``: what the daemon is, and its end."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from atd import __version__
from atd_daemon.server import views
from atd_daemon.services import Services


async def get_status(services: Services, given: dict[str, Any]) -> dict[str, Any]:
    """Answer ``network.atd.daemon.getStatus``."""
    usage = await asyncio.to_thread(services.store.usage)
    counts = services.catalog.counts()
    return views.present(
        version=__version__,
        pid=os.getpid(),
        socket=str(services.settings.socket_path),
        settings=services.settings.digest(),
        startedAt=views.moment(services.started_at),
        offline=services.config.offline,
        memory=resident_bytes(),
        tcp=services.tcp,
        accounts=[views.account(known) for known in services.accounts.list()],
        index={
            "publishers": counts.publishers,
            "datasets": counts.datasets,
            "records": counts.records,
            "problems": counts.problems,
            "size": services.catalog.size_bytes(),
        },
        store={
            "shards": usage.shards,
            "size": usage.shard_bytes + usage.unfinished_bytes,
            "path": str(services.config.cache_dir / "shards"),
        },
        host=_host(services),
        public=_public(services),
    )


async def stop(services: Services, given: dict[str, Any]) -> dict[str, Any]:
    """Answer ``network.atd.daemon.stop``: the answer goes out before the door closes."""
    services.stop.set()
    return {"pid": os.getpid()}


def _host(services: Services) -> dict[str, Any] | None:
    """The embedded host's listener, where there is an account to serve."""
    listener = services.host
    if not listener.host.accounts:
        return None
    return views.present(
        domain=", ".join(account.domain.name for account in listener.host.accounts),
        listen=listener.listen,
        running=listener.running,
        problem=listener.problem,
    )


def _public(services: Services) -> dict[str, Any] | None:
    """The public mode's listener, where it is on."""
    face = services.faces.get("public")
    if face is None:
        return None
    return views.present(listen=face.listen, running=face.running, problem=face.problem)


def resident_bytes() -> int:
    """The resident memory of this process; 0 where the system does not say (proc(5))."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0
