"""Bundles that an honest daemon makes: what is in them, and what they prove to somebody offline."""

from __future__ import annotations

import json

import pytest

from atd.bundles import check_bundle
from atd.bundles.report import report
from atd.errors import IdentityMismatch, Offline, PreviousKey, RecordAbsent, StaleRevision
from atd.protocol.car import read_car
from atd.protocol.syntax import AtUri
from atd.records import Dataset, Release
from atd_daemon.network.fetch import offline_now
from atd_daemon.sync.bundles import Bundler
from world import Account, World, body
from world.daemons import Reader
from world.datasets import Published, publish

SERVICE = {
    "id": "#atproto_pds",
    "type": "AtprotoPersonalDataServer",
    "serviceEndpoint": "https://pds1.example.com",
}


async def test_a_bundle_of_a_data_set_proves_all_of_it_and_nothing_else(
    bundler: Bundler, world: World, alice: Account, flowers: Published
) -> None:
    publish(alice, "other")
    made = await bundler.make("@alice.test/flowers")
    checked = check_bundle(made.data, now_s=world.now())
    expected = [flowers.head, flowers.release, flowers.schema, *flowers.parts]
    assert [(one.verified.uri, one.verified.cid) for one in checked.records] == [
        (one.uri, one.cid) for one in expected
    ]
    assert isinstance(checked.subject.record, Dataset)
    assert checked.release is not None
    assert checked.release.version == "1.0.0"
    said = report(checked)
    assert [shard["digest"] for shard in said["proved"]["shards"]] == list(map(str, flowers.shards))
    assert said["proved"]["identities"][0]["did"] == alice.did
    assert said["proved"]["identities"][0]["key"] == alice.key.public.to_did_key()
    assert said["testified"]["identities"][0]["handle"]["name"] == "alice.test"


async def test_the_same_question_at_the_same_moment_gives_the_same_bytes(
    bundler: Bundler, flowers: Published
) -> None:
    first = await bundler.make("@alice.test/flowers")
    assert (await bundler.make("@alice.test/flowers")).data == first.data


async def test_a_release_a_schema_and_a_shard_list_have_bundles_of_their_own(
    bundler: Bundler, flowers: Published
) -> None:
    made = await bundler.make("@alice.test/flowers@1.0.0")
    assert isinstance(made.checked.subject.record, Release)
    assert len(made.checked.records) == 4
    for one in (flowers.schema, flowers.parts[0]):
        alone = (await bundler.make(str(one.uri))).checked
        assert [record.verified.cid for record in alone.records] == [one.cid]
        assert alone.release is None


async def test_lists_of_lists_are_in_it_each_after_the_one_that_refers_to_it(
    bundler: Bundler, alice: Account
) -> None:
    deep = publish(alice, "deep", nested=True, each=1)
    made = await bundler.make("@alice.test/deep")
    assert {one.verified.cid for one in made.checked.records} == {
        one.cid for one in (deep.head, deep.release, deep.schema, *deep.parts)
    }


async def test_every_operation_since_the_first_is_there_and_proved(
    bundler: Bundler, alice: Account, flowers: Published
) -> None:
    alice.rotate_key(commit=True)
    alice.rotate_key(commit=True)
    checked = (await bundler.make("@alice.test/flowers")).checked
    assert [key.to_did_key() for key in checked.identities[0].history] == [
        key.public.to_did_key() for key in reversed(alice.keys)
    ]
    assert checked.identities[0].proved
    assert not checked.previous_keys


async def test_records_proved_under_a_key_that_is_gone_are_had_anew(
    bundler: Bundler, reader: Reader, alice: Account, flowers: Published
) -> None:
    await reader.resolver.dataset("@alice.test/flowers")
    alice.rotate_key(commit=True)
    await reader.directory.resolve(alice.did, refresh=True)
    checked = (await bundler.make("@alice.test/flowers")).checked
    assert {one.by for one in checked.records} == {alice.key.public}


async def test_records_proved_by_very_many_commits_are_had_anew(
    bundler: Bundler, reader: Reader, alice: Account
) -> None:
    many = publish(alice, "many", splits={"train": [b"%d" % n * 50 for n in range(20)]}, each=1)
    for part in many.parts:
        await reader.resolver.record(part.uri)
        alice.commit()
    checked = (await bundler.make("@alice.test/many")).checked
    assert len(checked.records) == 3 + 20
    assert len({one.verified.commit.cid for one in checked.records}) <= 16


