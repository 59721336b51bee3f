"""``atd login``, ``atd logout``, ``atd accounts``."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from atd import service
from atd.cli import output
from atd.cli.options import JsonOption
from atd.errors import LoginRefused


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("login")(login)
    app.command("logout")(logout)
    app.command("accounts")(accounts)


def login(
    handle: Annotated[str, typer.Argument(help="The account's handle or DID.")],
    pds: Annotated[
        str | None,
        typer.Option(help="Expect this PDS (URL); it must be the one the identity names."),
    ] = None,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the app password from stdin.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Log in to a PDS with an app password, which is asked for and not kept."""
    if password_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    elif sys.stdin.isatty():
        password = typer.prompt(f"App password of {handle}", hide_input=True, err=True)
    else:
        raise LoginRefused(
            "a password is needed, and stdin is not a terminal",
            next_step="pass it with: atd login HANDLE --password-stdin < FILE",
        )
    if not password:
        raise LoginRefused("expected an app password, got nothing")
    account = service.login(handle, password, pds=pds)
    if json:
        output.emit(account)
    else:
        output.say(f"logged in as {_name(account)} at {output.clean(account['pds'])}")


def logout(
    account: Annotated[str, typer.Argument(help="A handle or a DID.")], json: JsonOption = False
) -> None:
    """End a session and forget its tokens."""
    gone = service.logout(account)
    if json:
        output.emit(gone)
    else:
        output.say(f"logged out {_name(gone)}")


def accounts(json: JsonOption = False) -> None:
    """List the accounts that are logged in."""
    known = service.accounts()
    if json:
        output.emit({"accounts": known})
    elif not known:
        output.note("no account is logged in; log in with: atd login HANDLE")
    else:
        rows = [(a.get("handle") or "(not proved)", a["did"], a["pds"]) for a in known]
        output.table(rows, ("handle", "did", "pds"))


def _name(account: Any) -> str:
    handle, did = account.get("handle"), output.clean(account["did"])
    return f"@{output.clean(handle)} ({did})" if handle else str(did)
