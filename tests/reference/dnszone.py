"""A DNS server on loopback whose TXT zone the test owns.

with Zone() as zone:
    zone["_atproto.alice.pds1.test"] = ["did=did:plc:…"]
    zone.address     # "127.0.0.1:PORT"
"""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

from dnslib import QTYPE, RCODE, RR, TXT
from dnslib.server import BaseResolver, DNSServer


class _Silent:
    """A logger for dnslib that logs nothing."""

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **kwargs: None


class Zone(dict[str, list[str]], BaseResolver):  # type: ignore[misc]
    """TXT records by lower-case name; what is not in it does not exist (NXDOMAIN)."""

    def __enter__(self) -> Self:
        self._server = DNSServer(self, port=0, address="127.0.0.1", logger=_Silent())
        self._server.start_thread()
        self.port: int = self._server.server.server_address[1]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.stop()
        self._server.server.server_close()

    @property
    def address(self) -> str:
        """``127.0.0.1:PORT``."""
        return f"127.0.0.1:{self.port}"

    def point(self, handle: str, did: str) -> None:
        """Let ``handle`` resolve to ``did``."""
        self[f"_atproto.{handle}"] = [f"did={did}"]

    def resolve(self, request: Any, handler: object) -> Any:
        """dnslib's hook: the reply to one query."""
        reply = request.reply()
        name = str(request.q.qname).rstrip(".").lower()
        if request.q.qtype == QTYPE.TXT and name in self:
            for text in self[name]:
                reply.add_answer(RR(request.q.qname, QTYPE.TXT, ttl=1, rdata=TXT(text)))
        else:
            reply.header.rcode = RCODE.NXDOMAIN
        return reply
