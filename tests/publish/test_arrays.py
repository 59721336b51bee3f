"""Arrays as sources: .npz files and dicts of arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from atd.errors import BadSource
from atd.publishing.sources.opening import open_source
from atd.schema.fields import Array, Bool, Float, Int, String, Timestamp


def test_one_field_from_each_array(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    images = np.arange(3 * 4 * 4, dtype=np.uint8).reshape(3, 4, 4)
    np.savez(
        path,
        image=images,
        label=np.array([0, 1, 2], dtype=">i4"),
        good=np.array([True, False, True]),
        weight=np.array([0.5, 1, 2], dtype=np.float32),
        name=np.array(["a", "b", "c"]),
        at=np.array(["2024-01-01", "2024-01-02", "2024-01-03"], dtype="datetime64[s]"),
    )
    source = open_source(path)
    assert {field.name: field.kind for field in source.schema} == {
        "image": Array("uint8", (4, 4)),
        "label": Int(32),
        "good": Bool(),
        "weight": Float(32),
        "name": String(),
        "at": Timestamp(),
    }
    assert source.count == 3
    key, sample = list(source.splits["train"].samples(source.schema))[1]
    assert key == "000000001"
    assert np.array_equal(sample["image"], images[1])
    assert sample["name"] == "b"


def test_names_that_end_in_splits_make_splits(tmp_path: Path) -> None:
    path = tmp_path / "mnist.npz"
    x, y = np.zeros((5, 2), np.uint8), np.zeros(5, np.int64)
    np.savez(path, x_train=x, y_train=y, x_test=x[:2], y_test=y[:2])
    source = open_source(path)
    assert {name: one.count for name, one in source.splits.items()} == {"train": 5, "test": 2}
    assert source.schema.names == ("x", "y")


def test_arrays_of_objects_are_never_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "evil.npz"
    np.savez(path, x=np.array([{"a": 1}], dtype=object))
    with pytest.raises(BadSource, match=r"is not an .npz file of plain arrays"):
        open_source(path)
    with pytest.raises(BadSource, match=r"array x: .*element type"):
        open_source({"x": np.array([{"a": 1}], dtype=object)})


@pytest.mark.parametrize("data", [b"", b"hello", b"PK\x03\x04 and no more"])
def test_a_damaged_file_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "data.npz"
    path.write_bytes(data)
    with pytest.raises(BadSource, match=r"data.npz"):
        open_source(path)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.zeros(2), "y": np.zeros(3)}, r"expected arrays of one length .* x \(2,\), y"),
        ({"x": np.array(1.0)}, "expected arrays of one length"),
        ({"x": np.zeros((0, 3))}, "no rows"),
        ({"x": np.zeros((2, 0))}, "length 0"),
        ({"x y": np.zeros(2)}, "name of a field"),
        ({"x": np.zeros(2, np.longdouble)}, "element type of a fixed width"),
        ({"x": np.zeros(2, [("a", "i4")])}, "element type of a fixed width"),
    ],
)
def test_arrays_that_make_no_samples(arrays: dict[str, object], message: str) -> None:
    with pytest.raises(BadSource, match=message):
        open_source(arrays)


def test_splits_that_differ_are_refused() -> None:
    with pytest.raises(BadSource, match="x float64\\[2\\] in train; x float64\\[4\\] in test"):
        open_source({"x_train": np.zeros((3, 2)), "x_test": np.zeros((3, 4))})
