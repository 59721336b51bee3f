"""The ``atd`` command put together, and the one place where an error becomes an exit code."""

from __future__ import annotations

import traceback
from typing import Annotated

import typer

from atd import __version__
from atd.cli import accounts, browse, daemon, data, host, output, publishing, settings
from atd.errors import AtdError

_debug = False

app = typer.Typer(
    name="atd",
    help="Datasets as citizens of the AT Protocol: publish, discover by handle, prove, load.",
    epilog="Exit codes: 0 done, 2 wrong command line, 10-62 one per kind of error (docs/cli.md).",
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
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Datasets as citizens of the AT Protocol: publish, discover by handle, prove, load."""
    global _debug
    _debug = debug


for _module in (accounts, publishing, browse, data, settings):
    _module.register(app)
app.add_typer(daemon.app, name="daemon")
app.add_typer(host.app, name="host")


def run() -> int:
    """Run the command line of this process and return its exit code."""
    try:
        app()
    except AtdError as error:
        if _debug:
            traceback.print_exception(error)
        output.fail(error)
        return error.exit_code
    return 0
