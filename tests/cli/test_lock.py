"""``atd lock``: what is pinned is what is loaded, and anything else is refused by name."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

import atd
from atd.connection import Connection
from atd.errors import BadSource, InvalidSyntax, LocalError, Offline, PinMismatch
from atd.locks import Lock
from atd.protocol.cbor import Cid
from atd.refs import parse_dataset_ref
from atd.settings import Settings
from cli.conftest import Town
from cli.stage import Person, table

REF = "@alice.test/plants"


@pytest.fixture(scope="module")
def pinned(town: Town, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What ``atd lock`` writes for the plants."""
    file = tmp_path_factory.mktemp("lock") / "atd.lock"
    town.bob.run("lock", REF, "-o", str(file)).done()
    return file.read_bytes()


@pytest.fixture
def lockfile(pinned: bytes, tmp_path: Path) -> Path:
    file = tmp_path / "atd.lock"
    file.write_bytes(pinned)
    return file


def connected(person: Person) -> Connection:
    return Connection(Settings.load(person.environ))


def swapped(file: Path, what: str, value: str) -> Path:
    """The lockfile with another value for one thing."""
    altered, count = re.subn(rf'^{what} = ".*"$', f'{what} = "{value}"', file.read_text(), flags=8)
    assert count == 1
    file.write_text(altered)
    return file


def test_a_lockfile_can_be_read_by_people_and_by_toml(town: Town, lockfile: Path) -> None:
    entry = tomllib.loads(lockfile.read_text())["dataset"][REF]
    assert entry["did"] == town.front.did
    assert entry["version"] == "1.0.0"
    assert entry["release"].startswith("bafyrei")
    assert entry["split"]["train"]["samples"] == 40
    assert Lock.load(lockfile).text() == lockfile.read_text()


def test_the_same_pins_give_the_same_file(town: Town, lockfile: Path) -> None:
    before = lockfile.read_bytes()
    again = town.bob.run("lock", REF, "-o", str(lockfile)).done()
    assert "unchanged" in again.out
    assert lockfile.read_bytes() == before
    town.bob.run("lock", f"{REF}@1.0.0", f"{town.front.did}/plants", "-o", str(lockfile)).done()
    assert list(map(str, Lock.load(lockfile).pins)) == sorted(
        [REF, f"{REF}@1.0.0", f"{town.front.did}/plants"]
    )
    assert before.decode().partition("\n\n")[2] in lockfile.read_text()


def test_what_is_pinned_is_loaded_by_any_of_its_names_and_offline(
    town: Town, lockfile: Path
) -> None:
    town.bob.run("pull", REF, "--lock", str(lockfile)).done()
    offline = connected(town.bob.having(ATD_OFFLINE="1"))
    for ref in (REF, f"{REF}@1.0.0", f"{REF}:train", f"{town.front.did}/plants"):
        assert len(atd.load(ref, lock=lockfile, connection=offline)) == 40
    alone = town.bob.having(ATD_OFFLINE="1")
    alone.run("lock", "--check", "-o", str(lockfile)).done()
    alone.run("pull", REF, "--lock", str(lockfile)).done()


def test_anything_else_is_refused_and_both_are_named(
    town: Town, lockfile: Path, tmp_path: Path
) -> None:
    genuine = lockfile.read_text()
    other = str(Cid.of(b"other"))
    came = str(Lock.load(lockfile).find(parse_dataset_ref(REF)).release)
    swapped(lockfile, "release", other)
    for command in (["pull", REF, "--lock"], ["lock", "--check", "-o"]):
        result = town.bob.run(*command, str(lockfile))
        assert result.code == PinMismatch.exit_code
        assert f"pins release {other}, but {came} came" in result.message
    with pytest.raises(PinMismatch, match="pins release"):
        atd.load(REF, lock=lockfile, connection=connected(town.bob))
    verified = town.bob.run("verify", REF, "--lock", str(lockfile))
    assert verified.code == PinMismatch.exit_code
    assert "FAIL  10. the release is the one that" in verified.out
    lockfile.write_text(genuine)
    assert "10. the release" in town.bob.run("verify", REF, "--lock", str(lockfile)).done().out
    swapped(lockfile, "digest", "sha256:" + "0" * 64)
    town.bob.run("pull", REF, "--lock", str(lockfile)).refused(PinMismatch, "pins split train")


def test_another_version_than_the_pinned_one_is_refused(town: Town, lockfile: Path) -> None:
    result = town.bob.run("pull", f"{REF}@2.0.0", "--lock", str(lockfile))
    result.refused(PinMismatch, "pins version 1.0.0, not 2.0.0", advice=f"atd lock {REF}@2.0.0")


def test_what_is_not_in_it_is_refused(town: Town, lockfile: Path, tmp_path: Path) -> None:
    result = town.bob.run("pull", "@alice.test/roses", "--lock", str(lockfile))
    result.refused(LocalError, "is not in", advice="atd lock @alice.test/roses")
    with pytest.raises(LocalError, match="published data sets"):
        atd.load(str(tmp_path), lock=lockfile)


def test_a_new_version_is_taken_only_when_that_is_said(town: Town, tmp_path: Path) -> None:
    rows = [("height", "name"), *((n, f"herb {n}") for n in range(10))]
    source = table(tmp_path / "herbs.csv", rows)
    publish = ("publish", str(source), "--name", "herbs", "--yes")
    town.alice.run(*publish).done()
    file = tmp_path / "atd.lock"
    town.bob.run("lock", "@alice.test/herbs", "-o", str(file)).done()
    table(source, [*rows, (11, "another herb")])
    town.alice.run(*publish).done()
    bob = connected(town.bob)
    assert len(atd.load("@alice.test/herbs", connection=bob)) == 11
    assert len(atd.load("@alice.test/herbs", lock=file, connection=bob)) == 10
    checked = town.bob.run("lock", "--check", "-o", str(file), "--json").done().json
    assert checked["holds"] is True
    assert checked["pins"][0]["latest"] != checked["pins"][0]["version"]
    updated = town.bob.run("lock", "--update", "-o", str(file)).done()
    assert "updated" in updated.out
    assert "split train: 10 samples" in updated.out
    assert len(atd.load("@alice.test/herbs", lock=file, connection=bob)) == 11


def test_without_network_nothing_is_pinned_that_is_not_known(
    town: Town, stranger: Person, tmp_path: Path
) -> None:
    file = tmp_path / "atd.lock"
    stranger.having(ATD_OFFLINE="1").run("lock", REF, "-o", str(file)).refused(Offline)
    assert not file.exists()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "version = 2",
        "version = 1\nother = 1",
        "version = 1\n[dataset.plants]\n",
        'version = 1\n[dataset."@alice.test/plants"]\n',
        'version = 1\n[dataset."@alice.test/plants:train"]\n',
        'version = 1\n[dataset."@alice.test/plants"]\ndid = "x"\nversion = "1.0.0"\n',
        "version = 1\ndataset = 5",
        "[[[",
        "\x00",
    ],
)
def test_what_is_no_lockfile_says_so(tmp_path: Path, text: str) -> None:
    file = tmp_path / "atd.lock"
    file.write_text(text)
    with pytest.raises(BadSource, match="is not a lockfile"):
        Lock.load(file)
    with pytest.raises(BadSource, match="cannot read"):
        Lock.load(tmp_path / "none")


@pytest.mark.parametrize("arguments", [[], ["--check", "--update"]])
def test_a_command_line_that_asks_for_nothing_or_for_both(town: Town, arguments: list[str]) -> None:
    town.bob.run("lock", *arguments).refused(InvalidSyntax)
