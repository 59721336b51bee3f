"""Following publishers of the reference PDS, which we did not write: live, through moves."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from atd.names import SCHEMA
from atd.protocol.cbor import to_json
from atd.protocol.syntax import Did
from atd.records import SchemaRecord
from atd_daemon.config import Config
from atd_daemon.sync.follow.discovering import at_pds
from atd_daemon.sync.follow.states import State
from conftest import StartNetwork
from following import RealFollowing, until
from reference.client import Session
from reference.moving import activate, delete_account, make_account, migrate, take_down
from reference.network import Network
from world.datasets import SCHEMA as FIELDS
from world.datasets import WHEN

pytestmark = pytest.mark.reference
NOTE = "com.example.note"


@contextlib.asynccontextmanager
async def user(network: Network, folder: Path) -> AsyncIterator[RealFollowing]:
    config = Config.under(
        folder,
        plc_url=network.plc_url,
        dns_server=network.zone.address,
        allow_hosts=frozenset(network.allow_hosts.split(",")),
    )
    async with RealFollowing.of(config) as user:
        yield user


@pytest.fixture(scope="module")
def network(start_network: StartNetwork) -> Network:
    """Two PDSes that can be killed and started again."""
    return start_network(count=2, apart=True)


@pytest.fixture
async def bob(network: Network, tmp_path: Path) -> AsyncIterator[RealFollowing]:
    async with user(network, tmp_path) as bob:
        yield bob


def schema(number: int) -> dict[str, Any]:
    record: dict[str, Any] = to_json(SchemaRecord("s", f"{number}.0.0", FIELDS, WHEN).to_value())  # type: ignore[assignment]
    return record


def key(number: int) -> str:
    return f"s:{number}.0.0"


def put(session: Session, number: int) -> None:
    session.put(SCHEMA, key(number), schema(number))


async def do(work: Callable[[], object]) -> None:
    await asyncio.to_thread(work)


async def test_what_is_written_and_deleted_is_in_the_index(
    network: Network, bob: RealFollowing
) -> None:
    account = make_account(network, "live")
    session = Session(account)
    put(session, 1)
    assert await bob.follow(account) is State.SYNCHRONIZED
    await bob.has(account, key(1))
    await do(lambda: put(session, 2))
    await bob.has(account, key(1), key(2))
    await do(lambda: session.delete(SCHEMA, key(1)))
    await bob.has(account, key(2))
    assert await bob.rejects() == []


async def test_batches_of_creates_updates_and_deletes(network: Network, bob: RealFollowing) -> None:
    account = make_account(network, "batch")
    session = Session(account)
    assert await bob.follow(account) is State.SYNCHRONIZED
    numbers = range(1, 41)
    writes = [write("create", number) for number in numbers]
    notes = [write("create", number, NOTE) for number in range(1, 161)]
    await do(lambda: apply(session, [*writes, *notes]))
    await bob.has(account, *map(key, numbers))
    mixed = [write("update", n) for n in (1, 2)] + [write("delete", n) for n in range(3, 31)]
    await do(lambda: apply(session, [*mixed, write("create", 41)]))
    await bob.has(account, key(1), key(2), *map(key, range(31, 42)))
    assert await bob.rejects() == []
    row = bob.catalog.following.row(Did(account.did))
    assert row is not None
    assert row.complete


async def test_who_deactivates_is_listed_no_more_until_the_return(
    network: Network, bob: RealFollowing
) -> None:
    account = make_account(network, "away")
    session = Session(account)
    put(session, 1)
    await bob.follow(account)
    await do(lambda: session.call("com.atproto.server.deactivateAccount", {}))
    await until(lambda: bob.state(account) is State.INACTIVE, "it is inactive")
    await do(lambda: activate(session))
    await until(lambda: bob.state(account) is State.SYNCHRONIZED, "it is back")
    await do(lambda: put(session, 2))
    await bob.has(account, key(1), key(2))


async def test_takedowns_are_honoured_and_their_end_too(
    network: Network, bob: RealFollowing
) -> None:
    account = make_account(network, "down")
    session = Session(account)
    put(session, 1)
    await bob.follow(account)
    await do(lambda: take_down(network, account))
    await until(lambda: bob.state(account) is State.INACTIVE, "it is taken down")
    row = bob.catalog.following.row(Did(account.did))
    assert row is not None
    assert row.status == "takendown"
    await do(lambda: take_down(network, account, applied=False))
    await until(lambda: bob.state(account) is State.SYNCHRONIZED, "it is back")


async def test_a_deleted_account_is_gone(network: Network, bob: RealFollowing) -> None:
    account = make_account(network, "gone")
    put(Session(account), 1)
    await bob.follow(account)
    await do(lambda: delete_account(network, account))
    await until(lambda: bob.state(account) is State.INACTIVE, "it is gone")


async def test_a_migration_is_followed(network: Network, bob: RealFollowing) -> None:
    account = make_account(network, "nomad")
    put(Session(account), 1)
    await bob.follow(account)
    moved = await asyncio.to_thread(migrate, network, account, 2)
    repo = bob.follower.board.repos[Did(account.did)]
    await until(lambda: repo.host == moved.pds, "the new host is known")
    await until(lambda: repo.state is State.SYNCHRONIZED, "it is synchronized")
    await do(lambda: put(Session(moved), 2))
    await bob.has(account, key(1), key(2))


async def test_a_restart_of_the_daemon_goes_on_from_the_cursor(
    network: Network, tmp_path: Path
) -> None:
    account = make_account(network, "patient")
    session = Session(account)
    async with user(network, tmp_path) as bob:
        await bob.follow(account)
        await do(lambda: put(session, 1))
        await bob.has(account, key(1))
    put(session, 2)
    session.delete(SCHEMA, key(1))
    async with user(network, tmp_path) as bob:
        await bob.has(account, key(2))
        assert bob.state(account) is State.SYNCHRONIZED
        assert await bob.rejects() == []


async def test_a_restart_of_the_server_is_survived(network: Network, bob: RealFollowing) -> None:
    account = make_account(network, "phoenix", 2)
    session = Session(account)
    await bob.follow(account)
    await do(lambda: put(session, 1))
    await bob.has(account, key(1))
    process = network.pds_processes[1]
    process.kill()
    stream = bob.follower.streams[account.pds]
    await until(lambda: stream.since is None, "the connection is gone")
    await do(process.start)
    await do(lambda: put(Session(account), 2))
    await bob.has(account, key(1), key(2))
    assert await bob.rejects() == []


async def test_publishers_of_a_pds_are_discovered(network: Network, bob: RealFollowing) -> None:
    publisher, other = make_account(network, "finder"), make_account(network, "silent")
    put(Session(publisher), 1)
    Session(other).put(NOTE, "one", {"text": "hi"})
    found = await at_pds(bob.pds, publisher.pds, 1000, lambda asked, publishers: None)
    assert publisher.did in found.dids
    assert other.did not in found.dids
    assert found.complete


def write(action: str, number: int, collection: str = SCHEMA) -> dict[str, Any]:
    value = schema(number) if collection == SCHEMA else {"text": str(number)}
    made = {"$type": f"com.atproto.repo.applyWrites#{action}", "collection": collection}
    made["rkey"] = key(number) if collection == SCHEMA else f"n{number}"
    return made if action == "delete" else {**made, "value": {"$type": collection, **value}}


def apply(session: Session, writes: list[dict[str, Any]]) -> None:
    body = {"repo": session.account.did, "writes": writes}
    reply = session.call("com.atproto.repo.applyWrites", body)
    assert reply.status == 200, reply
