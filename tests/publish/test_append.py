"""Appending: only what is new is packed and sent, and what is published stays as it is."""

from __future__ import annotations

import asyncio
import hashlib
import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import atd
from atd import publishing
from atd.errors import BadSource, Busy, Conflict, RecordAbsent, SchemaMismatch
from publish import calling
from publishing.desk import calls, keys, record, uploads
from serving import Client, serving
from world import Account, World

SMALL = 64 * 1024
publish = partial(calling.publish, shard_size=SMALL)


async def append(client: Client, what: Any, **options: Any) -> publishing.PublishedRelease:
    return await publish(client, what, append=True, **options)


async def loaded(client: Client, ref: str = "@alice.test/things", **options: Any) -> list[Any]:
    def load() -> list[Any]:
        return list(atd.load(ref, connection=client.connection, **options))

    return await asyncio.to_thread(load)


async def keys_of(client: Client, split: str = "train") -> list[str]:
    def load() -> list[str]:
        found = atd.load("@alice.test/things", split=split, connection=client.connection)
        return [key for key, _ in found.keyed()]

    return await asyncio.to_thread(load)


def noise(count: int, start: int = 0, **more: Any) -> dict[str, Any]:
    """Numbered samples of a kilobyte: about 60 of them to a shard."""
    made = np.random.default_rng(3).integers(0, 256, (start + count, 1000), np.uint8)
    return {"n": np.arange(start, start + count), "noise": made[start:], **more}


def named(count: int, start: int = 0, **more: Any) -> list[tuple[str, dict[str, Any]]]:
    return [(f"s{at}", {"n": at, **more}) for at in range(start, start + count)]


def shards(account: Account, version: str) -> dict[str, list[str]]:
    """The digests of the shards of a release, by split."""
    release = record(account, "release", f"things:{version}")
    return {
        split["name"]: [
            str(shard["digest"])
            for part in split["parts"]
            for shard in record(account, "shards", part["uri"].rpartition("/")[2])["shards"]
        ]
        for split in release["splits"]
    }


async def test_only_new_shards_are_sent_and_old_ones_stay(
    world: World, daemon: Client, alice: Account
) -> None:
    first = await publish(daemon, noise(600))
    sent = len(uploads(world))
    second = await append(daemon, noise(70, 600))
    assert (second.version, second.samples) == ("1.1.0", 670)
    old, new = shards(alice, "1.0.0")["train"], shards(alice, "1.1.0")["train"]
    assert new[: len(old)] == old
    assert [str(one) for one in uploads(world)[sent:]] == new[len(old) :]
    assert second.new_shards == second.shards - first.shards == len(new) - len(old)
    assert second.uploaded_bytes == second.bytes - first.bytes
    assert sorted(sample.n for sample in await loaded(daemon)) == list(range(670))
    assert second.changes is not None
    (train,) = second.changes.splits
    assert train.keys == publishing.KeyCounts(70, 0, 0)
    assert train.gone == publishing.Amount(0, 0)


async def test_rows_are_numbered_on_and_a_plain_publication_is_as_if_nothing_was_appended(
    daemon: Client, alice: Account
) -> None:
    await publish(daemon, noise(300))
    await append(daemon, noise(200, 300))
    whole = await publish(daemon, noise(500))
    assert whole.changes is not None
    assert whole.changes.splits[0].keys == publishing.KeyCounts(0, 0, 0)
    await publish(daemon, noise(500), name="others")
    digests = shards(alice, "1.2.0")["train"]
    release = record(alice, "release", "others:1.0.0")
    parts = [part["uri"].rpartition("/")[2] for part in release["splits"][0]["parts"]]
    assert digests == [
        str(one["digest"]) for part in parts for one in record(alice, "shards", part)["shards"]
    ]


async def test_each_split_grows_on_its_own_and_new_ones_come_last(
    daemon: Client, alice: Account
) -> None:
    await publish(daemon, {"train": named(50), "test": named(20)})
    second = await append(daemon, {"test": named(5, 100), "extra": named(3)})
    before, after = shards(alice, "1.0.0"), shards(alice, "1.1.0")
    assert list(after) == ["train", "test", "extra"]
    assert after["train"] == before["train"]
    assert after["test"][:1] == before["test"]
    assert second.changes is not None
    counts = {one.name: (one.before, one.after) for one in second.changes.splits}
    assert counts == {"train": (50, 50), "test": (20, 25), "extra": (0, 3)}


async def test_names_that_are_there_already_are_all_named_and_nothing_is_published(
    world: World, daemon: Client, alice: Account
) -> None:
    await publish(daemon, named(100))
    records, sent = dict(alice.head.records), len(uploads(world))
    with pytest.raises(BadSource, match="2 samples are there already: s98 of train; s99 of train"):
        await append(daemon, named(20, 98))
    with pytest.raises(BadSource, match="nothing is left to append") as nothing:
        await append(daemon, named(20, 50))
    assert "without --append" in nothing.value.next_step
    assert (alice.head.records, len(uploads(world))) == (records, sent)
    assert not daemon.services.publishing.tools.journal.open_ids()
    second = await append(daemon, named(20, 98), skip_bad=True)
    assert second.samples == 118
    assert second.warnings == ("left out: s98 of train", "left out: s99 of train")


