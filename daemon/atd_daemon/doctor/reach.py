"""The network: names, the PLC directory, the servers that are used, and what time they have.

Asked by the daemon's own fetcher, with its rules and shorter limits, in this process: so that it
tells what the daemon would see, also when no daemon runs.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from statistics import median
from typing import Any, Final

from atd import api
from atd.connection import Connection
from atd.errors import AtdError
from atd.settings import Settings
from atd_daemon.config import Config
from atd_daemon.doctor.finding import Finding, fail, ok, skipped, warn
from atd_daemon.network.fetch import Fetcher, host_of
from atd_daemon.network.names import DnsResolver
from atd_daemon.network.transport import open_fetcher

TIMEOUT_S: Final = 8.0
_MAX_BYTES: Final = 64 * 1024
_KNOWN_NAME: Final = "_atproto.atproto.com"
_SKEW_WARN_S: Final = 30.0


@dataclass(frozen=True)
class _Answer:
    """What asking one server gave: a finding, and how far its clock is ahead of ours (seconds)."""

    finding: Finding
    ahead_s: float | None = None


def network(settings: Settings, timeout_s: float = TIMEOUT_S) -> Iterator[Finding]:
    """Everything that needs the network; nobody is waited for longer than ``timeout_s``."""
    if settings.offline:
        yield skipped("network", "switched off by ATD_OFFLINE")
        return
    yield from asyncio.run(_asked(settings, _servers(settings), timeout_s))


def _servers(settings: Settings) -> dict[str, str]:
    """What to ask, by what it is: where we would notice that it is away."""
    asked = {"PLC directory": f"{settings.plc_url}/_health"}
    if settings.relay is not None:
        asked["relay"] = f"{settings.relay}/xrpc/_health"
    for number, mirror in enumerate(settings.mirrors, 1):
        asked[f"mirror {number}"] = f"{mirror}/health/live"
    for account in _accounts(settings):
        if "pds" in account:
            asked[f"PDS {account['pds']}"] = f"{account['pds']}/xrpc/_health"
    return asked


def _accounts(settings: Settings) -> list[dict[str, Any]]:
    """The accounts that are logged in, as far as a daemon that runs says."""
    try:
        answer = Connection(settings, start=False).call(api.GET_STATUS)
    except AtdError:
        return []
    accounts: list[dict[str, Any]] = answer["accounts"]
    return accounts


async def _asked(settings: Settings, servers: dict[str, str], timeout_s: float) -> list[Finding]:
    config = dataclasses.replace(
        Config.from_settings(settings),
        fetch_timeout_s=timeout_s,
        connect_timeout_s=timeout_s,
        dns_timeout_s=timeout_s,
    )
    fetcher = open_fetcher(config)
    try:
        asking = asyncio.create_task(_names(config))
        replies = await asyncio.gather(
            *(_server(fetcher, what, url) for what, url in servers.items())
        )
        found = await asking
    finally:
        await fetcher.close()
    known = [reply.ahead_s for reply in replies if reply.ahead_s is not None]
    return [found, *(reply.finding for reply in replies), _clock(known, config.clock_skew_s)]


async def _names(config: Config) -> Finding:
    """Whether the name server that is asked for handles answers at all."""
    where = config.dns_server or "of this machine"
    try:
        await DnsResolver(config).txt(_KNOWN_NAME)
    except AtdError as error:
        step = "check the network and its resolver, or set ATD_DNS_SERVER to another"
        return fail("names", error.message, step)
    return ok("names", f"the DNS server {where} answers")


async def _server(fetcher: Fetcher, what: str, url: str) -> _Answer:
    before = time.time()
    try:
        reply = await fetcher.request("GET", url, max_bytes=_MAX_BYTES)
    except AtdError as error:
        step = error.next_step or "check the network; it may be away for a while"
        return _Answer(fail(what, error.message, step))
    after = time.time()
    ahead_s = _ahead_s(reply.headers.get("date", ""), before, after)
    host = host_of(url)
    if reply.status != 200:
        said = f"{host} can be reached, and answered {reply.status}"
        return _Answer(warn(what, said, "check the address in: atd config"), ahead_s)
    return _Answer(ok(what, f"{host} answers in {(after - before) * 1000:.0f} ms"), ahead_s)


def _ahead_s(date: str, before: float, after: float) -> float | None:
    """How far a server's clock is ahead, by its Date header (RFC 9110, section 6.6.1)."""
    try:
        then = parsedate_to_datetime(date).astimezone(UTC).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    # The header has whole seconds, cut off: it is true of any moment of that second.
    if before - 1 <= then <= after:
        return 0.0
    return then - after if then > after else then + 1 - before


def _clock(ahead_s: list[float], limit_s: float) -> Finding:
    """Whether our clock is that of the servers."""
    if not ahead_s:
        return skipped("clock", "no server said what time it has")
    off_s = median(ahead_s)
    way = "behind" if off_s > 0 else "ahead of"
    said = f"this machine's is {abs(off_s):.0f} s {way} {len(ahead_s)} server(s)"
    step = "set the clock, best by NTP"
    if abs(off_s) > limit_s:
        return fail("clock", f"{said}: revisions are refused, or accepted too late", step)
    if abs(off_s) > _SKEW_WARN_S:
        return warn("clock", said, step)
    return ok("clock", f"agrees with {len(ahead_s)} server(s)")
