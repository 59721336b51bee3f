"""What it costs to find one of 2,000 recipes: of this machine, and of publishers.

    python benchmarks/recipes.py [--count N]

Makes an index with real, proved records of recipes, and a folder with as many recipe files, and
asks both for words that are rare, common, or the beginning of one. Prints the median and the
slowest of many questions, by the clock and by the processor, and what the whole command takes. The
aim: a question within 100 ms at 2,000.
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
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from atd import records
from atd.protocol.proof import verify_repo
from atd.protocol.syntax import AtUri
from atd.recipes import catalogue
from atd.settings import Settings
from atd_daemon.catalog import Catalog
from world import World

THINGS = ["letters", "birds", "stars", "roads", "faces", "leaves", "words", "songs"]
QUESTIONS = ["1234", "birds", "example07", "lett", "noisy songs", "org.example08.letters", ""]
ROUNDS = 20


def main() -> None:
    """Make both, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=2000)
    count = parser.parse_args().count
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings.load({"ATD_HOME": folder})
        index = published(Path(folder), count)
        told("published, in the index", lambda text: index.recipes(text, limit=25))
        index.close()
        local(settings, count)
        catalogue.search([], settings)  # the first look reads every file
        told("files, of this machine", lambda text: catalogue.search(text.split(), settings))
        command(folder)


def names(count: int) -> list[tuple[str, str]]:
    """Names and titles."""
    things = [THINGS[number % len(THINGS)] for number in range(count)]
    return [
        (f"org.example{n % 50:02}.{thing}-{n:04}", f"{'noisy' if n % 3 else 'clean'} {thing}, {n}")
        for n, thing in enumerate(things)
    ]


def published(folder: Path, count: int) -> Catalog:
    """An index of one publisher's recipes, each proved."""
    account = World().account("alice.test")
    writes = []
    for name, title in names(count):
        how = {
            "$type": "network.atd.recipe#file",
            "urls": [{"url": f"https://data.example.org/{name}.csv"}],
            "size": 1000,
            "sha256": "0" * 64,
        }
        value = {
            "name": name,
            "title": title,
            "resources": [{"name": "raw", "how": how}],
            "createdAt": "2025-06-01T12:00:00.000Z",
        }
        writes.append((records.RECIPE, name, value))
    account.put_many(writes)
    repo = verify_repo(account.head.repo_car(), account.identity)
    index = Catalog(folder / "state" / "index.sqlite")
    index.publisher_seen(account.identity, now=1.0)
    proved = (repo.record(AtUri.parse(f"at://{account.did}/{key}")) for key in repo.entries)
    began = time.perf_counter()
    index.publisher_snapshot(repo, ((one, records.parse(one)) for one in proved), now=1.0)
    print(f"{count:,} recipes of a repository into the index: {time.perf_counter() - began:.2f} s")
    return index


def local(settings: Settings, count: int) -> None:
    """As many files in the user's folder."""
    folder = catalogue.user_folder(settings)
    folder.mkdir(parents=True)
    for name, title in names(count):
        resources = {"raw": {"urls": ["https://data.example.org/x"]}}
        value = {"name": name, "title": title, "resources": resources}
        (folder / f"{name}.json").write_text(json.dumps(value), "utf-8")


def told(what: str, ask: Callable[[str], Any]) -> None:
    """Ask every question many times, and print what one takes."""
    clock, cpu = [], []
    for _ in range(ROUNDS):
        for text in QUESTIONS:
            began, spent = time.perf_counter(), time.process_time()
            ask(text)
            cpu.append((time.process_time() - spent) * 1000)
            clock.append((time.perf_counter() - began) * 1000)
    print(
        f"{what}: median {statistics.median(clock):.1f} ms, slowest {max(clock):.1f} ms;"
        f" processor median {statistics.median(cpu):.1f} ms, most {max(cpu):.1f} ms"
    )


def command(folder: str) -> None:
    """The whole command, with the start of Python."""
    environ = {**os.environ, "ATD_HOME": folder}
    taken = []
    for _ in range(5):
        began = time.perf_counter()
        asked = [sys.executable, "-m", "atd", "recipes", "birds", "--json"]
        subprocess.run(asked, env=environ, check=True, capture_output=True)
        taken.append(time.perf_counter() - began)
    print(f"atd recipes birds, the process and all: {min(taken):.2f} s at best")


if __name__ == "__main__":
    main()
