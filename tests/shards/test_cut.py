"""Where shards are cut: an edit costs one shard, at any size and in any process."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atd.errors import BadSource, InvalidSyntax, SchemaMismatch, StorageFault, TooLarge
from atd.records import CutParameters
from atd.schema import fields
from atd.schema.fields import Field, Schema
from atd.shards import cut, tar
from atd.shards.keys import check_key, key_digest, safe_key
from atd.shards.layout import default_layout
from atd.shards.reader import ShardFile
from atd.shards.writer import ShardInfo, ShardWriter

SCHEMA = Schema((Field("x", fields.Bytes()),))
LAYOUT = default_layout(SCHEMA)

Sizes = dict[str, int]


class Encoded(NamedTuple):
    """A sample: its key, its place in hash order, its bytes in an archive."""

    key: str
    place: int
    size: int


def encoded(sizes: Sizes, order: str = "hash") -> list[Encoded]:
    samples = [
        Encoded(key, int.from_bytes(key_digest(key), "big"), tar.member_size(size))
        for key, size in sizes.items()
    ]
    return sorted(samples, key=lambda s: s.place) if order == "hash" else samples


def groups(sizes: Sizes, cuts: CutParameters) -> list[tuple[tuple[str, int], ...]]:
    how = cut.by_hash if cuts.order == "hash" else cut.by_content
    samples = encoded(sizes, cuts.order)
    left = iter(samples)
    made = []
    for count, size in how(((s.place, s.size) for s in samples), cuts):
        made.append(tuple((s.key, s.size) for s in islice(left, count)))
        assert size == sum(size for _, size in made[-1])
    assert next(left, None) is None
    return made


def halved(sizes: Sizes, cuts: CutParameters) -> list[tuple[tuple[str, int], ...]]:
    """The slow, obvious twin of `cut.by_hash`: everything in memory, one recursion."""

    def split(samples: list[Encoded], bit: int) -> Iterable[list[Encoded]]:
        size = tar.archive_size(sum(s.size for s in samples))
        full = size > min(cuts.target_bytes, cuts.max_bytes) or len(samples) > cuts.max_samples
        if len(samples) < 2 or not full:
            return [samples] if samples else []
        ones = [s for s in samples if s.place >> bit & 1]
        zeros = [s for s in samples if not s.place >> bit & 1]
        return [*split(zeros, bit - 1), *split(ones, bit - 1)]

    return [tuple((s.key, s.size) for s in g) for g in split(encoded(sizes), 255)]


keys = st.text("abcdefgh", min_size=1, max_size=6)
size_maps = st.dictionaries(keys, st.integers(0, 30_000), max_size=60)
limits = st.builds(
    CutParameters,
    target_bytes=st.sampled_from([10_240, 20_480, 51_200, 500_000]),
    max_samples=st.integers(1, 20),
)


@given(size_maps, limits)
def test_halving_ahead_is_halving_in_memory(sizes: Sizes, cuts: CutParameters) -> None:
    assert groups(sizes, cuts) == halved(sizes, cuts)


@settings(max_examples=300)
@given(size_maps, limits, keys, st.integers(0, 30_000))
def test_adding_or_changing_a_sample_touches_one_shard(
    sizes: Sizes, cuts: CutParameters, key: str, size: int
) -> None:
    before = set(groups(sizes, cuts))
    after = set(groups(sizes | {key: size}, cuts))
    removed = before - after
    if tar.member_size(size) <= tar.member_size(sizes.get(key, -1024)):
        return  # nothing changed, or as removing a sample: see below
    assert len(removed) <= 1, "one shard is replaced; it may have grown too large and be halved"
    old = {entry for group in removed for entry in group}
    new = {entry for group in after - before for entry in group}
    assert {k for k, _ in new} == {k for k, _ in old} | {key}


@settings(max_examples=300)
@given(size_maps.filter(bool), limits, st.randoms())
def test_removing_a_sample_touches_one_shard_and_its_other_half(
    sizes: Sizes, cuts: CutParameters, rng: random.Random
) -> None:
    key = rng.choice(sorted(sizes))
    before = set(groups(sizes, cuts))
    after = set(groups({k: v for k, v in sizes.items() if k != key}, cuts))
    added = after - before
    assert len(added) <= 1, "what remains of the shard, joined with its other half if that fits"


@given(size_maps, limits)
def test_no_shard_is_larger_than_asked_unless_one_sample_is(
    sizes: Sizes, cuts: CutParameters
) -> None:
    for group in groups(sizes, cuts):
        assert len(group) <= cuts.max_samples
        total = tar.archive_size(sum(size for _, size in group))
        assert total <= cuts.target_bytes or len(group) == 1


def test_shards_are_well_filled() -> None:
    sizes = {f"k{n}": 900 for n in range(20_000)}
    cuts = CutParameters(target_bytes=1_000_000)
    totals = [sum(size for _, size in group) for group in groups(sizes, cuts)]
    assert sum(totals) / len(totals) > 500_000


def test_in_the_kept_order_cuts_meet_again_after_an_edit() -> None:
    rng = random.Random(0)
    sizes = {f"k{n:05d}": rng.randrange(3000) for n in range(5_000)}
    cuts = CutParameters(target_bytes=200_000, order="keep")
    before = groups(sizes, cuts)
    assert [entry for group in before for entry in group] == [
        (key, tar.member_size(size)) for key, size in sizes.items()
    ]
    touched = []
    for at in range(0, 5_000, 100):
        longer = list(sizes.items())
        longer.insert(at, (f"new{at}", 2000))
        after = groups(dict(longer), cuts)
        touched.append(len(set(before) - set(after)))
    assert sum(touched) / len(touched) < 2
    assert max(touched) <= 8
    assert all(tar.archive_size(sum(s for _, s in g)) <= 200_000 for g in before)


# ------------------------------------------------------------------ whole splits


def sample(key: str, size: int = 2000) -> dict[str, Any]:
    return {"x": hashlib.shake_128(key.encode()).digest(size)}


def packed(
    folder: Path, keys: Iterable[str], order: str = "hash", **limits: int
) -> list[ShardInfo]:
    cuts = CutParameters(order=order, **({"target_bytes": 100_000} | limits))
    items = ((key, lambda key=key: sample(key)) for key in keys)
    return cut.pack(items, SCHEMA, LAYOUT, cuts, folder, "train")


KEYS = [f"sample-{n}" for n in range(300)]


def test_the_order_of_the_source_does_not_matter(tmp_path: Path) -> None:
    shuffled = random.Random(1).sample(KEYS, len(KEYS))
    first, second = packed(tmp_path, KEYS), packed(tmp_path, shuffled)
    streamed = cut.pack_stream(
        ((key, sample(key)) for key in shuffled),
        SCHEMA, LAYOUT, CutParameters(target_bytes=100_000), tmp_path, "train",
    )  # fmt: skip
    assert first == second == streamed
    assert len(first) > 3
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(shard.name for shard in first)
    read = [
        shard.key(i)
        for info in first
        for shard in [ShardFile(info.path, SCHEMA, LAYOUT)]
        for i in range(len(shard))
    ]
    assert read == sorted(KEYS, key=key_digest)


def test_what_is_said_of_a_shard_is_true(tmp_path: Path) -> None:
    seen: list[ShardInfo] = []
    cuts = CutParameters(target_bytes=100_000)
    shards = cut.pack(
        ((key, lambda key=key: sample(key)) for key in KEYS),
        SCHEMA, LAYOUT, cuts, tmp_path, "train", seen.append,
    )  # fmt: skip
    assert seen == shards
    assert sum(shard.samples for shard in shards) == len(KEYS)
    for shard in shards:
        data = shard.path.read_bytes()
        assert len(data) == shard.size <= 100_000
        assert hashlib.sha256(data).digest() == shard.digest.digest
        assert shard.name == f"train-{hashlib.sha256(data).hexdigest()[:16]}.tar"
        assert len(ShardFile(shard.path, SCHEMA, LAYOUT)) == shard.samples


def test_an_edit_keeps_the_names_of_the_other_shards(tmp_path: Path) -> None:
    before = {shard.name for shard in packed(tmp_path, KEYS)}
    for edit in ([*KEYS, "another"], [*KEYS, "yet-another"]):
        after = {shard.name for shard in packed(tmp_path, edit)}
        assert len(before - after) <= 1


def test_the_kept_order_is_kept(tmp_path: Path) -> None:
    infos = packed(tmp_path, KEYS, "keep")
    shards = [ShardFile(info.path, SCHEMA, LAYOUT) for info in infos]
    assert [shard.key(i) for shard in shards for i in range(len(shard))] == KEYS
    cuts = CutParameters(order="keep", target_bytes=100_000)
    streamed = cut.pack_stream(
        ((key, sample(key)) for key in KEYS), SCHEMA, LAYOUT, cuts, tmp_path, "train"
    )
    assert streamed == infos


@pytest.mark.parametrize("order", ["hash", "keep"])
def test_a_key_that_occurs_twice_is_refused(tmp_path: Path, order: str) -> None:
    with pytest.raises(BadSource, match="sample sample-7: expected each key once"):
        packed(tmp_path, [*KEYS, "sample-7"], order)
    with pytest.raises(BadSource, match="sample a: expected each key once"):
        cut.pack_stream(
            [("a", sample("a")), ("a", sample("b"))],
            SCHEMA, LAYOUT, CutParameters(order=order), tmp_path, "train",
        )  # fmt: skip


def test_a_sample_larger_than_a_shard_may_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TooLarge, match="sample sample-0: 10240 bytes as a shard of its own"):
        packed(tmp_path, ["sample-0"], max_bytes=8_000)


def test_nothing_is_left_of_a_shard_that_failed(tmp_path: Path) -> None:
    items = [("a", lambda: sample("a")), ("b", lambda: {"x": "text"})]
    with pytest.raises(SchemaMismatch, match="sample b: field x: expected bytes"):
        cut.pack(items, SCHEMA, LAYOUT, CutParameters(order="keep"), tmp_path, "train")
    assert not list(tmp_path.iterdir())
    assert cut.pack([], SCHEMA, LAYOUT, CutParameters(), tmp_path, "train") == []


def test_a_folder_that_is_not_there_is_a_storage_fault(tmp_path: Path) -> None:
    with pytest.raises(StorageFault, match="No such file"):
        packed(tmp_path / "absent", KEYS)


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from atd.errors import StorageFault
from atd.schema import fields as f
from atd.shards.layout import default_layout
from atd.shards.writer import ShardWriter
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))
schema = f.Schema((f.Field("x", f.Bytes()),))
try:
    with ShardWriter(Path(sys.argv[1]) / "a.tar", schema, default_layout(schema)) as writer:
        for n in range(1000):
            writer.add(f"k{n}", {"x": bytes(10_000)})
except StorageFault as error:
    print(error)
"""