async def test_the_same_name_in_another_split_is_another_sample(daemon: Client) -> None:
    await publish(daemon, {"train": named(50), "test": named(1, 99)})
    assert (await append(daemon, {"test": named(50)})).samples == 101


async def test_nothing_of_the_old_shards_is_needed_here(
    world: World, daemon: Client, alice: Account, tmp_path: Path
) -> None:
    """From a machine that has nothing: the keys are read of shards that are fetched, once."""
    await publish(daemon, named(300, note="x" * 900))
    async with serving(world, tmp_path / "other") as other:
        await other.services.accounts.login(alice.handle, alice.password)
        told: list[str] = []

        def hear(event: Any) -> None:
            told.append(event.get("progress", {}).get("name", ""))

        second = await append(other, named(5, 300, note="y"), on_progress=hear)
        assert second.samples == 305
        assert "reading keys of train" in told
        fetched = len(calls(world, "com.atproto.sync.getBlob"))
        with pytest.raises(BadSource, match="there already"):
            await append(other, named(1, note="z"))
        assert len(calls(world, "com.atproto.sync.getBlob")) == fetched, "its indexes are kept"


async def test_a_field_that_is_new_is_optional(daemon: Client) -> None:
    await publish(daemon, [{"n": at, "x": "a"} for at in range(20)])
    second = await append(daemon, [{"n": at, "x": "b", "more": at} for at in range(5)])
    assert second.version == "1.1.0"
    assert second.changes is not None
    assert [one.line for one in second.changes.schema] == ["+ field more: int64, optional"]
    found = await loaded(daemon)
    assert len(found) == 25
    assert sum(hasattr(sample, "more") and sample.more is not None for sample in found) == 5
    third = await append(daemon, [{"n": 1, "x": "c"}])
    assert third.changes is not None
    assert third.changes.schema == ()


@pytest.mark.parametrize(
    ("new", "words"),
    [
        ([{"n": 1}], "do not fit one schema: - field x"),
        ([{"n": "one", "x": "a"}], "field n"),
        ([{"n": 1, "x": None}, {"n": 1, "x": "a"}], "field x"),
        ([{"n": 0.5, "x": "a"}], "field n"),
    ],
)
async def test_what_old_samples_cannot_satisfy_is_refused(
    daemon: Client, alice: Account, new: Any, words: str
) -> None:
    await publish(daemon, [{"n": at, "x": "a"} for at in range(20)])
    records = dict(alice.head.records)
    with pytest.raises(SchemaMismatch, match=words):
        await append(daemon, new)
    assert alice.head.records == records
    assert not daemon.services.publishing.tools.journal.open_ids()


async def test_there_must_be_something_to_append_to(daemon: Client, alice: Account) -> None:
    with pytest.raises(RecordAbsent, match="no release of things to append to") as caught:
        await append(daemon, named(5))
    assert "without --append" in (caught.value.next_step or "")
    assert not alice.head.records


async def test_another_store_than_that_of_the_old_shards_is_refused(
    world: World, daemon: Client, alice: Account, tmp_path: Path
) -> None:
    await publish(daemon, named(50))
    records = dict(alice.head.records)
    with pytest.raises(Conflict, match=r"shards of things 1\.0\.0, such as .* are not at"):
        await append(daemon, named(5, 100), store=tmp_path / "elsewhere")
    assert alice.head.records == records
    assert not [*tmp_path.joinpath("elsewhere").glob("*")]
    await publish(daemon, named(20), name="local", store=tmp_path / "shards")
    grown = await append(daemon, named(5, 100), name="local")
    folder = tmp_path / "shards" / "local"
    assert grown.samples == 25
    assert sorted(sample.n for sample in atd.load(str(folder))) == [*range(20), *range(100, 105)]


async def test_a_numbered_append_that_is_run_again_adds_nothing_twice(
    world: World, daemon: Client, alice: Account
) -> None:
    await publish(daemon, noise(100))
    second = await append(daemon, noise(20, 100))
    records, sent = dict(alice.head.records), len(uploads(world))
    again = await append(daemon, noise(20, 100))
    assert (again.unchanged, again.version, again.cid) == (True, "1.1.0", second.cid)
    assert (again.samples, again.bytes, again.shards) == (120, second.bytes, second.shards)
    assert again.warnings == ("1.1.0 added these samples already: they were not added again",)
    assert (alice.head.records, len(uploads(world))) == (records, sent)
    assert not daemon.services.publishing.tools.journal.open_ids()
    other = await append(daemon, noise(20, 200))
    assert (other.version, other.samples) == ("1.2.0", 140)
    keyed = [
        (f"k{n}", {"n": int(n), "noise": x}) for n, x in zip(*noise(20, 200).values(), strict=True)
    ]
    assert (await append(daemon, keyed)).samples == 160, "with keys, the same rows may come twice"


