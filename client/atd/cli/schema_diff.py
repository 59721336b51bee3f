"""``atd schema diff``: how two schemas differ, field by field."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from atd.cli import advice, output
from atd.cli.bar import asking
from atd.cli.options import JsonOption
from atd.cli.own_code import OWN_CODE, own
from atd.cli.words import examples
from atd.publishing.diffing import SchemaDiff, schema_diff

DIFFERENT: Final = 1
"""The exit code with ``--exit-code`` where the schemas differ, as that of ``git diff``."""

_MEANS: Final = {
    "none": "no step: readers notice nothing",
    "minor": "minor: code for the old samples reads the new ones",
    "major": "major: code for the old samples does not read the new ones",
}
_DIFF: Final = examples(
    "atd schema diff @alice.example.com/flowers            # the latest and the one before",
    "atd schema diff @alice.example.com/flowers@1.0.0 @alice.example.com/flowers@2.0.0",
    "atd schema diff @alice.example.com/flowers ./flowers  # what publishing would change",
    "atd schema diff ./flowers flowers:Flower --exit-code",
)


def register(schema_app: typer.Typer) -> None:
    """Add the command of this module to ``atd schema``."""
    schema_app.command("diff", epilog=_DIFF)(diff)


def diff(
    old: Annotated[
        str,
        typer.Argument(
            metavar="OLD", help="@HANDLE/NAME[@VERSION], a file, a folder, or MODULE:CLASS."
        ),
    ],
    new: Annotated[
        str | None,
        typer.Argument(metavar="NEW", help="Likewise; if absent, OLD and the version before it."),
    ] = None,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Exit with 1 if they differ, as git diff does.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Show how two schemas differ, field by field.

    And what that means for code that reads the old samples: nothing, a minor or a major step.
    """
    with advice.about_folder(old), asking(old, quiet=json):
        found = schema_diff(_side(old), None if new is None else _side(new))
    if json:
        output.emit(found.to_json())
    else:
        _print(found)
    if exit_code and found:
        raise typer.Exit(DIFFERENT)


def _side(text: str) -> Any:
    """The class that MODULE:CLASS names; all else as it is."""
    if not OWN_CODE.fullmatch(text) or Path(text).exists():
        return text
    return own(text, "MODULE:CLASS", "Flower")


def _print(found: SchemaDiff) -> None:
    output.say(output.clean(f"{found.old} -> {found.new}"))
    for line in found.differences:
        output.say(output.clean(f"  {line}"))
    output.say(f"  {_MEANS[found.step]}")
