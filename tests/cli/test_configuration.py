"""Settings that cannot be used, and finding out which and where they come from."""

from __future__ import annotations

from pathlib import Path

import pytest

from atd.errors import BadSettings, StorageFault
from cli.stage import Person, write

VARIABLES = {
    "ATD_DNS_SERVER": "localhost",
    "ATD_ALLOW_HOSTS": "localhost:1,nonsense",
    "ATD_PLC_URL": "plc.directory",
    "ATD_OFFLINE": "perhaps",
    "ATD_HOST_LISTEN": "127.0.0.1:99999",
    "ATD_S3_ENDPOINT": "s3://bucket",
}


@pytest.fixture
def person(tmp_path: Path) -> Person:
    """Somebody whose commands end before any daemon is needed."""
    return Person.at(tmp_path / "home")


@pytest.mark.parametrize("variable", VARIABLES)
def test_a_variable_that_cannot_be_used_is_named_with_its_value(
    person: Person, variable: str
) -> None:
    value = VARIABLES[variable]
    result = person.having(**{variable: value}).run("ls")
    result.refused(BadSettings, variable, repr(value), advice="atd config")
    assert not person.home.exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('dns_server = "nowhere"', ["dns_server", "'nowhere'"]),
        ('dns_servers = "127.0.0.1:53"', ["'dns_servers'", "expected one of"]),
        ("offline = 7", ["offline", "7"]),
        ("\nplc_url = \n", ["TOML", "line 2"]),
        ("\x1b[2J", ["TOML"]),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_what_is_wrong(
    person: Person, text: str, words: list[str]
) -> None:
    write(person.home / "config.toml", text)
    person.run("ls").refused(BadSettings, str(person.home / "config.toml"), *words)


def test_a_file_in_another_encoding(person: Person) -> None:
    write(person.home / "config.toml", b"# \xe9t\xe9")
    person.run("ls").refused(BadSettings, "config.toml", "UTF-8")


def test_a_folder_in_place_of_the_file(person: Person) -> None:
    (person.home / "config.toml").mkdir(parents=True)
    person.run("ls").refused(StorageFault, "config.toml")


def test_every_setting_is_shown_even_if_some_cannot_be_used(person: Person) -> None:
    write(person.home / "config.toml", 'host_listen = "127.0.0.1:4000"\nno_such = 1\n')
    wrong = person.having(ATD_OFFLINE="perhaps", ATD_DNS_SERVER="127.0.0.1:5353")
    result = wrong.run("config")
    assert result.code == BadSettings.exit_code
    rows = {line.split("  ")[0]: line for line in result.out.splitlines()}
    assert "127.0.0.1:4000" in rows["host_listen"]
    assert "config.toml" in rows["host_listen"]
    assert "environment ATD_DNS_SERVER" in rows["dns_server"]
    assert "perhaps" in rows["offline"]
    assert "cannot be used" in rows["offline"]
    assert "no_such" in result.err
    assert "ATD_OFFLINE" in result.err
    told = wrong.run("config", "--json").json
    assert len(told["problems"]) == 2
    assert {one["name"] for one in told["settings"]} >= {"offline", "plc_url", "state_dir"}


def test_good_settings_are_shown_with_their_origin(person: Person) -> None:
    told = person.having(ATD_OFFLINE="1").run("config", "--json").done().json
    assert "problems" not in told
    offline = next(one for one in told["settings"] if one["name"] == "offline")
    assert (offline["value"], offline["origin"]) == ("True", "environment ATD_OFFLINE")


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["publish", "--help"]])
def test_help_is_there_whatever_the_settings(person: Person, words: list[str]) -> None:
    wrong = person.having(ATD_OFFLINE="perhaps", ATD_HOME="/dev/null/x")
    result = wrong.run(*words).done()
    assert result.out
    assert result.err == ""