def test_a_full_disk_is_a_storage_fault_and_leaves_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("cannot write ")
    assert not list(tmp_path.iterdir())


def add_twice(writer: ShardWriter) -> None:
    with writer:
        writer.add("a", sample("a"))
        writer.add("a", sample("a"))


def test_a_writer_as_context_manager_gives_up_on_an_error(tmp_path: Path) -> None:
    with pytest.raises(BadSource, match="twice"):
        add_twice(ShardWriter(tmp_path / "a.tar", SCHEMA, LAYOUT))
    assert not list(tmp_path.iterdir())


PROGRAM = """
import sys, datetime, numpy as np
from pathlib import Path
from atd.records import CutParameters
from atd.schema import fields as f
from atd.shards import cut
from atd.shards.layout import default_layout
kinds = {"j": f.Json(), "v": f.Array("float32"), "i": f.Image(), "t": f.Timestamp()}
schema = f.Schema(tuple(f.Field(name, kind) for name, kind in kinds.items()))
def sample(n):
    when = datetime.datetime(2024, 1, 1, n % 24, tzinfo=datetime.timezone.utc)
    words = {"b": n, "a": {"z": 1, "y": [n]}, **{w: 1 for w in {"p", "q", "r", "s"}}}
    return {"j": words, "v": np.full((n % 3, 2), n, "f4"), "t": when,
            "i": np.full((4, 4, 3), n, np.uint8)}
items = ((f"k{n}", lambda n=n: sample(n)) for n in range(60))
for kind in ("packed", "members"):
    layout = default_layout(schema, kind)
    for shard in cut.pack(items, schema, layout, CutParameters(target_bytes=51200),
                          Path(sys.argv[1]), kind):
        print(shard.name, shard.digest)
"""


