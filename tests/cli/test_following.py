"""``atd follow`` and its kin, by the command, against the reference PDS."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from atd.connection import Connection
from atd.errors import AccountInactive, HandleAbsent, InvalidSyntax, Unreachable
from atd.following import following
from atd.names import SCHEMA
from atd.protocol.cbor import to_json
from atd.records import SchemaRecord
from atd.settings import Settings
from cli.conftest import MakePerson
from cli.stage import Person
from reference.client import Session
from reference.moving import activate, make_account
from reference.network import Network
from world.datasets import SCHEMA as FIELDS
from world.datasets import WHEN

pytestmark = pytest.mark.reference
PATIENCE_S = 60.0


def variables(network: Network) -> dict[str, str]:
    return {
        "ATD_PLC_URL": network.plc_url,
        "ATD_DNS_SERVER": network.zone.address,
        "ATD_ALLOW_HOSTS": network.allow_hosts,
        "ATD_CHECK_EVERY_S": "60",
    }


@pytest.fixture
def bob(reference: Network, somebody: MakePerson) -> Person:
    return somebody(**variables(reference))


def put(session: Session, number: int) -> None:
    record: Any = to_json(SchemaRecord("s", f"{number}.0.0", FIELDS, WHEN).to_value())
    session.put(SCHEMA, f"s:{number}.0.0", record)


def publisher(person: Person, handle: str) -> dict[str, Any]:
    """What is said of one publisher; asked in this process, because that is quicker."""
    connection = Connection(Settings.load(person.environ))
    found = following(connection=connection)["publishers"]
    one: dict[str, Any] = next(one for one in found if one.get("handle") == handle)
    return one


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_follow_live_kill_and_go_on(reference: Network, bob: Person) -> None:
    account = make_account(reference, "cli-live")
    session = Session(account)
    put(session, 1)
    result = bob.run("follow", f"@{account.handle}").done()
    assert "followed, 0 data sets (1 record; all of its repository proved)" in result.out
    assert "is did:plc:" in result.err
    put(session, 2)
    until(lambda: publisher(bob, account.handle)["records"] == 2)
    shown = bob.run("following").done().out
    assert "synchronized" in shown
    assert "live" in shown
    os.kill(bob.daemon_pid(), signal.SIGKILL)
    put(session, 3)
    session.delete(SCHEMA, "s:1.0.0")
    put(session, 4)
    until(lambda: publisher(bob, account.handle)["records"] == 3)
    known = publisher(bob, account.handle)
    assert known["state"] == "synchronized"
    assert known["rejects"] == []
    assert "followed already" in bob.run("follow", account.did).done().out


def test_unfollow_and_forget(reference: Network, bob: Person) -> None:
    account = make_account(reference, "cli-forget")
    put(Session(account), 1)
    bob.run("follow", account.handle, "--json").done()
    kept = bob.run("unfollow", account.handle).done()
    assert "followed no more; 1 record stay" in kept.out
    assert "was not followed" in bob.run("unfollow", account.handle).done().out
    assert "nobody is followed" in bob.run("following").done().err
    bob.run("follow", account.handle, "--no-wait").done()
    forgotten = bob.run("unfollow", account.handle, "--forget", "--json").done().json
    assert forgotten["unfollowed"] == [{"did": account.did, "followed": True, "records": 0}]


def test_a_handle_that_nobody_has_and_words_that_are_none(bob: Person) -> None:
    bob.run("follow", "@nobody.pds1.test").refused(HandleAbsent, "nobody.pds1.test")
    bob.run("follow", "@alice.pds1.test", "no handle").refused(InvalidSyntax, "no handle")
    assert bob.run("following", "--json").done().json == {"publishers": [], "hosts": []}


def test_somebody_who_is_away_is_followed_and_said_so(reference: Network, bob: Person) -> None:
    account = make_account(reference, "cli-away")
    session = Session(account)
    put(session, 1)
    assert session.call("com.atproto.server.deactivateAccount", {}).status == 200
    result = bob.run("follow", account.handle)
    assert result.code == AccountInactive.exit_code
    assert "not indexed yet (inactive (deactivated))" in result.out
    assert "it is tried again by itself" in result.err
    activate(session)
    until(lambda: publisher(bob, account.handle)["state"] == "synchronized")


def test_discover_and_follow_all(reference: Network, bob: Person) -> None:
    account = make_account(reference, "cli-found", 2)
    put(Session(account), 1)
    found = bob.run("discover", account.pds, "--json").done().json
    assert {"did": account.did, "followed": False} in found["publishers"]
    assert found["complete"]
    listed = bob.run("discover", account.pds, "--follow").done()
    assert f"{account.did}  followed" in listed.out
    until(lambda: publisher(bob, account.handle)["state"] == "synchronized")
    bob.run("discover", account.pds, "--relay").refused(Unreachable, "answered")
    bob.run("discover", "no url").refused(InvalidSyntax, "no url")
