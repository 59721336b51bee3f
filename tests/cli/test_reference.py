"""The same troubles as the reference PDS and PLC directory make them, not as we imagine them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from atd.errors import AccountInactive, DidAbsent, LoginRefused, RateLimited, RecordAbsent, TooLarge
from cli.conftest import MakePerson
from cli.stage import Person
from conftest import StartNetwork
from reference.client import Session, call
from reference.network import Network

BLOB_LIMIT = 200_000
LOGINS = 30
"""How often a password may be wrong in five minutes, by the reference PDS."""


@pytest.fixture(scope="module")
def network(start_network: StartNetwork) -> Network:
    return start_network(count=2, rate_limits=True, blob_limit=BLOB_LIMIT)


@pytest.fixture(scope="module")
def alice(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    """Alice of PDS 1, logged in."""
    person = Person.at(tmp_path_factory.mktemp("alice") / "home", **variables(network))
    password = network.account("alice.pds1.test").password
    arguments = ("login", "alice.pds1.test", "--password-stdin")
    person.run(*arguments, stdin=password + "\n").done()
    yield person
    person.leave()


def variables(network: Network) -> dict[str, str]:
    return {
        "ATD_PLC_URL": network.plc_url,
        "ATD_DNS_SERVER": network.zone.address,
        "ATD_ALLOW_HOSTS": network.allow_hosts,
    }


def test_a_wrong_password(network: Network, somebody: MakePerson) -> None:
    person = somebody(**variables(network))
    result = person.run("login", "alice.pds1.test", "--password-stdin", stdin="wrong\n")
    result.refused(LoginRefused, "refused the password", advice="app password")


def test_too_many_wrong_passwords(network: Network, somebody: MakePerson) -> None:
    dave = network.account("dave.pds2.test")
    body = {"identifier": dave.did, "password": "wrong"}
    method = "com.atproto.server.createSession"
    with ThreadPoolExecutor(4) as pool:
        tries = [pool.submit(call, dave.pds, method, body) for _ in range(LOGINS + 1)]
    assert {one.result().status for one in tries} == {401, 429}
    person = somebody(**variables(network))
    result = person.run("login", dave.handle, "--password-stdin", stdin=f"{dave.password}\n")
    result.refused(RateLimited, "tells us to wait for", advice="run the same command again after")
    assert person.run("accounts", "--json").done().json == {"accounts": []}


def test_a_sample_that_is_larger_than_any_blob(
    network: Network, alice: Person, tmp_path: Path
) -> None:
    np.savez(tmp_path / "giant.npz", noise=np.zeros((1, 2 * BLOB_LIMIT), np.uint8))
    arguments = ("publish", str(tmp_path / "giant.npz"), "--name", "giant", "--yes")
    alice.run(*arguments).refused(TooLarge, str(BLOB_LIMIT))
    absent = alice.run("show", "@alice.pds1.test/giant")
    absent.refused(RecordAbsent, "@alice.pds1.test/giant does not exist")


def test_shards_are_cut_to_what_the_pds_takes(alice: Person, tmp_path: Path) -> None:
    made = np.random.default_rng(1).integers(0, 255, (400, 1000), np.uint8)
    np.savez(tmp_path / "noise.npz", noise=made)
    arguments = ("publish", str(tmp_path / "noise.npz"), "--name", "noise", "--yes", "--json")
    result = alice.run(*arguments).done().json
    assert result["shards"] > 2
    assert alice.run("verify", "@alice.pds1.test/noise").done()


def test_a_data_set_that_is_not_there(network: Network, alice: Person) -> None:
    result = alice.run("show", "@alice.pds1.test/roses")
    result.refused(RecordAbsent, "does not exist", advice="atd ls @alice.pds1.test")


def test_a_did_that_the_directory_does_not_know(alice: Person) -> None:
    did = "did:plc:ewvi7nxzyoun6zhxrhs64oiz"
    alice.run("ls", did).refused(DidAbsent, did)


def test_an_account_that_was_deactivated(network: Network, somebody: MakePerson) -> None:
    person = somebody(**variables(network))
    person.run("ls", "@carol.pds2.test").done()
    session = Session(network.account("carol.pds2.test"))
    assert session.call("com.atproto.server.deactivateAccount", {}).status == 200
    person.run("ls", "@carol.pds2.test").refused(AccountInactive, "deactivated")
