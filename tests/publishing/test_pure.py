"""The pure parts: versions, batches, shard lists."""

from __future__ import annotations

import pytest

from atd.errors import TooLarge
from atd.names import version_order
from atd.protocol.cbor import RAW, Cid
from atd.protocol.syntax import AtUri
from atd.records import ShardEntry
from atd.versions import Step, following
from atd_daemon.network.account import MAX_WRITES
from atd_daemon.publishing.batches import Action, Write, batched
from atd_daemon.publishing.compose import MAX_PART_BYTES, MIN_PART, grouped


@pytest.mark.parametrize(
    ("version", "step", "next_one"),
    [
        ("1.2.3", Step.PATCH, "1.2.4"),
        ("1.2.3", Step.MINOR, "1.3.0"),
        ("1.2.3", Step.MAJOR, "2.0.0"),
        ("2.0.0-rc.1", Step.MINOR, "2.0.0"),
        ("2.0.0-rc.1", Step.MAJOR, "2.0.0"),
        ("2.1.0-rc.1", Step.PATCH, "2.1.0"),
        ("2.1.0-rc.1", Step.MAJOR, "3.0.0"),
        ("2.1.1-rc.1", Step.MINOR, "2.2.0"),
        ("0.0.9", Step.PATCH, "0.0.10"),
    ],
)
def test_the_next_version(version: str, step: Step, next_one: str) -> None:
    assert following(version, step) == next_one
    assert version_order(next_one) > version_order(version)


def write(key: int, size: int) -> Write:
    uri = AtUri.parse(f"at://did:plc:ewvi7nxzyoun6zhxrhs64oiz/network.atd.shards/k{key}")
    return Write.of(Action.CREATE, uri, {"x": "y" * size})


@pytest.mark.parametrize(
    ("sizes", "batches"),
    [
        ([10] * 5, [5]),
        ([10] * (MAX_WRITES + 3), [3, MAX_WRITES]),
        ([400_000] * 5, [1, 2, 2]),
        ([400_000, 400_000, 900_000, 10], [2, 2]),
        ([], []),
    ],
)
def test_the_last_commit_is_the_fullest(sizes: list[int], batches: list[int]) -> None:
    writes = [write(key, size) for key, size in enumerate(sizes)]
    found = batched(writes)
    assert [len(batch) for batch in found] == batches
    assert [one for batch in found for one in batch] == writes


def test_a_record_that_no_commit_takes() -> None:
    with pytest.raises(TooLarge, match="a PDS takes"):
        batched([write(1, 1_000_000)])


def entries(count: int, start: int = 0) -> list[ShardEntry]:
    digests = [Cid.of(str(number).encode(), RAW) for number in range(start, start + count)]
    return [ShardEntry(f"train-{cid.digest.hex()[:16]}.tar", cid, 100, 1) for cid in digests]


def test_shard_lists_are_bounded_and_in_order() -> None:
    all_of_them = entries(3000)
    groups = list(grouped(all_of_them))
    assert [one for group in groups for one in group] == all_of_them
    assert all(len(group) >= MIN_PART for group in groups[:-1])
    assert max(len(group) for group in groups) < MAX_PART_BYTES / 100


def test_a_shard_more_changes_few_lists() -> None:
    before = {tuple(group) for group in grouped(entries(3000))}
    changed = entries(3000)
    changed.insert(40, entries(1, start=9999)[0])
    after = {tuple(group) for group in grouped(changed)}
    assert len(after - before) <= 2
