"""``atd config``: every setting and where it comes from. ``atd demo``: the whole story, told."""

from __future__ import annotations

import importlib
from typing import Annotated

import typer

from atd.cli import output
from atd.cli.options import JsonOption
from atd.errors import LocalError
from atd.settings import Settings


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("config")(config)
    app.command("demo")(demo)


def config(json: JsonOption = False) -> None:
    """Show every setting, its value and where it comes from."""
    described = Settings.load().described()
    if json:
        settings = [
            {"name": s.name, "variable": s.variable, "value": s.value, "origin": s.origin}
            for s in described
        ]
        output.emit({"settings": settings})
        return
    rows = [(s.name, s.value or "-", s.origin, s.variable) for s in described]
    output.table(rows, ("setting", "value", "origin", "variable"))


def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave the demo's folder in place.")] = False,
) -> None:
    """Tell the whole story on this machine, with no account: publish, discover, prove, load."""
    try:
        story = importlib.import_module("atd_daemon.demo.story")
    except ModuleNotFoundError as error:
        raise LocalError(
            f"the demo needs the package {error.name}",
            next_step="install it with: pip install 'atd-catalog[demo]'",
        ) from None
    raise typer.Exit(story.tell(keep=keep))
