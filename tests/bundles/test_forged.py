"""Bundles that a liar made: whatever is altered, left out, added or swapped is noticed."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any

import pytest

from atd.bundles import MAX_BUNDLE_BYTES, check_bundle
from atd.bundles.report import report
from atd.errors import (
    AtdError,
    IdentityMismatch,
    LexiconError,
    PreviousKey,
    ProofError,
    RecordAbsent,
)
from atd.protocol.car import read_car, write_car
from atd.protocol.cbor import Cid, decode, encode
from atd.protocol.syntax import AtUri
from atd_daemon.sync.bundles import Bundler
from bundles.forging import blocks_of, bundle, manifest_of, saying, swapping
from world import Account, World
from world.account import key_for
from world.datasets import Published, publish
from world.plc import sign

Change = Callable[[Any], object]


@pytest.fixture
async def data(bundler: Bundler, flowers: Published) -> bytes:
    return (await bundler.make("@alice.test/flowers")).data


def check(data: bytes, world: World, **options: bool) -> object:
    return check_bundle(data, now_s=world.now(), **options)


async def test_every_flipped_bit_of_a_small_bundle_is_noticed(
    bundler: Bundler, world: World, flowers: Published
) -> None:
    genuine = (await bundler.make(str(flowers.schema.uri))).data
    for at in range(len(genuine)):
        for bit in range(8):
            altered = bytearray(genuine)
            altered[at] ^= 1 << bit
            with pytest.raises(AtdError):
                check(bytes(altered), world)


async def test_every_cut_and_every_addition_is_noticed(data: bytes, world: World) -> None:
    for at in range(0, len(data), 7):
        with pytest.raises(ProofError):
            check(data[:at], world)
    for more in (b"\0", data[-50:], data):
        with pytest.raises(ProofError):
            check(data + more, world)


async def test_no_block_can_be_left_out_swapped_or_added(data: bytes, world: World) -> None:
    blocks = blocks_of(data)
    for cid in blocks:
        without = {k: v for k, v in blocks.items() if k != cid}
        with pytest.raises(AtdError):
            check(bundle(manifest_of(data), without), world)
    backwards = dict(reversed(blocks.items()))
    with pytest.raises(ProofError, match="in their order"):
        check(bundle(manifest_of(data), backwards), world)
    more = encode({"more": 1})
    with pytest.raises(ProofError, match="in their order"):
        check(bundle(manifest_of(data), {**blocks, Cid.of(more): more}), world)


async def test_no_signed_block_can_be_altered_with_its_hash(data: bytes, world: World) -> None:
    """Somebody who makes a new file with right hashes still has no signature."""
    rng = random.Random(7)
    for cid, block in blocks_of(data).items():
        for _ in range(20):
            altered = bytearray(block)
            altered[rng.randrange(len(block))] ^= 1 << rng.randrange(8)
            with pytest.raises(AtdError):
                check(swapping(data, cid, bytes(altered)), world)


async def test_two_roots_or_a_root_elsewhere_are_refused(data: bytes, world: World) -> None:
    blocks, root = blocks_of(data), read_car(data).roots[0]
    manifest = encode(manifest_of(data))
    with pytest.raises(ProofError, match="begin with its only root"):
        check(write_car(root, [*blocks.items(), (root, manifest)]), world)
    with pytest.raises(ProofError, match="begin with its only root"):
        check(write_car(next(iter(blocks)), [(root, manifest), *blocks.items()]), world)


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.update(format="other"),
        lambda m: m.update(version=2),
        lambda m: m.update(version=True),
        lambda m: m.update(extra=1),
        lambda m: m.pop("made"),
        lambda m: m["made"].update(at="yesterday"),
        lambda m: m["made"].update(by=""),
        lambda m: m["made"].update(by="x" * 65),
        lambda m: m.update(records=[]),
        lambda m: m.update(records=m["records"][1:]),
        lambda m: m["records"].append(m["records"][1]),
        lambda m: m["records"].reverse(),
        lambda m: m["records"].pop(),
        lambda m: m["records"][1].update(at=5),
        lambda m: m["records"][1].update(cid=m["records"][0]["cid"]),
        lambda m: m["records"][1].update(commit=m["records"][0]["cid"]),
        lambda m: m["records"][1].update(uri=m["records"][1]["uri"] + "x"),
        lambda m: m["records"][1].update(uri="at://alice.test/network.atd.release/flowers:1.0.0"),
        lambda m: m["records"][1].update(extra=1),
        lambda m: m["subject"].update(m["records"][1]),
        lambda m: m.update(subject={"uri": m["records"][1]["uri"], "cid": m["records"][1]["cid"]}),
        lambda m: m.update(identities=[]),
        lambda m: m["identities"].append(m["identities"][0]),
        lambda m: m["identities"][0].update(did="did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"),
        lambda m: m["identities"][0].update(did="did:web:alice.test"),
        lambda m: m["identities"][0].update(operations=[]),
        lambda m: m["identities"][0]["operations"].append(m["identities"][0]["operations"][0]),
        lambda m: m["identities"][0]["operations"][0].update(createdAt="now"),
        lambda m: m["identities"][0].update(document="{}"),
        lambda m: m["identities"][0].update({"from": "plc.directory"}),
        lambda m: m["identities"][0]["handle"].update(name="evil.test"),
        lambda m: m["identities"][0]["handle"].update(name="alice"),
    ],
)
async def test_a_manifest_that_says_anything_else_is_refused(
    data: bytes, world: World, change: Change
) -> None:
    with pytest.raises(AtdError):
        check(saying(data, change), world)


async def test_only_what_is_testified_can_be_said_otherwise_and_is_told_as_such(
    data: bytes, world: World
) -> None:
    def change(manifest: Any) -> None:
        manifest["made"] = {"at": "2001-01-01T00:00:00.000Z", "by": "nobody"}
        manifest["identities"][0]["at"] = "2001-01-02T00:00:00.000Z"
        manifest["identities"][0]["from"] = "https://plc.example.org"
        manifest["identities"][0]["operations"][0]["createdAt"] = "2001-01-03T00:00:00.000Z"
        manifest["identities"][0]["handle"]["at"] = "2001-01-04T00:00:00.000Z"
        manifest["records"][0]["at"] = "2001-01-05T00:00:00.000Z"

    genuine = report(check_bundle(data, now_s=world.now()))
    altered = report(check_bundle(saying(data, change), now_s=world.now()))
    assert altered["proved"] == genuine["proved"]
    assert altered["testified"] != genuine["testified"]
    assert "2001" not in str(altered["proved"])


async def test_another_publishers_operations_prove_nothing(
    bundler: Bundler, data: bytes, world: World
) -> None:
    publish(world.account("bob.test"), "flowers")
    theirs = (await bundler.make("@bob.test/flowers")).data
    mine, other = manifest_of(data), manifest_of(theirs)
    mine["identities"][0]["operations"] = other["identities"][0]["operations"]
    with pytest.raises(IdentityMismatch, match="first operation"):
        check(bundle(mine, {**blocks_of(data), **blocks_of(theirs)}), world)


async def test_a_later_operation_needs_a_rotation_key(
    data: bytes, world: World, alice: Account
) -> None:
    """A thief of the signing key, or anybody, would like to append a key of their own."""
    thief = key_for("thief")
    first = world.plc.accounts[alice.did].log[0]
    forged = {k: v for k, v in first.operation.items() if k != "sig"}
    forged |= {
        "prev": str(first.cid),
        "verificationMethods": {"atproto": thief.public.to_did_key()},
    }
    for signer in (thief, alice.key):
        operation = encode(sign(forged, signer))
        manifest = manifest_of(data)
        manifest["identities"][0]["operations"].append(
            {"operation": Cid.of(operation), "createdAt": "2025-06-15T00:00:00.000Z"}
        )
        with pytest.raises(IdentityMismatch, match="not signed by a rotation key"):
            check(bundle(manifest, {**blocks_of(data), Cid.of(operation): operation}), world)


async def test_leaving_out_the_newest_operation_shows_who_was_current_before(
    bundler: Bundler, world: World, alice: Account, flowers: Published
) -> None:
    """The lie that nobody can prove: that is why the end of the log is testimony."""
    alice.rotate_key(commit=True)
    data = (await bundler.make("@alice.test/flowers")).data
    manifest, blocks = manifest_of(data), blocks_of(data)
    dropped = manifest["identities"][0]["operations"].pop()
    del blocks[dropped["operation"]]
    with pytest.raises(ProofError, match="not signed by a key"):
        check(bundle(manifest, blocks), world)


async def test_a_commit_of_a_previous_key_is_refused_unless_allowed(
    bundler: Bundler, data: bytes, world: World, alice: Account
) -> None:
    manifest, blocks = manifest_of(data), blocks_of(data)
    alice.rotate_key()
    entry = world.plc.accounts[alice.did].log[-1]
    operation = encode(entry.operation)
    manifest["identities"][0]["operations"].append(
        {"operation": entry.cid, "createdAt": entry.created_at}
    )
    first = manifest["identities"][0]["operations"][0]["operation"]
    ordered = {first: blocks.pop(first), entry.cid: operation, **blocks}
    with pytest.raises(PreviousKey):
        check(bundle(manifest, ordered), world)
    checked = check_bundle(bundle(manifest, ordered), now_s=world.now(), allow_previous_key=True)
    assert checked.previous_keys
    assert report(checked)["proved"]["commits"][0]["previousKey"] is True


async def test_the_proof_of_another_record_is_none_of_this_one(
    data: bytes, world: World, alice: Account
) -> None:
    absent = AtUri.parse(f"at://{alice.did}/network.atd.dataset/trees")

    def change(manifest: Any) -> None:
        manifest["records"][0]["uri"] = manifest["subject"]["uri"] = str(absent)

    with pytest.raises(RecordAbsent):
        check(saying(data, change), world)


async def test_totals_that_no_shard_list_has_are_refused(
    world: World, alice: Account, flowers: Published, bundler: Bundler
) -> None:
    data = (await bundler.make("@alice.test/flowers")).data
    value: Any = copy.deepcopy(alice.value(flowers.release.cid))
    value["splits"][0]["size"] += 1
    value["size"] += 1
    released = alice.put("network.atd.release", "flowers:1.0.0", value)
    head: Any = dict(alice.value(flowers.head.cid))  # type: ignore[arg-type]
    alice.put("network.atd.dataset", "flowers", {**head, "latest": released.to_value()})
    manifest, records = manifest_of(data), alice.head.records
    commit = alice.head.commit
    blocks: dict[Cid, bytes] = {}
    for claim in manifest["records"]:
        uri = AtUri.parse(claim["uri"])
        key = f"{uri.collection}/{uri.rkey}"
        claim.update(cid=records[key], commit=commit.cid)
        blocks |= dict(read_car(alice.head.record_car(key)).blocks)
    manifest["subject"]["cid"] = manifest["records"][0]["cid"]
    operation = manifest["identities"][0]["operations"][0]["operation"]
    with pytest.raises(LexiconError, match="expected 2 shards"):
        check(bundle(manifest, {operation: blocks_of(data)[operation], **blocks}), world)


@pytest.mark.parametrize(
    "garbage", [b"", b"\0" * 100, b"atd-proof", b"\x3a\xa2eroots", bytes(range(256)) * 4]
)
def test_what_is_no_bundle_is_refused(garbage: bytes, world: World) -> None:
    with pytest.raises(ProofError):
        check(garbage, world)


def test_a_file_beyond_the_limit_is_not_looked_at(world: World) -> None:
    with pytest.raises(ProofError, match="at most"):
        check(bytes(MAX_BUNDLE_BYTES + 1), world)


def test_a_manifest_nested_deep_is_refused(world: World) -> None:
    nested = b"\x81" * 100_000 + b"\x80"
    root = Cid.of(nested)
    with pytest.raises(ProofError, match="manifest"):
        check(write_car(root, [(root, nested)]), world)


async def test_an_operation_that_is_no_map_is_refused(data: bytes, world: World) -> None:
    first = manifest_of(data)["identities"][0]["operations"][0]["operation"]
    assert isinstance(decode(blocks_of(data)[first]), dict)
    for other in (encode([]), encode("x"), encode({}), encode({"type": "plc_operation"})):
        with pytest.raises(AtdError):
            check(swapping(data, first, other), world)
