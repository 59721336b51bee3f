"""What a preview costs beside packing, as a ratio in the same run.

For each kind of samples: packing them into a folder (`atd.publishing.packing.pack`, in this process
alone) and making the preview of that folder (`atd.statistics.making.preview_of`), in processor time
over all threads, the best of several rounds. Before they are packed, sources check each sample;
that is not counted, so the ratio to a whole publication is lower.

Run: ``python benchmarks/previews.py [--megabytes 64] [--rounds 3] [--json]``
"""

from __future__ import annotations

import argparse
import io
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

import atd
from atd.publishing.packing import pack
from atd.publishing.sources.opening import open_source
from atd.statistics.making import preview_of


def arrays(shape: tuple[int, ...], dtype: str) -> Callable[[int], Any]:
    """So many bytes of arrays, with a label each."""

    def made(size: int) -> Any:
        count = max(size // (int(np.prod(shape)) * np.dtype(dtype).itemsize), 50)
        rng = np.random.default_rng(0)
        values = rng.integers(0, 255, (count, *shape), np.uint8).astype(dtype)
        return {"x": values, "label": np.arange(count) % 10}

    return made


def table(size: int) -> Any:
    """Rows of four columns, a kilobyte each in a shard."""
    rng = np.random.default_rng(0)
    count = size // 1024
    reals = rng.normal(size=count).tolist()
    whole = rng.integers(0, 10**6, count).tolist()
    return [
        {
            "real": reals[at],
            "whole": whole[at],
            "city": ("Rome", "Oslo", "Kyoto")[at % 3],
            "text": f"the caption of the sample {at}",
        }
        for at in range(count)
    ]


def photos(size: int) -> Any:
    """JPEGs of 256 x 256 pixels."""
    rng = np.random.default_rng(0)
    pool = []
    for _ in range(20):
        small = rng.integers(0, 255, (16, 16, 3), np.uint8)
        out = io.BytesIO()
        PIL.Image.fromarray(small).resize((256, 256)).save(out, "JPEG", quality=90)
        pool.append(out.getvalue())
    count = max(size // len(pool[0]), 100)
    return [{"photo": atd.Image(pool[at % len(pool)])} for at in range(min(count, 2000))]


SHAPES: dict[str, Callable[[int], Any]] = {
    "float32[64], label": arrays((64,), "float32"),
    "float32[768], label": arrays((768,), "float32"),
    "uint8[28,28], label": arrays((28, 28), "uint8"),
    "uint8[256,256,3], label": arrays((256, 256, 3), "uint8"),
    "table of 4 columns": table,
    "JPEG of 256 x 256": photos,
}


def measure(make: Callable[[int], Any], size: int) -> tuple[float, float]:
    """Processor time (s) of packing, and of the preview."""
    with tempfile.TemporaryDirectory() as folder:
        source = open_source(make(size))
        begun = time.process_time()
        manifest = pack(source, folder, workers=1)
        between = time.process_time()
        preview_of(manifest, Path(folder))
        return between - begun, time.process_time() - between


def main() -> None:
    """Measure, and print a line for each kind of samples."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    found: dict[str, dict[str, float]] = {}
    for name, make in SHAPES.items():
        rounds = [measure(make, given.megabytes * 10**6) for _ in range(given.rounds)]
        packing, preview = (min(one[at] for one in rounds) for at in (0, 1))
        found[name] = {"packing_s": packing, "preview_s": preview, "ratio": preview / packing}
        if not given.json:
            seconds = f"{packing:7.2f} s packing {preview:7.2f} s preview"
            print(f"{name:26} {seconds} {preview / packing:6.2f}")
    if given.json:
        print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
