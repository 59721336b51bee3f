"""Samples and batches by columns are those made one by one, whatever the schema and the order."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import atd
from atd.dataset.blocks import Uncommon
from atd.dataset.cursor import read_raw
from atd.dataset.samples import plain_class
from atd.dataset.shelf import shelf_of
from atd.dataset.stacker import Stacker
from atd.errors import SchemaMismatch, ShardError
from atd.manifest import Manifest, ManifestShard
from atd.protocol.cbor import RAW, Cid
from atd.records import CutParameters
from atd.schema.classes import schema_of
from atd.schema.fields import Schema
from atd.schema.row import same
from atd.shards.batch import Batch, Labels, Ragged, collate
from atd.shards.cut import pack
from atd.shards.gather import Pool
from atd.shards.layout import default_layout
from atd.shards.texts import Decoded
from leaves import Leaf, pack_folder
from shards.strategies import schemas_and_samples


def packed(folder: Path, schema: Schema, samples: list[Any], kind: str = "packed") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    layout = default_layout(schema, kind)
    cuts = CutParameters(order="keep", max_samples=3)
    items = [(f"{n:04d}", lambda n=n: samples[n]) for n in range(len(samples))]
    found = pack(items, schema, layout, cuts, folder, "train")
    listed = tuple(ManifestShard(s.name, s.digest, s.size, s.samples) for s in found)
    Manifest(schema, layout, cuts, {"train": listed}, "drawn").save(folder)
    return folder


def by_themselves(ds: atd.Dataset[Any]) -> list[Any]:
    """Every sample by the strict reader: the slow way."""
    positions = np.arange(len(ds), dtype=np.int64)
    return [ds.flow.reading(sample) for _, _, _, sample in read_raw(ds.flow, positions)]


def plain(value: Any) -> Any:
    """``value`` with what `same` compares: columns by dtype, shape and elements."""
    if isinstance(value, Batch):
        return {name: plain(column) for name, column in value.items()}
    if isinstance(value, Ragged):
        return ["ragged", *value]
    if isinstance(value, Labels):
        return ["labels", list(value.names), value.tolist()]
    if hasattr(value, "__dataclass_fields__"):
        return {name: plain(getattr(value, name)) for name in value.__dataclass_fields__}
    return value


def check(ds: atd.Dataset[Any], n: int) -> None:
    slow = by_themselves(ds)
    # Asked for a second time, shards that are shuffled together are joined.
    for quick in (list(ds), list(ds)):
        assert len(slow) == len(quick)
        for one, other in zip(slow, quick, strict=True):
            assert type(one) is type(other)
            assert same(plain(one), plain(other)), (one, other)
    assert all(same(plain(ds[at]), plain(slow[at])) for at in range(len(slow)))
    schema = ds.flow.schema
    wanted = [collate(slow[at : at + n], schema) for at in range(0, len(slow), n)]
    for copy in (True, False):
        batches = list(ds.batched(n, copy=copy))
        assert [len(batch) for batch in batches] == [len(batch) for batch in wanted]
        for batch, want in zip(batches, wanted, strict=True):
            assert same(plain(batch), plain(want)), (plain(batch), plain(want))


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(drawn=schemas_and_samples(size=8), n=st.integers(1, 5), seed=st.integers(0, 3))
@pytest.mark.parametrize("kind", ["packed", "members"])
def test_any_schema(
    tmp_path_factory: pytest.TempPathFactory, drawn: Any, n: int, seed: int, kind: str
) -> None:
    schema, samples = drawn
    try:
        folder = packed(tmp_path_factory.mktemp("drawn"), schema, samples, kind)
    except SchemaMismatch:
        return  # the members layout cannot say everything
    ds = atd.load(str(folder))
    check(ds, n)
    check(ds.shuffled(seed=seed), n)


@dataclass
class Turned:
    """Fields in another order, some converted."""

    note: str
    kind: int
    veins: Annotated[NDArray[np.float64], atd.Shape(3)]
    number: np.int64
    more: int = 7


@dataclass(frozen=True, kw_only=True)
class Named:
    number: float
    kind: Literal["oak", "elm"]


@dataclass
class Counting:
    number: int

    def __post_init__(self) -> None:
        self.number += 1000


@pytest.mark.parametrize("cls", [None, Leaf, Turned, Named, Counting])
def test_any_class(leaves: Path, cls: Any) -> None:
    for ds in (atd.load(str(leaves), schema=cls), atd.load(str(leaves), schema=cls).shuffled(1)):
        check(ds, 6)
        check(ds.shuffled(seed=2, window=None).skip(3), 16)


def test_code_of_the_class_runs_for_each_sample_of_a_batch(leaves: Path) -> None:
    assert not plain_class(Counting)
    batch = next(iter(atd.load(str(leaves), split="train", schema=Counting).batched(2)))
    assert batch.number.tolist() == [1000, 1001]
    with pytest.raises(Uncommon):
        Stacker(atd.load(str(leaves), schema=Counting).flow, Pool())


@pytest.fixture
def long(tmp_path: Path) -> Path:
    return pack_folder(tmp_path / "long", {"train": range(3000)}, most=700)


def test_many_samples_in_several_blocks(long: Path) -> None:
    for ds in (atd.load(str(long)), atd.load(str(long), schema=Leaf)):
        check(ds.shuffled(seed=3, window=None)[:1500], 100)
    numbers = [sample.number for sample in atd.load(str(long))]
    assert numbers == list(range(3000))


def test_the_position_is_exact_at_every_sample(long: Path) -> None:
    numbers = atd.load(str(long)).select("number")
    for at, _ in enumerate(numbers, 1):
        assert numbers.state_dict()["consumed"] == at
    assert numbers.state_dict()["consumed"] == 3000


def test_a_batch_may_be_changed_without_harm(long: Path) -> None:
    ds = atd.load(str(long))
    for batch in ds.batched(8):
        batch.number[:] = -1
        batch.veins[:] = -1
    assert [sample.number for sample in ds] == list(range(3000))
    first = next(iter(ds.batched(8)))
    assert first.veins[3].tolist() == [3.0, 3.0, 3.0]


def lying(folder: Path) -> Path:
    """A folder in which a text of sample 4 is not UTF-8, and the manifest agrees to that."""
    schema = Schema((schema_of(Leaf)["number"], schema_of(Leaf)["note"]))
    folder = packed(folder, schema, [{"number": n, "note": f"leaf {n}"} for n in range(9)])
    manifest = Manifest.load(folder)
    shards = []
    for shard in manifest.splits["train"]:
        path = folder / shard.name
        data = path.read_bytes().replace(b"leaf 4", b"\xffeaf 4")
        path.chmod(0o644)
        path.write_bytes(data)
        digest = Cid.from_digest(hashlib.sha256(data).digest(), RAW)
        shards.append(ManifestShard(shard.name, digest, shard.size, shard.samples))
    Manifest(schema, manifest.layout, manifest.cuts, {"train": tuple(shards)}, "lying").save(folder)
    return folder


def test_a_bad_sample_is_an_error_at_its_turn_and_not_before(tmp_path: Path) -> None:
    ds = atd.load(str(lying(tmp_path / "lying")))
    cursor = iter(ds)
    assert [next(cursor).number for _ in range(4)] == [0, 1, 2, 3]
    with pytest.raises(ShardError, match=r"sample 0004: field note: expected text in UTF-8"):
        next(cursor)
    assert ds.state_dict()["consumed"] == 4
    assert list(cursor) == []
    batches = iter(ds.batched(2))
    assert [next(batches).number.tolist() for _ in range(2)] == [[0, 1], [2, 3]]
    with pytest.raises(ShardError, match="sample 0004"):
        next(batches)


def test_texts_of_several_shards_through_one_arrow_array(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    schema = Schema((schema_of(Leaf)["note"],))
    notes = ["é" * (n % 19) + f" {n}" for n in range(40)]
    ds = atd.load(str(packed(tmp_path / "notes", schema, [{"note": note} for note in notes])))
    Decoded.count = 0
    by_hand = [sample.note for sample in ds.shuffled(seed=1, window=None)]
    Decoded.count = 10**6
    assert [sample.note for sample in ds.shuffled(seed=1, window=None)] == by_hand
    assert [sample.note for sample in ds] == notes
    assert [note for batch in ds.batched(7) for note in batch.note] == notes


@dataclass
class Noted:
    number: int
    note: str = "no note"
    weight: float | None = None
    kind: Literal["oak", "elm"] = "elm"


def test_fields_that_some_samples_lack_are_read_by_columns(tmp_path: Path) -> None:
    samples: list[dict[str, Any]] = [{"number": n} for n in range(20)]
    for n, sample in enumerate(samples):
        sample.update({"note": f"{n}"} if n % 2 else {})
        sample.update({"weight": None if n % 4 else n / 2} if n % 3 else {})
        sample.update({"kind": n % 2} if n > 12 else {})
    folder = packed(tmp_path / "noted", schema_of(Noted), samples)
    for cls in (None, Noted):
        ds = atd.load(str(folder), schema=cls)
        check(ds, 3)
        check(ds.shuffled(seed=1), 4)
    shelf, counts = shelf_of(ds.flow.source), ds.flow.source.counts
    columns = [shelf.shard(number).columns for number in range(len(counts))]
    assert all(part is not None and part.row is None for part in columns)
    assert not all(part is not None and part.whole for part in columns)
