"""``atd config``: every setting and where it comes from. ``atd demo``: the whole story, told."""

from __future__ import annotations

import importlib
from typing import Annotated

import typer

from atd.cli import output
from atd.cli.options import JsonOption
from atd.cli.words import examples
from atd.errors import LocalError
from atd.settings import survey


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("config", epilog=examples("atd config --json"))(config)
    app.command("demo", epilog=examples("atd demo", "atd demo --keep   # to look around"))(demo)


def config(json: JsonOption = False) -> None:
    """Show every setting and where it comes from.

    Also those that cannot be used, and why; then it exits with 20.
    """
    described, problems = survey()
    if json:
        settings = [
            {"name": s.name, "variable": s.variable, "value": s.value, "origin": s.origin}
            for s in described
        ]
        wrong = {"problems": [problem.message for problem in problems]} if problems else {}
        output.emit({"settings": settings, **wrong})
    else:
        rows = [(s.name, s.value or "-", s.origin, s.variable) for s in described]
        output.table(rows, ("setting", "value", "origin", "variable"))
    for problem in problems[1:]:
        output.note(f"also: {output.clean(problem.message)}")
    for problem in problems[:1]:
        problem.next_step = "correct it where it comes from, or take it away"
        raise problem


def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave the demo's folder in place.")] = False,
) -> None:
    """Tell the whole story, on this machine, with no account.

    Two hosts with a daemon each: publish a real data set, find it by handle, prove it, load it, and
    refuse what was altered. Takes half a minute, and leaves nothing behind.
    """
    try:
        story = importlib.import_module("atd_daemon.demo.story")
    except ModuleNotFoundError as error:
        raise LocalError(
            f"the demo needs the package {error.name}",
            next_step="install it with: pip install 'atd-catalog[demo]'",
        ) from None
    raise typer.Exit(story.tell(keep=keep))
