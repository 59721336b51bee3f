"""The reference network itself: that tests may rely on what it promises."""

from __future__ import annotations

import urllib.error
from collections.abc import Callable

import pytest
from dns.resolver import Resolver

from reference.client import Session, ask
from reference.network import Network

StartNetwork = Callable[..., Network]


def test_two_servers_four_accounts_and_their_handles_in_dns(reference: Network) -> None:
    assert len(reference.pds) == 2
    names = ["alice.pds1.test", "bob.pds1.test", "carol.pds2.test", "dave.pds2.test"]
    assert [account.handle for account in reference.accounts] == names
    resolver = Resolver(configure=False)
    resolver.nameservers, resolver.port = ["127.0.0.1"], reference.zone.port
    for account in reference.accounts:
        answer = resolver.resolve(f"_atproto.{account.handle}", "TXT")
        assert [record.to_text() for record in answer] == [f'"did={account.did}"']


def test_a_server_of_one_knows_the_handles_of_the_other(reference: Network) -> None:
    carol = reference.account("carol.pds2.test")
    found = ask(reference.pds[0], "com.atproto.identity.resolveHandle", handle=carol.handle)
    assert found.json() == {"did": carol.did}


def test_a_killed_server_comes_back_with_its_accounts(start_network: StartNetwork) -> None:
    network = start_network(count=1, apart=True)
    session = Session(network.accounts[0])
    session.put("com.example.thing", "self", {"$type": "com.example.thing"})
    network.pds_processes[0].kill()
    with pytest.raises(urllib.error.URLError):
        session.proof("com.example.thing", "self")
    network.pds_processes[0].start()
    assert b"com.example.thing" in session.proof("com.example.thing", "self")


def test_limits_can_be_turned_on(start_network: StartNetwork) -> None:
    network = start_network(count=1, rate_limits=True, blob_limit=1000)
    session = Session(network.accounts[0])
    session.upload_blob(b"x" * 1000, "application/octet-stream")
    with pytest.raises(AssertionError, match=r"status=4|too large"):
        session.upload_blob(b"x" * 1001, "application/octet-stream")
    reply = ask(network.pds[0], "com.atproto.server.describeServer")
    assert any(name.lower() == "ratelimit-limit" for name in reply.headers)
