"""How fast samples are read, as ratios to webdataset decoding msgpack in the same run.

Every loader reads the same samples in its own format, in a process of its own, with a warm page
cache, and the loaders take turns; of several rounds the best counts, since noise only slows. Each
complete pass adds up the labels it saw: a wrong sum is marked and ends in an error.

Run: ``make bench-loader``, or ``python benchmarks/loader [--scale 0.1] [--rounds 2] [--json FILE]``
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from loaders import LOADERS, SHARED, Loader
from workloads import Workload, workloads

BATCH = 256
PAGE = 4096
LEAST_S = 0.5
MEASURES = ("ordered", "batches", "shuffled")


def one_by_one(samples: Iterator[Any]) -> tuple[int, int]:
    """Samples seen and the sum of their labels."""
    count = total = 0
    for sample in samples:
        total += sample.label
        count += 1
    return count, total


def in_batches(batches: Iterator[tuple[Any, Any, Any]]) -> tuple[int, int]:
    """The same; of arrays a byte a page is touched, so that no lazy view wins for free."""
    count = total = 0
    for labels, x, _ in batches:
        if x is not None:
            x.reshape(-1).view(np.uint8)[::PAGE].sum()
        total += int(labels.sum())
        count += len(labels)
    return count, total


def rate(read: Callable[[], tuple[int, int]], wanted: tuple[int, int]) -> float:
    """Samples a second: the best pass of those that fit into a moment, after one to warm up."""
    best, begun = float("inf"), time.perf_counter()
    for number in range(1000):
        start = time.perf_counter()
        seen = read()
        spent = time.perf_counter() - start
        if seen != wanted:
            raise SystemExit(f"wrong samples: expected {wanted}, saw {seen}")
        best = min(best, spent)
        if number and time.perf_counter() - begun > LEAST_S:
            break
    return wanted[0] / best


def measure(loader: Loader, workload: Workload) -> dict[str, float]:
    """The rates of one loader."""
    loader.open()
    wanted = (workload.count, int(workload.labels.sum()))
    return {
        "ordered": rate(lambda: one_by_one(loader.samples()), wanted),
        "batches": rate(lambda: in_batches(loader.batches(BATCH)), wanted),
        "shuffled": rate(lambda: in_batches(loader.shuffled(BATCH)), wanted),
    }


def worker(name: str, workload: Workload, folder: Path) -> None:
    """In a process of its own: pack, or measure and print."""
    home = folder / SHARED.get(name, name) / workload.name
    loader = LOADERS[name](workload, home)
    if not home.exists():
        home.mkdir(parents=True)
        loader.pack()
    else:
        print(json.dumps(measure(loader, workload)))


def run(options: argparse.Namespace, folder: Path) -> dict[tuple[str, str, str], float]:
    """The best rate by workload, measure and loader."""
    best: dict[tuple[str, str, str], float] = defaultdict(float)
    # atd packs for the prototype, so it comes first.
    names = sorted(options.loaders.split(","), key=lambda name: name in SHARED)
    for number in range(options.rounds + 1):
        for workload in options.workloads:
            for name in names:
                if number == 0 and name in SHARED:
                    continue
                command = [sys.executable, __file__, "--worker", name, workload]
                command += ["--scale", str(options.scale), "--folder", str(folder)]
                told = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
                for what, found in json.loads(told or b"{}").items():
                    key = workload, what, name
                    best[key] = max(best[key], found)
    return best


def show(best: dict[tuple[str, str, str], float], options: argparse.Namespace) -> None:
    """The table: ratios to the first loader, and what that one's ratio of 1 is."""
    base, *others = options.loaders.split(",")
    print(f"{'':12}{base + ', /s':>16}" + "".join(f"{name:>12}" for name in others))
    for what in MEASURES:
        for letter in options.workloads:
            unit = best[letter, what, base]
            ratios = "".join(f"{best[letter, what, name] / unit:11.1f}x" for name in others)
            print(f"{what:10}{letter:2}{unit:16,.0f}{ratios}")
    for workload in workloads(options.scale):
        if workload.name in options.workloads:
            total = int(workload.labels.sum())
            print(
                f"labels of {workload.name}: {workload.count:,} samples, sum {total:,}: all agree"
            )


def main() -> None:
    """Pack, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--scale", type=float, default=0.1, help="1 is 200,000 samples of A")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--loaders", default=",".join(LOADERS))
    parser.add_argument("--workloads", default="ABCD")
    parser.add_argument("--folder", type=Path, help="keep the packed files here")
    parser.add_argument("--json", type=Path, help="also write the rates here")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        name, letter = options.worker
        chosen = next(w for w in workloads(options.scale) if w.name == letter)
        worker(name, chosen, options.folder)
        return
    with tempfile.TemporaryDirectory() as temporary:
        best = run(options, options.folder or Path(temporary))
    show(best, options)
    if options.json:
        rates = [[*key, value] for key, value in best.items()]
        options.json.write_text(json.dumps(rates, indent=1))


if __name__ == "__main__":
    main()
