"""How long it takes to begin: ``import atd`` and ``atd --help`` against ``import numpy``.

Each figure is a whole process, started anew; runs are interleaved, and medians and ratios printed.
What ``import atd`` must not load is checked as well, because time alone would not show it.

    python benchmarks/startup.py [RUNS]
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

COMMANDS = {
    "python": "pass",
    "import numpy": "import numpy",
    "import atd": "import atd",
    "atd.load, atd.sample": "import atd; atd.load; atd.sample",
}
HEAVY = ("aiohttp", "atproto", "sqlite_utils", "typer", "torch", "pandas", "webdataset")


def timed(*command: str) -> float:
    """Seconds that one run of ``command`` takes."""
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main(runs: int) -> None:
    """Print medians, and ratios to ``import numpy``."""
    programs = {name: (sys.executable, "-c", code) for name, code in COMMANDS.items()}
    programs["atd --help"] = (sys.executable, "-m", "atd", "--help")
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(runs + 1):
        for name, command in programs.items():
            seconds[name].append(timed(*command))
    medians = {name: statistics.median(found[1:]) for name, found in seconds.items()}
    for name, median in medians.items():
        ratio = median / medians["import numpy"]
        print(f"{name:22} {median * 1000:7.0f} ms   {ratio:5.2f} x import numpy")

    listed = "import sys; print(*(m for m in {!r} if m in sys.modules))"
    code = f"import atd; {listed.format(HEAVY)}"
    loaded = subprocess.run(
        (sys.executable, "-c", code), check=True, capture_output=True, text=True
    ).stdout.split()
    print(f"heavy modules loaded by import atd: {', '.join(loaded) or 'none'}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7)
