"""Publishing in a world: what is written, and what is not."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from atd.errors import (
    BadSource,
    Busy,
    Conflict,
    DigestMismatch,
    InvalidSyntax,
    LoginRefused,
    NeedsConsent,
    TooLarge,
)
from atd.manifest import Manifest
from atd.protocol.cbor import Cid
from atd.publishing.packing import pack
from atd.publishing.sources.opening import open_source
from atd_daemon.publishing.asked import Commit
from atd_daemon.publishing.holders import Holder
from publishing.desk import Desk, calls, keys, numbers, record, uploads
from world import Account, World
from world.daemons import Reader


async def test_a_first_release_is_there_and_proves(
    world: World, alice: Account, desk: Desk, tmp_path: Path
) -> None:
    published = await desk.publish(numbers(300), request={"card": {"title": "Numbers"}})
    assert (published.version, published.samples, published.unchanged) == ("1.0.0", 300, False)
    assert published.shards == published.new_shards > 3
    assert published.uploaded == published.size
    assert keys(alice, "dataset") == ["numbers"]
    assert keys(alice, "release") == keys(alice, "schema") == ["numbers:1.0.0"]
    assert len(keys(alice, "shards")) == 1
    assert len(calls(world, "com.atproto.repo.applyWrites")) == 1

    bob = Reader.of(world, tmp_path / "bob")
    found = await bob.resolver.dataset("@alice.test/numbers")
    assert found.head is not None
    assert found.head.record.title == "Numbers"
    for shard in found.shards:
        assert (await bob.store.ensure(shard.want)).stat().st_size == shard.entry.size


async def test_the_store_has_the_shards_without_a_download(
    world: World, alice: Account, desk: Desk
) -> None:
    await desk.publish(numbers(100))
    found = await desk.reader.resolver.dataset("@alice.test/numbers")
    assert all(desk.reader.store.path(shard.entry.digest) for shard in found.shards)
    staging = desk.reader.config.cache_dir / "staging"
    assert list(staging.iterdir()) == []


async def test_unchanged_data_writes_nothing(world: World, alice: Account, desk: Desk) -> None:
    first = await desk.publish(numbers(100))
    rev, sent = alice.head.commit.rev, len(world.calls)
    again = await desk.publish(numbers(100))
    assert again.unchanged
    assert (again.version, again.uploaded, again.new_shards) == ("1.0.0", 0, 0)
    assert again.release == first.release
    assert alice.head.commit.rev == rev
    assert not [call for call in world.calls[sent:] if call.method == "POST"]
    assert "unchanged" in desk.heard.names


async def test_changed_data_is_the_next_minor_and_sends_new_shards_only(
    world: World, alice: Account, desk: Desk
) -> None:
    first = await desk.publish(numbers(600))
    before = len(uploads(world))
    second = await desk.publish(numbers(601))
    assert second.version == "1.1.0"
    assert 1 <= second.new_shards <= 2
    assert len(uploads(world)) - before == second.new_shards
    assert len(set(uploads(world))) == len(uploads(world))
    release = record(alice, "release", "numbers:1.1.0")
    assert release["previous"]["uri"].endswith("numbers:1.0.0")
    assert release["schema"]["uri"].endswith("numbers:1.0.0")
    assert keys(alice, "schema") == ["numbers:1.0.0"]
    assert keys(alice, "release") == ["numbers:1.0.0", "numbers:1.1.0"]
    assert record(alice, "dataset", "numbers")["latest"]["cid"] == str(second.release.cid)
    assert first.release.cid != second.release.cid


async def test_another_card_writes_the_head_only(world: World, alice: Account, desk: Desk) -> None:
    await desk.publish(numbers(100), request={"card": {"title": "A", "license": "MIT"}})
    records = dict(alice.head.records)
    again = await desk.publish(numbers(100), request={"card": {"title": "B"}})
    assert again.unchanged
    assert again.card_changed
    changed = {key for key, cid in alice.head.records.items() if records.get(key) != cid}
    assert changed == {"network.atd.dataset/numbers"}
    head = record(alice, "dataset", "numbers")
    assert (head["title"], head["license"]) == ("B", "MIT")


@pytest.mark.parametrize(
    ("change", "version"),
    [
        (lambda data: {**data, "more": data["n"]}, "1.1.0"),
        (lambda data: {"noise": data["noise"]}, "2.0.0"),
        (lambda data: {**data, "n": data["n"].astype(float)}, "2.0.0"),
    ],
)
async def test_the_schema_says_how_large_a_step_is(
    desk: Desk, alice: Account, change: Any, version: str
) -> None:
    await desk.publish(numbers(60))
    second = await desk.publish(change(numbers(60)))
    assert second.version == version
    assert keys(alice, "schema") == ["numbers:1.0.0", f"numbers:{version}"]


async def test_versions_that_are_asked_for(desk: Desk) -> None:
    assert (await desk.publish(numbers(60), version="0.9.0")).version == "0.9.0"
    assert (await desk.publish(numbers(61), version="3.0.0-rc.1")).version == "3.0.0-rc.1"
    assert (await desk.publish(numbers(61), version="3.0.0-rc.1")).unchanged
    with pytest.raises(Conflict, match="published already, with other content"):
        await desk.publish(numbers(62), version="3.0.0-rc.1")
    with pytest.raises(Conflict, match="older than the latest"):
        await desk.publish(numbers(62), version="1.0.0")
    assert (await desk.publish(numbers(62))).version == "3.0.0"


async def test_a_version_left_by_an_earlier_life_is_not_overwritten(
    desk: Desk, alice: Account
) -> None:
    await desk.publish(numbers(60))
    before = alice.head.records["network.atd.release/numbers:1.0.0"]
    alice.delete("network.atd.dataset", "numbers")
    second = await desk.publish(numbers(70))
    assert second.version == "1.1.0"
    assert alice.head.records["network.atd.release/numbers:1.0.0"] == before
    alice.put("network.atd.release", "other:1.2.0", {"odd": True})
    with pytest.raises(Conflict, match=r"version 1\.2\.0 of other exists already"):
        await desk.publish(numbers(60), "other", version="1.2.0")


async def test_what_takes_much_away_needs_consent_whoever_asks_the_daemon(
    desk: Desk, alice: Account
) -> None:
    await desk.publish(numbers(60))
    before = dict(alice.head.records)
    for data in (numbers(20), {"other": numbers(60)["n"]}):
        with pytest.raises(NeedsConsent, match=r"numbers 1\.0\.0 would be followed by"):
            await desk.publish(data, request={"consent": False})
    assert alice.head.records == before
    assert (await desk.publish(numbers(50), request={"consent": False})).version == "1.1.0"


async def test_the_first_publication_needs_consent(desk: Desk, alice: Account) -> None:
    with pytest.raises(NeedsConsent, match="become public"):
        await desk.publish(numbers(60), request={"consent": False})
    assert not alice.head.records
    assert (await desk.begin(dry_run=True)).first
    await desk.publish(numbers(60))
    assert not (await desk.begin(dry_run=True)).first
    await desk.publish(numbers(61), request={"consent": False})


async def test_nobody_is_logged_in(world: World, tmp_path: Path) -> None:
    with pytest.raises(LoginRefused):
        await Desk(world, tmp_path).publish(numbers(60))


async def test_a_dry_run_keeps_nothing(world: World, desk: Desk, alice: Account) -> None:
    await desk.publish(numbers(60))
    begun = await desk.begin(dry_run=True)
    assert begun.id is None
    assert begun.previous is not None
    assert begun.previous["version"] == "1.0.0"
    assert begun.cuts.max_bytes <= 5 * 1024 * 1024
    assert not desk.journal.open_ids()


async def test_two_publications_of_one_name_at_once(desk: Desk) -> None:
    begun = await desk.begin(holder=Holder.of(os.getpid(), "one"))
    with pytest.raises(Busy, match="being published by another process"):
        await desk.begin(holder=Holder.of(os.getpid(), "two"))
    await desk.begin("another", holder=Holder.of(os.getpid(), "two"))
    gone = await desk.begin("third", holder=Holder(2**22 + 1, "1", "one"))
    assert (await desk.begin("third", holder=Holder.of(os.getpid(), "two"))).id == gone.id
    assert begun.id is not None
    await desk.publishing.abandon(begun.id)
    assert (await desk.begin(holder=Holder.of(os.getpid(), "two"))).id != begun.id
    with pytest.raises(InvalidSyntax, match="no publication"):
        await desk.publishing.abandon(begun.id)


async def test_many_shards_make_several_lists_and_commits(desk: Desk, alice: Account) -> None:
    data = {"noise": np.random.default_rng(1).integers(0, 255, (400, 60_000), dtype=np.uint8)}
    published = await desk.publish(data)
    assert published.shards == 400
    assert len(keys(alice, "shards")) > 1
    sizes = [len(alice.blocks[cid]) for key, cid in alice.head.records.items() if "shards" in key]
    assert max(sizes) < 64 * 1024
    before = set(keys(alice, "shards"))
    data["noise"][7] += 1
    await desk.publish(data)
    assert len(set(keys(alice, "shards")) - before) <= 2


async def test_shards_are_cut_to_what_the_pds_says_that_it_takes(
    world: World, tmp_path: Path
) -> None:
    account = world.pds("small", blob_limit=100_000).account("bob.test")
    desk = Desk(world, tmp_path)
    await desk.login(account)
    await desk.publish(numbers(600), shard_size=200_000)
    assert max(len(data) for data, _ in account.blobs.values()) <= 100_000


async def test_a_packed_folder_with_larger_shards_than_the_pds_takes(
    world: World, desk: Desk, tmp_path: Path
) -> None:
    pack(open_source(numbers(6000)), tmp_path / "packed")
    with pytest.raises(TooLarge, match=r"has \d+ bytes; .* takes 5242880") as caught:
        await desk.publish(tmp_path / "packed")
    assert "--shard-size 5242880" in caught.value.next_step
    assert not uploads(world)


async def test_a_staged_file_that_is_not_what_it_was(desk: Desk, alice: Account) -> None:
    begun = await desk.begin()
    assert begun.id
    assert begun.staging
    manifest = pack(open_source(numbers(60)), begun.staging, begun.cuts)
    path = Path(begun.staging) / manifest.shards[0].name
    data = bytearray(path.read_bytes())
    data[5000] ^= 1
    path.write_bytes(data)
    with pytest.raises(DigestMismatch):
        await desk.publishing.commit(begun.id, Commit(consent=True), desk.heard)
    assert not alice.head.records


async def test_blobs_go_into_records_as_they_came(desk: Desk, alice: Account) -> None:
    published = await desk.publish(numbers(60))
    (key,) = keys(alice, "shards")
    for shard in record(alice, "shards", key)["shards"]:
        assert shard["blob"] == {
            "$type": "blob",
            "ref": shard["digest"],
            "mimeType": "application/x-tar",
            "size": shard["size"],
        }
        assert isinstance(shard["digest"], Cid)
    assert published.shards == 3


async def test_a_manifest_without_shards(desk: Desk, alice: Account) -> None:
    begun = await desk.begin()
    assert begun.id
    assert begun.staging
    made = pack(open_source(numbers(60)), begun.staging, begun.cuts)
    Manifest(made.schema, made.layout, made.cuts, {"train": ()}).save(Path(begun.staging))
    with pytest.raises(BadSource, match="a split without"):
        await desk.publishing.commit(begun.id, Commit(consent=True), desk.heard)
    assert not alice.head.records
