"""Commands that keep and remove, drawn at random, several at once, and killed: they converge."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import time
from pathlib import Path

import pytest

from atd.errors import Busy, DaemonAway, DaemonError, LocalError
from cli.conftest import Town
from cli.stage import Person
from cli.test_keep import draw, release

ROUNDS, KILLED = 6, 0.7
FERNS, REEDS = "@alice.test/ferns", "@alice.test/reeds"
ENDS = {
    0,
    LocalError.exit_code,
    Busy.exit_code,
    DaemonAway.exit_code,
    DaemonError.exit_code,
    -signal.SIGKILL,
}


@pytest.fixture(scope="module")
def grown(town: Town, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Two data sets that have shards in common."""
    release(town.alice, draw(tmp_path_factory.mktemp("ferns")), "ferns")
    release(town.alice, draw(tmp_path_factory.mktemp("reeds"), changed=1), "reeds")


def drawn(dice: random.Random) -> tuple[str, ...]:
    """A command."""
    ref, number = dice.choice([FERNS, REEDS]), str(dice.randrange(3))
    return dice.choice(
        [
            ("pull", ref),
            ("pull", ref, "--split", "train", "--shard", number),
            ("rm", ref, "--yes"),
            ("rm", ref, "--yes", "--force"),
            ("rm", ref, "--split", "train", "--shard", number, "--yes"),
            ("gc",),
            ("cache", "prune", "--to", "50KB"),
            ("cache", "pin", ref),
            ("cache", "unpin", ref),
            ("cache", "rm", ref, "--yes"),
            ("untrack", ref),
        ]
    )


def test_whatever_was_killed_the_same_commands_end_what_it_began(
    stranger: Person, grown: None
) -> None:
    dice = random.Random(7)
    for _ in range(ROUNDS):
        words = [drawn(dice) for _ in range(3)]
        stranger.run("daemon", "start").done()
        pid = json.loads((stranger.home / "run" / "daemon.json").read_text())["pid"]
        running = [stranger.start(*one) for one in words]
        if dice.random() < KILLED:
            time.sleep(dice.uniform(0.25, 0.8))
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for one, process in zip(words, running, strict=True):
            _, err = process.communicate(timeout=90)
            assert process.returncode in ENDS, (one, err)
    for ref in (FERNS, REEDS):
        stranger.run("cache", "unpin", ref)
        done = stranger.run("pull", ref, "--json").done().json
        assert done["stored"] == done["shards"] == 4
    assert stranger.run("cache", "verify", "--json").done().json["damaged"] == 0
    stranger.run("gc").done()
    assert stranger.run("gc", "--json").done().json["leftovers"] == []
    for ref in (FERNS, REEDS):
        stranger.run("rm", ref, "--yes").done()
    assert tars(stranger) == []
    assert stranger.run("outdated", "--json").done().json["datasets"] == []


def tars(person: Person) -> list[Path]:
    return list((person.home / "cache").rglob("*.tar"))
