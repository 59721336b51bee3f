"""What a new version changes: told before and after, checked, and asked about where it takes away.

Through a real daemon over a world, whose counters say what was sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import atd
from atd import publishing
from atd.comparing import Changes
from atd.errors import Conflict, NeedsConsent
from publish import calling
from publishing.desk import calls, keys, uploads
from serving import Client, serving
from world import Account, World

SMALL = 64 * 1024
publish = partial(calling.publish, shard_size=SMALL)
plan = partial(calling.plan, shard_size=SMALL)


def samples(count: int, start: int = 0) -> dict[str, bytes]:
    """Noise of a kilobyte by name: about 60 of them to a shard."""
    made = np.random.default_rng(3).integers(0, 256, (start + count, 1000), np.uint8)
    return {f"s{at}": made[at].tobytes() for at in range(start, start + count)}


def rows(named: dict[str, bytes], **more: Any) -> list[tuple[str, dict[str, Any]]]:
    return [(key, {"noise": noise, **more}) for key, noise in named.items()]


def numbers(count: int) -> list[tuple[str, dict[str, int]]]:
    return [(f"n{at}", {"n": at}) for at in range(count)]


async def test_unchanged_data_uploads_nothing_and_writes_nothing(
    world: World, daemon: Client, alice: Account
) -> None:
    await publish(daemon, rows(samples(300)))
    sent, rev = len(world.calls), alice.head.commit.rev
    again = await publish(daemon, rows(samples(300)))
    assert (again.unchanged, again.uploaded_bytes, again.changes) == (True, 0, None)
    assert not [call for call in world.calls[sent:] if call.method == "POST"]
    assert alice.head.commit.rev == rev


async def test_one_sample_changed_of_many_uploads_one_shard(world: World, daemon: Client) -> None:
    data = samples(600)
    first = await publish(daemon, rows(data))
    sent = len(uploads(world))
    data["s123"] = bytes(1000)
    second = await publish(daemon, rows(data))
    assert second.new_shards == 1
    assert len(uploads(world)) - sent == 2  # the other is the preview
    assert second.changes is not None
    (train,) = second.changes.splits
    assert train.kept is not None
    assert train.new is not None
    assert train.gone is not None
    assert (train.kept.shards, train.new.shards, train.gone.shards) == (first.shards - 1, 1, 1)
    assert train.new.size == second.uploaded_bytes
    assert train.keys == publishing.KeyCounts(added=0, removed=0, changed=1)
    assert (second.changes.before, second.changes.after) == ("1.0.0", "1.1.0")
    assert second.changes.consequences == ()


async def test_one_sample_more_touches_one_shard(world: World, daemon: Client) -> None:
    await publish(daemon, rows(samples(600)))
    sent = len(uploads(world))
    second = await publish(daemon, rows(samples(601)))
    assert second.changes is not None
    (train,) = second.changes.splits
    assert (train.before, train.after) == (600, 601)
    assert train.gone is not None
    assert train.gone.shards == 1
    # The preview, and two shards where the one was full, and was halved.
    assert len(uploads(world)) - sent in (2, 3)
    assert train.keys == publishing.KeyCounts(added=1, removed=0, changed=0)


async def test_what_changes_is_said_before_anything_is_sent(world: World, daemon: Client) -> None:
    await publish(daemon, {"train": rows(samples(100)), "test": rows(samples(50))})
    events: list[tuple[str, int]] = []

    def hear(event: Any) -> None:
        if "step" in event and event["step"]["name"] == "changes":
            events.append((event["step"]["detail"], len(uploads(world))))

    sent = len(uploads(world))
    await publish(
        daemon, {"train": rows(samples(120)), "test": rows(samples(50))}, on_progress=hear
    )
    ((line, by_then),) = events
    assert line.startswith("1.0.0 -> 1.1.0 (minor): train 100 -> 120 samples")
    assert by_then == sent < len(uploads(world))


async def test_the_schema_is_compared_field_by_field(daemon: Client) -> None:
    await publish(daemon, rows(samples(100), old=1, label="a"))
    second = await publish(daemon, rows(samples(100), new="x", label="a"))
    assert second.version == "2.0.0"
    assert second.changes is not None
    lines = [one.line for one in second.changes.schema]
    assert any(line.startswith("- field old") for line in lines)
    assert any(line.startswith("+ field new") for line in lines)
    assert Changes.from_json(second.raw["changes"]) == second.changes


TAKEN: dict[str, tuple[Any, str]] = {
    "a field": (rows(samples(100)), "does not read these"),
    "a split": ({"train": rows(samples(100), n=1)}, "the split test"),
    "half": ({"train": rows(samples(40), n=1), "test": rows(samples(10), n=1)}, "samples are gone"),
    "others": (
        {"train": rows(samples(100, 500), n=1), "test": rows(samples(10), n=1)},
        "samples are gone",
    ),
}


@pytest.mark.parametrize("what", list(TAKEN))
async def test_what_takes_much_away_needs_somebody_who_agrees(
    daemon: Client, alice: Account, what: str
) -> None:
    data, words = TAKEN[what]
    await publish(daemon, {"train": rows(samples(100), n=1), "test": rows(samples(10), n=1)})
    before = dict(alice.head.records)
    with pytest.raises(NeedsConsent, match=words):
        await publish(daemon, data, yes=False)
    seen: list[publishing.Plan] = []
    with pytest.raises(NeedsConsent, match=r"stays at 1\.0\.0"):
        await publish(daemon, data, confirm=lambda plan: bool(seen.append(plan)))
    assert seen[0].changes is not None
    assert any(words in line for line in seen[0].changes.consequences)
    assert alice.head.records == before
    assert not daemon.services.publishing.tools.journal.open_ids()
    agreed = await publish(daemon, data, confirm=lambda plan: True)
    assert agreed.version in ("1.1.0", "2.0.0")


async def test_what_takes_little_away_is_not_asked_about(daemon: Client) -> None:
    await publish(daemon, rows(samples(100)))
    data = samples(100)
    del data["s7"]
    second = await publish(daemon, rows(data), yes=False)
    assert second.changes is not None
    assert second.changes.splits[0].keys == publishing.KeyCounts(0, 1, 0)


async def test_a_version_that_says_too_little_is_refused_before_anything_is_sent(
    world: World, daemon: Client, alice: Account
) -> None:
    await publish(daemon, rows(samples(100), n=1))
    records, sent = dict(alice.head.records), len(uploads(world))
    with pytest.raises(Conflict, match=r"1\.1\.0 says less .* major") as caught:
        await publish(daemon, rows(samples(100)), version="1.1.0")
    assert "2.0.0 or later" in (caught.value.next_step or "")
    with pytest.raises(Conflict, match=r"1\.0\.1 says less .* minor"):
        await publish(daemon, rows(samples(101), n=1), version="1.0.1")
    assert (alice.head.records, len(uploads(world))) == (records, sent)
    assert (await publish(daemon, rows(samples(101), n=1), version="1.5.0")).version == "1.5.0"
    forced = await publish(daemon, rows(samples(101)), version="1.5.1", force_version=True)
    assert forced.version == "1.5.1"
    assert forced.changes is not None
    assert forced.changes.consequences


async def test_a_dry_run_says_what_it_can_know(world: World, daemon: Client) -> None:
    await publish(daemon, {"train": rows(samples(100), n=1), "test": rows(samples(50), n=1)})
    sent = len(calls(world, "com.atproto.repo.uploadBlob"))
    made = await plan(daemon, {"train": rows(samples(110))}, version="1.1.0")
    assert made.changes is not None
    counts = {one.name: (one.before, one.after) for one in made.changes.splits}
    assert counts == {"train": (100, 110), "test": (50, 0)}
    assert made.changes.schema_step is not None
    assert any("1.1.0 says less" in line and "2.0.0" in line for line in made.warnings)
    assert len(made.changes.consequences) == 2
    same = await plan(daemon, {"train": rows(samples(100), n=1), "test": rows(samples(50), n=1)})
    assert same.changes is not None
    assert (same.changes.step, same.changes.after) == (None, None)
    unread = await plan(daemon, {"train": iter(rows(samples(100), n=1))})
    assert unread.changes is not None
    assert unread.changes.splits[0].after is None
    assert len(calls(world, "com.atproto.repo.uploadBlob")) == sent


async def test_somebody_else_who_publishes_meanwhile_is_not_overwritten(
    world: World, daemon: Client, alice: Account, tmp_path: Path
) -> None:
    await publish(daemon, numbers(100))
    async with serving(world, tmp_path / "other") as other:
        await other.services.accounts.login(alice.handle, alice.password)
        loop = asyncio.get_running_loop()

        def slowly() -> Iterator[tuple[str, dict[str, int]]]:
            yield from numbers(1100)  # of which the first thousand are looked at beforehand
            asyncio.run_coroutine_threadsafe(publish(other, numbers(150)), loop).result()

        with pytest.raises(Conflict, match="published by another process meanwhile"):
            await publish(daemon, slowly())
        assert keys(alice, "release") == ["things:1.0.0", "things:1.1.0"]
        again = await publish(daemon, numbers(1100))
    assert again.version == "1.2.0"
    assert again.changes is not None
    assert again.changes.before == "1.1.0"


async def test_the_version_before_stays_and_going_back_sends_nothing(
    world: World, daemon: Client
) -> None:
    await publish(daemon, rows(samples(300)))
    await publish(daemon, rows(samples(20)))
    sent = len(uploads(world))
    back = await publish(daemon, rows(samples(300)))
    assert (back.version, back.uploaded_bytes) == ("1.2.0", 0)
    assert len(uploads(world)) == sent
    old = await asyncio.to_thread(
        lambda: atd.load("@alice.test/things@1.0.0", connection=daemon.connection)
    )
    assert len(old) == 300
