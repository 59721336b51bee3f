"""Files of arrays: .npy, .safetensors, several in a folder."""

from __future__ import annotations

import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from atd.errors import BadSource
from atd.publishing.sources.opening import open_source
from atd.schema.fields import Array, Float, Int


def tensors(path: Path, header: Any, body: bytes) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)
    return path


def entry(dtype: str, shape: list[int], begin: int, end: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def test_each_npy_file_of_a_folder_is_a_field(tmp_path: Path) -> None:
    for split, count in (("train", 3), ("test", 2)):
        np.save(tmp_path / f"x_{split}.npy", np.zeros((count, 4), np.float32))
        np.save(tmp_path / f"y_{split}.npy", np.arange(count, dtype=np.int16))
    source = open_source(tmp_path)
    assert {one.name: one.kind for one in source.schema} == {
        "x": Array("float32", (4,)),
        "y": Int(16),
    }
    assert {name: one.count for name, one in source.splits.items()} == {"train": 3, "test": 2}


def test_npy_files_below_folders_of_splits(tmp_path: Path) -> None:
    for split in ("train", "val"):
        (tmp_path / split).mkdir()
        np.save(tmp_path / split / "x.npy", np.arange(2.0))
    source = open_source(tmp_path)
    assert list(source.splits) == ["train", "val"]
    assert source.schema["x"].kind == Float()


def test_a_single_npy_file(tmp_path: Path) -> None:
    np.save(tmp_path / "image.npy", np.ones((5, 2, 2), np.uint8))
    source = open_source(tmp_path / "image.npy")
    assert source.schema["image"].kind == Array("uint8", (2, 2))
    (_, first), *_ = source.splits["train"].samples(source.schema)
    assert first["image"].tolist() == [[1, 1], [1, 1]]


def test_safetensors(tmp_path: Path) -> None:
    x, y = np.arange(6, dtype="<f4").reshape(3, 2), np.array([7, 8, 9], "<i8")
    header = {
        "__metadata__": {"made": "by hand"},
        "y": entry("I64", [3], 24, 48),
        "x": entry("F32", [3, 2], 0, 24),
    }
    path = tensors(tmp_path / "a.safetensors", header, x.tobytes() + y.tobytes())
    source = open_source(path)
    found = [sample for _, sample in source.splits["train"].samples(source.schema)]
    assert [int(one["y"]) for one in found] == [7, 8, 9]
    assert found[2]["x"].tolist() == [4, 5]


@pytest.mark.parametrize(
    ("header", "body"),
    [
        ({"x": entry("F32", [2], 0, 8)}, 4),
        ({"x": entry("F32", [2], 0, 8)}, 12),
        ({"x": entry("F32", [3], 0, 8)}, 8),
        ({"x": entry("F32", [2], 8, 0)}, 8),
        ({"x": entry("F32", [2], 0, 8), "y": entry("F32", [2], 4, 12)}, 12),
        ({"x": entry("F32", [2], 4, 12)}, 12),
        ({"x": entry("BF16", [2], 0, 4)}, 4),
        ({"x": entry("F32", [-2], 0, 8)}, 8),
        ({"x": entry("F32", [True], 0, 4)}, 4),
        ({"x": {"dtype": "F32"}}, 0),
        ({"x": 3}, 0),
        ([1], 0),
        (b"{", 0),
        (b"[" * 100_000, 0),
        ({}, 0),
    ],
)
def test_safetensors_that_contradict_themselves(tmp_path: Path, header: Any, body: int) -> None:
    path = tensors(tmp_path / "a.safetensors", header, bytes(body))
    with pytest.raises(BadSource, match=r"a\.safetensors"):
        open_source(path)


@pytest.mark.parametrize("data", [b"", b"\xff" * 8, b"\xff" * 80])
def test_what_is_no_safetensors_file(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.safetensors").write_bytes(data)
    with pytest.raises(BadSource, match=r"a\.safetensors"):
        open_source(tmp_path / "a.safetensors")


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    (tmp_path / "x.npy").write_bytes(pickle.dumps(["harmless"]))
    np.save(tmp_path / "y.npy", np.array([{}], object), allow_pickle=True)
    for name in ("x.npy", "y.npy"):
        with pytest.raises(BadSource, match=f"{name} is not an .npy file of plain arrays"):
            open_source(tmp_path / name)


def test_archives_and_loose_arrays_do_not_mix(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.arange(2))
    np.savez(tmp_path / "y.npz", y=np.arange(2))
    with pytest.raises(BadSource, match="archives"):
        open_source(tmp_path)


def test_two_archives_of_one_split(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", y=np.arange(2))
    np.savez(tmp_path / "b.npz", y=np.arange(2))
    with pytest.raises(BadSource, match="would be one split"):
        open_source(tmp_path)


def test_an_archive_that_unpacks_to_more_than_the_memory(tmp_path: Path) -> None:
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (1099511627776,), }\n"
    start = b"\x93NUMPY\x01\0" + len(header).to_bytes(2, "little") + header
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("x.npy", start + bytes(100))
    with pytest.raises(BadSource, match=r"bomb\.npz"):
        open_source(tmp_path / "bomb.npz")
