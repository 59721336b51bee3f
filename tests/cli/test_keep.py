"""Looking after data sets at the terminal: their life, what is asked, and what a kill leaves."""

from __future__ import annotations

import os
import random
import re
import signal
import tarfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from atd.errors import (
    Busy,
    DaemonAway,
    DaemonError,
    HandleAbsent,
    InvalidSyntax,
    LocalError,
    NeedsConsent,
    Unreachable,
)
from cli.conftest import Town
from cli.front import broken, slowly
from cli.stage import Person
from cli.terminal import Terminal

PLANTS = "@alice.test/plants"
IMAGES, SIDE = 40, 28
LOAD = """
import sys, atd
ds = atd.load(sys.argv[1], split="train", shards="kept")
rows = ds.take(20).to_pandas()
print(len(ds), len(rows), list(rows.columns))
"""


def draw(folder: Path, *, changed: int | None = None) -> Path:
    """A folder of images by class, and one more split: three levels, data set, split, shard."""
    noise = np.random.default_rng(7)
    for number in range(IMAGES + 2):
        pixels = noise.integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8)
        split = "train" if number < IMAGES else "test"
        path = folder / split / ("oak" if number % 2 else "elm") / f"{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        if number == changed:
            pixels = 255 - pixels
        # Stored, not compressed, so that the shards are as large everywhere.
        Image.fromarray(pixels).save(path, compress_level=0)
    return folder


def release(alice: Person, folder: Path, name: str) -> dict[str, Any]:
    words = ["publish", str(folder), "--name", name, "--yes", "--shard-size", "65536", "--json"]
    answer: dict[str, Any] = alice.run(*words).done().json
    return answer


def shards(person: Person) -> set[str]:
    return {path.stem for path in (person.home / "cache" / "shards").glob("??/*.tar")}


def counts(person: Person, ref: str) -> dict[str, str]:
    splits = person.run("ls", ref, "--json").done().json["splits"]
    return {one["name"]: f"{one['stored']}/{one['shards']}" for one in splits}


def test_the_life_of_a_data_set(town: Town, stranger: Person, tmp_path: Path) -> None:
    leaves = draw(tmp_path / "leaves")
    release(town.alice, leaves, "leaves")
    ref = "@alice.test/leaves"

    # Nothing is here: 0/3.
    assert counts(stranger, ref) == {"train": "0/3", "test": "0/1"}
    listed = stranger.run("ls", ref).done().out
    assert "not kept" in listed
    assert "0/3" in listed

    # Two of its shards.
    pulled = stranger.run("pull", ref, "--split", "train", "--shard", "0-1", "--json")
    assert pulled.done().json["shards"] == 2
    assert counts(stranger, ref) == {"train": "2/3", "test": "0/1"}
    out = stranger.run("ls", ref, "train").done().out.splitlines()
    assert [line.split()[:2] for line in out[2:]] == [["0", "here"], ["1", "here"], ["2", "-"]]

    # Twenty rows of what is here, with the network switched off.
    offline = stranger.having(ATD_OFFLINE="1")
    read = offline.run_python("-c", LOAD, ref).done().out.split()
    assert int(read[0]) == pulled.json["samples"] < IMAGES
    assert read[1] == "20"

    # One of the two goes, and its file is gone.
    before = shards(stranger)
    gone = stranger.run("rm", ref, "--split", "train", "--shard", "1", "--yes").done().out
    assert "removed 1 shard" in gone
    assert len(before - shards(stranger)) == 1
    assert counts(stranger, ref) == {"train": "1/3", "test": "0/1"}
    stranger.run("pull", ref, "--split", "train", "--shard", "1").done()
    assert shards(stranger) == before

    # One source file changes: only its shard is outdated, and only that is fetched.
    assert "1 data set up to date" in stranger.run("outdated").done().out
    names = stranger.run("ls", ref, "train", "--json").done().json["splits"][0]["files"]
    first = _image_in(stranger, names[0]["digest"])
    again = release(town.alice, draw(leaves, changed=first), "leaves")
    assert again["newShards"] == 1
    (one,) = stranger.run("outdated", "--json").done().json["datasets"]
    assert (one["outdated"], len(one["shards"]), one["replaced"]) == (True, 1, 1)
    assert "2/4 of 1.0.0" in stranger.run("ls").done().out
    said = stranger.run("pull", "--outdated").done().out
    assert "1 shard changed" in said
    assert "1 shard of the old release is still here" in said
    assert shards(stranger) - before == {one["shards"][0]["digest"]}
    assert counts(stranger, ref) == {"train": "2/3", "test": "0/1"}
    assert "1 data set up to date" in stranger.run("pull", "--outdated").done().out
    stranger.run("rm", f"{ref}@{one['version']}", "--yes").done()
    assert shards(stranger) == before - {names[0]["digest"]} | {one["shards"][0]["digest"]}


