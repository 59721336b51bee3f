"""``atd.publish`` and its dry run, through a real daemon over a world."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import atd
from atd import publishing
from atd.errors import BadSource, Busy, InvalidSyntax, LoginRefused, NeedsConsent, SchemaMismatch
from atd.schema.fields import Image, Label
from publish import pictures
from publish.calling import plan, publish
from serving import Client
from world import Account, World


@dataclass
class Sample:
    n: int
    name: str | None = None


async def test_samples_of_a_class_are_published_and_loaded_again(
    daemon: Client, alice: Account
) -> None:
    events: list[Any] = []
    released = await publish(
        daemon,
        (Sample(n, f"sample {n}") for n in range(100)),
        schema=Sample,
        title="Things",
        license="CC0-1.0",
        tags=["numbers"],
        card={"homepage": "https://example.com/things"},
        on_progress=events.append,
    )
    assert released.ref == "@alice.test/things"
    assert (released.version, released.samples, released.did) == ("1.0.0", 100, alice.did)
    assert released.new_shards == released.shards == 1
    assert released.uploaded_bytes == released.bytes
    names = [event["step"]["name"] for event in events if "step" in event]
    assert names == ["checked", "placed", "planned", "written", "proved"]
    assert any(event.get("progress", {}).get("unit") == "samples" for event in events)
    head = alice.value(alice.head.records["network.atd.dataset/things"])
    assert isinstance(head, dict)
    assert (head["license"], head["homepage"]) == ("CC0-1.0", "https://example.com/things")
    assert (await publish(daemon, [Sample(n, f"sample {n}") for n in range(100)])).unchanged


async def test_a_folder_of_images_keeps_its_labels_when_a_class_is_added(
    daemon: Client, tmp_path: Path
) -> None:
    for label in ("rose", "tulip"):
        pictures.put(tmp_path / "in" / label / "1.png")
    await publish(daemon, tmp_path / "in")
    pictures.put(tmp_path / "in" / "anemone" / "1.png", seed=5)
    found = await plan(daemon, tmp_path / "in")
    assert found.schema["label"].kind == Label("rose", "tulip", "anemone")
    assert (found.step, found.first) == ("minor", False)
    assert (await publish(daemon, tmp_path / "in")).version == "1.1.0"


async def test_a_plan_says_everything_and_writes_nothing(
    daemon: Client, alice: Account, world: World, tmp_path: Path
) -> None:
    for number in range(20):
        path = tmp_path / "in" / ("train", "test")[number % 2] / "rose" / f"{number}.jpg"
        pictures.put(path, "JPEG", seed=number, exif=pictures.exif())
    (tmp_path / "in" / "notes.txt").write_text("words")
    found = await plan(daemon, tmp_path / "in", license="MIT", shard_size=65536)
    assert isinstance(found.schema["image"].kind, Image)
    assert "class Things" in found.python
    assert (found.splits, found.samples) == ({"train": 10, "test": 10}, 20)
    assert found.shards == 2
    assert found.size is not None
    assert (found.first, found.previous, found.store) == (True, None, "pds")
    assert found.account["handle"] == "alice.test"
    assert any("GPS positions in 20" in line for line in found.travels)
    assert any(".txt" in line for line in found.warnings)
    assert found.to_json()["samples"] == 20
    assert not alice.head.records
    assert not [call for call in world.calls if call.method == "POST" and "create" not in call.url]
    assert not daemon.services.publishing.tools.journal.open_ids()


async def test_an_estimate_is_near_what_comes_out(daemon: Client) -> None:
    data = {"x": np.random.default_rng(1).integers(0, 255, (800, 700), dtype=np.uint8)}
    found = await plan(daemon, data, shard_size=65536)
    released = await publish(daemon, data, shard_size=65536)
    assert found.size is not None
    assert found.shards is not None
    assert 0.8 < found.size / released.bytes < 1.25
    assert 0.6 < found.shards / released.shards < 1.6


async def test_a_plan_needs_no_account(client: Client) -> None:
    found = await plan(client, [{"n": 1}])
    assert found.first is None
    assert any("is not known" in warning for warning in found.warnings)


async def test_nobody_is_logged_in(client: Client) -> None:
    with pytest.raises(LoginRefused):
        await publish(client, [{"n": 1}])


@pytest.mark.parametrize("options", [{"yes": False}, {"confirm": lambda plan: False}])
async def test_without_consent_nothing_is_left(
    daemon: Client, alice: Account, options: dict[str, Any]
) -> None:
    with pytest.raises(NeedsConsent, match="anyone may copy it"):
        await publish(daemon, [{"n": 1}], **options)
    assert not alice.head.records
    assert not daemon.services.publishing.tools.journal.open_ids()
    assert not [*(daemon.services.config.cache_dir / "staging").iterdir()]


async def test_whoever_is_asked_sees_the_plan(daemon: Client) -> None:
    seen: list[publishing.Plan] = []

    def confirm(plan: publishing.Plan) -> bool:
        seen.append(plan)
        return True

    await publish(daemon, [{"n": 1}], confirm=confirm)
    await publish(daemon, [{"n": 2}], confirm=confirm)
    assert [plan.samples for plan in seen] == [1]


async def test_data_that_stops_in_the_middle_leaves_nothing_open(
    daemon: Client, alice: Account
) -> None:
    def samples() -> Iterator[dict[str, Any]]:
        yield from ({"n": n} for n in range(2000))
        raise RuntimeError("the disk fell off")

    with pytest.raises(RuntimeError, match="fell off"):
        await publish(daemon, samples())
    with pytest.raises(SchemaMismatch, match="inferred from other samples"):
        await publish(daemon, ({"n": n if n < 1500 else "x"} for n in range(2000)))
    assert not daemon.services.publishing.tools.journal.open_ids()
    assert not alice.head.records
    await publish(daemon, [{"n": 1}])


async def test_two_publications_at_once_in_one_program(daemon: Client) -> None:
    loop = asyncio.get_running_loop()
    begun, go_on = asyncio.Event(), asyncio.Event()

    def slow() -> Iterator[dict[str, int]]:
        yield from ({"n": n} for n in range(1500))
        loop.call_soon_threadsafe(begun.set)
        asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result()

    first = asyncio.create_task(publish(daemon, slow()))
    await begun.wait()
    with pytest.raises(Busy, match="being published by another process"):
        await publish(daemon, [{"n": 1}])
    await publish(daemon, [{"n": 1}], name="others")
    go_on.set()
    assert (await first).samples == 1500


@pytest.mark.parametrize("name", ["Flowers", "a b", "", "ä", "x" * 129, "../x", "a:1.0.0"])
async def test_names_that_are_none(daemon: Client, name: str) -> None:
    with pytest.raises(InvalidSyntax, match="expected a data set name"):
        await publish(daemon, [{"n": 1}], name=name)


async def test_bad_data_is_found_before_anything_begins(client: Client, tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("a,b\n1\n")
    with pytest.raises(BadSource, match="line 2"):
        await publish(client, tmp_path / "data.csv")


async def test_a_relative_folder_is_the_callers_own(daemon: Client, tmp_path: Path) -> None:
    here = os.getcwd()
    os.chdir(tmp_path)
    try:
        released = await publish(daemon, [{"n": 1}], store="shards")
    finally:
        os.chdir(here)
    assert (tmp_path / "shards" / "things" / "atd.json").is_file()
    assert "nobody can fetch them" in released.warnings[0]


def test_the_function_stays_a_function() -> None:
    assert callable(atd.publish)
    assert atd.publish is publishing.publish
