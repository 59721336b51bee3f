"""Data sets of torch as sources of what is published."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

import atd
from atd.errors import BadSource
from atd.publishing.sources.opening import open_source
from atd.schema.fields import Array, Image, Int, Label

torch = pytest.importorskip("torch", reason="torch is not installed here: make test-torch")


class Flowers(torch.utils.data.Dataset[Any]):
    """As torchvision has them: a picture and the number of its class."""

    classes = ("rose", "tulip")

    def __init__(self, count: int = 5) -> None:
        self.count = count
        self.loaded: list[int] = []

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, row: int) -> Any:
        self.loaded.append(row)
        return Pillow.fromarray(np.full((2, 2, 3), row % 256, np.uint8)), row % 2


def test_pictures_with_the_numbers_of_classes(tmp_path: Path) -> None:
    manifest = atd.pack(Flowers(), tmp_path / "out", order="keep")
    assert manifest.schema["image"].kind == Image()
    assert manifest.schema["label"].kind == Label(["rose", "tulip"])
    data = atd.load(str(tmp_path / "out"))
    assert [sample.label for sample in data] == [0, 1, 0, 1, 0]
    assert (data[3].image.decode() == 3).all()


def test_samples_are_loaded_one_at_a_time() -> None:
    flowers = Flowers(3000)
    source = open_source(flowers)
    assert len(flowers.loaded) == 1000
    assert source.count == 3000


def test_tensors_become_arrays_and_numbers() -> None:
    rows = torch.utils.data.TensorDataset(torch.ones(4, 3), torch.arange(4))
    source = open_source(rows)
    assert source.schema["input"].kind == Array("float32", (3,))
    assert source.schema["label"].kind == Int()
    ((_, first), *_) = source.splits["train"].samples(source.schema)
    assert first["input"].tolist() == [1, 1, 1]


class Dicts(torch.utils.data.IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        return ({"x": torch.tensor([n, n]), "n": n} for n in range(3))


def test_iterable_data_sets() -> None:
    source = open_source(Dicts())
    assert source.schema["x"].kind == Array("int64", (2,))
    assert [one["n"] for _, one in source.splits["train"].samples(source.schema)] == [0, 1, 2]


def test_one_without_samples() -> None:
    with pytest.raises(BadSource, match="has no samples"):
        open_source(Flowers(0))