def test_the_same_samples_give_the_same_bytes_in_any_process(tmp_path: Path) -> None:
    outputs = set()
    for seed, zone in (("0", "UTC"), ("1", "Asia/Tokyo"), ("random", "America/New_York")):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "TZ": zone, "LC_ALL": "C"}
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(tmp_path)],
            env=environment, capture_output=True, text=True, check=True,
        )  # fmt: skip
        outputs.add(done.stdout)
    assert len(outputs) == 1
    assert outputs.pop().count("packed-") >= 2


# ------------------------------------------------------------------ keys


@given(st.text(max_size=200))
def test_any_text_becomes_a_key(text: str) -> None:
    key = safe_key(text)
    assert check_key(key) == key == safe_key(text)
    assert safe_key(key) == key


@given(st.lists(st.text(max_size=100), max_size=20, unique=True))
def test_different_texts_get_different_keys(texts: list[str]) -> None:
    assert len({safe_key(text) for text in texts}) == len(texts)


def test_keys_stay_recognisable() -> None:
    assert safe_key("roses/10503.jpg").startswith("roses_10503_jpg-")
    assert safe_key("plain-key_1") == "plain-key_1"
    with pytest.raises(InvalidSyntax, match="1 to 80 of A-Z") as caught:
        check_key("a.b")
    assert "safe_key" in caught.value.next_step
