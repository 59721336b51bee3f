"""The public mode made of the parts of a daemon: what of them it is given, and its listener."""

from __future__ import annotations

import asyncio
import time

from atd.settings import split_host_port
from atd_daemon import metrics
from atd_daemon.metrics import Family
from atd_daemon.public.answers import Shared
from atd_daemon.public.connections import Connections
from atd_daemon.public.keeper import EvidenceKeeper
from atd_daemon.public.limits import Clients, Limits
from atd_daemon.public.listener import PublicListener
from atd_daemon.public.reading import Reading
from atd_daemon.public.shards import SharedShards
from atd_daemon.services import Services

_BUNDLES_AT_ONCE = 2
_SEARCHES_AT_ONCE = 4
_WALKS_AT_ONCE = 2


def share(services: Services, limits: Limits | None = None) -> Shared:
    """What everybody may read of a daemon. Nothing in it fetches."""
    reading = Reading(services.catalog, services.config)
    allowed = limits or Limits()
    return Shared(
        reading=reading,
        shards=SharedShards(reading, services.store),
        bundler=services.bundler,
        previews=services.previews,
        health=services.health,
        clients=Clients(allowed, time.monotonic),
        connections=Connections(allowed, time.monotonic),
        clock=services.clock,
        bundling=asyncio.Semaphore(_BUNDLES_AT_ONCE),
        searching=asyncio.Semaphore(_SEARCHES_AT_ONCE),
        walking=asyncio.Semaphore(_WALKS_AT_ONCE),
    )


async def open_public(services: Services) -> PublicListener | None:
    """The public mode's listener, started, if the settings ask for one; among ``services.faces``.

    The caller closes it.
    """
    if services.settings.public_listen is None:
        return None
    shared = share(services)
    keeper = EvidenceKeeper(services.directory, shared.reading, services.clock)
    address = split_host_port(services.settings.public_listen)
    listener = PublicListener(shared, keeper, *address)
    services.faces["public"] = listener
    services.meters.append(lambda: _numbers(shared.clients))
    await listener.start()
    return listener


def _numbers(clients: Clients) -> list[Family]:
    return metrics.of_clients(clients.served, clients.refused, clients.sent_bytes)
