"""``atd stats`` at a terminal: the blob alone is fetched, and what it says is printed harmless."""

from __future__ import annotations

from pathlib import Path

import pytest

from atd.cli.stats import bars, describe, print_split
from atd.errors import LocalError, RecordAbsent
from atd.statistics.values import FieldStatistics, SplitStatistics
from cli.conftest import Town
from cli.stage import table


def test_bob_sees_statistics_and_samples_without_a_shard(town: Town) -> None:
    shown = town.bob.run("stats", "@alice.test/plants", "--samples").done()
    lines = shown.out.splitlines()
    assert lines[0].startswith("@alice.test/plants 1.")
    assert "train: 40 samples, 1 shard" in lines[2]
    assert lines[3].split() == [
        *("FIELD", "KIND", "COUNT", "NONE", "MIN", "MEAN", "STD", "MAX", "SPREAD")
    ]
    height = next(line.split() for line in lines if line.startswith("height"))
    assert height[:6] == ["height", "int", "40", "0", "19.5", "11.543"]
    assert "sample 9 of 40" in shown.out
    assert '"plant ' in shown.out
    found = town.bob.run("stats", "@alice.test/plants", "--json").done().json
    field = found["preview"]["splits"][0]["fields"][0]["numbers"]["value"]
    assert (field["min"], field["max"]) == (0, 39)
    (kept,) = [one for one in town.bob.files("cache", "previews") if one.endswith(".tar")]
    assert found["digest"] in kept


def test_a_release_says_that_it_has_a_preview(town: Town) -> None:
    assert "shown by: atd stats" in town.bob.run("show", "@alice.test/plants").done().out


def test_what_there_is_not(town: Town) -> None:
    town.bob.run("stats", "@alice.test/plants", "--split", "test").refused(LocalError, "train")
    source = table(town.folder / "bare.csv", [("n",), *((n,) for n in range(9))])
    publish = ("publish", str(source), "--name", "bare", "--yes")
    assert town.alice.run(*publish, "--preview", "some").code == 2
    town.alice.run(*publish, "--preview", "none").done()
    bare = town.bob.run("stats", "@alice.test/bare")
    bare.refused(RecordAbsent, "has no preview", advice="atd preview")


def test_a_folder_is_computed(town: Town, tmp_path: Path) -> None:
    source = table(tmp_path / "t.csv", [("n", "w"), *((n, "ab"[n % 2]) for n in range(20))])
    town.bob.run("pack", str(source), "-o", str(tmp_path / "packed")).done()
    assert (tmp_path / "packed" / "preview.json").is_file()
    (tmp_path / "packed" / "preview.json").unlink()
    shown = town.bob.run("stats", str(tmp_path / "packed")).done().out
    assert "a 10, b 10" in shown


def test_long_names_inside_each_other_do_not_fill_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A table has the names of all that is around a field: of a megabyte it would be half a
    gigabyte."""
    inner = tuple(FieldStatistics(f"f{number}", "int", 1) for number in range(300))
    for _ in range(25):
        inner = (FieldStatistics("n" * 512, "list" * 100, 1, unreadable=1, fields=inner),)
    print_split(SplitStatistics("train", 1, 1, 1, inner), samples=False)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 300
    assert max(map(len, lines)) < 400


def test_bars_and_values_in_words() -> None:
    assert bars([0, 1, 8, 4, 0]) == " ▁█▄"
    assert bars([]) == ""
    assert describe({"dtype": "uint8", "shape": [2, 3], "values": [1, 2]}) == "uint8 2x3: 1, 2 …"
    assert describe(
        {"mediaType": "image/png", "bytes": 10, "width": 3, "height": 4, "mode": "L"}
    ) == ("image/png, 10 B, 3 x 4 L")
    assert describe({"items": [1, 2], "length": 9}) == "[1, 2, … 9 in all]"
    assert describe({"text": "x", "length": 600}) == '"x" (600 characters)'
    assert describe({"a": None}) == "{a: None}"


@pytest.mark.parametrize(
    "strange",
    [
        {"bytes": "x"},
        {"dtype": None, "shape": "x", "values": 1},
        {"items": 3},
        {"mediaType": 7, "bytes": 1, "width": []},
        {"text": 1, "length": 2},
        [[[]]],
        {"shape": [{}], "dtype": [], "values": [{}, None]},
    ],
    ids=str,
)
def test_forms_that_nobody_agreed_on_are_words_too(strange: object) -> None:
    assert isinstance(describe(strange), str)
