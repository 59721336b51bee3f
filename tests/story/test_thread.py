"""Publish, discover by handle, prove, load: from one real PDS to a reader who knows a handle."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import atd
from story.people import COLLECTIONS, Person
from story.sources import CASES, Case, Splits, counted, frozen, plain


@dataclass(frozen=True)
class Published:
    """A data set that was published: by whom, who reads it, what went in, what was answered."""

    case: Case
    by: Person
    reader: Person
    splits: Splits
    answer: dict[str, Any]

    @property
    def ref(self) -> str:
        return f"@{self.by.handle}/{self.case.name}"

    @property
    def samples(self) -> list[dict[str, Any]]:
        return [sample for samples in self.splits.values() for sample in samples]

    def load(self, **said: Any) -> Any:
        return atd.load(self.ref, connection=self.reader.connection, **said)


def publish(case: Case, by: Person, reader: Person, folder: Path) -> Published:
    """By the command where there is a path, from Python where there are samples."""
    source, splits = case.make(folder)
    about = {"title": case.title, "license": "CC-BY-4.0"}
    if isinstance(source, Path):
        options = [f"--{key}={value}" for key, value in about.items()]
        answer = by.json("publish", str(source), "--name", case.name, "--yes", *options)
    else:
        connection = by.connection
        done = atd.publish(
            source, name=case.name, schema=case.schema, connection=connection, **about
        )
        answer = dict(done.raw)
    return Published(case, by, reader, splits, answer)


@dataclass(frozen=True)
class Direction:
    """Which data set goes from whom to whom."""

    case: Case
    by: str
    reader: str

    def __str__(self) -> str:
        return f"{self.case.name}-from-{self.by}-to-{self.reader}"


FROM_ALICE = [Direction(case, "alice", "bob") for case in CASES]
FROM_CAROL = [Direction(case, "carol", "alice") for case in (CASES[0], CASES[-1])]

Publications = Callable[[Direction], Published]


@pytest.fixture(scope="module")
def publications(alice: Person, bob: Person, carol: Person, desk: Path) -> Publications:
    """Publish in a direction, once."""
    people = {"alice": alice, "bob": bob, "carol": carol}

    @functools.cache
    def made(direction: Direction) -> Published:
        by, reader = people[direction.by], people[direction.reader]
        return publish(direction.case, by, reader, desk / str(direction))

    return made


@pytest.fixture(params=[*FROM_ALICE, *FROM_CAROL], ids=str)
def published(request: pytest.FixtureRequest, publications: Publications) -> Published:
    return publications(request.param)


def test_the_answer_says_what_was_published(published: Published) -> None:
    answer, account = published.answer, published.by.account
    assert account is not None
    assert answer["did"] == account.did
    assert answer["handle"] == account.handle
    assert answer["name"] == published.case.name
    assert answer["version"] == "1.0.0"
    assert answer["samples"] == len(published.samples)
    assert answer["shards"] == len(published.splits)
    assert answer["bytes"] == answer["uploaded"] > 0
    assert not answer["unchanged"]
    release = published.by.repository.records("release")[f"{published.case.name}:1.0.0"]
    assert release["samples"] == len(published.samples)


def test_a_reader_who_knows_the_handle_finds_it(published: Published) -> None:
    connection, case = published.reader.connection, published.case
    listed = atd.ls(published.by.handle, connection=connection)
    info = next(info for info in listed if info.name == case.name)
    assert (info.proof, info.handle, info.version) == ("proved", published.by.handle, "1.0.0")
    found = atd.search(case.word, connection=connection)
    assert published.ref in [info.ref for info in found]
    detail = atd.show(published.ref, connection=connection)
    assert detail.info.title == case.title
    assert detail.info.license == "CC-BY-4.0"
    assert detail.splits == {name: len(samples) for name, samples in published.splits.items()}
    assert detail.problems == ()


def test_it_is_pulled_and_every_step_from_handle_to_bytes_holds(published: Published) -> None:
    reader, answer = published.reader, published.answer
    fetched = reader.json("verify", published.ref, "--fetch")
    assert fetched["holds"]
    assert fetched["absent"] == 0
    assert fetched["shards"] == answer["shards"]
    assert all(step["holds"] for step in fetched["steps"])
    stored = {shard["digest"]["$link"] for shard in _entries(published)}
    assert stored <= reader.shards
    pulled = reader.json("pull", published.ref)
    assert pulled["fetched"] == 0, "it was there already"
    assert pulled["uri"] == answer["uri"]
    assert pulled["bytes"] == answer["bytes"]


def _entries(published: Published) -> list[dict[str, Any]]:
    return published.by.repository.parts(published.case.name)["1.0.0"]


def test_rows_are_the_samples_that_went_in(published: Published) -> None:
    for split, samples in published.splits.items():
        rows = published.load(split=split)
        assert len(rows) == len(samples)
        assert counted(rows.ordered()) == counted(samples)
        assert all(isinstance(row, atd.Row) for row in rows)
    assert counted(published.load()) == counted(published.samples)


def test_typed_samples_are_instances_of_the_class(published: Published) -> None:
    case = published.case
    typed = list(published.load(schema=case.cls))
    assert all(type(sample) is case.cls for sample in typed)
    assert counted(typed) == counted(map(case.typed, published.samples))
    again = published.load().as_type(case.cls)
    assert [frozen(one) for one in again] == [frozen(one) for one in typed]


def test_every_order_gives_each_sample_once(published: Published) -> None:
    rows = published.load(split="train")
    ordered = [frozen(row) for row in rows.ordered()]
    assert ordered == [frozen(row) for row in rows]
    assert ordered == [frozen(rows[at]) for at in range(len(rows))]
    shuffled = [frozen(row) for row in rows.shuffled(seed=3)]
    assert shuffled != ordered
    assert Counter(shuffled) == Counter(ordered)
    assert shuffled == [frozen(row) for row in published.load(split="train").shuffled(seed=3)]
    assert shuffled != [frozen(row) for row in rows.shuffled(seed=3, epoch=1)]
    piped = [_without_marks(sample) for sample in rows.shuffled(seed=3).webdataset()]
    assert piped == shuffled


def _without_marks(sample: dict[str, Any]) -> tuple[Any, ...]:
    """A sample of webdataset, whose ``__key__`` and ``__url__`` say where it comes from."""
    assert sample["__key__"]
    assert sample["__url__"].startswith("bafkrei")
    fields = {key: value for key, value in sample.items() if not key.startswith("__")}
    return frozen(plain(fields))


def test_batches_hold_the_same_samples_in_the_same_order(published: Published) -> None:
    typed = published.load(split="train", schema=published.case.cls).shuffled(seed=1)
    samples = list(typed)
    batches = list(typed.batched(4))
    sizes = [len(samples[start:end]) for start, end in pairwise([*range(0, len(samples), 4), None])]
    name = typed.fields[0]
    assert [len(batch[name]) for batch in batches] == sizes
    values = [value for batch in batches for value in batch[name]]
    expected = [getattr(sample, name) for sample in samples]
    assert all(np.array_equal(one, other) for one, other in zip(values, expected, strict=True))


@pytest.mark.parametrize("direction", [FROM_ALICE[0], FROM_CAROL[0]], ids=str)
def test_the_commands_tell_it_in_words(direction: Direction, publications: Publications) -> None:
    published = publications(direction)
    reader, handle = published.reader, published.by.handle
    ref = f"@{handle}/leaves"
    assert "1.0.0    17       " in reader.run("ls", f"@{handle}").out
    assert ref in reader.run("search", "oaks").out
    shown = reader.run("show", ref).out
    assert "handle proved both ways" in shown
    assert "CC-BY-4.0" in shown
    previewed = reader.run("preview", f"{ref}:test", "-n", "2").out
    assert previewed.startswith("sample 0 of 5\n")
    assert "Image(image/png, " in previewed
    assert "class Leaves:" in reader.run("schema", "show", ref).out
    assert "6. the commit is signed by the key of the document" in reader.run("verify", ref).out
    assert reader.run("pull", ref).out.startswith("leaves 1.0.0: 2 shards, 17 samples, ")


def test_nothing_else_was_written(published: Published) -> None:
    """Four records for the first release of one split, one more for each further split."""
    repository = published.by.repository
    sizes = {collection: len(repository.records(collection)) for collection in COLLECTIONS}
    names = len(repository.records("dataset"))
    assert sizes["release"] == sizes["schema"] == names
    entries = [e for name in repository.records("dataset") for e in _all_parts(repository, name)]
    shards = {entry["blob"]["ref"]["$link"] for entry in entries}
    assert repository.blobs == shards | repository.previews
    assert published.by.staged == []


def _all_parts(repository: Any, name: str) -> list[dict[str, Any]]:
    return [entry for entries in repository.parts(name).values() for entry in entries]


def test_a_handle_without_an_account_or_a_data_set_is_said_so(bob: Person, alice: Person) -> None:
    said = bob.run("ls", "@nobody.pds1.test", code=41)
    assert "nobody.pds1.test" in said.err
    said = bob.run("show", f"@{alice.handle}/no-such-thing", code=43)
    assert said.out == ""
    with pytest.raises(atd.errors.RecordAbsent):
        atd.load(f"@{alice.handle}/no-such-thing", connection=bob.connection)
