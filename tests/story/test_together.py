"""Several at once: publishers of one name, first commands of one home, readers of one shard."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

import atd
from story.people import Meet, Person
from story.sources import counted

BUSY = 16
AT_ONCE = 4


def write(path: Path, seed: int, rows: int = 400) -> str:
    noise = np.random.default_rng(seed).integers(0, 255, (rows, 1000), dtype=np.uint8)
    np.savez(path, n=np.arange(rows), noise=noise)
    return str(path)


def ended(processes: list[subprocess.Popen[str]]) -> list[tuple[int, str, str]]:
    """Exit code, stdout and stderr of each."""
    said = [process.communicate(timeout=120) for process in processes]
    return [(p.returncode, *words) for p, words in zip(processes, said, strict=True)]


@pytest.mark.parametrize("same", [True, False], ids=["the same data", "other data"])
def test_two_publish_one_name_and_no_release_is_there_twice(
    alice: Person, bob: Person, desk: Path, same: bool
) -> None:
    name = "same" if same else "other"
    paths = [write(desk / f"{name}-{one}.npz", 0 if same else one) for one in range(2)]
    words = ["--name", name, "--yes", "--shard-size", "65536", "--json"]
    found = ended([alice.start("publish", path, *words) for path in paths])
    codes = sorted(code for code, _, _ in found)
    assert codes in ([0, 0], [0, BUSY]), found
    for code, out, err in found:
        if code == BUSY:
            assert out == ""
            assert "being published by another process right now" in err
    expected = ["1.0.0"] if same or codes == [0, BUSY] else ["1.0.0", "1.1.0"]
    assert alice.repository.releases(name) == expected
    assert len([k for k in alice.repository.records("schema") if k.startswith(name)]) == 1

    # Whoever was told to wait runs the same command again.
    again = [alice.json("publish", path, *words[:-1]) for path in paths]
    if same:
        assert [one["unchanged"] for one in again] == [True, True]
        assert alice.repository.releases(name) == ["1.0.0"]
    loaded = atd.load(f"@{alice.handle}/{name}", connection=bob.connection)
    noise = np.load(paths[1])["noise"]
    assert counted(loaded) == counted({"n": n, "noise": one} for n, one in enumerate(noise))
    lists = alice.repository.records("shards")
    used = {
        part["uri"].rpartition("/")[2]
        for release in alice.repository.records("release").values()
        for split in release["splits"]
        for part in split["parts"]
    }
    assert set(lists) == used
    assert alice.staged == []


def test_different_names_are_published_at_once(alice: Person, desk: Path) -> None:
    names = ["left", "right"]
    path = write(desk / "both.npz", 9, rows=40)
    found = ended([alice.start("publish", path, "--name", name, "--yes") for name in names])
    assert [code for code, _, _ in found] == [0, 0], found
    assert {*names} <= set(alice.repository.records("dataset"))


def test_first_commands_at_once_start_one_daemon(meet: Meet) -> None:
    erin = meet("erin")
    found = ended([erin.start("accounts", "--json") for _ in range(AT_ONCE)])
    assert [(code, out) for code, out, _ in found] == [(0, '{\n  "accounts": []\n}\n')] * AT_ONCE
    log = erin.run("daemon", "logs").out
    assert log.count("serves at") == 1
    assert log.count("already runs") == 0


def test_readers_at_once_fetch_each_shard_once(alice: Person, meet: Meet, desk: Path) -> None:
    alice.run("publish", write(desk / "many.npz", 4), "--name", "many", "--yes")
    frank = meet("frank")
    ref = f"@{alice.handle}/many"
    frank.run("ls", f"@{alice.handle}")
    found = ended([frank.start("pull", ref) for _ in range(AT_ONCE)])
    assert [code for code, _, _ in found] == [0] * AT_ONCE, found
    entries = alice.repository.parts("many")["1.0.0"]
    assert frank.shards == {entry["digest"]["$link"] for entry in entries}
    assert frank.unfinished == []