def _image_in(person: Person, digest: str) -> int:
    """The number of an image that is in a shard: keys are made of the names of the files."""
    (path,) = (person.home / "cache" / "shards").glob(f"??/{digest}.tar")
    with tarfile.open(path) as archive:
        numbers = re.findall(r"_(\d{3})_", archive.getnames()[0])
    return int(numbers[0])


# ---- what is asked, and what is answered


@pytest.fixture
def reader(stranger: Person) -> Person:
    stranger.run("pull", PLANTS).done()
    return stranger


def test_a_shard_that_is_not_here_is_not_called_right(stranger: Person) -> None:
    proved = stranger.run("verify", PLANTS).done().out.splitlines()
    (line,) = (line for line in proved if " shard 1 of 1" in line)
    assert line.startswith("--  ")
    assert "1 shard not in the store, not checked" in proved[-1]


def test_removing_says_what_goes_and_asks(reader: Person) -> None:
    nobody = reader.run("rm", PLANTS)
    nobody.refused(NeedsConsent, "nothing was removed", advice="--yes")
    assert "Remove 1 shard of @alice.test/plants" in nobody.err, "what would be agreed to"
    assert "would remove 1 shard" in reader.run("rm", PLANTS, "--dry-run").done().out
    with Terminal(reader, "rm", PLANTS) as terminal:
        terminal.wait_for("Remove 1 shard of @alice.test/plants")
        terminal.type("n\n")
        assert terminal.end() == 0
    assert shards(reader)
    with Terminal(reader, "rm", PLANTS) as terminal:
        terminal.wait_for("[y/N]")
        terminal.type("y\n")
        assert terminal.end() == 0
    assert not shards(reader)
    reader.run("rm", PLANTS, "--yes").refused(LocalError, "nothing of", advice="atd ls")
    reader.run("pull", PLANTS).done()
    reader.run("rm", PLANTS, "--split", "train", "--shard", "0,0", "--yes").done()
    said = reader.run("rm", PLANTS, "--split", "train", "--shard", "0").done().out
    assert said == "nothing of that is here\n"


def test_pinned_shards_stay_and_the_exit_code_says_so(reader: Person) -> None:
    reader.run("cache", "pin", PLANTS).done()
    ended = reader.run("rm", PLANTS, "--yes")
    assert ended.code == Busy.exit_code
    assert "1 shard pinned" in ended.out
    assert shards(reader)
    assert reader.run("rm", PLANTS).code == Busy.exit_code, "there is nothing to ask for"
    reader.run("rm", PLANTS, "--yes", "--force").done()
    assert not shards(reader)


def test_untracked_it_stays_here_and_is_not_looked_at(reader: Person) -> None:
    out = reader.run("untrack", PLANTS).done().out
    assert "not kept any more: @alice.test/plants@1.0.0" in out
    assert "stay here" in out
    assert shards(reader)
    assert "nothing is kept" in reader.run("outdated").done().out
    reader.run("untrack", PLANTS).refused(LocalError, "not kept", advice="atd pull")
    reader.run("outdated", PLANTS).refused(LocalError, "not kept")
    assert "not kept" in reader.run("ls", PLANTS).done().out