async def test_a_head_signed_by_a_previous_key_gives_no_bundle(
    bundler: Bundler, alice: Account, flowers: Published
) -> None:
    alice.rotate_key()
    with pytest.raises(PreviousKey):
        await bundler.make("@alice.test/flowers")


async def test_of_a_did_web_only_the_records_are_proved(bundler: Bundler, world: World) -> None:
    lab = world.pds("pds1").account("lab.example.com", did="did:web:lab.example.com")
    lab.serve_document()
    publish(lab)
    made = await bundler.make("did:web:lab.example.com/flowers")
    said = report(check_bundle(made.data, now_s=world.now()))
    assert said["proved"]["identities"] == []
    assert said["testified"]["identities"][0]["key"] == lab.key.public.to_did_key()
    assert "did:web" in said["notProved"][0]


async def test_a_schema_of_another_publisher_brings_that_ones_keys(
    bundler: Bundler, world: World, alice: Account, flowers: Published
) -> None:
    bob = world.account("bob.test", "pds2")
    theirs = publish(bob, "mine")
    value = dict(bob.value(theirs.release.cid))  # type: ignore[arg-type]
    value["schema"] = flowers.schema.to_value()
    released = bob.put("network.atd.release", "mine:1.0.1", {**value, "version": "1.0.1"})
    head = dict(bob.value(theirs.head.cid))  # type: ignore[arg-type]
    bob.put("network.atd.dataset", "mine", {**head, "latest": released.to_value()})
    checked = (await bundler.make("@bob.test/mine")).checked
    assert [one.identity.did for one in checked.identities] == [bob.did, alice.did]


async def test_what_is_not_published_has_no_bundle(bundler: Bundler, flowers: Published) -> None:
    with pytest.raises(RecordAbsent):
        await bundler.make("@alice.test/trees")


async def test_without_a_network_a_bundle_is_made_of_what_is_known(
    bundler: Bundler, world: World, alice: Account, flowers: Published
) -> None:
    uri = AtUri.parse(str(flowers.head.uri))
    token = offline_now.set(True)
    try:
        with pytest.raises((Offline, RecordAbsent)):
            await bundler.make("@alice.test/flowers")
    finally:
        offline_now.reset(token)
    await bundler.make("@alice.test/flowers")
    world.pass_time(100_000)
    asked = len(world.calls)
    token = offline_now.set(True)
    try:
        again = await bundler.make("@alice.test/flowers")
        assert (await bundler.of(uri)).checked.subject.verified.cid == flowers.head.cid
    finally:
        offline_now.reset(token)
    assert len(world.calls) == asked
    said = report(again.checked)["testified"]
    assert said["identities"][0]["fetchedAt"] < said["made"]["at"]


async def test_a_log_that_does_not_prove_is_never_remembered(
    bundler: Bundler, world: World, alice: Account, flowers: Published
) -> None:
    first = alice.world.plc.accounts[alice.did].log[0]
    genuine = dict(first.operation)
    first.operation["services"] = {}
    document = json.dumps({**alice.document, "service": [SERVICE]}).encode()
    world.lie(body(lambda _: document), path=f"/{alice.did}", host="plc.world.example.com", times=1)
    with pytest.raises(IdentityMismatch, match="first operation"):
        await bundler.make(f"{alice.did}/flowers")
    first.operation.clear()
    first.operation.update(genuine)
    await bundler.make(f"{alice.did}/flowers")


async def test_a_bundle_from_the_future_is_refused(
    bundler: Bundler, world: World, flowers: Published
) -> None:
    made = await bundler.make("@alice.test/flowers")
    with pytest.raises(StaleRevision, match="in the future"):
        check_bundle(made.data, now_s=world.now() - 301)
    check_bundle(made.data, now_s=world.now() + 10**9)


async def test_a_bundle_is_a_car_file_whose_root_leads_to_every_block(
    bundler: Bundler, flowers: Published
) -> None:
    made = await bundler.make("@alice.test/flowers")
    car = read_car(made.data)
    assert car.roots == (next(iter(car.blocks)),)
    paths = {cid for one in made.checked.records for cid in one.verified.path}
    operations = {one.what for who in made.checked.manifest.identities for one in who.operations}
    assert set(car.blocks) == {car.roots[0], *paths, *operations}
