"""Looking up names in the DNS: the door of dnspython.

Absence and failure are kept apart: a name that has no TXT record gives an empty list, a server
that does not answer or answers with a failure raises Unreachable. With ``Config.dns_server`` that
server is asked and no other.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Final, Protocol

import dns.asyncresolver
import dns.exception
import dns.name
import dns.rdtypes.ANY.TXT
import dns.resolver

from atd.errors import Offline, Unreachable
from atd.settings import split_host_port
from atd_daemon.config import Config
from atd_daemon.network.fetch import offline_now

MAX_RECORDS: Final = 100


class TxtResolver(Protocol):
    """What the daemon asks of the DNS by itself; addresses are the transport's business."""

    async def txt(self, name: str) -> list[str]:
        """The TXT records of ``name``, each as one string; empty if there are none.

        Raises:
            Unreachable: no answer, or an answer that says that the server could not find out.
            Offline: the network is switched off.
        """
        ...

    async def exists(self, name: str) -> bool:
        """Whether ``name`` has an address; False: the DNS says no. Raises as `txt`."""
        ...


class DnsResolver:
    """`TxtResolver` over the configured DNS server, or this machine's own."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._resolver: dns.asyncresolver.Resolver | None = None

    async def txt(self, name: str) -> list[str]:
        """See `TxtResolver.txt`."""
        answer = await self._ask(name, "TXT")
        if answer is None:
            return []
        found = [record for record in answer if isinstance(record, dns.rdtypes.ANY.TXT.TXT)]
        return [b"".join(r.strings).decode("utf-8", "replace") for r in found[:MAX_RECORDS]]

    async def exists(self, name: str) -> bool:
        """See `TxtResolver.exists`."""
        for kind in ("A", "AAAA"):
            if await self._ask(name, kind):
                return True
        return False

    async def _ask(self, name: str, kind: str) -> dns.resolver.Answer | None:
        """The answer, or None where there is no such name or no such record."""
        if self._config.offline or offline_now.get():
            raise Offline(f"the DNS is needed for {name}, and the network is switched off")
        try:
            resolver = await self._configured()
            return await resolver.resolve(
                dns.name.from_text(name), kind, lifetime=self._config.dns_timeout_s, search=False
            )
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return None
        except (dns.name.NameTooLong, dns.name.LabelTooLong, dns.name.EmptyLabel):
            return None  # a name that cannot be asked for has no records
        except dns.exception.Timeout:
            raise Unreachable(
                f"{self._server} did not answer for {name} within {self._config.dns_timeout_s:g} s"
            ) from None
        except (dns.exception.DNSException, OSError) as error:
            words = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
            raise Unreachable(f"{self._server} failed to answer for {name}: {words!a}") from error

    @property
    def _server(self) -> str:
        return f"the DNS server {self._config.dns_server or 'of this machine'}"

    async def _configured(self) -> dns.asyncresolver.Resolver:
        if self._resolver is None:
            if self._config.dns_server is None:
                self._resolver = dns.asyncresolver.Resolver()
            else:
                host, port = split_host_port(self._config.dns_server)
                loop = asyncio.get_running_loop()
                found = await loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
                self._resolver = dns.asyncresolver.Resolver(configure=False)
                self._resolver.nameservers = [str(found[0][4][0])]
                self._resolver.port = port
        return self._resolver
