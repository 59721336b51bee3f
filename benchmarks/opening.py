"""How long it takes from `atd.load` to the first sample, in a process started anew each time.

The shards are verified and in the page cache; nothing is hashed. With the member index of an
earlier opening, and without; beside it ``import numpy`` in the same process, which tells how fast
and how busy the machine is. Times are of the wall and of the processor: on a busy machine only the
latter says something.

    python benchmarks/opening.py [RUNS]
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import atd

SAMPLES = 40_000
MEASURED = """
import json, sys, time

def now():
    return time.perf_counter(), time.process_time()

def since(begin):
    return [1000 * (b - a) for a, b in zip(begin, now())]

begin = now()
import numpy
told = {"import numpy": since(begin)}
import atd
load = atd.load
begin = now()
ds = load(sys.argv[1])
told["atd.load"] = since(begin)
next(iter(ds))
told["first sample"] = since(begin)
from atd.files import COUNTS
told["hashed"] = COUNTS.hashed_bytes
print(json.dumps(told))
"""


def measured(folder: Path, home: Path) -> dict[str, Any]:
    """One opening, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, str(folder)],
        env={**os.environ, "ATD_HOME": str(home)},
        stdout=subprocess.PIPE,
        check=True,
    )
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def main(runs: int) -> None:
    """Pack, open, print medians."""
    with tempfile.TemporaryDirectory() as temporary:
        folder, home = Path(temporary) / "shards", Path(temporary) / "home"
        noise = np.random.default_rng(1).random((SAMPLES, 64), np.float32)
        source = Path(temporary) / "samples.npz"
        np.savez(source, label=np.arange(SAMPLES), x=noise)
        atd.pack(source, folder, name="opening")
        os.environ["ATD_HOME"] = str(home)
        for _ in atd.load(str(folder)).batched(1000):  # verified once, all of it
            pass
        for kept in (True, False):
            rows = []
            for _ in range(runs):
                if not kept:
                    shutil.rmtree(home / "cache" / "indexes", ignore_errors=True)
                rows.append(measured(folder, home))
            if any(row["hashed"] for row in rows):
                raise SystemExit("a verified shard was hashed again")
            print("with the member index" if kept else "without the member index")
            for name in ("import numpy", "atd.load", "first sample"):
                wall, processor = (
                    statistics.median(row[name][clock] for row in rows) for clock in (0, 1)
                )
                best = min(row[name][0] for row in rows)
                print(f"  {name:14}{wall:8.1f} ms ({best:.1f} at best), processor {processor:.1f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 9)
