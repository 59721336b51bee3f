"""Names that lead nowhere, or to two places, and words that are no names at all."""

from __future__ import annotations

import pytest

from atd.errors import (
    BadSource,
    DidAbsent,
    HandleAbsent,
    IdentityMismatch,
    InvalidSyntax,
    LocalError,
    RecordAbsent,
    Unreachable,
)
from cli.conftest import Town
from cli.front import missing
from cli.stage import Person

READING = ["show", "pull", "verify", "preview"]


@pytest.mark.parametrize("command", ["ls", "preview"])
def test_a_handle_that_nobody_answers_for(town: Town, command: str) -> None:
    ref = "@nobody.test" if command == "ls" else "@nobody.test/plants"
    result = town.bob.run(command, ref)
    result.refused(HandleAbsent, "nobody answers for the handle nobody.test", advice="spelling")


def test_a_handle_that_is_misspelt_is_compared_with_those_that_are_known(town: Town) -> None:
    town.bob.run("ls", "@alice.test").done()
    result = town.bob.run("ls", "@alise.test")
    result.refused(HandleAbsent, "alise.test", advice="did you mean @alice.test?")


def test_a_handle_that_is_not_claimed_back(town: Town) -> None:
    town.zone.point("mallory.test", town.front.did)
    result = town.bob.run("ls", "@mallory.test")
    result.refused(IdentityMismatch, "mallory.test points to", "does not claim it back")


def test_a_handle_with_two_owners(town: Town) -> None:
    town.zone["_atproto.two.test"] = [f"did={town.front.did}", "did=did:web:localhost%3A1"]
    result = town.bob.run("ls", "@two.test")
    result.refused(IdentityMismatch, "several DIDs", town.front.did, "did:web:localhost%3A1")


def test_a_did_whose_document_is_gone(town: Town, stranger: Person) -> None:
    town.front.will(missing, "/.well-known/did.json")
    stranger.run("ls", town.front.did).refused(DidAbsent, town.front.did)


def test_a_private_address_is_not_contacted_unless_a_setting_allows_it(town: Town) -> None:
    result = town.bob.run("ls", "did:web:localhost%3A1")
    result.refused(Unreachable, "did:web:localhost%3A1", advice="add localhost:1 to ATD_ALLOW_HOST")


@pytest.mark.parametrize("command", READING)
def test_a_data_set_that_is_not_there_is_proved_absent(town: Town, command: str) -> None:
    result = town.bob.run(command, "@alice.test/roses")
    steps = result.out if command == "verify" else ""
    result.refused(
        RecordAbsent,
        "@alice.test/roses does not exist",
        f"{town.front.did}/network.atd.dataset/roses",
        "signed at rev",
        advice="atd ls @alice.test",
        out=steps,
    )
    assert "FAIL" in steps or command != "verify"


def test_a_name_that_is_misspelt_is_compared_with_those_that_are_known(town: Town) -> None:
    town.bob.run("ls", "@alice.test").done()
    result = town.bob.run("show", "@alice.test/palnts")
    result.refused(RecordAbsent, advice="did you mean @alice.test/plants?")


def test_a_version_that_was_never_published(town: Town) -> None:
    town.bob.run("ls", "@alice.test").done()
    result = town.bob.run("show", "@alice.test/plants@7.0.0")
    words = "@alice.test/plants@7.0.0 does not exist"
    result.refused(RecordAbsent, words, advice="atd show @alice.test/plants")


@pytest.mark.parametrize("command", ["pull", "preview"])
def test_a_split_that_is_not_there_says_which_are(town: Town, command: str) -> None:
    result = town.bob.run(command, "@alice.test/plants", "--split", "test")
    assert result.code == LocalError.exit_code, result
    assert "train" in result.message + result.advice


