"""How fast shards are packed, as a ratio to webdataset's ShardWriter in the same run.

Three kinds of samples, both writers in turn, best of several rounds; the files land in a temporary
folder. webdataset writes the same fields as members of its own (``.npy``, ``.cls``, ``.txt``), and,
as a second line, the same msgpack as we do, packed by hand before it is given to it. We also fsync
and hash every shard; webdataset does neither.

Run: ``python benchmarks/packing.py [--samples 4000] [--rounds 3] [--json]``
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import webdataset

from atd.records import CutParameters
from atd.schema import fields
from atd.schema.fields import Field, Schema
from atd.shards import arrays, cut
from atd.shards.layout import default_layout

SHAPES: dict[str, tuple[str, tuple[int, ...]]] = {
    "A: float32[64], int, str": ("float32", (64,)),
    "B: uint8[64,64,3], int, str": ("uint8", (64, 64, 3)),
    "C: uint8[256,256,3], int, str": ("uint8", (256, 256, 3)),
}
PER_SHARD = 1000

Sample = dict[str, Any]


def samples(dtype: str, shape: tuple[int, ...], count: int) -> list[tuple[str, Sample]]:
    """Deterministic samples, made before the clock starts."""
    rng = np.random.default_rng(0)
    pool = rng.integers(0, 255, (min(count, 200), *shape)).astype(dtype)
    return [
        (f"{n:09d}", {"x": pool[n % len(pool)], "label": n % 10, "text": f"the caption of {n}"})
        for n in range(count)
    ]


def ours(kind: str, made: list[tuple[str, Sample]], folder: Path) -> None:
    """One split through `atd.shards.cut.pack`, ordered by hash."""
    first = made[0][1]["x"]
    schema = Schema(
        (
            Field("x", fields.Array(first.dtype.name, first.shape)),
            Field("label", fields.Label(*map(str, range(10)))),
            Field("text", fields.Text()),
        )
    )
    cuts = CutParameters(max_samples=PER_SHARD)
    items = ((key, lambda sample=sample: sample) for key, sample in made)
    cut.pack(items, schema, default_layout(schema, kind), cuts, folder, "train")


def theirs(
    encode: Callable[[Sample], Sample], made: list[tuple[str, Sample]], folder: Path
) -> None:
    """The same samples through webdataset.ShardWriter."""
    pattern = str(folder / "train-%06d.tar")
    with webdataset.ShardWriter(pattern, maxcount=PER_SHARD, verbose=0) as sink:
        for key, sample in made:
            sink.write({"__key__": key, **encode(sample)})


def as_members(sample: Sample) -> Sample:
    """webdataset's own way: one member a field."""
    return {"npy": sample["x"], "cls": sample["label"], "txt": sample["text"]}


def as_msgpack(sample: Sample) -> Sample:
    """Our way, by hand."""
    return {"msgpack": msgpack.packb({**sample, "x": arrays.to_compact(sample["x"])})}


def seconds(write: Callable[[Path], None]) -> float:
    """How long ``write`` takes in a fresh folder."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        write(Path(folder))
        return time.perf_counter() - start


def measure(count: int, rounds: int) -> Iterator[dict[str, Any]]:
    """Samples a second of both writers for each workload and layout, and their ratio."""
    for name, (dtype, shape) in SHAPES.items():
        made = samples(dtype, shape, max(PER_SHARD, count // (1 if np.prod(shape) < 1e5 else 4)))
        for layout, encode in (("packed", as_msgpack), ("members", as_members)):
            writers = {
                "atd": partial(ours, layout, made),
                "webdataset": partial(theirs, encode, made),
            }
            best = dict.fromkeys(writers, float("inf"))
            for _, (who, write) in product(range(rounds), writers.items()):
                best[who] = min(best[who], seconds(write))
            rates = {who: len(made) / spent for who, spent in best.items()}
            ratio = rates["atd"] / rates["webdataset"]
            yield {"workload": name, "layout": layout, **rates, "ratio": ratio}


def main() -> None:
    """Print one line per workload and layout."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    options = parser.parse_args()
    for row in measure(options.samples, options.rounds):
        if options.json:
            print(json.dumps(row))
        else:
            print(
                f"{row['workload']:32} {row['layout']:8} atd {row['atd']:9,.0f}/s"
                f"  webdataset {row['webdataset']:9,.0f}/s  ratio {row['ratio']:5.1f}"
            )


if __name__ == "__main__":
    main()
