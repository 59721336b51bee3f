"""A published data set in the world: real records, shards as blobs (their bytes need be no tar)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from atd.protocol.cbor import RAW, Cid
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
from atd.records.references import BlobRef
from atd.schema.fields import Field, Int, Schema
from world.account import Account, Strong

WHEN = datetime(2025, 6, 1, tzinfo=UTC)
SCHEMA = Schema((Field("number", Int()),))
SHARDS = {"train": [b"one" * 100, b"two" * 200], "test": [b"three" * 50]}


@dataclass(frozen=True)
class Published:
    """What was written: the records by their place, and the shards' bytes by digest."""

    head: Strong
    release: Strong
    schema: Strong
    parts: tuple[Strong, ...]
    shards: Mapping[Cid, bytes]


def publish(
    account: Account,
    name: str = "flowers",
    version: str = "1.0.0",
    splits: Mapping[str, Sequence[bytes]] = SHARDS,
    *,
    nested: bool = False,
    bases: tuple[str, ...] = (),
    each: int = 1000,
    title: str | None = None,
    schema: Schema = SCHEMA,
) -> Published:
    """Publish a data set; every shard says that it holds three samples.

    Args:
        nested: put one level of lists of lists above the shard lists.
        bases: URLs under which the shards are as well; without any they are blobs alone.
        each: how many shards go into one shard list.
    """
    written = _put(account, SchemaRecord(name, version, schema, WHEN))
    shards: dict[Cid, bytes] = {}
    parts: list[Strong] = []
    found: list[Split] = []
    for split, contents in splits.items():
        entries = [_entry(account, split, number, data) for number, data in enumerate(contents)]
        shards |= {Cid.of(data, RAW): data for data in contents}
        lists = []
        for start in range(0, len(entries), each):
            part = ShardPart(tuple(entries[start : start + each]), WHEN, bases)
            lists.append(_put(account, part, account.tid()))
        parts += lists
        if nested:
            above = ShardPart((), WHEN, (), tuple(_ref(part) for part in lists))
            lists = [_put(account, above, account.tid())]
            parts += lists
        size, count = sum(len(data) for data in contents), len(contents)
        found.append(Split(split, tuple(map(_ref, lists)), 3 * count, count, size))
    samples, total = sum(s.samples for s in found), sum(s.size for s in found)
    release = Release(
        name, version, _ref(written), Layout(), tuple(found), samples, total, created_at=WHEN
    )
    released = _put(account, release)
    head = Dataset(name, _ref(released), WHEN, title=title)
    return Published(_put(account, head), released, written, tuple(parts), shards)


def _entry(account: Account, split: str, number: int, data: bytes) -> ShardEntry:
    blob = BlobRef.from_value(account.blob(data, "application/x-tar"))
    name = f"{split}-{number:05}.tar"
    return ShardEntry(name, Cid.of(data, RAW), len(data), samples=3, blob=blob)


def _put(
    account: Account,
    record: SchemaRecord | ShardPart | Release | Dataset,
    rkey: str | None = None,
) -> Strong:
    key = record.rkey if not isinstance(record, ShardPart) else rkey
    assert key is not None
    return account.put(record.NSID, key, record.to_value())


def _ref(strong: Strong) -> StrongRef:
    return StrongRef(strong.uri, strong.cid)