def test_leftovers_are_listed_and_go(reader: Person) -> None:
    assert "nothing is left over" in reader.run("gc").done().out
    lost = reader.home / "cache" / "staging" / "over" / "x.tar"
    lost.parent.mkdir(parents=True)
    lost.write_bytes(b"x" * 2000)
    assert str(lost.parent) in reader.run("gc", "--dry-run").done().out
    assert lost.exists()
    assert "removed 1, 2.0 KB: folders of publications" in reader.run("gc").done().out
    assert not lost.parent.exists()
    assert shards(reader)


def test_what_cannot_be_meant_is_said(reader: Person, town: Town) -> None:
    reader.run("pull", PLANTS, "--split", "train", "--shard", "7").refused(
        LocalError, "no shard 7 in train, which has 1", advice="atd ls REF SPLIT"
    )
    reader.run("ls", PLANTS, "valid").refused(LocalError, "no split valid", advice="train")
    assert reader.run("pull").code == 2
    assert reader.run("pull", "--outdated", PLANTS, "--shard", "1").code == 2
    for numbers in ("-1", "2-1", "0-200000"):
        assert reader.run("pull", PLANTS, f"--shard={numbers}").code == 2, numbers
    reader.run("ls", "./plants", "train").refused(InvalidSyntax)
    reader.run("ls", "@nobody.test").refused(HandleAbsent)
    assert counts(reader, "plants") == {"train": "1/1"}


def test_a_publisher_who_is_away_is_no_answer(reader: Person, town: Town) -> None:
    town.front.will(broken)
    ended = reader.run("outdated", "--json")
    assert ended.code == Unreachable.exit_code
    assert ended.json["datasets"][0]["error"] == "Unreachable"
    # What is here is known all the same.
    assert counts(reader, PLANTS) == {"train": "1/1"}


# ---- several at once, and killed


@pytest.fixture(scope="module")
def moss(town: Town, tmp_path_factory: pytest.TempPathFactory) -> str:
    release(town.alice, draw(tmp_path_factory.mktemp("moss")), "moss")
    return "@alice.test/moss"


def test_killed_while_it_pulls_or_removes_the_next_one_ends_it(
    town: Town, stranger: Person, moss: str
) -> None:
    draw_s = random.Random(5)
    for words in (("pull", moss), ("rm", moss, "--yes")):
        stranger.run("daemon", "start").done()
        pid = stranger.daemon_pid()
        town.front.will(slowly(0.05, town.front), "getBlob")
        running = stranger.start(*words)
        time.sleep(draw_s.uniform(0.3, 0.8))
        os.kill(pid, signal.SIGKILL)
        running.communicate(timeout=60)
        assert running.returncode in (0, DaemonAway.exit_code, DaemonError.exit_code)
        town.front.behave()
        ended = stranger.run(*words)
        if words[0] == "pull":
            assert ended.code == 0, ended
            assert counts(stranger, moss) == {"train": "3/3", "test": "1/1"}
        else:
            # All may have gone before the kill.
            assert ended.code in (0, LocalError.exit_code), ended
            assert not shards(stranger)
            assert not stranger.run("outdated", "--json").done().json["datasets"]
    stranger.run("cache", "verify").done()
    stranger.run("gc").done()
    assert stranger.run("gc", "--dry-run", "--json").done().json["leftovers"] == []


def test_several_at_once_leave_nothing_half_done(stranger: Person, moss: str) -> None:
    lines = [("pull", moss), ("rm", moss, "--yes"), ("pull", moss), ("gc",), ("ls", moss)]
    running = [stranger.start(*words) for words in lines]
    for words, process in zip(lines, running, strict=True):
        process.communicate(timeout=90)
        # What one removed while the other pulled is said, and not hidden.
        wanted = {"rm": (0, LocalError.exit_code, Busy.exit_code), "pull": (0, Busy.exit_code)}
        assert process.returncode in wanted.get(words[0], (0,)), words
    stranger.run("cache", "verify").done()
    stranger.run("pull", moss).done()
    assert counts(stranger, moss) == {"train": "3/3", "test": "1/1"}
