"""The pure parts of new versions: steps, claims, and what differs between two lists of shards."""

from __future__ import annotations

import pytest

from atd.comparing import Amount, Changes, KeyCounts, SplitChange, schema_step, split_changes
from atd.manifest import ManifestShard
from atd.names import version_order
from atd.protocol.cbor import RAW, Cid
from atd.schema.evolve import fits
from atd.schema.fields import Field, Int, Label, Schema, String
from atd.versions import Step, claimed, following


@pytest.mark.parametrize(
    ("version", "step", "next_one"),
    [
        ("0.0.9", Step.PATCH, "0.0.10"),
        ("0.4.2", Step.MINOR, "0.4.3"),
        ("0.4.2", Step.MAJOR, "0.5.0"),
        ("0.5.0-rc.1", Step.MAJOR, "0.5.0"),
        ("0.4.3-rc.1", Step.MINOR, "0.4.3"),
        ("0.4.3-rc.1", Step.MAJOR, "0.5.0"),
    ],
)
def test_below_one_the_numbers_mean_what_stands_left_of_them(
    version: str, step: Step, next_one: str
) -> None:
    assert following(version, step) == next_one
    assert version_order(next_one) > version_order(version)


@pytest.mark.parametrize(
    ("latest", "version", "step"),
    [
        ("1.2.3", "1.2.4", Step.PATCH),
        ("1.2.3", "1.2.9-rc.1", Step.PATCH),
        ("1.2.3", "1.3.0", Step.MINOR),
        ("1.2.3", "2.0.0-rc.1", Step.MAJOR),
        ("2.0.0-rc.1", "2.0.0-rc.2", Step.MAJOR),
        ("2.0.0-rc.1", "2.0.0", Step.MAJOR),
        ("2.0.0-rc.1", "2.0.1", Step.MAJOR),
        ("2.1.0-rc.1", "2.1.0", Step.MINOR),
        ("2.1.1-rc.1", "2.1.1", Step.PATCH),
        ("0.4.2", "0.4.3", Step.MINOR),
        ("0.4.2", "0.5.0", Step.MAJOR),
        ("0.4.2", "1.0.0", Step.MAJOR),
    ],
)
def test_what_a_version_claims(latest: str, version: str, step: Step) -> None:
    assert claimed(latest, version) is step


VERSIONS = ["0.0.1", "0.4.2", "0.5.0-rc.1", "1.2.3", "2.0.0-rc.1", "2.1.0-a", "2.1.1-a"]


@pytest.mark.parametrize("step", list(Step))
@pytest.mark.parametrize("version", VERSIONS)
def test_the_next_version_claims_enough_and_no_version_between_does(
    version: str, step: Step
) -> None:
    least = following(version, step)
    assert claimed(version, least) >= step
    for smaller in Step:
        other = following(version, smaller)
        if version_order(other) < version_order(least):
            assert claimed(version, other) < step


def shard(number: int, samples: int = 10) -> ManifestShard:
    digest = Cid.of(str(number).encode(), RAW)
    return ManifestShard(f"t-{number}.tar", digest, 100 + number, samples)


def test_shards_are_kept_new_or_gone_by_their_digest() -> None:
    found = split_changes(
        {"train": [shard(1), shard(2)], "old": [shard(3)]},
        {"new": [shard(4)], "train": [shard(2), shard(5, 7)]},
    )
    assert [one.name for one in found] == ["new", "train", "old"]
    new, train, old = found
    assert (new.before, new.after, old.before, old.after) == (0, 10, 10, 0)
    assert (train.before, train.after) == (20, 17)
    assert (train.kept, train.new, train.gone) == (Amount(1, 102), Amount(1, 105), Amount(1, 101))


def changes(*splits: SplitChange, schema: Step | None = None) -> Changes:
    return Changes("1.0.0", "1.1.0", Step.MINOR, schema, (), splits)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (changes(SplitChange("train", 100, 51)), ()),
        (changes(SplitChange("train", 100, 49)), ("51 of 100",)),
        (changes(SplitChange("train", 100, 100, keys=KeyCounts(60, 60, 0))), ("60 of 100",)),
        (changes(SplitChange("train", 100, 100, keys=KeyCounts(0, 0, 100))), ()),
        (changes(SplitChange("train", 100, 200), SplitChange("test", 5, 0)), ("split test",)),
        (changes(SplitChange("train", 100, None)), ()),
        (changes(SplitChange("train", 9, 9), schema=Step.MAJOR), ("does not read",)),
        (changes(SplitChange("train", 9, 9), schema=Step.MINOR), ()),
    ],
)
def test_what_is_too_much_to_be_done_unasked(found: Changes, words: tuple[str, ...]) -> None:
    assert len(found.consequences) == len(words)
    for line, word in zip(found.consequences, words, strict=True):
        assert word in line
    assert Changes.from_json(found.to_json()) == found


def of(*fields: Field) -> Schema:
    return Schema(fields)


N, LABEL = Field("n", Int(64)), Field("x", Label(["a", "b"]))


@pytest.mark.parametrize(
    ("old", "new", "does"),
    [
        (of(N), of(N), True),
        (of(N), of(N, Field("m", String(), optional=True)), True),
        (of(N), of(N, Field("m", String())), False),
        (of(N, LABEL), of(N), False),
        (of(LABEL), of(Field("x", Label(["a", "b", "c"]))), True),
        (of(LABEL), of(Field("x", Label(["b", "a"]))), False),
        (of(LABEL), of(Field("x", Label(["a"]))), False),
        (of(N), of(Field("n", Int(32))), False),
        (of(Field("n", Int(64), optional=True)), of(N), False),
        (of(N), of(Field("n", Int(64), optional=True)), False),
        (of(N), of(Field("n", Int(64), description="how many")), True),
    ],
)
def test_whether_old_samples_stay_valid_and_old_readers_too(
    old: Schema, new: Schema, does: bool
) -> None:
    assert fits(old, new) is does


def test_a_schema_that_grew_is_a_minor_step() -> None:
    assert schema_step(of(N), of(N)) is None
    assert schema_step(of(N), of(N, LABEL)) is Step.MINOR
    assert schema_step(of(N, LABEL), of(N)) is Step.MAJOR
