"""A data set as Arrow: every kind, in bounded batches, and what was not described."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import atd
from atd.dataset.arrow_columns import Form, arrow_type, column
from atd.errors import LocalError
from atd.schema import fields
from kinds import BEGINNING, Everything, everything, pack_everything, spot


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pack_everything(tmp_path_factory.mktemp("kinds") / "packed")


@pytest.fixture(scope="module")
def table(folder: Path) -> Any:
    return atd.load(str(folder)).to_arrow()


def test_every_kind_has_its_arrow_type(table: Any) -> None:
    media = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    expected = {
        "small": pa.int8(),
        "large": pa.uint64(),
        "half": pa.float16(),
        "odd": pa.bool_(),
        "grid": pa.fixed_shape_tensor(pa.float32(), (2, 3)),
        "flags": pa.list_(pa.bool_(), 3),
        "waves": pa.fixed_shape_tensor(pa.float32(), (2, 2)),
        "rows": pa.list_(pa.list_(pa.uint8())),
        "any": pa.struct([("shape", pa.list_(pa.int64())), ("values", pa.list_(pa.int16()))]),
        "kind": pa.dictionary(pa.int32(), pa.string()),
        "image": media,
        "sound": media,
        "when": pa.timestamp("us", tz="UTC"),
        "document": pa.string(),
        "raw": pa.binary(),
        "box": pa.list_(pa.float64(), 4),
        "tags": pa.list_(pa.string()),
        "maybe": pa.int64(),
        "perhaps": pa.fixed_shape_tensor(pa.int32(), (2,)),
        "note": pa.string(),
    }
    assert {name: table.schema.field(name).type for name in expected} == expected
    nullable = {field.name for field in table.schema if field.nullable}
    assert nullable == {"maybe", "perhaps", "note"}


def test_every_value_is_the_one_that_was_published(table: Any) -> None:
    table.validate(full=True)
    assert table.num_rows == 10
    for n, row in enumerate(table.to_pylist()):
        want = everything(n)
        assert row["small"] == want.small
        assert row["large"] == int(want.large)
        assert row["half"] == float(want.half)
        assert row["odd"] is want.odd
        assert row["flags"] == want.flags.tolist()
        assert row["waves"] == want.waves.view(np.float32).tolist()
        assert row["rows"] == want.rows.tolist()
        assert row["any"] == {"shape": list(want.any.shape), "values": want.any.ravel().tolist()}
        assert row["kind"] == want.kind
        assert row["raw"] == want.raw
        assert row["image"] == {"bytes": want.image.bytes, "path": None}
        assert row["sound"] == {"bytes": want.sound, "path": None}
        assert row["when"] == want.when
        assert row["document"] == f'{{"n": [{n}, null]}}'
        assert row["box"] == list(want.box)
        assert row["tags"] == want.tags
        assert row["spot"] == {"place": n, "point": [n, n + 1]}
        assert row["spots"] == [row["spot"]] * (n % 3)
        assert row["maybe"] == want.maybe
        assert row["note"] == want.note
        assert row["perhaps"] == (None if want.perhaps is None else [n, n])


def test_tensors_come_back_as_one_array(table: Any) -> None:
    grid = table["grid"].combine_chunks().to_numpy_ndarray()
    assert grid.shape == (10, 2, 3)
    assert grid[7].tolist() == everything(7).grid.tolist()


def test_a_class_gives_the_same_columns_as_rows(folder: Path, table: Any) -> None:
    typed = atd.load(str(folder), schema=Everything).to_arrow()
    same = [name for name in table.schema.names if name != "sound"]
    for name in same:
        assert typed[name].to_pylist() == table[name].to_pylist(), name
    assert typed["sound"].to_pylist()[3] == everything(3).sound  # the class says bytes


def test_columns_of_batches_give_what_samples_give(folder: Path, table: Any) -> None:
    """Images make the whole table go by samples; without them it goes by columns."""
    others = [name for name in table.schema.names if name != "image"]
    ds = atd.load(str(folder)).select(*others)
    by_columns = ds.to_arrow()
    by_columns.validate(full=True)
    assert by_columns.equals(table.select(others))
    assert ds.filter(lambda sample: True).to_arrow().equals(by_columns)
    assert ds[3:4].to_arrow().equals(by_columns.slice(3, 1))
    typed = atd.load(str(folder), schema=Everything).to_arrow()
    assert typed["kind"].equals(table["kind"])


def test_batches_are_of_the_size_asked_for_and_follow_the_order(folder: Path) -> None:
    ds = atd.load(str(folder)).shuffled(seed=3)
    reader = ds.to_arrow_batches(4)
    batches = list(reader)
    assert [batch.num_rows for batch in batches] == [4, 4, 2]
    small = [value for batch in batches for value in batch["small"].to_pylist()]
    assert small == [sample.small for sample in ds]
    with pytest.raises(LocalError, match="1 sample or more"):
        ds.to_arrow_batches(0)


def test_a_batch_ends_before_large_samples_fill_memory(tmp_path: Path) -> None:
    big = ({"blob": bytes(30 * 2**20), "n": n} for n in range(5))
    atd.pack(big, tmp_path / "big", name="big", order="keep")
    sizes = [b.num_rows for b in atd.load(str(tmp_path / "big")).to_arrow_batches(1000)]
    assert sum(sizes) == 5
    assert max(sizes) <= 3


def test_selected_fields_filters_and_nothing_at_all(folder: Path) -> None:
    ds = atd.load(str(folder)).select("kind", "note")
    assert ds.to_arrow().schema.names == ["kind", "note"]
    assert ds.filter(lambda s: s.kind == 1).to_arrow().num_rows == 5
    empty = ds.take(0).to_arrow()
    assert empty.num_rows == 0
    assert empty.schema.names == ["kind", "note"]


def test_a_map_says_columns_by_its_class_or_by_its_first_mapping(folder: Path) -> None:
    ds = atd.load(str(folder))
    assert ds.map(lambda s: spot(s.small)).to_arrow()["place"].type == pa.int64()
    guessed = ds.map(lambda s: {"n": s.small, "x": s.grid, "at": s.when, "d": {"a": [1]}})
    found = guessed.to_arrow()
    assert found["x"].type == pa.list_(pa.list_(pa.float32()))
    assert found["at"].to_pylist()[0] == BEGINNING
    assert found["d"].to_pylist()[0] == '{"a": [1]}'


def test_mapped_samples_without_fields_or_of_changing_kinds_are_refused(folder: Path) -> None:
    ds = atd.load(str(folder))
    with pytest.raises(LocalError, match="map returned int"):
        ds.map(lambda s: s.small).to_arrow()
    with pytest.raises(LocalError, match="x: expected int64 in every sample"):
        ds.map(lambda s: {"x": 1 if s.small < 0 else "one"}).to_arrow()


def test_words_about_a_field_are_metadata(tmp_path: Path) -> None:
    described = fields.Field("mass", fields.Float(), description="how heavy", unit="kg")
    folder = tmp_path / "weighed"
    atd.pack([{"mass": 1.0}], folder, name="weighed", schema=fields.Schema((described,)))
    table = atd.load(str(folder)).to_arrow()
    assert table.schema.field("mass").metadata == {b"description": b"how heavy", b"unit": b"kg"}
    assert table.schema.metadata[b"atd:version"]


SHAPES = [(), (3,), (None,), (2, 3), (None, 3), (2, None, 1)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("arrays", ["tensor", "fixed", "lists"])
@pytest.mark.parametrize("dtype", ["float32", "bool", "complex128"])
def test_arrays_of_any_shape_nulls_and_no_rows_at_all(shape: Any, arrays: Any, dtype: str) -> None:
    kind, form = fields.Array(dtype, shape), Form(arrays=arrays)
    one = np.ones([4 if size is None else size for size in shape], dtype=dtype)
    none = np.ones([0 if size is None else size for size in shape], dtype=dtype)
    for values in ([], [None], [one], [one, None, none], [None, none]):
        made = column(kind, values, form)
        made.validate(full=True)
        assert made.type == arrow_type(kind, form)
        assert [v.is_valid for v in made] == [value is not None for value in values]
        stored = made.storage if isinstance(made, pa.ExtensionArray) else made
        for value, item in zip(values, stored.to_pylist(), strict=True):
            if value is not None:
                numbers = item["values"] if shape == () else item
                flat = np.array(numbers, dtype=value.real.dtype).ravel()
                assert (
                    flat.tolist() == np.ascontiguousarray(value).view(flat.dtype).ravel().tolist()
                )
