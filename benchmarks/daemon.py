"""What the daemon costs: its start and its idle memory, as ratios to Python with aiohttp alone.

The bare process imports ``aiohttp.web`` and serves nothing, so the ratios say what atd adds and do
not depend on the machine. Start is from ``Popen`` until the first answer, medians of several
rounds; memory is the resident set after that answer. The small query is one round trip over the
socket, with a new connection each time, as the library asks.

The promises: under a second on a quiet machine (so, three times bare aiohttp on any), under 80 MB,
none of the heavy libraries.

Run: ``python benchmarks/daemon.py [--rounds 5] [--json]``
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from atd import api
from atd.connection import Connection
from atd.settings import Settings
from atd_daemon import lifecycle

MAX_START_RATIO = 3.0  # bare aiohttp takes 0.2 to 0.3 s on a quiet machine: under a second
MAX_IDLE_BYTES = 80_000_000
HEAVY = ("numpy", "PIL", "sqlite_utils", "atproto", "webdataset", "typer", "pandas", "botocore")

BARE = """
import os, sys
from aiohttp import web
with open("/proc/self/statm") as file:
    print(int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE"), flush=True)
"""


def bare() -> tuple[float, int]:
    """Seconds until Python has imported aiohttp's server, and its resident bytes then."""
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", BARE], capture_output=True, text=True, check=True)
    return time.perf_counter() - began, int(done.stdout)


def daemon(settings: Settings) -> tuple[float, int, float]:
    """Seconds from nothing to the first answer, resident bytes, and seconds of a small query."""
    connection = Connection(settings)
    began = time.perf_counter()
    status = connection.call(api.GET_STATUS)
    start_s = time.perf_counter() - began
    asked = 200
    began = time.perf_counter()
    for _ in range(asked):
        connection.call(api.LIST_ACCOUNTS)
    query_s = (time.perf_counter() - began) / asked
    lifecycle.stop(settings)
    return start_s, status["memory"], query_s


def heavy() -> list[str]:
    """The heavy libraries that importing the daemon loads: there should be none."""
    code = f"import sys, atd_daemon.main; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found: list[str] = json.loads(done.stdout.replace("'", '"'))
    return found


def measure(rounds: int) -> dict[str, Any]:
    """Both, in turn."""
    starts, bares, queries, memory, bare_memory = [], [], [], 0, 0
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        settings = Settings.load({**os.environ, "ATD_HOME": str(Path(folder) / "home")})
        daemon(settings)  # the first start makes the databases; the promise is about the next
        for _ in range(rounds):
            bare_s, bare_memory = bare()
            start_s, memory, query_s = daemon(settings)
            bares.append(bare_s)
            starts.append(start_s)
            queries.append(query_s)
    start_s, bare_s = statistics.median(starts), statistics.median(bares)
    return {
        "start_ratio": round(start_s / bare_s, 2),
        "memory_ratio": round(memory / bare_memory, 2),
        "start_s": round(start_s, 3),
        "idle_mb": round(memory / 1e6, 1),
        "query_ms": round(statistics.median(queries) * 1e3, 2),
        "heavy": heavy(),
        "holds": start_s < MAX_START_RATIO * bare_s and memory < MAX_IDLE_BYTES and not heavy(),
    }


def main() -> int:
    """Print the ratios; 1 where a promise does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    found = measure(given.rounds)
    if given.json:
        print(json.dumps(found))
    else:
        start, memory = f"{found['start_s']} s", f"{found['idle_mb']} MB"
        print(f"start to first answer   {found['start_ratio']}x bare aiohttp  ({start})")
        print(f"idle memory             {found['memory_ratio']}x bare aiohttp  ({memory})")
        print(f"a small query           {found['query_ms']} ms")
        print(f"heavy libraries loaded  {', '.join(found['heavy']) or 'none'}")
    return 0 if found["holds"] else 1


if __name__ == "__main__":
    sys.exit(main())
