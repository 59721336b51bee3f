"""From a name to proved records, when the world is honest: what is asked, kept and given."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from atd.errors import (
    AccountInactive,
    InvalidSyntax,
    LexiconError,
    LocalError,
    Offline,
    PreviousKey,
    ProofError,
    RecordAbsent,
)
from atd.names import COLLECTIONS
from atd.protocol.cbor import Cid
from atd.protocol.proof import VerifiedRecord
from atd.protocol.syntax import AtUri, Nsid, RecordKey
from atd.records import Dataset, Record, ShardPart, StrongRef, parse
from atd_daemon.network.fetch import offline_now
from atd_daemon.store.sources import Blob, Url
from atd_daemon.sync.prover import Prover
from world import Account, World
from world.daemons import Reader
from world.datasets import SHARDS, Published, publish
from world.wire import Call


def proofs(calls: list[Call]) -> list[str]:
    """The collections and keys that were asked for, in order."""
    asked = [call.params for call in calls if "sync.getRecord" in call.url]
    return [f"{p['collection'].rpartition('.')[2]}/{p['rkey']}" for p in asked]


# --- one data set ------------------------------------------------------------------------------


async def test_a_data_set_is_found_by_handle_and_every_record_enters_the_index(
    reader: Reader, alice: Account, flowers: Published
) -> None:
    found = await reader.resolver.dataset("@alice.test/flowers")
    assert found.identity == alice.identity
    assert found.head is not None
    assert (found.head.cid, found.release.cid) == (flowers.head.cid, flowers.release.cid)
    assert found.schema.cid == flowers.schema.cid
    assert [split.split.name for split in found.splits] == ["train", "test"]
    assert [shard.entry.digest for shard in found.shards] == list(flowers.shards)
    assert reader.listed() == ["flowers"]
    assert reader.catalog.counts().records == 5
    assert reader.problems() == {}
    assert reader.catalog.did_of(alice.handle) == alice.did


async def test_shards_are_looked_for_where_the_record_says(reader: Reader, alice: Account) -> None:
    publish(alice, bases=("https://files.example.com/a/", "https://mirror.example.com/"))
    found = await reader.resolver.dataset("@alice.test/flowers:test")
    shard = found.shards[0]
    assert shard.want.sources == (
        Blob(alice.did, alice.pds.url, shard.entry.digest),
        Url("https://files.example.com/a/test-00000.tar"),
        Url("https://mirror.example.com/test-00000.tar"),
    )


async def test_what_is_pinned_is_asked_for_once_and_the_head_each_time(
    world: World, reader: Reader, flowers: Published
) -> None:
    await reader.resolver.dataset("@alice.test/flowers")
    assert len(proofs(world.calls)) == 5
    world.calls.clear()
    await reader.resolver.dataset("@alice.test/flowers")
    assert proofs(world.calls) == ["dataset/flowers"]
    world.calls.clear()
    await reader.resolver.dataset("@alice.test/flowers", refresh=True)
    assert len(proofs(world.calls)) == 5


async def test_only_the_shard_lists_of_the_splits_asked_for_are_read(
    world: World, reader: Reader, flowers: Published
) -> None:
    found = await reader.resolver.dataset("@alice.test/flowers:test")
    assert [split.split.name for split in found.splits] == ["test"]
    assert len([p for p in proofs(world.calls) if p.startswith("shards/")]) == 1
    assert not (await reader.resolver.dataset("@alice.test/flowers", splits=())).splits
    with pytest.raises(LocalError, match=r"flowers 1\.0\.0 has no split valid") as caught:
        await reader.resolver.dataset("@alice.test/flowers:valid")
    assert "train, test" in caught.value.next_step


async def test_lists_of_lists_are_walked_in_order(reader: Reader, alice: Account) -> None:
    contents = [f"shard {number}".encode() for number in range(7)]
    publish(alice, splits={"train": contents}, nested=True, each=2)
    found = await reader.resolver.dataset("@alice.test/flowers")
    assert [shard.entry.name for shard in found.shards] == [f"train-{n:05}.tar" for n in range(7)]
    assert len(found.splits[0].parts) == 4


async def test_many_shard_lists_are_had_with_the_whole_repository(
    world: World, reader: Reader, alice: Account
) -> None:
    publish(alice, splits={"train": [b"%d" % number for number in range(40)]}, each=1)
    found = await reader.resolver.dataset("@alice.test/flowers")
    assert len(found.shards) == 40
    assert len([call for call in world.calls if "sync.getRepo?" in call.url]) == 1
    assert len(proofs(world.calls)) == 3, "head, release, schema"


async def test_lists_that_nest_too_deep_are_refused(
    world: World, tmp_path: Path, alice: Account
) -> None:
    publish(alice, nested=True)
    reader = Reader.of(world, tmp_path, max_part_depth=1)
    with pytest.raises(LexiconError, match="deeper than 1 levels"):
        await reader.resolver.dataset("@alice.test/flowers")
    assert reader.listed() == []
    reader.catalog.close()


async def test_an_older_version_is_found_by_its_number(
    world: World, reader: Reader, alice: Account
) -> None:
    old = publish(alice, version="1.0.0")
    new = publish(alice, version="1.1.0", splits={"train": [b"more"]})
    assert (await reader.resolver.dataset("@alice.test/flowers")).release.cid == new.release.cid
    found = await reader.resolver.dataset("@alice.test/flowers@1.0.0")
    assert found.release.cid == old.release.cid
    assert len(found.shards) == sum(len(contents) for contents in SHARDS.values())
    with pytest.raises(RecordAbsent, match=r"flowers:2\.0\.0"):
        await reader.resolver.dataset("@alice.test/flowers@2.0.0")


async def test_a_version_does_not_need_the_head(
    world: World, reader: Reader, alice: Account, flowers: Published
) -> None:
    alice.delete("network.atd.dataset", "flowers")
    found = await reader.resolver.dataset("@alice.test/flowers@1.0.0")
    assert (found.head, found.release.cid) == (None, flowers.release.cid)


async def test_a_data_set_that_is_not_there_is_absent_with_proof(
    reader: Reader, alice: Account
) -> None:
    with pytest.raises(RecordAbsent, match=r"there is no at://.*/tulips") as caught:
        await reader.resolver.dataset("@alice.test/tulips")
    assert caught.value.proof is not None
    uri = alice.uri("network.atd.dataset", "tulips")
    assert reader.catalog.absent_since(uri) == alice.head.commit.rev


async def test_a_data_set_that_was_deleted_leaves_the_list(
    reader: Reader, alice: Account, flowers: Published
) -> None:
    await reader.resolver.dataset("@alice.test/flowers")
    alice.delete("network.atd.dataset", "flowers")
    with pytest.raises(RecordAbsent):
        await reader.resolver.dataset("@alice.test/flowers")
    assert reader.listed() == []


async def test_a_schema_may_be_another_publishers(
    world: World, reader: Reader, alice: Account
) -> None:
    bob = world.account("bob.test", pds="pds2")
    theirs = publish(bob, "shapes")
    mine = publish(alice)
    release = dict(alice.value(mine.release.cid))  # type: ignore[arg-type]
    release["schema"] = theirs.schema.to_value()
    changed = alice.put("network.atd.release", "flowers:1.0.0", release)
    head = dict(alice.value(mine.head.cid))  # type: ignore[arg-type]
    alice.put("network.atd.dataset", "flowers", {**head, "latest": changed.to_value()})
    found = await reader.resolver.dataset("@alice.test/flowers")
    assert found.schema.uri.did == bob.did


# --- one record --------------------------------------------------------------------------------


async def test_one_record_by_uri_by_handle_and_by_strong_reference(
    reader: Reader, alice: Account, flowers: Published
) -> None:
    by_did = await reader.resolver.record(str(flowers.head.uri))
    by_handle = await reader.resolver.record("at://alice.test/network.atd.dataset/flowers")
    by_ref = await reader.resolver.record(StrongRef(flowers.head.uri, flowers.head.cid))
    assert by_did.cid == by_handle.cid == by_ref.cid == flowers.head.cid
    assert isinstance(by_did.record, Dataset)
    assert by_did.rev == alice.head.commit.rev


async def test_a_uri_of_no_single_record_is_refused(reader: Reader, alice: Account) -> None:
    with pytest.raises(InvalidSyntax):
        await reader.resolver.record(f"at://{alice.did}/network.atd.dataset")


async def test_a_record_that_was_overwritten_is_not_what_was_pinned(
    reader: Reader, alice: Account, flowers: Published
) -> None:
    alice.put("network.atd.dataset", "flowers", {**value(alice, flowers), "title": "New"})
    with pytest.raises(ProofError, match=f"expected {flowers.head.cid} at .* has .* there now"):
        await reader.resolver.record(flowers.head.uri, cid=flowers.head.cid)


async def test_what_was_pinned_and_proved_stays_ours(
    reader: Reader, alice: Account, flowers: Published
) -> None:
    first = await reader.resolver.record(flowers.head.uri, cid=flowers.head.cid)
    alice.put("network.atd.dataset", "flowers", {**value(alice, flowers), "title": "New"})
    assert (await reader.resolver.record(flowers.head.uri, cid=flowers.head.cid)).cid == first.cid


def value(account: Account, published: Published) -> dict[str, object]:
    found = account.value(published.head.cid)
    assert isinstance(found, dict)
    return dict(found)


# --- offline -----------------------------------------------------------------------------------


async def test_offline_gives_what_the_index_has(
    world: World, reader: Reader, flowers: Published
) -> None:
    await reader.resolver.dataset("@alice.test/flowers")
    world.calls.clear()
    world.pass_time(1_000_000)
    token = offline_now.set(True)
    try:
        found = await reader.resolver.dataset("@alice.test/flowers")
        assert found.release.cid == flowers.release.cid
        with pytest.raises(Offline):
            await reader.resolver.dataset("@alice.test/tulips")
        with pytest.raises(Offline):
            await reader.resolver.publisher("alice.test")
    finally:
        offline_now.reset(token)
    assert world.calls == []
    assert reader.problems() == {}


async def test_what_is_known_outlives_a_restart(
    world: World, tmp_path: Path, flowers: Published
) -> None:
    first = Reader.of(world, tmp_path)
    await first.resolver.dataset("@alice.test/flowers")
    first.catalog.close()
    world.pass_time(1_000_000)
    again = Reader.of(world, tmp_path, offline=True)
    assert (await again.resolver.dataset("alice.test/flowers")).release.cid == flowers.release.cid
    again.catalog.close()


# --- previous keys, migrations -------------------------------------------------------------------


async def test_a_new_key_is_learned_from_the_document(
    world: World, reader: Reader, alice: Account, flowers: Published
) -> None:
    await reader.resolver.dataset("@alice.test/flowers")
    alice.rotate_key(commit=True)
    found = await reader.resolver.dataset("@alice.test/flowers")
    assert found.head is not None
    assert found.head.rev == alice.head.commit.rev
    assert not found.head.previous_key


async def test_a_head_that_a_previous_key_signed_is_shown_as_such_and_not_loaded(
    reader: Reader, alice: Account, flowers: Published
) -> None:
    alice.rotate_key()
    with pytest.raises(PreviousKey, match="signed by a previous key") as caught:
        await reader.resolver.dataset("@alice.test/flowers")
    assert "--allow-previous-key" in caught.value.next_step
    assert reader.listed() == []
    assert reader.problems() == {"flowers": "PreviousKey"}


async def test_a_previous_key_that_is_allowed_is_not_remembered_as_proved(
    reader: Reader, alice: Account, flowers: Published
) -> None:
    alice.rotate_key()
    found = await reader.resolver.dataset("@alice.test/flowers", allow_previous_key=True)
    assert found.release.previous_key
    assert reader.catalog.counts().records == 0
    with pytest.raises(PreviousKey):
        await reader.resolver.dataset("@alice.test/flowers")


async def test_a_commit_that_was_proved_while_its_key_was_current_stays_proved(
    reader: Reader, alice: Account, flowers: Published
) -> None:
    await reader.resolver.record(flowers.release.uri)
    alice.rotate_key()
    await reader.directory.resolve(alice.did, refresh=True)
    found = await reader.resolver.dataset("@alice.test/flowers")
    assert found.head is not None
    assert not found.head.previous_key
    assert reader.listed() == ["flowers"]


async def test_an_absence_that_a_previous_key_signed_deletes_nothing(
    reader: Reader, alice: Account, flowers: Published
) -> None:
    await reader.resolver.dataset("@alice.test/flowers")
    alice.delete("network.atd.dataset", "flowers")
    alice.rotate_key()
    await reader.directory.resolve(alice.did, refresh=True)
    with pytest.raises(PreviousKey):
        await reader.resolver.dataset("@alice.test/flowers")
    assert reader.catalog.record(flowers.head.uri) is not None


async def test_an_account_that_moved_is_found_at_its_new_server(
    world: World, reader: Reader, alice: Account, flowers: Published
) -> None:
    await reader.resolver.dataset("@alice.test/flowers")
    alice.migrate(world.pds("pds2"))
    found = await reader.resolver.dataset("@alice.test/flowers")
    assert found.identity.did == alice.did
    assert found.head is not None
    alice.commit()
    assert (await reader.resolver.publisher("alice.test")).identity.pds == world.pds("pds2").url


async def test_an_account_whose_old_server_is_gone_is_found_at_its_new_one(
    world: World, reader: Reader, alice: Account, flowers: Published
) -> None:
    await reader.resolver.dataset("@alice.test/flowers")
    alice.migrate(world.pds("pds2"), rotate=False)
    world.unplug("https://pds1.example.com")
    assert (await reader.resolver.record(flowers.head.uri, refresh=True)).cid == flowers.head.cid


@pytest.mark.parametrize(
    ("status", "said"), [("deactivated", "is deactivated"), ("takendown", "is taken down")]
)
async def test_an_account_that_is_not_active_is_not_read(
    reader: Reader, alice: Account, flowers: Published, status: str, said: str
) -> None:
    await reader.resolver.dataset("@alice.test/flowers")
    alice.status = status
    with pytest.raises(AccountInactive, match=said):
        await reader.resolver.dataset("@alice.test/flowers")
    publisher = reader.catalog.publisher(alice.did)
    assert publisher is not None
    assert publisher.error == "AccountInactive"
    alice.status = "active"
    await reader.resolver.dataset("@alice.test/flowers")
    publisher = reader.catalog.publisher(alice.did)
    assert publisher is not None
    assert publisher.error is None


# --- everything of a publisher -----------------------------------------------------------------


async def test_a_publisher_is_indexed_whole(reader: Reader, alice: Account) -> None:
    publish(alice, "flowers")
    publish(alice, "trees")
    alice.put("app.bsky.feed.post", "3lrnqk7qs222b", {"text": "not ours"})
    indexed = await reader.resolver.publisher("@alice.test")
    assert indexed.changes is not None
    assert indexed.changes.created == 10
    assert indexed.rev == alice.head.commit.rev
    assert reader.listed() == ["flowers", "trees"]
    alice.delete("network.atd.dataset", "trees")
    again = await reader.resolver.publisher("alice.test")
    assert again.changes is not None
    assert (again.changes.created, again.changes.deleted) == (0, 1)
    assert reader.listed() == ["flowers"]


async def test_records_that_cannot_be_read_are_problems_and_the_others_are_listed(
    reader: Reader, alice: Account
) -> None:
    publish(alice, "flowers")
    alice.put("network.atd.dataset", "broken", {"name": "broken"})
    alice.put("network.atd.dataset", "Other", value(alice, publish(alice, "renamed")))
    alice.put_block("network.atd.dataset", "float", b"\xa1\x61x\xf9\x3c\x00")
    indexed = await reader.resolver.publisher("alice.test")
    assert indexed.changes is not None
    assert reader.listed() == ["flowers", "renamed"]
    assert reader.problems() == {
        "broken": "LexiconError",
        "Other": "LexiconError",
        "float": "ProofError",
    }


async def test_a_repository_that_is_too_large_is_read_record_by_record(
    world: World, tmp_path: Path, alice: Account
) -> None:
    publish(alice, "flowers")
    gone = publish(alice, "gone")
    alice.put("network.atd.dataset", "broken", {"name": "broken"})
    reader = Reader.of(world, tmp_path, max_repo_bytes=1000)
    indexed = await reader.resolver.publisher("alice.test")
    assert indexed.changes is None
    assert reader.listed() == ["flowers", "gone"]
    assert reader.problems() == {"broken": "LexiconError"}
    alice.delete("network.atd.dataset", "gone")
    await reader.resolver.publisher("alice.test")
    assert reader.listed() == ["flowers"]
    assert reader.catalog.absent_since(gone.head.uri) is not None
    reader.catalog.close()


async def test_a_repository_signed_by_a_previous_key_is_not_indexed(
    reader: Reader, alice: Account, flowers: Published
) -> None:
    alice.rotate_key()
    with pytest.raises(PreviousKey):
        await reader.resolver.publisher("alice.test")
    allowed = await reader.resolver.publisher("alice.test", allow_previous_key=True)
    assert allowed.changes is None
    assert reader.catalog.counts().records == 0


async def test_one_shard_list_is_what_its_type_says(reader: Reader, flowers: Published) -> None:
    found = await reader.resolver.record(flowers.parts[0].uri, cid=flowers.parts[0].cid)
    assert isinstance(found.record, ShardPart)
    assert Cid.of(found.block) == found.cid


async def test_a_repository_on_its_way_into_the_index_holds_up_nobody_else(
    world: World, reader: Reader, alice: Account, flowers: Published
) -> None:
    publish(world.account("bob.test"))
    identity = await reader.directory.resolve("alice.test")
    repo = (await Prover(reader.directory, reader.pds).repo(identity)).what
    entering, go_on = threading.Event(), threading.Event()
    waited: list[bool] = []

    def records() -> Iterator[tuple[VerifiedRecord, Record]]:
        entering.set()
        waited.append(go_on.wait(5))
        for collection in COLLECTIONS:
            for key in repo.keys(Nsid(collection)):
                verified = repo.record(AtUri(alice.did, Nsid(collection), RecordKey(key)))
                yield verified, parse(verified)

    snapshot = reader.catalog.publisher_snapshot
    entered = asyncio.create_task(asyncio.to_thread(snapshot, repo, records(), now=world.now()))
    await asyncio.to_thread(entering.wait, 5)
    found = asyncio.create_task(reader.resolver.dataset("@bob.test/flowers"))
    for _ in range(10):  # whoever writes waits now; the event loop does not
        await asyncio.sleep(0.001)
    go_on.set()
    await entered
    assert waited == [True]
    assert (await found).identity.handle == "bob.test"
    assert len(reader.listed()) == 2
