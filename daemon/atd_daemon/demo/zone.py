"""A DNS server on loopback that answers for the demo's handles, and the only importer of dnslib."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from dnslib import QTYPE, RCODE, RR, TXT
from dnslib.server import BaseResolver, DNSLogger, DNSServer


class _Zone(BaseResolver):  # type: ignore[misc]
    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = dict(texts)

    def resolve(self, request: object, handler: object) -> object:
        """TXT records of the zone; anything else does not exist."""
        question = request.q  # type: ignore[attr-defined]
        reply = request.reply()  # type: ignore[attr-defined]
        text = self._texts.get(str(question.qname).rstrip(".").lower())
        if question.qtype == QTYPE.TXT and text is not None:
            reply.add_answer(RR(question.qname, QTYPE.TXT, ttl=1, rdata=TXT(text)))
        elif text is None:
            reply.header.rcode = RCODE.NXDOMAIN
        return reply


@contextmanager
def serving(texts: Mapping[str, str]) -> Iterator[str]:
    """Serve TXT records (name to text) while the context is open; yields ``127.0.0.1:PORT``."""
    quiet = DNSLogger("-request,-reply,-truncated,-error")
    server = DNSServer(_Zone(texts), port=0, address="127.0.0.1", logger=quiet)
    server.start_thread()
    try:
        yield f"127.0.0.1:{server.server.server_address[1]}"
    finally:
        server.stop()
        server.server.server_close()
