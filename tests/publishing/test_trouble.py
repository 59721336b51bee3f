"""Publishing while things go wrong: every answer that a PDS may give, and none."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from atd.errors import Conflict, LocalError, LoginRefused, RateLimited, TooLarge, Unreachable
from publishing.desk import Desk, calls, keys, numbers, opened, record, uploads
from world import Account, World, lies
from world.wire import Answer, Call

APPLY = "com.atproto.repo.applyWrites"
UPLOAD = "com.atproto.repo.uploadBlob"
Truth = Callable[[], Awaitable[Answer]]


def proves(alice: Account, versions: list[str]) -> None:
    """Exactly these releases, each schema and shard list once, and the head at the last."""
    assert keys(alice, "release") == [f"numbers:{version}" for version in versions]
    assert keys(alice, "dataset") == ["numbers"]
    latest = record(alice, "dataset", "numbers")["latest"]["uri"]
    assert latest.endswith(f"numbers:{versions[-1]}")


def afterwards(lie: lies.Tell) -> lies.Tell:
    """Do what was asked, and then answer with the lie."""

    async def tell(call: Call, truth: Truth) -> Answer:
        await truth()
        return await lie(call, truth)

    return tell


@pytest.mark.parametrize("lie", [lies.status(500), lies.status(502), lies.drop(), lies.html(503)])
@pytest.mark.parametrize("late", [False, True], ids=["lost request", "lost answer"])
@pytest.mark.parametrize("method", [APPLY, UPLOAD])
async def test_an_answer_that_says_nothing_is_settled_by_proof(
    world: World, alice: Account, desk: Desk, lie: lies.Tell, late: bool, method: str
) -> None:
    world.lie(afterwards(lie) if late else lie, path=method, method="POST", times=1)
    await desk.publish(numbers(60))
    proves(alice, ["1.0.0"])
    if method == APPLY:
        assert len(alice.history) == 2
        assert len(calls(world, APPLY)) == (1 if late else 2)


async def test_a_server_that_stays_away_loses_nothing(
    world: World, alice: Account, desk: Desk
) -> None:
    world.lie(lies.status(500), path=APPLY, method="POST")
    with pytest.raises(Unreachable):
        await desk.publish(numbers(60))
    sent = len(uploads(world))
    world.honest()
    await desk.publish(numbers(60))
    assert "resumed" in desk.heard.names
    assert len(uploads(world)) == sent
    proves(alice, ["1.0.0"])


async def test_somebody_else_writes_to_the_repository_meanwhile(
    world: World, alice: Account, desk: Desk
) -> None:
    async def tell(call: Call, truth: Truth) -> Answer:
        alice.put("app.bsky.feed.post", alice.tid(), {"text": "hello"})
        return await truth()

    world.lie(tell, path=APPLY, times=3)
    await desk.publish(numbers(60))
    assert len(calls(world, APPLY)) == 4
    proves(alice, ["1.0.0"])


async def test_somebody_who_writes_all_the_time_is_named(
    world: World, alice: Account, desk: Desk
) -> None:
    async def tell(call: Call, truth: Truth) -> Answer:
        alice.put("app.bsky.feed.post", alice.tid(), {"text": "hello"})
        return await truth()

    world.lie(tell, path=APPLY)
    with pytest.raises(Conflict, match="being written to all the time"):
        await desk.publish(numbers(60))


async def test_another_machine_that_publishes_the_same_name_meanwhile(
    world: World, alice: Account, desk: Desk, tmp_path: Path
) -> None:
    await desk.publish(numbers(60))
    with opened(world, tmp_path / "other") as other:
        await other.login(alice)

        async def tell(call: Call, truth: Truth) -> Answer:
            await other.publish(numbers(70))
            return await truth()

        world.lie(tell, path=APPLY, times=1)
        with pytest.raises(Conflict, match="changed by another program"):
            await desk.publish(numbers(80))
    proves(alice, ["1.0.0", "1.1.0"])
    assert (await desk.publish(numbers(80))).version == "1.2.0"
    proves(alice, ["1.0.0", "1.1.0", "1.2.0"])


async def test_a_release_that_appears_under_our_version(
    world: World, alice: Account, desk: Desk
) -> None:
    await desk.publish(numbers(60))

    async def tell(call: Call, truth: Truth) -> Answer:
        other = record(alice, "release", "numbers:1.0.0")
        alice.put("network.atd.release", "numbers:1.1.0", {**other, "version": "1.1.0"})
        return await truth()

    world.lie(tell, path=APPLY, times=1)
    with pytest.raises(Conflict, match=r"numbers:1\.1\.0 exists already, with other content"):
        await desk.publish(numbers(80))
    assert (await desk.publish(numbers(80))).version == "1.2.0"


async def test_waiting_as_told(world: World, alice: Account, desk: Desk) -> None:
    pds = world.pds("pds1")
    pds.points, pds.reset_s = 5, 240.0
    start = world.now()

    async def tell(call: Call, truth: Truth) -> Answer:
        if world.now() - start >= 240:
            pds.points = None
        return await truth()

    world.lie(tell, path=APPLY)
    await desk.publish(numbers(60))
    proves(alice, ["1.0.0"])
    assert 240 <= world.now() - start < 300
    (step,) = [step for step in desk.heard.steps if step["name"] == "waiting"]
    assert "writing records" in step["detail"]
    assert "until 2025-" in step["detail"]
    assert desk.heard.states[-1]["waitS"] >= 1 or any("waitS" in one for one in desk.heard.states)


async def test_a_wait_that_is_too_long_is_left_to_the_user(
    world: World, alice: Account, desk: Desk
) -> None:
    later = str(int(world.now()) + 80_000)
    limit = lies.status(429, "RateLimitExceeded", ratelimit_reset=later)
    world.lie(limit, path=UPLOAD, after=1)
    with pytest.raises(RateLimited, match="what was sent so far is kept") as caught:
        await desk.publish(numbers(100))
    assert "run the same command again after" in caught.value.next_step
    world.honest()
    await desk.publish(numbers(100))
    assert len(set(uploads(world))) == len(uploads(world)) - 1  # the one that was refused
    proves(alice, ["1.0.0"])


async def test_blobs_that_the_pds_threw_away_are_sent_again(
    world: World, alice: Account, desk: Desk
) -> None:
    async def tell(call: Call, truth: Truth) -> Answer:
        alice.blobs.clear()
        return await truth()

    world.lie(tell, path=APPLY, times=1)
    published = await desk.publish(numbers(100))
    assert "uploading again" in desk.heard.names
    assert len(uploads(world)) == 2 * published.shards
    proves(alice, ["1.0.0"])


async def test_a_pds_that_loses_every_blob_is_not_asked_for_ever(
    world: World, alice: Account, desk: Desk
) -> None:
    world.lie(lies.status(400, "BlobNotFound", "Could not find blob"), path=APPLY)
    with pytest.raises(Conflict, match="BlobNotFound"):
        await desk.publish(numbers(60))
    assert len(calls(world, APPLY)) == 3


async def test_too_large_says_what_to_do(world: World, alice: Account, desk: Desk) -> None:
    world.lie(lies.status(413, "PayloadTooLarge"), path=UPLOAD)
    with pytest.raises(TooLarge) as caught:
        await desk.publish(numbers(60))
    assert "--store" in caught.value.next_step
    assert not alice.head.records


async def test_records_that_the_pds_refuses(world: World, alice: Account, desk: Desk) -> None:
    world.lie(lies.status(400, "InvalidRequest", "no such thing"), path=APPLY)
    with pytest.raises(LocalError, match="no such thing"):
        await desk.publish(numbers(60))


async def test_a_session_that_ends(world: World, alice: Account, desk: Desk) -> None:
    world.pds("pds1").revoke()
    with pytest.raises(LoginRefused):
        await desk.publish(numbers(60))
    await desk.login(alice)
    await desk.publish(numbers(60))
    proves(alice, ["1.0.0"])


async def test_a_session_that_is_renewed_in_between(
    world: World, alice: Account, desk: Desk
) -> None:
    world.pds("pds1").expire_access()
    await desk.publish(numbers(60))
    proves(alice, ["1.0.0"])


async def test_a_pds_that_says_yes_and_writes_nothing(
    world: World, alice: Account, desk: Desk
) -> None:
    yes = Answer(200, {"content-type": "application/json"}, b'{"commit": {}, "results": []}')
    world.lie(lies.same_as(yes), path=APPLY)
    with pytest.raises(Exception, match="there is no at://") as caught:
        await desk.publish(numbers(60))
    assert type(caught.value).__name__ == "RecordAbsent"


async def test_a_pds_that_does_not_give_the_blobs_out(
    world: World, alice: Account, desk: Desk
) -> None:
    world.lie(lies.status(400, "InvalidRequest", "Blob not found"), path="getBlob")
    with pytest.raises(Exception, match="answered 400 for the blob"):
        await desk.publish(numbers(60))
    world.honest()
    again = await desk.publish(numbers(60))
    assert not again.unchanged
    assert again.version == "1.0.0"
    assert len(alice.history) == 2


async def test_a_migrated_account_publishes_again(world: World, alice: Account, desk: Desk) -> None:
    await desk.publish(numbers(60))
    alice.migrate(world.pds("pds2"))
    with pytest.raises(LoginRefused, match="moved from"):
        await desk.publish(numbers(70))
    await desk.login(alice)
    again = await desk.publish(numbers(70))
    assert again.version == "1.1.0"


async def test_a_head_whose_release_is_broken_is_mended(
    world: World, alice: Account, desk: Desk
) -> None:
    await desk.publish(numbers(60))
    alice.delete("network.atd.schema", "numbers:1.0.0")
    with opened(world, desk.reader.config.config_dir.parent / "fresh") as fresh:
        await fresh.login(alice)
        again = await fresh.publish(numbers(60))
        assert again.version == "1.1.0"
        assert "warning" in fresh.heard.names
        await fresh.reader.resolver.dataset("@alice.test/numbers", refresh=True)
