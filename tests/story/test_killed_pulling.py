"""SIGKILL while shards are fetched: what is there is whole, and what is not is gone on with.

The shards lie on a web server that is slow, so that there is a middle to be killed in. Where, is
drawn at random among the bytes that are still to come.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import atd
from story.people import Meet, Person
from story.slow_server import SlowServer, serving
from story.sources import counted

SEED = 5
ROUNDS = 2
KILLS = 5  # in each round
ROWS = 240
WIDTH = 40_000
SHARD = 2_500_000
RATE = 5_000_000  # bytes per second of each connection
LOST = 3 * 2 * 2**20  # of three downloads at once: two pieces each that are not yet written
DAEMON_AWAY = 61


@pytest.fixture(scope="module")
def server(desk: Path) -> Iterator[SlowServer]:
    folder = desk / "www"
    folder.mkdir()
    with serving(folder) as server:
        yield server


@pytest.fixture(scope="module")
def samples() -> list[dict[str, Any]]:
    noise = np.random.default_rng(12).integers(0, 255, (ROWS, WIDTH), dtype=np.uint8)
    return [{"n": n, "noise": noise[n]} for n in range(ROWS)]


@pytest.fixture(scope="module")
def published(
    meet: Meet, server: SlowServer, desk: Path, samples: list[dict[str, Any]]
) -> dict[str, Any]:
    """Records at the PDS, shards in a folder that the slow server serves."""
    alice = meet("alice", pds=1, allow=server.host)
    path = desk / "numbers.npz"
    np.savez(path, n=np.arange(ROWS), noise=np.stack([one["noise"] for one in samples]))
    words = ["publish", str(path), "--name", "numbers", "--yes", "--shard-size", str(SHARD)]
    answer = alice.json(*words, "--store", str(server.folder), "--base-url", server.url)
    assert answer["shards"] >= 4
    assert alice.repository.blobs == alice.repository.previews
    entries = alice.repository.parts("numbers")["1.0.0"]
    answer["sizes"] = {entry["digest"]["$link"]: entry["size"] for entry in entries}
    server.rate = RATE
    return answer


@pytest.fixture(scope="module")
def reader(meet: Meet, server: SlowServer) -> Person:
    return meet("bob", allow=server.host)


def empty(person: Person) -> None:
    """Take everything out of a store whose daemon runs, as ``rm`` would."""
    for folder in (person.home / "cache" / "shards").glob("??"):
        shutil.rmtree(folder)


@pytest.mark.parametrize("who", ["daemon", "command"])
def test_killed_and_run_again_every_shard_is_there_whole(
    reader: Person,
    server: SlowServer,
    published: dict[str, Any],
    samples: list[dict[str, Any]],
    who: str,
) -> None:
    draw = random.Random(SEED)
    ref, sizes = f"@{published['handle']}/numbers", published["sizes"]
    digests = set(sizes)
    killed, resumed = 0, server.resumed
    for _ in range(ROUNDS):
        empty(reader)
        began = server.sent.total()
        for _ in range(KILLS):
            kept = reader.shards
            left = sum(size for digest, size in sizes.items() if digest not in kept)
            process = reader.start("pull", ref)
            wait_for(server, process, left * draw.uniform(0, 0.7))
            if process.poll() is None:
                killed += 1
                reader.kill_daemon() if who == "daemon" else process.kill()
            _, err = process.communicate()
            assert process.returncode in (0, DAEMON_AWAY if who == "daemon" else -9), err
            assert kept <= reader.shards <= digests, "a shard went away, or came from nowhere"
        answer = reader.json("pull", ref)
        assert answer["bytes"] == published["bytes"]
        assert reader.shards == digests
        # What was on its way when something was killed is lost, and no more than that.
        assert server.sent.total() - began < published["bytes"] + KILLS * LOST
        assert counted(atd.load(ref, connection=reader.connection)) == counted(samples)
        assert reader.json("verify", ref)["holds"]
        reader.stop_daemon()
        reader.run("daemon", "start")
        assert reader.unfinished == [], "what a kill left is removed by the next daemon at last"
    assert killed >= 8
    assert server.resumed > resumed, "nothing was gone on with"


def wait_for(server: SlowServer, process: subprocess.Popen[str], count: float) -> None:
    """Until the server has sent so many bytes more, or the command is over."""
    target = server.sent.total() + count
    while process.poll() is None and server.sent.total() < target:
        time.sleep(0.002)
