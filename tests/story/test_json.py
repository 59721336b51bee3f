"""What scripts rely on: one JSON object on stdout, everything else on stderr, and exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from atd.errors import AtdError, tree
from story.people import Person

REF = "{alice}/words"

# Command, who runs it, and the keys that its answer has at least.
COMMANDS = {
    "publish": ("alice", "publish {path} --name words", "uri cid did name version shards samples"),
    "dry-run": ("alice", "publish {path} --name words --dry-run", "name splits first previous"),
    "accounts": ("alice", "accounts", "accounts"),
    "ls": ("bob", "ls {alice}", "datasets problems"),
    "ls-all": ("bob", "ls", "datasets problems"),
    "search": ("bob", "search words", "datasets"),
    "show": ("bob", f"show {REF}", "dataset card releases schema splits pds proof problems"),
    "schema": ("bob", f"schema show {REF}", "fields python"),
    "preview": ("bob", f"preview {REF} -n 2", "ref samples"),
    "pull": ("bob", f"pull {REF}", "uri cid did name version shards samples bytes fetched"),
    "verify": ("bob", f"verify {REF} --fetch", "holds steps shards absent size"),
    "config": ("bob", "config", "settings"),
    "start": ("bob", "daemon start", "version pid socket accounts index store"),
    "status": ("bob", "daemon status", "version pid socket accounts index store memory"),
    "pack": ("bob", "pack {path} -o {folder}", "folder shards samples bytes splits"),
    "host": ("bob", "host status", "hosts"),
}


@pytest.fixture(scope="module")
def words(alice: Person, bob: Person, desk: Path) -> dict[str, str]:
    path = desk / "words.csv"
    path.write_text("id,word\na,one\nb,zwei\nc,три\n")
    published = alice.json("publish", str(path), "--name", "words", "--yes", "--title", "Words")
    assert published["bytes"] > 0
    bob.run("ls", f"@{alice.handle}")
    return {"alice": f"@{alice.handle}", "path": str(path), "folder": str(desk / "packed")}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_answer_is_one_object_and_stderr_is_quiet(
    alice: Person, bob: Person, words: dict[str, str], name: str
) -> None:
    who, command, keys = COMMANDS[name]
    person = {"alice": alice, "bob": bob}[who]
    said = person.run(*command.format(**words).split(), "--json")
    assert set(keys.split()) <= set(said.json)
    assert said.out == json.dumps(said.json, ensure_ascii=False, indent=2) + "\n"
    assert said.err == ""


def test_the_same_question_has_the_same_answer(bob: Person, words: dict[str, str]) -> None:
    for command in ("show {alice}/words", "ls {alice}", "config", "schema show {alice}/words"):
        first, second = (bob.json(*command.format(**words).split()) for _ in range(2))
        assert list(first) == list(second)
        assert _without_times(first) == _without_times(second)


def _without_times(value: Any) -> Any:
    """Leave out when something was looked at: it differs each time."""
    if isinstance(value, dict):
        times = ("checkedAt", "verifiedAt")
        return {key: _without_times(one) for key, one in value.items() if key not in times}
    return [_without_times(one) for one in value] if isinstance(value, list) else value


def test_every_step_of_verify_says_what_was_expected_and_found(
    bob: Person, words: dict[str, str]
) -> None:
    answer = bob.json("verify", f"{words['alice']}/words", "--fetch")
    assert answer["holds"] is True
    assert len(answer["steps"]) > 8
    for step in answer["steps"]:
        assert {"name", "holds", "expected", "found"} <= set(step)
        assert step["holds"] is True


def test_config_shows_each_setting_with_its_origin(bob: Person) -> None:
    settings = {one["variable"]: one for one in bob.json("config")["settings"]}
    assert {"ATD_HOME", "ATD_PLC_URL", "ATD_DNS_SERVER", "ATD_ALLOW_HOSTS", "ATD_OFFLINE"} <= set(
        settings
    )
    assert settings["ATD_PLC_URL"]["value"] == bob.environ["ATD_PLC_URL"]
    assert settings["ATD_PLC_URL"]["origin"] == "environment ATD_PLC_URL"
    assert settings["ATD_OFFLINE"]["origin"] == "default"


def test_a_failure_leaves_stdout_empty_or_says_what_failed(
    bob: Person, alice: Person, words: dict[str, str]
) -> None:
    codes = {cls.__name__: cls.exit_code for cls in tree(AtdError)}
    for command, error in (
        ("show {alice}/none", "RecordAbsent"),
        ("pull {alice}/none", "RecordAbsent"),
        ("ls @nobody.pds1.test", "HandleAbsent"),
        ("show not/a/ref", "InvalidSyntax"),
        ("publish {path} --name words", "LoginRefused"),
        ("publish /nowhere.csv --name words", "BadSource"),
        ("publish {path} --name Words!", "InvalidSyntax"),
    ):
        said = bob.run(*command.format(**words).split(), "--json", code=codes[error])
        assert said.out == ""
        first, *rest = said.err.splitlines()
        assert first.startswith("atd: ")
        assert len(rest) <= 1
    for command in (["publish", words["path"], "--name", "first"], ["unpublish", "words"]):
        said = alice.run(*command, "--json", code=codes["NeedsConsent"])
        assert said.out == "", "the question is asked beside the answer"
        assert any(line.startswith("atd: ") for line in said.err.splitlines()[-2:])


def test_a_damaged_shard_fails_verify_with_its_code_and_its_step(
    bob: Person, words: dict[str, str]
) -> None:
    ref = f"{words['alice']}/words"
    bob.run("pull", ref)
    (shard,) = (bob.home / "cache" / "shards").glob("??/*.tar")
    shard.chmod(0o644)
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    said = bob.run("verify", ref, "--json", code=36)
    assert said.json["holds"] is False
    failed = [step for step in said.json["steps"] if not step["holds"]]
    assert [step["error"] for step in failed] == ["DigestMismatch"]
    assert bob.json("pull", ref)["fetched"] > 0
    assert bob.json("verify", ref)["holds"]


def test_a_class_of_ones_own_is_the_schema(alice: Person, bob: Person, desk: Path) -> None:
    """``--schema module:Class``, the module being where the command is run."""
    (alice.home.parent / "mine.py").write_text(
        "import atd\n\n@atd.sample\nclass Word:\n    id: str\n    word: str\n    length: int = 0\n"
    )
    path = desk / "words.csv"
    path.write_text("id,word\na,one\n")
    alice.run("publish", str(path), "--name", "typed", "--schema", "mine:Word", "--yes")
    schema = bob.json("schema", "show", f"@{alice.handle}/typed")
    assert [field["name"] for field in schema["fields"]] == ["id", "word", "length"]
    said = alice.run("publish", str(path), "--name", "typed", "--schema", "mine:Other", code=11)
    assert "mine:Other" in said.err
