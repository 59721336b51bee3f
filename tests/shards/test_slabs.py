"""Samples that wait in memory that is used again: what comes out is what went in, as plain tar."""

from __future__ import annotations

import io
import tarfile
from collections import deque
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from atd.records import CutParameters
from atd.schema import fields
from atd.schema.fields import Field, Schema
from atd.shards import cut, tar
from atd.shards.layout import SampleWriter, Stored, default_layout
from atd.shards.slabs import Batch, Slabs
from atd.shards.writer import stored_size

SLAB = 16 * tar.BLOCK

members = st.lists(st.integers(0, 3 * SLAB // 2), min_size=1, max_size=3)
shards = st.lists(st.lists(members, max_size=8), max_size=8)


def sample(number: int, sizes: list[int]) -> tuple[str, Stored]:
    return f"k{number}", [
        (f"{at}.bin", bytes([number % 255 + 1]) * size) for at, size in enumerate(sizes)
    ]


def one_by_one(samples: list[tuple[str, Stored]]) -> bytes:
    out = io.BytesIO()
    writer = tar.TarWriter(out)
    for key, stored in samples:
        for suffix, payload in stored:
            writer.add(f"{key}.{suffix}", payload)
    return out.getvalue()


def finished(slabs: Slabs, batch: Batch) -> bytes:
    out = io.BytesIO()
    writer = tar.TarWriter(out)
    writer.add_all(batch.names, batch.sizes, batch.blocks)
    assert writer.position == out.tell()
    slabs.give_back(batch)
    return out.getvalue()


@given(shards, st.integers(0, 5), st.integers(0, 2))
def test_shards_from_used_memory_are_those_written_one_by_one(
    sizes: list[list[list[int]]], ahead: int, late: int
) -> None:
    """However far samples are read ahead of their shard, and however late it is written."""
    numbers = iter(range(10**6))
    groups = [[sample(next(numbers), one) for one in group] for group in sizes]
    slabs = Slabs(SLAB)
    coming = iter([one for group in groups for one in group])
    held = 0
    writing: deque[tuple[Batch, bytes]] = deque()
    for group in groups:
        while held < len(group) + ahead and (one := next(coming, None)) is not None:
            slabs.put(*one, stored_size(one[1]))
            held += 1
        held -= len(group)
        batch = slabs.take(sum(stored_size(stored) for _, stored in group))
        writing.append((batch, one_by_one(group)))
        if len(writing) > late:
            first, expected = writing.popleft()
            assert finished(slabs, first) == expected
    for batch, expected in writing:
        assert finished(slabs, batch) == expected


def test_memory_that_was_given_back_is_used_again() -> None:
    slabs = Slabs(SLAB)
    seen: list[object] = []
    for number in range(100):
        key, stored = sample(number, [SLAB // 8])
        size = stored_size(stored)
        slabs.put(key, stored, size)
        batch = slabs.take(size)
        seen += [block.obj for block in batch.blocks]
        finished(slabs, batch)
    assert all(memory is seen[0] for memory in seen)


def test_shards_written_while_others_are_encoded_hold_their_own_samples(tmp_path: Path) -> None:
    """The memory of a shard is used for the next only when the file has all of it."""
    schema = Schema((Field("x", fields.Bytes()),))
    layout = default_layout(schema)
    made = {f"k{n}": {"x": n.to_bytes(4, "big") * (n % 400)} for n in range(3000)}
    cuts = CutParameters(target_bytes=51_200)
    items = ((key, lambda key=key: made[key]) for key in made)
    shards = cut.pack(items, schema, layout, cuts, tmp_path, "train")
    assert len(shards) > 30
    encode = SampleWriter(schema, layout)
    expected = {f"{key}.msgpack": encode(key, sample)[0][1] for key, sample in made.items()}
    found = {}
    for shard in shards:
        with tarfile.open(shard.path) as archive:
            found |= {one.name: archive.extractfile(one).read() for one in archive}  # type: ignore[union-attr]
    assert found == expected