@pytest.mark.parametrize(
    "ref",
    [
        "",
        "@alice.test",
        "@alice.test/plants@1.0",
        "@alice..test/plants",
        "at://alice.test/app.bsky.feed.post/3k",
        "ftp://alice.test/plants",
        "@alice.test/plants\n",
        "\x1b[31m@alice.test/plants",
        "@alice.test/\u202estnalp",
        "@alice.test/" + "p" * 5000,
    ],
)
def test_a_reference_that_is_none_says_how_one_is_written(town: Town, ref: str) -> None:
    town.bob.run("show", ref).refused(InvalidSyntax)


@pytest.mark.parametrize("actor", ["@", "did:", "@alice.test/", "/plants"])
def test_a_publisher_who_is_none(town: Town, actor: str) -> None:
    town.bob.run("ls", actor).refused(InvalidSyntax)


def test_a_word_alone_is_a_folder_or_lacks_its_handle(town: Town) -> None:
    result = town.bob.run("preview", "shrubs")
    result.refused(BadSource, "shrubs is no folder of shards here", advice="@HANDLE/shrubs")


@pytest.mark.parametrize("name", ["", "Plants", "a/b", "é\t"])
def test_a_name_with_characters_that_no_name_has(town: Town, name: str) -> None:
    source = str(town.folder / "plants.csv")
    result = town.alice.run("publish", source, "--yes", f"--name={name}")
    result.refused(InvalidSyntax, "expected a data set name", advice="a-z 0-9")


def test_a_name_that_is_none_is_not_unpublished(town: Town) -> None:
    result = town.alice.run("unpublish", "--yes", "--", "../plants")
    result.refused(InvalidSyntax, "expected a data set name")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--to", "x y"),
        ("--split", "Train"),
        ("--version", "1"),
        ("--homepage", "javascript:alert(1)"),
        ("--store", "ftp://example.com/x"),
        ("--schema", "plants"),
        ("--schema", "nowhere:Plant"),
    ],
)
def test_options_that_cannot_be_meant_are_refused_before_the_work(
    town: Town, option: str, value: str
) -> None:
    source = str(town.folder / "plants.csv")
    result = town.alice.run("publish", source, "--name", "other", "--yes", option, value)
    result.refused(InvalidSyntax)
    assert len(result.err.splitlines()) == 2, "nothing was packed"


@pytest.mark.parametrize(
    "words",
    [
        ["lst"],
        ["ls", "--josn"],
        ["show"],
        ["publish", "."],
        ["publish", ".", "--name", "x", "--order", "random"],
        ["publish", ".", "--name", "x", "--shard-size", "5"],
        ["daemon"],
    ],
)
def test_a_command_line_that_does_not_parse(town: Town, words: list[str]) -> None:
    result = town.bob.run(*words)
    assert (result.code, result.out) == (2, "")
    assert "Traceback" not in result.err
    assert "Usage:" in result.err


def test_debug_shows_the_traceback_as_well(town: Town) -> None:
    result = town.bob.run("--debug", "show", "@nonsense")
    assert result.code == InvalidSyntax.exit_code
    assert result.err.startswith("Traceback (most recent call last):")
    assert result.message in result.err.split("Traceback")[1]


def test_an_error_leaves_stdout_empty_even_with_json(town: Town) -> None:
    town.bob.run("show", "@alice.test/roses", "--json").refused(RecordAbsent)


def test_a_proof_that_fails_is_still_told_as_json(town: Town) -> None:
    result = town.bob.run("verify", "@alice.test/roses", "--json")
    assert result.code == RecordAbsent.exit_code
    told = result.json
    assert told["holds"] is False
    assert [step["holds"] for step in told["steps"]] == [True] * 6 + [False]
    assert told["steps"][-1]["error"] == "RecordAbsent"


def test_a_stranger_who_knows_nobody_is_told_how_to_begin(stranger: Person) -> None:
    for words in (["ls"], ["search", "plants"]):
        result = stranger.run(*words).done()
        assert result.out == ""
        assert "atd ls @HANDLE" in result.err
