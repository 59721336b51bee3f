"""What tasks and processes cost or win in packing, as ratios to one process without any of it.

The same images three ways: one process that packs the whole split, the same by tasks in this
process (which is what makes packing go on after a SIGKILL), and tasks in worker processes, the time
to start them included. Two kinds of work: files as they are, where reading, hashing and the disk
are all there is to do; and files that are decoded to pixels, where the processor has to work. The
ways take turns, the best of several rounds counts, and every way must make the same bytes.

Run: ``python benchmarks/engines.py [--megabytes 512] [--rounds 3] [--workers 2] [--json]``
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from atd.publishing.packing import pack
from atd.publishing.sources.opening import open_source
from atd.publishing.sources.source import Source
from atd.records import CutParameters
from atd.schema.fields import Array, Field, Schema
from atd.shards import cut
from atd.shards.layout import default_layout

SIDE = 256
CUTS = CutParameters(target_bytes=16_000_000)


def images(folder: Path, megabytes: int) -> None:
    """PNG files of noise that is compressed a little: about 150 KB each."""
    rng = np.random.default_rng(0)
    total = number = 0
    while total < megabytes * 1_000_000:
        pixels = rng.integers(0, 200, (SIDE, SIDE, 3), dtype=np.uint8)
        out = io.BytesIO()
        Image.fromarray(pixels).save(out, "PNG", compress_level=1)
        path = folder / "noise" / f"{number:06d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(out.getvalue())
        total += len(out.getvalue())
        number += 1


def whole(source: Source, folder: Path) -> None:
    """One process, the whole split: what there was before there were tasks."""
    folder.mkdir()
    (split,) = source.splits.values()
    assert split.items is not None
    layout = default_layout(source.schema)
    cut.pack(split.items(source.schema), source.schema, layout, CUTS, folder, "train")


def by_tasks(workers: int, source: Source, folder: Path) -> None:
    """Tasks: in this process, or in worker processes that are started for it."""
    pack(source, folder, CUTS, workers=workers)


def digest(folder: Path) -> str:
    """Of the names of all shards, which are made from their content."""
    return hashlib.sha256(
        "\n".join(sorted(p.name for p in folder.glob("*.tar"))).encode()
    ).hexdigest()


def measure(
    ways: dict[str, Callable[[Source, Path], None]], source: Source, rounds: int
) -> dict[str, float]:
    """The best time of each way in seconds."""
    best = dict.fromkeys(ways, float("inf"))
    made = set()
    with tempfile.TemporaryDirectory(prefix="atd-engines-") as scratch:
        for number in range(rounds):
            for name, way in ways.items():
                out = Path(scratch) / f"{number}-{len(made)}"
                begun = time.perf_counter()
                way(source, out)
                best[name] = min(best[name], time.perf_counter() - begun)
                made.add(digest(out))
                shutil.rmtree(out)
    assert len(made) == 1, "every way makes the same shards"
    return best


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--megabytes", type=int, default=512)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--workers", type=int, default=2)
    options.add_argument("--json", action="store_true")
    asked = options.parse_args()
    ways = {
        "one process": whole,
        "tasks, here": partial(by_tasks, 1),
        f"tasks, {asked.workers} processes": partial(by_tasks, asked.workers),
    }
    report: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory(prefix="atd-engines-") as scratch:
        images(Path(scratch), asked.megabytes)
        plain = open_source(scratch)
        pixels = Schema((Field("image", Array("uint8", (SIDE, SIDE, 3))),))
        for kind, source in (
            ("files as they are", plain),
            ("decoded to pixels", replace(plain, schema=pixels)),
        ):
            report[kind] = measure(ways, source, asked.rounds)
    if asked.json:
        print(json.dumps(report))
        return
    for kind, times in report.items():
        print(kind)
        base = times["one process"]
        for name, seconds in times.items():
            print(f"  {name:22} {seconds:6.2f} s   {base / seconds:5.2f} x one process")


if __name__ == "__main__":
    main()