async def test_of_two_at_once_one_wins_and_the_other_succeeds_when_run_again(
    world: World, daemon: Client, alice: Account, tmp_path: Path
) -> None:
    await publish(daemon, noise(100))
    async with serving(world, tmp_path / "other") as other:
        await other.services.accounts.login(alice.handle, alice.password)
        loop = asyncio.get_running_loop()

        def slowly() -> Iterator[dict[str, Any]]:
            rows = noise(1100, 100)
            yield from (
                {"n": int(n), "noise": x} for n, x in zip(rows["n"], rows["noise"], strict=True)
            )
            asyncio.run_coroutine_threadsafe(append(other, noise(10, 5000)), loop).result()
            with pytest.raises(Busy):
                asyncio.run_coroutine_threadsafe(append(daemon, noise(1)), loop).result()

        with pytest.raises(Conflict, match="published by another process meanwhile"):
            await append(daemon, slowly())
        last = await append(daemon, noise(20, 100))
    assert last.samples == 130
    assert keys(alice, "release") == ["things:1.0.0", "things:1.1.0", "things:1.2.0"]
    assert len({sample.n for sample in await loaded(daemon)}) == 130


def archives(folder: Path, start: int, end: int, kinds: tuple[str, ...] = ("cat", "dog")) -> Path:
    """A WebDataset archive: a text and the name of a class for each sample."""
    path = folder / f"train-{start:06}.tar"
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as file:
        for number in range(start, end):
            for suffix, text in (("cls", kinds[number % len(kinds)]), ("txt", f"text {number}")):
                info = tarfile.TarInfo(f"{number:06}.{suffix}")
                info.size = len(text)
                file.addfile(info, io.BytesIO(text.encode()))
    return path


async def test_archives_are_appended_as_they_are(
    world: World, daemon: Client, alice: Account, tmp_path: Path
) -> None:
    await publish(daemon, archives(tmp_path / "a", 0, 10))
    new = archives(tmp_path / "b", 10, 15, ("dog", "eel"))
    second = await append(daemon, new)
    assert (second.version, second.samples) == ("1.1.0", 15)
    assert uploads(world)[-1].digest == hashlib.sha256(new.read_bytes()).digest()
    assert second.changes is not None
    assert [one.line for one in second.changes.schema] == ["+ field cls class: eel"]
    found = {sample.txt: sample.cls.name for sample in await loaded(daemon)}
    assert (found["text 0"], found["text 11"], found["text 10"]) == ("cat", "eel", "dog")

    with pytest.raises(BadSource, match=r"there already: .*train-000014.tar \(1 of its samples"):
        await append(daemon, archives(tmp_path / "c", 14, 20))
    with pytest.raises(BadSource, match="nothing is left to append"):
        await append(daemon, archives(tmp_path / "c", 14, 20), skip_bad=True)
    with pytest.raises(SchemaMismatch, match="do not fit one schema"):
        await append(daemon, named(3))
    ours = await append(daemon, [("x1", {"cls": "dog", "txt": "written by us"})])
    assert ours.samples == 16, "new samples go into shards as the old ones lie there"
    assert ours.changes is not None
    assert ours.changes.schema == ()
    with pytest.raises(SchemaMismatch, match="cls"):
        await append(daemon, [("x2", {"cls": "fox", "txt": "of no class that is known"})])


async def test_a_folder_of_packed_shards_is_appended(daemon: Client, tmp_path: Path) -> None:
    await publish(daemon, named(20))
    await asyncio.to_thread(lambda: atd.pack(named(5, 20), tmp_path / "packed"))
    assert (await append(daemon, tmp_path / "packed")).samples == 25
    with pytest.raises(BadSource, match="there already"):
        await append(daemon, tmp_path / "packed")
    await asyncio.to_thread(lambda: atd.pack([("y", {"other": 1})], tmp_path / "others"))
    with pytest.raises(SchemaMismatch, match="field n"):
        await append(daemon, tmp_path / "others")


async def test_an_optional_field_may_be_missing_in_what_is_new(daemon: Client) -> None:
    await publish(daemon, [{"n": 1, "x": "a"}, {"n": 2}])
    second = await append(daemon, [{"n": 3}])
    assert second.changes is not None
    assert second.changes.schema == ()
    assert [sample.n for sample in await loaded(daemon)][-1:] == [3]


@dataclass
class Thing:
    n: int


@dataclass
class Grown:
    n: int
    more: str


async def test_a_class_of_the_publishers_must_hold_the_old_samples(daemon: Client) -> None:
    await publish(daemon, [Thing(1)], schema=Thing)
    assert (await append(daemon, [Thing(2)], schema=Thing)).samples == 2
    with pytest.raises(SchemaMismatch, match=r"\+ field more: string"):
        await append(daemon, [Grown(3, "x")], schema=Grown)


async def test_a_dry_run_says_what_would_be_there(world: World, daemon: Client) -> None:
    await publish(daemon, named(50))
    sent = len(uploads(world))
    made = await asyncio.to_thread(
        lambda: publishing.plan(
            named(5, 10), name="things", append=True, connection=daemon.connection
        )
    )
    assert made.changes is not None
    assert [(one.name, one.before, one.after) for one in made.changes.splits] == [("train", 50, 55)]
    assert made.changes.after == "1.1.0"
    assert len(uploads(world)) == sent
