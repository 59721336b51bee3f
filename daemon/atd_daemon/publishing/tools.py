"""The parts of a daemon that publishing works with, in one value."""

from __future__ import annotations

from dataclasses import dataclass

from atd_daemon.network.account import Accounts
from atd_daemon.publishing.destinations.kinds import Makers
from atd_daemon.publishing.journal import Journal
from atd_daemon.publishing.patience import Clock
from atd_daemon.publishing.sending import Checkpoint
from atd_daemon.store import Store
from atd_daemon.sync.resolve import Resolver


@dataclass(frozen=True)
class Tools:
    """What publishing works with. ``checkpoint`` hears of every point between two steps."""

    accounts: Accounts
    resolver: Resolver
    store: Store
    journal: Journal
    makers: Makers
    clock: Clock
    checkpoint: Checkpoint = lambda _: None
