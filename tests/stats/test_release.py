"""The preview of a release: published beside the data, and read back by somebody else."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

import atd
from atd import api
from atd.errors import (
    DigestMismatch,
    LexiconError,
    Offline,
    RecordAbsent,
    Unreachable,
)
from atd.protocol.cbor import RAW, Cid
from atd.publishing.packing import pack
from atd.publishing.sources.opening import open_source
from atd.statistics.document import FILE_NAME, Preview
from atd_daemon.publishing.asked import Commit
from publishing.desk import Checkpoints, Desk, Killed, calls, keys, numbers, opened, record, uploads
from serving import Client, serving
from world import Account, World, lies
from world.wire import Answer, Call

UPLOAD = "com.atproto.repo.uploadBlob"
GET_BLOB = "com.atproto.sync.getBlob"
NAME = "@alice.test/numbers"


@pytest.fixture
async def bob(world: World, tmp_path: Path) -> Any:
    async with serving(world, tmp_path / "bob") as client:
        yield client


@pytest.fixture
async def desk(world: World, alice: Account, tmp_path: Path) -> Any:
    with opened(world, tmp_path / "home") as desk:
        await desk.login(alice)
        yield desk


async def stats(client: Client, ref: str = NAME, **options: Any) -> atd.ReleaseStatistics:
    return await asyncio.to_thread(lambda: atd.stats(ref, connection=client.connection, **options))


def only_previews(lie: lies.Tell) -> lies.Tell:
    """Tell the lie of uploads of previews, and the truth of shards."""

    async def tell(call: Call, truth: Any) -> Answer:
        if call.body.startswith(b'{"data"'):
            return await lie(call, truth)
        return await truth()

    return tell


def blobs(world: World) -> list[Cid]:
    return [Cid.parse(call.params["cid"]) for call in calls(world, GET_BLOB)]


async def test_statistics_are_read_without_a_shard(
    world: World, alice: Account, desk: Desk, bob: Client
) -> None:
    published = await desk.publish(numbers(100), preview="full")
    release = record(alice, "release", "numbers:1.0.0")
    assert release["preview"]["mimeType"] == "application/json"
    assert release["preview"]["size"] < 256 * 1024
    assert published.warnings == ()
    before = len(calls(world, GET_BLOB))
    found = await stats(bob)
    assert blobs(world)[before:] == [release["preview"]["ref"]]
    split = found.split("train")
    assert (split.samples, split.shards, len(split.examples)) == (100, published.shards, 10)
    summary = split.field("n").numbers["value"]
    assert (summary.low, summary.high, summary.mean, summary.count) == (0, 99, 49.5, 100)
    assert (found.version, found.what) == ("1.0.0", NAME)
    assert found.cid == str(published.release.cid)
    await stats(bob)
    assert len(blobs(world)) == before + 1, "it is kept"


async def test_what_is_sent_for_the_preview_is_not_counted_as_shards(desk: Desk) -> None:
    published = await desk.publish(numbers(100), preview="full")
    assert published.uploaded == published.size


async def test_unchanged_data_writes_nothing(world: World, alice: Account, desk: Desk) -> None:
    await desk.publish(numbers(60), preview="full")
    writes, sent = len(alice.history), len(uploads(world))
    assert (await desk.publish(numbers(60), preview="full")).unchanged
    assert (await desk.publish(numbers(60), preview="none")).unchanged
    assert (len(alice.history), len(uploads(world))) == (writes, sent)


@pytest.mark.parametrize(
    "lie",
    [
        pytest.param(lies.status(413, "PayloadTooLarge"), id="too large"),
        pytest.param(lies.status(400, "InvalidMimeType"), id="of a wrong type"),
        pytest.param(lies.status(500), id="out of order"),
        pytest.param(lies.html(), id="nonsense"),
    ],
)
async def test_a_pds_that_refuses_the_preview_publishes_the_data(
    world: World, alice: Account, desk: Desk, bob: Client, lie: lies.Tell
) -> None:
    world.lie(only_previews(lie), path=UPLOAD, method="POST")
    published = await desk.publish(numbers(60), preview="full")
    assert [line.partition(":")[0] for line in published.warnings] == [
        "published without a preview"
    ]
    assert "preview" not in record(alice, "release", "numbers:1.0.0")
    with pytest.raises(RecordAbsent, match="has no preview"):
        await stats(bob)


async def test_a_preview_that_the_pds_loses_is_a_warning(world: World, desk: Desk) -> None:
    async def tell(call: Call, truth: Any) -> Answer:
        answer = await truth()
        return Answer(404, {}, b"") if answer.body.startswith(b'{"data"') else answer

    world.lie(tell, path=GET_BLOB)
    published = await desk.publish(numbers(60), preview="full")
    assert [line.partition(":")[0] for line in published.warnings] == [
        "others cannot read the preview"
    ]


async def test_a_blob_that_was_thrown_away_is_sent_again(
    world: World, alice: Account, desk: Desk
) -> None:
    def forget() -> None:
        for cid in [cid for cid, (data, _) in alice.blobs.items() if data[:7] == b'{"data"']:
            del alice.blobs[cid]

    async def tell(call: Call, truth: Any) -> Answer:
        forget()
        return await truth()

    world.lie(tell, path="com.atproto.repo.applyWrites", times=1)
    published = await desk.publish(numbers(60), preview="full")
    assert published.warnings == ()
    previews = [cid for cid in uploads(world) if cid == _preview_of(alice)]
    assert len(previews) == 2


def _preview_of(alice: Account) -> Cid:
    cid: Cid = record(alice, "release", "numbers:1.0.0")["preview"]["ref"]
    return cid


async def test_unpublishing_forgets_that_the_preview_is_there(
    world: World, alice: Account, desk: Desk
) -> None:
    await desk.publish(numbers(60), preview="full")
    cid = _preview_of(alice)
    await desk.unpublish()
    sent = len(uploads(world))
    await desk.publish(numbers(60), preview="full")
    assert cid in uploads(world)[sent:]


@pytest.mark.parametrize("wrong", ["other data", "nonsense", "too large"])
async def test_a_staged_document_that_is_not_of_these_shards_is_left_out(
    alice: Account, desk: Desk, wrong: str
) -> None:
    published = await desk.publish(numbers(60), "other", preview="full")
    assert published.warnings == ()
    other = next(data for data, _ in alice.blobs.values() if data.startswith(b'{"data"'))
    data = {"other data": other, "nonsense": b"[" * 99, "too large": b" " * 1_000_001}[wrong]

    begun = await desk.begin("numbers", shard_size=64 * 1024)
    assert begun.staging is not None
    assert begun.id is not None
    staging = Path(begun.staging)
    pack(open_source(numbers(80)), staging, begun.cuts, name="numbers")
    (staging / FILE_NAME).write_bytes(data)
    published = await desk.publishing.commit(begun.id, Commit(consent=True), desk.heard)
    assert len(published.warnings) == 1
    assert "preview" not in record(alice, "release", "numbers:1.0.0")


# ------------------------------------------------------------------ killed


async def test_every_step_of_the_preview_has_a_checkpoint(tmp_path: Path) -> None:
    world = World()
    counted = Checkpoints()
    with opened(world, tmp_path / "home", checkpoint=counted) as desk:
        await desk.login(world.account())
        await desk.publish(numbers(60), preview="full")
    names = counted.passed
    assert names.index("placed a shard") < names.index("sent the preview")
    assert names.index("placed the preview") < names.index("planned")


@pytest.mark.parametrize("step", range(1, 20))
async def test_killed_at_any_step_and_run_again(tmp_path: Path, step: int) -> None:
    world = World()
    alice = world.account()
    checkpoints = Checkpoints(kill_at=step)
    for _ in range(2):
        with opened(world, tmp_path / "home", checkpoint=checkpoints) as desk:
            if not desk.accounts.list():
                await desk.login(alice)
            try:
                published = await desk.publish(numbers(60), preview="full")
            except Killed:
                continue
            break
    if len(checkpoints.passed) < step:
        pytest.skip("there are fewer steps")
    assert published.warnings == ()
    assert keys(alice, "release") == ["numbers:1.0.0"]
    assert len(alice.history) == 2
    assert len(uploads(world)) <= len(set(uploads(world))) + 1
    cid = _preview_of(alice)
    data, _ = alice.blobs[cid]
    assert Cid.of(data, codec=RAW) == cid
    assert Preview.from_bytes(data).splits[0].samples == 60


async def test_refused_and_killed_it_stays_as_it_was_planned(tmp_path: Path) -> None:
    world = World()
    alice = world.account()
    world.lie(only_previews(lies.status(413, "PayloadTooLarge")), path=UPLOAD, method="POST")
    names: list[str] = []

    def kill(name: str) -> None:
        names.append(name)
        if name == "planned":
            raise Killed(name)

    with opened(world, tmp_path / "home", checkpoint=kill) as desk:
        await desk.login(alice)
        with pytest.raises(Killed):
            await desk.publish(numbers(60), preview="full")
    world.honest()
    with opened(world, tmp_path / "home") as desk:
        published = await desk.publish(numbers(60), preview="full")
        assert "resumed" in desk.heard.names
    assert "preview" not in record(alice, "release", "numbers:1.0.0")
    assert "without a preview" in published.warnings[0]


# ------------------------------------------------------------------ hostile readers' ends


async def test_other_bytes_than_the_record_says_are_refused(
    world: World, desk: Desk, bob: Client
) -> None:
    await desk.publish(numbers(60), preview="full")
    world.lie(lies.body(lambda data: data.replace(b"49.5", b"49.6") + b" "), path=GET_BLOB)
    with pytest.raises(DigestMismatch):
        await stats(bob)
    world.honest()
    assert (await stats(bob)).split().samples == 60


async def test_a_server_that_does_not_answer_is_no_statement(
    world: World, desk: Desk, bob: Client
) -> None:
    await desk.publish(numbers(60), preview="full")
    world.lie(lies.status(500), path=GET_BLOB)
    with pytest.raises(Unreachable):
        await stats(bob)


def sign(alice: Account, release: dict[str, Any]) -> None:
    """Have her head point to this release, as only she can."""
    signed = alice.put("network.atd.release", "numbers:1.0.0", release)
    head = record(alice, "dataset", "numbers")
    alice.put("network.atd.dataset", "numbers", {**head, "latest": signed.to_value()})


def hostile(valid: dict[str, Any]) -> dict[str, bytes]:
    split = valid["splits"][0]
    return {
        "no JSON": b"\x93NUMPY",
        "deep": b"[" * 100_000,
        "of another format": json.dumps({**valid, "format": "pickle"}).encode(),
        "of a later version": json.dumps({**valid, "version": 2}).encode(),
        "of other splits": json.dumps({**valid, "splits": []}).encode(),
        "of other totals": json.dumps({**valid, "splits": [{**split, "samples": 61}]}).encode(),
        "a count below nought": json.dumps(
            {**valid, "splits": [{**split, "fields": [{**split["fields"][0], "count": -1}]}]}
        ).encode(),
    }


@pytest.mark.parametrize("what", list(hostile({"splits": [{"fields": [{}]}]})))
async def test_what_a_publisher_signed_is_believed_no_more_for_that(
    world: World, alice: Account, desk: Desk, bob: Client, what: str
) -> None:
    await desk.publish(numbers(60), preview="full")
    release = record(alice, "release", "numbers:1.0.0")
    valid = json.loads(alice.blobs[release["preview"]["ref"]][0])
    data = hostile(valid)[what]
    cid = Cid.of(data, codec=RAW)
    alice.blobs[cid] = (data, "application/json")
    blob = {**release["preview"], "ref": cid, "size": len(data)}
    changed = {**release, "preview": blob}
    sign(alice, changed)
    with pytest.raises(LexiconError):
        await stats(bob)


async def test_a_preview_that_claims_to_be_huge_is_not_fetched(
    world: World, alice: Account, desk: Desk, bob: Client
) -> None:
    await desk.publish(numbers(60), preview="full")
    release = record(alice, "release", "numbers:1.0.0")
    blob = {**release["preview"], "size": 10**12}
    changed = {**release, "preview": blob}
    sign(alice, changed)
    before = len(calls(world, GET_BLOB))
    with pytest.raises(LexiconError):
        await stats(bob)
    assert len(calls(world, GET_BLOB)) == before


async def test_offline_the_preview_is_there_once_it_was_read(
    world: World, desk: Desk, bob: Client
) -> None:
    await desk.publish(numbers(60), preview="full")
    await bob.call(api.GET_RELEASE, ref=NAME)
    away = bob.offline()
    with pytest.raises(Offline):
        await stats(away)
    await stats(bob)
    assert (await stats(away)).split().samples == 60
