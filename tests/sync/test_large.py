"""A repository that goes in by pieces: others write in between, and it ends as if at once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable
from pathlib import Path

import pytest

from atd.errors import StaleRevision
from atd.names import COLLECTIONS, SCHEMA
from atd.protocol.proof import VerifiedRecord, VerifiedRepo, verify_repo
from atd.protocol.syntax import AtUri, Nsid, RecordKey
from atd.records import Record, SchemaRecord, parse
from atd_daemon.catalog import Catalog
from world import Account, World
from world.daemons import Reader
from world.datasets import SCHEMA as FIELDS
from world.datasets import WHEN, publish

MANY = 1300


def fill(account: Account, version: int = 1, count: int = MANY) -> None:
    """Write many schemas in one commit."""
    records = (SchemaRecord(f"s{n}", f"{version}.0.0", FIELDS, WHEN) for n in range(count))
    account.put_many([(SCHEMA, one.rkey, one.to_value()) for one in records])


def indexed(reader: Reader, account: Account) -> dict[str, str]:
    return {
        f"{name}/{stored.uri.rkey}": str(stored.cid)
        for name in COLLECTIONS
        for stored in reader.catalog.records(account.did, name)
    }


def truth(account: Account) -> dict[str, str]:
    return {key: str(cid) for key, cid in account.head.records.items()}


async def test_all_of_a_large_repository_is_counted_and_indexed(
    reader: Reader, alice: Account
) -> None:
    publish(alice)
    fill(alice)
    first = await reader.resolver.publisher(alice.did)
    assert first.changes is not None
    assert first.changes.created == len(alice.head.records)
    assert indexed(reader, alice) == truth(alice)
    changed = SchemaRecord("s7", "1.0.0", FIELDS, WHEN, description="Another one")
    alice.put(SCHEMA, changed.rkey, changed.to_value())
    for number in range(10, 20):
        alice.delete(SCHEMA, f"s{number}:1.0.0")
    second = await reader.resolver.publisher(alice.did)
    assert second.changes is not None
    changes = second.changes
    assert (changes.created, changes.updated, changes.deleted) == (0, 1, 10)
    assert indexed(reader, alice) == truth(alice)
    known = reader.catalog.publisher(alice.did)
    assert known is not None
    assert known.complete_rev == alice.head.commit.rev
    commits = {stored.commit for stored in reader.catalog.records(alice.did, SCHEMA)}
    assert commits == {alice.head.commit.cid}, "every proof is of the newest commit"


async def test_another_writer_need_not_wait_for_the_end(
    reader: Reader, world: World, alice: Account
) -> None:
    fill(alice)
    bob = world.account("bob.test")
    seen: list[int] = []
    done = threading.Event()

    def write() -> None:
        while not done.is_set():
            reader.catalog.publisher_seen(bob.identity, now=world.now())
            seen.append(len(reader.catalog.records(alice.did, SCHEMA)))

    other = threading.Thread(target=write)
    other.start()
    try:
        await reader.resolver.publisher(alice.did)
    finally:
        done.set()
        other.join()
    assert any(0 < count < MANY for count in seen), "it wrote between two pieces"


async def test_whoever_gives_up_waits_for_one_piece_and_may_begin_again(
    reader: Reader, alice: Account
) -> None:
    fill(alice, count=4 * MANY)
    task = asyncio.ensure_future(reader.resolver.publisher(alice.did))
    while not indexed(reader, alice):
        await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    left = indexed(reader, alice)
    assert 0 < len(left) < 4 * MANY
    known = reader.catalog.publisher(alice.did)
    assert known is not None
    assert known.complete_rev is None
    await reader.resolver.publisher(alice.did)
    assert indexed(reader, alice) == truth(alice)


async def test_an_older_repository_changes_nothing_by_any_piece(
    reader: Reader, alice: Account
) -> None:
    fill(alice)
    old = alice.head
    alice.put(SCHEMA, "s1:2.0.0", SchemaRecord("s1", "2.0.0", FIELDS, WHEN).to_value())
    await reader.resolver.publisher(alice.did)
    before = indexed(reader, alice)
    repo = verify_repo(old.repo_car(), alice.identity)
    with pytest.raises(StaleRevision):
        reader.catalog.check_repo(repo)
    with pytest.raises(StaleRevision):
        reader.catalog.put_all(read(repo), now=1.0)
    assert indexed(reader, alice) == before


def test_a_snapshot_counts_only_what_this_very_commit_brought(
    tmp_path: Path, alice: Account
) -> None:
    catalog = Catalog(tmp_path / "other.sqlite")
    fill(alice, count=5)
    old = verify_repo(alice.head.repo_car(), alice.identity)
    catalog.put_all(read(old), now=1.0)
    alice.commit()
    new = verify_repo(alice.head.repo_car(), alice.identity)
    with pytest.raises(ValueError, match="account for each"):
        catalog.publisher_snapshot(new, [], now=2.0)
    catalog.put_all(read(new), now=2.0)
    changes = catalog.publisher_snapshot(new, [], now=3.0)
    assert (changes.created, changes.updated, changes.deleted) == (0, 0, 0)
    assert len(catalog.records(alice.did, SCHEMA)) == 5
    catalog.close()


def read(repo: VerifiedRepo) -> Iterable[tuple[VerifiedRecord, Record]]:
    for key in repo.keys(Nsid(SCHEMA)):
        verified = repo.record(AtUri(repo.commit.did, Nsid(SCHEMA), RecordKey(key)))
        yield verified, parse(verified)
