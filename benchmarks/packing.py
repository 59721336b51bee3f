"""How fast shards are packed, as a ratio to webdataset's ShardWriter in the same run.

Three kinds of samples, the writers in turn, best of several rounds; the files land in a temporary
folder. webdataset writes the same fields as members of its own (``.npy``, ``.cls``, ``.txt``), and,
as a second line, the same msgpack as we do, packed by hand before it is given to it. Cuts are those
of the packer by default: 64 MB or 10,000 samples to a shard.

We also order samples, check each against the schema, hash every shard and wait until the disk has
it; ShardWriter does none of that. So there are two ratios: to ShardWriter as it is, and to what a
publisher would need of it, each shard hashed (SHA-256) and flushed to the disk when it is finished.
The third is of processor time to the latter, over all threads: it does not see what threads win,
and says the same on a machine that is busy with other things.

Run: ``python benchmarks/packing.py [--megabytes 256] [--rounds 3] [--json]``
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
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
CUTS = CutParameters()
MOST_SAMPLES = 40_000

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
    items = ((key, lambda sample=sample: sample) for key, sample in made)
    cut.pack(items, schema, default_layout(schema, kind), CUTS, folder, "train")


def theirs(
    encode: Callable[[Sample], Sample],
    made: list[tuple[str, Sample]],
    folder: Path,
    post: Callable[[str], None] | None = None,
) -> None:
    """The same samples through webdataset.ShardWriter; ``post`` is told of each finished shard."""
    pattern = str(folder / "train-%06d.tar")
    limits = {"maxcount": CUTS.max_samples, "maxsize": CUTS.target_bytes}
    with webdataset.ShardWriter(pattern, **limits, verbose=0, post=post) as sink:
        for key, sample in made:
            sink.write({"__key__": key, **encode(sample)})


def hashed_and_flushed(path: str) -> None:
    """What a publisher needs of a finished shard: its digest, and that the disk has it."""
    with open(path, "rb") as file:
        hashlib.file_digest(file, "sha256")
        os.fsync(file.fileno())


def as_members(sample: Sample) -> Sample:
    """webdataset's own way: one member a field."""
    return {"npy": sample["x"], "cls": sample["label"], "txt": sample["text"]}


def as_msgpack(sample: Sample) -> Sample:
    """Our way, by hand."""
    return {"msgpack": msgpack.packb({**sample, "x": arrays.to_compact(sample["x"])})}


def seconds(write: Callable[[Path], None]) -> tuple[float, float]:
    """How long ``write`` takes in a fresh folder, by the clock and of processors."""
    with tempfile.TemporaryDirectory() as folder:
        start, worked = time.perf_counter(), time.process_time()
        write(Path(folder))
        return time.perf_counter() - start, time.process_time() - worked


def measure(megabytes: int, rounds: int) -> Iterator[dict[str, Any]]:
    """Samples a second of the writers for each workload and layout, and our ratios to them."""
    for name, (dtype, shape) in SHAPES.items():
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        made = samples(dtype, shape, min(MOST_SAMPLES, megabytes * 1_000_000 // size))
        for layout, encode in (("packed", as_msgpack), ("members", as_members)):
            writers = {
                "atd": partial(ours, layout, made),
                "webdataset": partial(theirs, encode, made),
                "webdataset_safe": partial(theirs, encode, made, post=hashed_and_flushed),
            }
            best = dict.fromkeys(writers, (float("inf"), float("inf")))
            for _, (who, write) in product(range(rounds), writers.items()):
                clock, work = seconds(write)
                best[who] = min(best[who][0], clock), min(best[who][1], work)
            rates = {who: len(made) / clock for who, (clock, _) in best.items()}
            ratios = {
                "ratio": rates["atd"] / rates["webdataset"],
                "ratio_safe": rates["atd"] / rates["webdataset_safe"],
                "ratio_work": best["webdataset_safe"][1] / best["atd"][1],
            }
            yield {"workload": name, "layout": layout, **rates, **ratios}


def main() -> None:
    """Print one line per workload and layout."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=256, help="of arrays in each workload")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    options = parser.parse_args()
    for row in measure(options.megabytes, options.rounds):
        if options.json:
            print(json.dumps(row))
        else:
            print(
                f"{row['workload']:32} {row['layout']:8} atd {row['atd']:9,.0f}/s"
                f"  ShardWriter {row['webdataset']:8,.0f}/s  ratio {row['ratio']:4.1f}"
                f"  hashed, flushed {row['webdataset_safe']:8,.0f}/s"
                f"  ratio {row['ratio_safe']:4.1f}  in work {row['ratio_work']:4.1f}"
            )


if __name__ == "__main__":
    main()
