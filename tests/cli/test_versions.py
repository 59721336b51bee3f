"""New versions at the command line: what changes is said and asked about, and what is added."""

from __future__ import annotations

import signal
from pathlib import Path

import numpy as np
import pytest

from atd.errors import BadSource, Conflict, LocalError, NeedsConsent, RecordAbsent
from cli import front
from cli.conftest import Town
from cli.stage import Person, Result, finished, table
from cli.terminal import Terminal
from publish import pictures

MANY = ("--shard-size", "65536")


def rows(folder: Path, name: str, start: int, end: int, field: str = "n") -> str:
    lines = [(field, "name"), *((n, f"row {n}") for n in range(start, end))]
    return str(table(folder / f"{name}.csv", lines))


def publish(town: Town, source: str, name: str, *more: str) -> Result:
    return town.alice.run("publish", source, "--name", name, *more)


def uploads(town: Town) -> int:
    return sum("uploadBlob" in address for address in town.front.asked)


def writes(town: Town) -> int:
    return sum("applyWrites" in address for address in town.front.asked)


def shown(person: Person, ref: str) -> list[str]:
    told = person.run("show", ref, "--json").done().json
    return [one["version"] for one in told["releases"]]


def test_unchanged_data_uploads_nothing_and_one_image_uploads_one_shard(town: Town) -> None:
    folder = town.folder / "flowers"
    for seed in range(300):
        pictures.put(folder / f"kind{seed % 3}" / f"{seed:03}.png", seed=seed)
    options = ("--yes", *MANY, "--preview", "none")  # which is a small file of its own
    first = publish(town, str(folder), "flowers", *options, "--json").done().json
    assert first["shards"] > 5
    assert "changes" not in first
    sent, written = uploads(town), writes(town)
    again = publish(town, str(folder), "flowers", *options)
    assert again.done().out.startswith("unchanged: @alice.test/flowers 1.0.0")
    assert (uploads(town), writes(town)) == (sent, written)
    pictures.put(folder / "kind1" / "100.png", seed=9999)
    result = publish(town, str(folder), "flowers", *options).done()
    assert uploads(town) - sent == 1
    assert "changes: 1.0.0 -> 1.1.0 (minor)" in result.err
    assert "train: 300 -> 300 samples, 0 added, 0 removed, 1 changed" in result.out
    assert "1 shard new" in result.out
    assert 'the version before stays: atd.load("@alice.test/flowers@1.0.0")' in result.out


def test_the_wrong_data_under_a_name_is_asked_about(town: Town) -> None:
    publish(town, rows(town.folder, "right", 0, 40), "right", "--yes").done()
    wrong = rows(town.folder, "wrong", 0, 5, "height")
    result = publish(town, wrong, "right")
    result.refused(NeedsConsent, "right stays at 1.0.0", advice="--yes")
    assert "! code for the samples of 1.0.0 does not read these" in result.err
    assert "! 35 of 40 samples are gone" in result.err
    assert shown(town.alice, "@alice.test/right") == ["1.0.0"]
    assert "schema: - field n" in result.err
    said = publish(town, wrong, "right", "--dry-run", "--json").done().json["changes"]
    assert (said["before"], said["after"], said["step"]) == ("1.0.0", "2.0.0", "major")
    with Terminal(town.alice, "publish", wrong, "--name", "right", columns=200) as terminal:
        terminal.wait_for("Publish this as the next right? [y/N]")
        terminal.type("n\n")
        assert terminal.end() == NeedsConsent.exit_code, terminal.seen
    agreed = publish(town, wrong, "right", "--yes", "--json").done().json
    assert agreed["version"] == "2.0.0"
    assert len(agreed["changes"]["consequences"]) == 2
    difference = town.alice.run("schema", "diff", "@alice.test/right").done()
    assert difference.out.splitlines() == [
        "@alice.test/right@1.0.0 -> @alice.test/right@2.0.0",
        "  - field n: int64",
        "  + field height: int64",
        "  major: code for the old samples does not read the new ones",
    ]


