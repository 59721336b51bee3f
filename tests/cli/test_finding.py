"""Searching, names alone and histories at the terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

from atd.cli.finding import parse_size
from atd.errors import BadSource, InvalidSyntax, RecordAbsent
from cli.conftest import Town
from cli.stage import table

MATCHING = [
    *("plants", "publisher:alice.test", "/^pl.*s$/"),
    *("--publisher", "@alice", "--field", "height", "--kind", "int64", "--modality", "tabular"),
    *("--min-samples", "40", "--max-samples", "40", "--since", "7d", "--max-size", "1GB"),
]


@pytest.fixture(scope="module", autouse=True)
def known(town: Town) -> None:
    town.bob.run("ls", "@alice.test").done()


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (MATCHING, True),
        ([*MATCHING, "--min-size", "1TB"], False),
        ([*MATCHING, "--tag", "vision"], False),
        ([*MATCHING, "--license", "MIT"], False),
    ],
)
def test_filters_and_terms(town: Town, arguments: list[str], found: bool) -> None:
    result = town.bob.run("search", *arguments).done()
    assert ("@alice.test/plants" in result.out) == found
    assert ("nothing found" in result.err) != found


def test_facets_are_told_and_counted(town: Town) -> None:
    out = town.bob.run("search", "plants", "--facets", "--sort", "name").done().out
    assert "of all 1 found" in out
    assert "publishers  alice.test 1" in " ".join(out.split("\n")).replace("    ", "  ")
    facets = town.bob.run("search", "plants", "--facets", "--json").done().json["facets"]
    assert facets["publishers"] == [{"value": "alice.test", "count": 1}]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--min-size", "big"], "size"),
        (["--sort", "best"], "sort"),
        (["name~("], "regular expression"),
    ],
)
def test_what_cannot_be_asked_is_said(town: Town, arguments: list[str], words: str) -> None:
    town.bob.run("search", *arguments).refused(InvalidSyntax, words)


def test_a_name_alone_is_enough_where_one_is_known_and_it_is_said_which(town: Town) -> None:
    result = town.bob.run("show", "plants").done()
    assert "@alice.test/plants" in result.out
    assert "plants is @alice.test/plants: the only one of this name" in result.err
    assert "nothing proves that its publisher owns the name" in result.err
    assert town.bob.run("pull", "plants", "--json").done().json["name"] == "plants"
    assert "height" in town.bob.run("preview", "plants", "-n", "1").done().out
    told = town.bob.run("show", "ghost")
    told.refused(RecordAbsent, "no data set named ghost is known here", advice="@HANDLE/ghost")
    town.bob.run("preview", "ghost").refused(BadSource, "no folder of shards here")


def test_a_program_that_loads_by_name_alone_is_warned(town: Town) -> None:
    code = "import atd; print(len(atd.load('plants')))"
    result = town.bob.run_python("-W", "always", "-c", code).done()
    assert result.out.strip() == "40"
    assert "plants means @alice.test/plants here" in result.err
    assert f"write {town.front.did}/plants" in result.err


def test_a_list_stops_at_its_limit_and_says_so(town: Town) -> None:
    source = table(town.folder / "second.csv", [("n",), *((n,) for n in range(5))])
    town.alice.run("publish", str(source), "--name", "aaa", "--yes").done()
    try:
        result = town.bob.run("ls", "@alice.test", "--limit", "1").done()
        assert "@alice.test/aaa" in result.out
        assert "@alice.test/plants" not in result.out
        assert "--all" in result.err
        whole = town.bob.run("ls", "@alice.test", "--all", "--json").done().json
        names = [one["name"] for one in whole["datasets"]]
        assert names == sorted(names)
        assert {"aaa", "plants"} <= set(names)
        assert "cursor" not in whole
    finally:
        town.alice.run("unpublish", "aaa", "--yes").done()


def test_a_history_of_two_versions_and_the_log_of_it(town: Town, tmp_path: Path) -> None:
    source = table(tmp_path / "a.csv", [("n",), *((n,) for n in range(5))])
    town.alice.run("publish", str(source), "--name", "changing", "--yes").done()
    town.bob.run("ls", "@alice.test").done()
    more = table(tmp_path / "a.csv", [("n", "note"), *((n, "x") for n in range(6))])
    again = [
        "publish",
        str(more),
        "--name",
        "changing",
        "--yes",
        "--tag",
        "new",
        "--license",
        "MIT",
    ]
    town.alice.run(*again).done()
    shown = town.bob.run("show", "@alice.test/changing", "--history").done().out
    assert "~ latest: 1.0.0 -> 1.1.0" in shown
    assert "+ licence: MIT" in shown
    assert "+ tag: new" in shown
    assert "~ samples of train: 5 -> 6" in shown
    assert "+ field note: string" in shown
    assert "compatible: reads with code for the samples before" in shown
    assert "commit bafyrei" in shown
    town.alice.run("unpublish", "changing", "--yes").done()
    gone = town.bob.run("show", "@alice.test/changing", "--history").done()
    assert "card deleted" in gone.out
    assert "what was seen so far" in gone.err
    log = town.bob.run("log", "@alice.test", "--since", "1h", "--json").done().json["changes"]
    assert ("delete", "changing") in {(one["action"], one["key"]) for one in log}
    assert town.bob.run("log", "--alarms").done().out == ""


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("1000", 1000), ("500MB", 500_000_000), ("1.5 gb", 1_500_000_000), ("2K", 2000)],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "MB", "-1", "1e9", "1.2345GB", "9" * 16, "1 XB"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(InvalidSyntax, match="expected a size"):
        parse_size(text)
