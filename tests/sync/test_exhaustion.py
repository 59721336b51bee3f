"""Publishers that say more than anybody can hold: few records and bytes, much work and memory."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from atd.errors import LexiconError, ProofError, Unreachable
from atd.protocol.car import write_car
from atd.protocol.cbor import RAW, Cid, encode
from atd.protocol.commit import Commit
from atd.records import (
    Dataset,
    Layout,
    Release,
    SchemaRecord,
    ShardEntry,
    ShardPart,
    Split,
    StrongRef,
)
from atd.records.shards import MAX_SOURCES
from world import Account, Answer, World, endless, same_as
from world.account import Strong, key_for
from world.daemons import Reader
from world.datasets import SCHEMA, WHEN, Published
from world.pds import CAR


def put(account: Account, record: SchemaRecord | Release | Dataset) -> Strong:
    return account.put(record.NSID, record.rkey, record.to_value())


def put_part(account: Account, part: ShardPart) -> Strong:
    return account.put(part.NSID, account.tid(), part.to_value())


def ref(strong: Strong) -> StrongRef:
    return StrongRef(strong.uri, strong.cid)


def publish_repeated(account: Account, lists: int, times: int) -> int:
    """One list of ten shards, ``times`` in a list, ``lists`` of that in the split."""
    entries = (ShardEntry(f"s{n}", Cid.of(b"%d" % n, RAW), 1, 1) for n in range(10))
    leaf = put_part(account, ShardPart(tuple(entries), WHEN, ("https://files.example.com/",)))
    above = put_part(account, ShardPart((), WHEN, (), (ref(leaf),) * times))
    schema = put(account, SchemaRecord("flowers", "1.0.0", SCHEMA, WHEN))
    count = 10 * times * lists
    split = Split("train", (ref(above),) * lists, count, count, count)
    totals = {"samples": count, "size": count, "created_at": WHEN}
    release = put(account, Release("flowers", "1.0.0", ref(schema), Layout(), (split,), **totals))
    put(account, Dataset("flowers", ref(release), WHEN))
    return count


async def test_a_few_lists_that_say_millions_of_shards_are_refused_while_they_are_walked(
    world: World, tmp_path: Path, alice: Account
) -> None:
    publish_repeated(alice, lists=1000, times=1000)
    reader = Reader.of(world, tmp_path, max_shards=5_000)
    with pytest.raises(LexiconError, match="at most 5000 shards"):
        await reader.resolver.dataset("@alice.test/flowers")
    assert reader.listed() == []
    reader.catalog.close()


async def test_a_list_that_stands_in_many_places_is_asked_for_once(
    world: World, reader: Reader, alice: Account
) -> None:
    count = publish_repeated(alice, lists=5, times=20)
    found = await reader.resolver.dataset("@alice.test/flowers", refresh=True)
    assert len(found.shards) == count
    asked = [call for call in world.calls if call.params.get("collection") == ShardPart.NSID]
    assert len(asked) == 2


async def test_addresses_that_multiply_are_cut_short_and_not_kept_for_every_shard(
    reader: Reader, alice: Account
) -> None:
    bases = tuple(f"https://{n}.example.com/{'p' * 1900}/" for n in range(16))
    entry = ShardEntry("s", Cid.of(b"s", RAW), 1, 1, urls=tuple(f"u{n}" for n in range(16)))
    part = ShardPart((entry,), WHEN, bases)
    assert len(part.sources(entry)) == MAX_SOURCES
    publish_repeated(alice, lists=1, times=2)
    first, *_, last = (await reader.resolver.dataset("@alice.test/flowers")).shards
    assert first.part is last.part


async def test_many_previous_keys_do_not_make_a_large_forgery_be_read_for_each_of_them(
    world: World, reader: Reader, alice: Account, flowers: Published
) -> None:
    for _ in range(100):
        alice.rotate_key()
    head = alice.head.commit
    forged = Commit.sign(head.did, head.rev, head.data, key_for("thief"))
    blocks = [encode(number) for number in range(40_000)]
    car = write_car(forged.cid, [(Cid.of(b), b) for b in (forged.encode(), *blocks)])
    world.lie(same_as(Answer(200, CAR, car)), path="sync.getRecord")
    started = time.process_time()
    with pytest.raises(ProofError, match="not by the current key"):
        await reader.resolver.record(flowers.head.uri)
    assert time.process_time() - started < 4, "a hundred readings take longer"


async def test_a_server_that_knows_no_record_cannot_answer_with_a_repository_of_any_size(
    world: World, tmp_path: Path, flowers: Published
) -> None:
    reader = Reader.of(world, tmp_path, max_absence_bytes=200_000)
    refusal = Answer(400, {"content-type": "application/json"}, b'{"error":"RecordNotFound"}')
    world.lie(same_as(refusal), path="sync.getRecord")
    world.lie(endless(), path="sync.getRepo?")
    with pytest.raises(Unreachable, match="more than 200000 bytes"):
        await reader.resolver.record(flowers.head.uri)
    reader.catalog.close()
