"""``atd unpublish``: a data set taken back, in all versions."""

from __future__ import annotations

from typing import Annotated

import typer

from atd import service
from atd.cli import output
from atd.cli.options import FromOption, JsonOption, YesOption
from atd.cli.progress import progress_line
from atd.cli.questions import must_agree
from atd.cli.words import examples
from atd.errors import RecordAbsent
from atd.names import check_name

_UNPUBLISH = examples("atd unpublish flowers", "atd unpublish flowers --from alice.example.com")


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("unpublish", epilog=_UNPUBLISH)(unpublish)


def unpublish(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The data set's name.")],
    account: FromOption = None,
    yes: YesOption = False,
    json: JsonOption = False,
) -> None:
    """Delete a data set: its records, in all versions.

    Copies that others made stay where they are, and so do shards outside the PDS.
    """
    check_name(name)
    if not yes:
        output.note(
            f"This deletes every record of {name}, in all versions, and the shards on the PDS.\n"
            "Copies that others made, and shards elsewhere, stay where they are."
        )
        must_agree(f"Unpublish {name}?", untouched=f"{name} was not unpublished")
    with progress_line("deleting", quiet=json) as show:
        try:
            result = service.unpublish(name, account=account, consent=True, on_progress=show)
        except RecordAbsent as error:
            raise RecordAbsent(
                f"{name} is not published: {error.message}",
                next_step=f"see what is, with: atd ls {account or '@HANDLE'}",
            ) from error
    if json:
        output.emit(result)
        return
    output.say(f"{name}: {output.plural(len(result['records']), 'record')} deleted, proved absent")
    for place in result.get("kept", ()):
        output.say(f"  may stay: {output.clean(place)}")
