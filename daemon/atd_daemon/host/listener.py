"""The embedded host's listener: the daemon's public face as a PDS.

It listens once the host has an account. What else there is to it is in `atd_daemon.listener`.
"""

from __future__ import annotations

from atd_daemon.host.app import create_host_app
from atd_daemon.host.host import Host
from atd_daemon.listener import Listener


class HostListener(Listener):
    """Serves ``host`` at ``address`` and ``port`` from the first account on."""

    def __init__(self, host: Host, address: str, port: int) -> None:
        super().__init__("the host", lambda: create_host_app(host), address, port)
        self.host = host

    async def start(self) -> None:
        """Listen, if there is an account to serve; why it cannot is left in ``problem``."""
        if self.host.accounts:
            await super().start()
