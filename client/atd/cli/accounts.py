"""``atd login``, ``atd logout``, ``atd accounts``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from atd import sessions
from atd.cli import advice, output
from atd.cli.bar import asking
from atd.cli.options import JsonOption
from atd.cli.questions import app_password
from atd.cli.words import examples
from atd.errors import LoginRefused
from atd.refs import parse_authority


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command(
        "login",
        epilog=examples(
            "atd login alice.example.com",
            "atd login alice.example.com --password-stdin < FILE",
        ),
    )(login)
    app.command("logout", epilog=examples("atd logout alice.example.com"))(logout)
    app.command("accounts", epilog=examples("atd accounts --json"))(accounts)


def login(
    handle: Annotated[str, typer.Argument(metavar="HANDLE", help="The account: handle or DID.")],
    pds: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="The PDS, for an account whose handle does not resolve yet."
        ),
    ] = None,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the app password from stdin.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Log in to an account, on any PDS.

    Asks for an app password: make one in the settings of the account. It is sent to the account's
    own PDS, once, and not kept.
    """
    parse_authority(handle)  # before anything secret is typed
    password = app_password(handle, from_stdin=password_stdin)
    with advice.about(handle), asking(handle, quiet=json):
        account = sessions.login(handle, password, pds=pds)
    if json:
        output.emit(account)
    else:
        output.say(f"logged in as {_name(account)} at {output.clean(account['pds'])}")


def logout(
    account: Annotated[str, typer.Argument(metavar="ACCOUNT", help="A handle or a DID.")],
    json: JsonOption = False,
) -> None:
    """End a session and forget its tokens."""
    try:
        gone = sessions.logout(account)
    except LoginRefused as error:
        raise LoginRefused(error.message, next_step="see who is, with: atd accounts") from error
    if json:
        output.emit(gone)
    else:
        output.say(f"logged out {_name(gone)}")


def accounts(json: JsonOption = False) -> None:
    """List the accounts that are logged in."""
    known = sessions.accounts()
    if json:
        output.emit({"accounts": known})
    elif not known:
        output.note("no account is logged in; log in with: atd login HANDLE")
    else:
        rows = [(a.get("handle") or "(not proved)", a["did"], a["pds"]) for a in known]
        output.table(rows, ("handle", "did", "pds"))


def _name(account: Any) -> str:
    handle, did = account.get("handle"), output.clean(account["did"])
    return f"@{output.clean(handle)} ({did})" if handle else did
