"""A small data set, packed for real, and the class to read it as."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray

import atd
from atd.manifest import Manifest, ManifestShard
from atd.records import CutParameters
from atd.schema.classes import schema_of
from atd.shards.cut import pack
from atd.shards.layout import default_layout


@dataclass
class Leaf:
    number: int
    veins: Annotated[NDArray[np.float32], atd.Shape(3)]
    spots: NDArray[np.uint8]
    kind: Literal["oak", "elm"]
    note: str


def leaf(number: int) -> Leaf:
    return Leaf(
        number=number,
        veins=np.full(3, number, dtype=np.float32),
        spots=np.arange(number % 3 + 1, dtype=np.uint8),
        kind="oak" if number % 2 else "elm",
        note=f"leaf {number}",
    )


def pack_folder(
    folder: Path, splits: dict[str, range], *, most: int = 7, order: str = "keep"
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    schema = schema_of(Leaf)
    layout = default_layout(schema)
    cuts = CutParameters(order=order, max_samples=most)
    lists = {}
    for split, numbers in splits.items():
        items = [(f"{n:04d}", lambda n=n: leaf(n)) for n in numbers]
        found = pack(items, schema, layout, cuts, folder, split)
        lists[split] = tuple(ManifestShard(s.name, s.digest, s.size, s.samples) for s in found)
    Manifest(schema, layout, cuts, lists, "leaves").save(folder)
    return folder
