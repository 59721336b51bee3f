"""SIGKILL while a data set is published: of the daemon, of the command, at any moment.

Where in its course a publication is killed is drawn at random, evenly over the time that an
undisturbed one takes; the draw is seeded, the moments are what the machine makes of them. (Every
single step is killed in ``tests/publishing``, where time can be stopped.)
"""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import atd
from story.people import Person
from story.sources import counted

SEED = 20
KILLS = 8
ATTEMPTS = 30  # at most, until so many of them were killed
ROWS = 450
DAEMON_AWAY = 61


def rows_of(number: int) -> dict[str, Any]:
    """The arrays of version 1.NUMBER.0: all of its shards are others than those before."""
    noise = np.random.default_rng(number).integers(0, 255, (ROWS, 1000), np.uint8)
    return {"n": np.arange(ROWS), "noise": noise}


def samples_of(number: int) -> list[dict[str, Any]]:
    rows = rows_of(number)
    return [{"n": int(n), "noise": one} for n, one in zip(rows["n"], rows["noise"], strict=True)]


def command(folder: Path, name: str, number: int) -> list[str]:
    """What publishes version 1.NUMBER.0."""
    path = folder / f"{number}.npz"
    if not path.exists():
        np.savez(path, **rows_of(number))
    return ["publish", str(path), "--name", name, "--yes", "--shard-size", "65536"]


@dataclass
class Course:
    """When a publication begins at the daemon, and when it is over, in seconds from its start.

    Measured at an undisturbed one, and again at each that was over before it could be killed.
    """

    begun: float
    over: float

    def wait(self, process: subprocess.Popen[str], share: float) -> bool:
        """Wait for ``share`` of the time that it takes; whether it still runs then."""
        started = time.monotonic()
        moment = self.begun + (self.over - self.begun) * share
        while process.poll() is None:
            if time.monotonic() - started > moment:
                return True
            time.sleep(0.005)
        self.over = max(time.monotonic() - started, self.begun)
        return False


@pytest.fixture(scope="module")
def course(alice: Person, desk: Path) -> Course:
    started = time.monotonic()
    process = alice.start(*command(desk, "rehearsal", 0))
    while not alice.staged:
        time.sleep(0.005)
    begun = time.monotonic()
    process.communicate()
    assert process.returncode == 0
    return Course(begun - started, time.monotonic() - started)


def shares(seed: int) -> Iterator[float]:
    """A random point of each of so many equal spans from 0 to 1, in a random order; and again."""
    draw = random.Random(seed)
    while True:
        for span in draw.sample(range(KILLS), KILLS):
            yield (span + draw.random()) / KILLS


Kill = Callable[[Person, "subprocess.Popen[str]"], None]


def kill_daemon(person: Person, process: subprocess.Popen[str]) -> None:
    person.kill_daemon()


def kill_command(person: Person, process: subprocess.Popen[str]) -> None:
    process.kill()


@pytest.mark.parametrize(
    ("name", "kill", "codes"),
    [
        pytest.param("by-daemon", kill_daemon, {0, DAEMON_AWAY}, id="daemon"),
        pytest.param("by-command", kill_command, {0, -9}, id="command"),
    ],
)
def test_killed_and_run_again_every_release_is_there_once(
    alice: Person,
    bob: Person,
    desk: Path,
    course: Course,
    name: str,
    kill: Kill,
    codes: set[int],
) -> None:
    when, killed, number = shares(SEED), 0, 0
    for _ in range(ATTEMPTS):
        process = alice.start(*command(desk, name, number))
        was_running = course.wait(process, next(when))
        if was_running:
            kill(alice, process)
        _, err = process.communicate()
        assert process.returncode in codes if was_running else process.returncode == 0, err
        releases = [f"1.{minor}.0" for minor in range(number + 1)]
        assert alice.repository.releases(name) in (releases[:-1], releases)
        if process.returncode == 0:
            check(alice, name, number)
            number += 1
        killed += was_running
        if killed == KILLS:
            break
    assert killed == KILLS
    assert alice.json(*command(desk, name, number))["version"] == f"1.{number}.0"
    check(alice, name, number)
    for minor in range(number + 1):
        loaded = atd.load(f"@{alice.handle}/{name}@1.{minor}.0", connection=bob.connection)
        assert counted(loaded) == counted(samples_of(minor))
    assert bob.json("verify", f"@{alice.handle}/{name}")["holds"]


def check(person: Person, name: str, number: int) -> None:
    """Each record is there once, each shard list in use, each blob in a release; all is tidy."""
    repository = person.repository
    versions = [f"1.{minor}.0" for minor in range(number + 1)]
    assert repository.releases(name) == versions
    assert [k for k in repository.records("schema") if k.startswith(name)] == [f"{name}:1.0.0"]
    releases = repository.records("release")
    listed = {
        part["uri"].rpartition("/")[2]
        for release in releases.values()
        for split in release["splits"]
        for part in split["parts"]
    }
    assert set(repository.records("shards")) == listed
    chain = [releases[f"{name}:{one}"].get("previous", {}).get("uri", "") for one in versions]
    assert [uri.rpartition(":")[2] for uri in chain] == ["", *versions[:-1]]
    datasets = repository.records("dataset")
    assert datasets[name]["latest"]["uri"].endswith(f"{name}:{versions[-1]}")
    entries = [one for of in datasets for many in repository.parts(of).values() for one in many]
    previews = {release["preview"]["ref"]["$link"] for release in releases.values()}
    assert repository.blobs == {entry["blob"]["ref"]["$link"] for entry in entries} | previews
    newest = repository.parts(name)[versions[-1]]
    assert {entry["digest"]["$link"] for entry in newest} <= person.shards
    assert person.staged == []
