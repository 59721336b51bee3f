"""What ``--help`` says: for every command, with examples that parse, on a narrow screen."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from atd.cli.app import app


def every(command: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Every command by its words, groups as well."""
    command = typer.main.get_command(app) if command is None else command
    yield " ".join(["atd", *path]), command
    for name, inner in getattr(command, "commands", {}).items():
        yield from every(inner, (*path, name))


COMMANDS = dict(every())
DOING = {words: command for words, command in COMMANDS.items() if not hasattr(command, "commands")}


def help_of(words: str) -> str:
    context = COMMANDS[words].make_context(words, ["--"], resilient_parsing=True)
    text: str = COMMANDS[words].get_help(context)
    return text


def examples_of(words: str) -> list[str]:
    listed = help_of(words).partition("Examples:\n")[2].partition("\n\n")[0]
    return re.findall(r"^ +(atd .*?)(?:  +#.*)?$", listed, re.MULTILINE)


@pytest.mark.parametrize("words", COMMANDS)
def test_help_fits_on_a_screen_and_says_what_each_part_is(words: str) -> None:
    text = help_of(words)
    assert max(map(len, text.splitlines())) <= 90
    assert not re.search(r"^  -.* <", text, re.MULTILINE), "a type is no name for a value"
    assert "\b" not in text
    assert "[[" not in text.splitlines()[0], "brackets are Typer's to draw"
    for parameter in COMMANDS[words].params:
        assert getattr(parameter, "help", "x"), parameter.name


@pytest.mark.parametrize("words", [w for w, c in COMMANDS.items() if hasattr(c, "commands")])
def test_a_list_of_commands_says_each_in_a_whole_sentence(words: str) -> None:
    listed = help_of(words).partition("Commands:\n")[2].partition("\n\n")[0]
    assert "..." not in listed
    assert all(line.rstrip().endswith(".") for line in listed.splitlines())


@pytest.mark.parametrize("words", DOING)
def test_every_command_has_examples_and_they_parse(words: str) -> None:
    examples = examples_of(words)
    assert examples
    for example in examples:
        parts = shlex.split(example.partition(" < ")[0].partition(" > ")[0])
        name = max((w for w in DOING if f"{example} ".startswith(f"{w} ")), key=len)
        command = COMMANDS[name]
        command.make_context(name, parts[len(name.split()) :], resilient_parsing=False)
