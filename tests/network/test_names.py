"""Asking a real DNS server on loopback, and servers that fail."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from dnslib import RCODE, RR, TXT

from atd.errors import Offline, Unreachable
from atd_daemon.config import Config
from atd_daemon.network.fetch import offline_now
from atd_daemon.network.names import DnsResolver
from reference.dnszone import Zone


def resolver(address: str, **values: Any) -> DnsResolver:
    limits = {"dns_timeout_s": 2.0, **values}
    return DnsResolver(Config.under(Path("/nonexistent"), dns_server=address, **limits))


async def test_records_come_back_as_strings() -> None:
    with Zone() as zone:
        zone["_atproto.alice.test"] = ["did=did:plc:abc", "v=spf1 -all"]
        names = resolver(zone.address)
        assert sorted(await names.txt("_atproto.alice.test")) == ["did=did:plc:abc", "v=spf1 -all"]


async def test_no_such_name_is_an_empty_answer() -> None:
    with Zone() as zone:
        names = resolver(zone.address)
        assert await names.txt("_atproto.nobody.test") == []
        assert not await names.exists("nobody.test")


async def test_a_long_record_in_pieces_is_one_string() -> None:
    class Pieces(Zone):
        def resolve(self, request: Any, handler: object) -> Any:
            reply = request.reply()
            reply.add_answer(RR(request.q.qname, 16, ttl=1, rdata=TXT([b"did=did:plc:", b"abc"])))
            return reply

    with Pieces() as zone:
        assert await resolver(zone.address).txt("_atproto.alice.test") == ["did=did:plc:abc"]


async def test_a_name_that_is_too_long_has_no_records() -> None:
    with Zone() as zone:
        assert await resolver(zone.address).txt("_atproto." + "a" * 60 + ".b" * 120) == []
        assert await resolver(zone.address).txt("x" * 70 + ".test") == []


@pytest.mark.parametrize("code", [RCODE.SERVFAIL, RCODE.REFUSED])
async def test_a_server_that_fails_has_not_said_no(code: int) -> None:
    class Failing(Zone):
        def resolve(self, request: Any, handler: object) -> Any:
            reply = request.reply()
            reply.header.rcode = code
            return reply

    with Failing() as zone, pytest.raises(Unreachable, match=f"{zone.address} failed to answer"):
        await resolver(zone.address).txt("_atproto.alice.test")


async def test_a_server_that_is_silent_is_given_up() -> None:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(
        asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0)
    )
    try:
        port = transport.get_extra_info("sockname")[1]
        started = time.monotonic()
        with pytest.raises(Unreachable, match=r"did not answer for _atproto\.alice\.test"):
            await resolver(f"127.0.0.1:{port}", dns_timeout_s=0.3).txt("_atproto.alice.test")
        assert time.monotonic() - started < 2
    finally:
        transport.close()


async def test_offline_asks_no_name_server() -> None:
    token = offline_now.set(True)
    try:
        with pytest.raises(Offline):
            await resolver("127.0.0.1:1").txt("_atproto.alice.test")
    finally:
        offline_now.reset(token)
