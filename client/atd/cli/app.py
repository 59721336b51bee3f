"""The ``atd`` command put together, and the one place where an error becomes an exit code."""

from __future__ import annotations

import io
import signal
import sys
import traceback
import warnings
from dataclasses import dataclass
from typing import Annotated

import typer

from atd import __version__
from atd.cli import (
    accounts,
    browse,
    cache,
    daemon,
    data,
    doctor,
    edit,
    follow,
    host,
    keep,
    lock,
    output,
    packing,
    prepare,
    prove,
    publishing,
    recipe,
    settings,
    stats,
    unpublishing,
)
from atd.cli.words import examples
from atd.errors import AtdError

INTERRUPTED = 128 + signal.SIGINT
READER_GONE = 128 + signal.SIGPIPE
DEFECT = 1


@dataclass
class _Call:
    """What is known of the command line when an error has to be told."""

    debug: bool = False
    command: str = "atd"


_call = _Call()

app = typer.Typer(
    name="atd",
    epilog=examples(
        "atd demo                              # the whole story, on this machine",
        "atd ls @alice.example.com             # what she publishes",
        "atd pull @alice.example.com/flowers   # fetch it, verified",
        "atd publish ./flowers --name flowers  # publish yours",
        after="Exit codes: 0 done, 2 wrong command line, 10 to 62 one for each kind of error, "
        "130 interrupted (docs/cli.md lists them).",
    ),
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        output.say(f"atd {__version__}")
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error as well.")
    ] = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Datasets as citizens of the AT Protocol: publish, discover by handle, prove, load."""
    _call.debug, _call.command = debug, f"atd {context.invoked_subcommand}"


for _module in (
    accounts,
    publishing,
    packing,
    unpublishing,
    edit,
    browse,
    stats,
    data,
    keep,
    follow,
    prepare,
    prove,
    lock,
    doctor,
    settings,
):
    _module.register(app)
app.add_typer(cache.app, name="cache")
app.add_typer(daemon.app, name="daemon")
app.add_typer(host.app, name="host")
app.add_typer(recipe.app, name="recipe")


def run() -> int:
    """Run the command line of this process and return its exit code."""
    _prepare_streams()
    _say_warnings()
    try:
        code = _run()
        output.finish()
    except AtdError as error:
        if _call.debug:
            traceback.print_exception(error)
        output.fail(error, f"{_call.command} --help")
        return error.exit_code
    except output.ReaderGone:
        return READER_GONE
    except Exception as error:
        return _defect(error)
    return code


def _prepare_streams() -> None:
    """Have each line written when it is said, and characters that an encoding lacks as escapes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace", line_buffering=True)


def _say_warnings() -> None:
    """Have what the library warns of said as everything else is: one line on stderr."""

    def say(message: Warning | str, *_: object, **__: object) -> None:
        output.note(output.clean(f"note: {message}"))

    warnings.showwarning = say


def _run() -> int:
    """Run the command; what Typer ends the process with is the code to return."""
    try:
        app()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else DEFECT
        if code == INTERRUPTED:
            output.note("atd: interrupted")
            output.note("     run the same command again: it goes on from what was finished")
        return code
    return 0


def _defect(error: Exception) -> int:
    """Say that atd itself is wrong: the only error whose traceback somebody has to see."""
    if _call.debug:
        traceback.print_exception(error)
    output.note(f"atd: a defect in atd: {output.clean(f'{type(error).__name__}: {error}')}")
    output.note("     please report it, with what this shows: atd --debug, then the same command")
    return DEFECT
