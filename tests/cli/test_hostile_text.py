"""A publisher who writes to other people's terminals.

Every text of a card, a release, a schema and of the data itself holds orders to a terminal. Each
record is signed, valid and proved: what it says is still nobody's but the publisher's.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.conftest import Town
from cli.stage import Result, table
from reference.client import Session, ask
from reference.network import Account

ORDERS = (
    "\x1b[2J\x1b[31mred\x1b[0m \x1b]0;owned\x07 \x9b31m \x85 \u2028 \u202egnp.exe\u202c "
    "\u2066isolate\u2069 \u200fmark\x7f\x08\x08\r\nproof  proved by everybody\r\n\U000e0041"
)
SHORT = "\x1b[5m\u202eblink\x07"
CODE = "\u202eb\u2066\"\"\"\nimport evil\n'''\nimport evil\n# "
"""What a schema may say of a field: no control characters, but lines."""

READING = {
    "ls": ["ls", "@alice.test"],
    "ls known": ["ls"],
    "search": ["search", "hostile"],
    "facets": ["search", "hostile", "--facets"],
    "history": ["show", "@alice.test/hostile", "--history"],
    "log": ["log", "@alice.test"],
    "show": ["show", "@alice.test/hostile"],
    "schema": ["schema", "show", "@alice.test/hostile"],
    "preview": ["preview", "@alice.test/hostile"],
    "pull": ["pull", "@alice.test/hostile"],
    "verify": ["verify", "@alice.test/hostile", "--fetch"],
    "absent": ["show", "@alice.test/hostile@9.9.9"],
    "no split": ["pull", "@alice.test/hostile", "--split", "test"],
}


def safe(text: str) -> bool:
    """Whether a terminal shows ``text`` and does nothing else."""
    return all(character.isprintable() or character == "\n" for character in text)


def has_text(value: Any, text: str) -> bool:
    """Whether ``text`` is a string somewhere in a JSON value."""
    if isinstance(value, dict):
        return any(has_text(inner, text) for inner in value.values())
    if isinstance(value, list):
        return any(has_text(inner, text) for inner in value)
    return bool(value == text)


@pytest.fixture(scope="module", autouse=True)
def hostile(town: Town) -> Iterator[None]:
    """The data set ``hostile``: published as any, then written over by hand."""
    rows = [("n", "word"), *((n, f'"{SHORT}{n}"') for n in range(6))]
    source = table(town.folder / "hostile.csv", rows)
    town.alice.run("publish", str(source), "--name", "hostile", "--yes").done()
    account = Account("alice.test", town.front.did, town.password, f"http://{town.front.domain}")
    session = Session(account)
    schema = record(account, "schema", "hostile:1.0.0")
    schema["description"] = ORDERS
    for field in schema["fields"]:
        field["description"], field["unit"] = CODE, "\u202ekg"
    written = session.put("network.atd.schema", "hostile:1.0.0", schema)
    release = record(account, "release", "hostile:1.0.0")
    release["schema"] = {"uri": written["uri"], "cid": written["cid"]}
    release["notes"] = ORDERS
    written = session.put("network.atd.release", "hostile:1.0.0", release)
    card = record(account, "dataset", "hostile")
    card["latest"] = {"uri": written["uri"], "cid": written["cid"]}
    card |= {
        "title": SHORT,
        "description": ORDERS,
        "license": SHORT,
        "tags": [SHORT],
        "citation": ORDERS,
        "deprecated": {"reason": ORDERS} if isinstance(card.get("deprecated"), dict) else ORDERS,
    }
    session.put("network.atd.dataset", "hostile", card)
    town.bob.run("ls", "@alice.test").done()
    yield
    town.alice.run("unpublish", "hostile", "--yes").done()


def record(account: Account, kind: str, rkey: str) -> dict[str, Any]:
    place = {"repo": account.did, "collection": f"network.atd.{kind}", "rkey": rkey}
    value: dict[str, Any] = ask(account.pds, "com.atproto.repo.getRecord", **place).json()["value"]
    return value


@pytest.mark.parametrize("command", READING)
@pytest.mark.parametrize("form", ["text", "json"])
def test_nothing_that_a_publisher_writes_reaches_the_terminal(
    town: Town, command: str, form: str
) -> None:
    options = ["--json"] if form == "json" else []
    result = town.bob.run(*READING[command], *options)
    assert result.code == (0 if command not in ("absent", "no split") else result.code)
    assert "Traceback" not in result.err
    assert safe(result.out), ascii(result.out)
    assert safe(result.err), ascii(result.err)


def test_json_has_every_character_all_the_same(town: Town) -> None:
    told = town.bob.run("show", "@alice.test/hostile", "--json").done().json
    assert told["dataset"]["title"] == SHORT
    assert told["dataset"]["description"] == ORDERS
    assert has_text(told["card"], ORDERS)


def test_a_description_cannot_pass_for_a_line_of_ours(town: Town) -> None:
    shown = town.bob.run("show", "@alice.test/hostile").done().out.splitlines()
    assert [line for line in shown if "proved by everybody" in line]
    assert not [line for line in shown if line.startswith("proof  proved by everybody")]
    assert [line for line in shown if line.startswith("proof ")], "ours is there"


def test_the_schema_as_a_class_is_python_and_nothing_else(town: Town) -> None:
    shown = town.bob.run("schema", "show", "@alice.test/hostile").done().out
    tree = ast.parse(shown)
    kinds = {type(node) for node in tree.body}
    assert kinds <= {ast.Import, ast.ImportFrom, ast.ClassDef}
    imported = {ast.unparse(node) for node in tree.body if not isinstance(node, ast.ClassDef)}
    assert not any("evil" in line for line in imported), imported


def test_types_written_to_a_file_are_python_and_nothing_else(town: Town, tmp_path: Path) -> None:
    file = tmp_path / "types.py"
    result = town.bob.run("schema", "pull", "@alice.test/hostile", "--python", str(file)).done()
    assert safe(result.out + result.err)
    tree = ast.parse(file.read_text("utf-8"))
    imported = [
        ast.unparse(n) for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom)
    ]
    assert not any("evil" in line for line in imported), imported


def test_samples_are_shown_as_text_on_one_line(town: Town) -> None:
    result: Result = town.bob.run("preview", "@alice.test/hostile", "-n", "6").done()
    words = [line for line in result.out.splitlines() if "word" in line]
    assert len(words) == 6
    assert all("blink" in line for line in words)


def test_an_unpublished_data_set_with_such_a_card_is_named_safely(town: Town) -> None:
    result = town.alice.run("unpublish", "hostile")
    assert safe(result.out + result.err)