def test_a_version_that_says_too_little(town: Town) -> None:
    publish(town, rows(town.folder, "said", 0, 40), "said", "--yes").done()
    more = rows(town.folder, "said", 0, 41)
    result = publish(town, more, "said", "--version", "1.0.1")
    result.refused(Conflict, "version 1.0.1 says less", "minor", advice="1.1.0 or later")
    forced = publish(town, more, "said", "--version", "1.0.1", "--force-version").done()
    assert "published @alice.test/said 1.0.1" in forced.out


def test_appending_at_the_command_line(town: Town) -> None:
    keyed = table(town.folder / "keyed.csv", [("key", "n"), ("a", 1), ("b", 2)])
    publish(town, str(keyed), "keyed", "--yes").done()
    more = table(town.folder / "more.csv", [("key", "n"), ("b", 2), ("c", 3)])
    publish(town, str(more), "keyed", "--append").refused(
        BadSource, "1 sample is there already: b of train", advice="--skip-bad"
    )
    sent = uploads(town)
    result = publish(town, str(more), "keyed", "--append", "--skip-bad").done()
    assert uploads(town) - sent == 1
    assert "note: left out: b of train" in result.err
    assert "train: 2 -> 3 samples, 1 added, 0 removed, 0 changed, 1 shard kept" in result.out


def test_an_append_that_is_killed_is_carried_out_once(town: Town, tmp_path: Path) -> None:
    """SIGKILL of the command while its shards are sent; the next one ends what it began."""
    made = np.random.default_rng(5).integers(0, 255, (900, 1000), np.uint8)
    np.savez(tmp_path / "first.npz", noise=made[:600])
    np.savez(tmp_path / "more.npz", noise=made[600:])
    publish(town, str(tmp_path / "first.npz"), "killed", "--yes", *MANY).done()
    arguments = ("publish", str(tmp_path / "more.npz"), "--name", "killed", "--append", "--yes")
    town.front.will(front.slowly(0.3, town.front), "uploadBlob")
    town.front.asked.clear()
    process = town.alice.start(*arguments)
    town.front.wait_for("uploadBlob", count=2)
    process.send_signal(signal.SIGKILL)
    finished(process)
    town.front.behave()
    result = town.alice.run(*arguments, "--json").done().json
    assert (result["version"], result["samples"]) == ("1.1.0", 900)
    assert uploads(town) <= result["newShards"] + 2
    assert shown(town.alice, "@alice.test/killed") == ["1.1.0", "1.0.0"]


# ------------------------------------------------------------------ atd schema diff


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("sides")
    rows(made, "old", 0, 5)
    table(made / "new.csv", [("n", "name", "more"), *((n, "x", 0.5) for n in range(5))])
    (made / "mine.py").write_text(
        "from dataclasses import dataclass\n\n\n"
        "@dataclass\nclass Row:\n    n: int\n    name: str | None = None\n"
    )
    return made


def test_files_are_compared_and_the_exit_code_says_so_if_asked(
    stranger: Person, folder: Path
) -> None:
    def diff(*words: str) -> Result:
        return stranger.run("schema", "diff", *words, cwd=folder)

    same = diff("./old.csv", "./old.csv", "--exit-code").done()
    assert same.out.splitlines()[1:] == ["  no step: readers notice nothing"]
    grown = diff("./old.csv", "./new.csv").done()
    assert grown.out.splitlines()[1:] == [
        "  + field more: float64",
        "  minor: code for the old samples reads the new ones",
    ]
    back = diff("./new.csv", "./old.csv", "--json", "--exit-code")
    assert back.code == 1
    assert back.json["step"] == "major"
    assert back.json["differences"] == [{"sign": "-", "what": "field more", "before": "float64"}]
    mine = diff("./old.csv", "mine:Row").done()
    assert "+ field name optional" in mine.out


def test_published_versions_are_compared_with_files(town: Town, folder: Path) -> None:
    found = town.bob.run("schema", "diff", "@alice.test/plants", "./new.csv", cwd=folder).done()
    assert "- field height: int64" in found.out
    first = town.bob.run("schema", "diff", "@alice.test/plants")
    first.refused(RecordAbsent, "no version before 1.0.0", advice="both sides")
    local = town.bob.run("schema", "diff", "./old.csv", cwd=folder)
    local.refused(LocalError, "expected a published data set", advice="give both sides")
