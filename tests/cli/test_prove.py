"""``atd prove``: a file that convinces somebody who has no daemon, no network, and no trust."""

from __future__ import annotations

from pathlib import Path

import pytest

from atd.errors import BadSource, InvalidSyntax, ProofError, RecordAbsent, StorageFault
from cli.conftest import MakePerson, Town


@pytest.fixture(scope="module")
def proof(town: Town, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("proof") / "plants.proof"
    done = town.bob.run("prove", "@alice.test/plants", "-o", str(file)).done()
    assert str(file) in done.out
    return file


def test_a_bundle_convinces_somebody_without_daemon_or_network(
    town: Town, proof: Path, somebody: MakePerson
) -> None:
    alone = somebody(ATD_OFFLINE="1")
    result = alone.run("prove", "--check", str(proof)).done()
    for words in (
        "proved by signatures:",
        "only said by whoever made this file:",
        "not proved by anything here:",
        f"{town.front.did}/network.atd.dataset/plants",
        "did:web is what its host serves",
    ):
        assert words in result.out
    said = alone.run("prove", "--check", str(proof), "--json").done().json
    assert said["holds"] is True
    assert said["proved"]["release"]["samples"] == 40
    assert said["testified"]["identities"][0]["handle"]["name"] == "alice.test"
    assert alone.files() == []


def test_a_name_alone_will_do_where_it_is_known(town: Town, proof: Path, tmp_path: Path) -> None:
    file = tmp_path / "alone.proof"
    result = town.bob.run("prove", "plants", "-o", str(file)).done()
    assert "plants is @alice.test/plants" in result.err
    town.bob.run("lock", "plants", "-o", str(tmp_path / "atd.lock")).done()
    assert town.front.did in (tmp_path / "atd.lock").read_text()
    assert "plants 1.0.0" in town.bob.run("pull", "plants").done().out


def test_an_altered_bundle_is_refused(proof: Path, tmp_path: Path, somebody: MakePerson) -> None:
    altered = tmp_path / "altered.proof"
    altered.write_bytes(proof.read_bytes().replace(b"plants", b"plantz"))
    somebody().run("prove", "--check", str(altered)).refused(
        ProofError, advice="atd prove REF -o FILE"
    )
    somebody().run("prove", "--check", str(tmp_path / "none")).refused(BadSource, "none")


def test_what_is_not_there_leaves_no_file(town: Town, tmp_path: Path) -> None:
    file = tmp_path / "roses.proof"
    town.bob.run("prove", "@alice.test/roses", "-o", str(file)).refused(RecordAbsent)
    nowhere = str(tmp_path / "no" / "folder")
    town.bob.run("prove", "@alice.test/plants", "-o", nowhere).refused(StorageFault)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["@alice.test/plants"],
        ["-o", "file"],
        ["@alice.test/plants", "--check", "file"],
        ["--check", "file", "-o", "file"],
    ],
)
def test_a_command_line_that_asks_for_both_or_for_nothing(town: Town, arguments: list[str]) -> None:
    town.bob.run("prove", *arguments).refused(InvalidSyntax, advice="atd prove --check FILE")
