"""``atd host``: a PDS of one's own in the daemon."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from atd import api
from atd.cli import output
from atd.cli.options import JsonOption
from atd.connection import Connection

app = typer.Typer(
    help="A PDS of your own: publish from your own domain, with no account anywhere.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command("init")
def init(
    domain: Annotated[
        str, typer.Argument(help="Its host name, such as data.example.org; :PORT on loopback.")
    ],
    handle: Annotated[
        str | None, typer.Option(help="The account's handle; the host name if absent.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Set up a host for DOMAIN with one account, and log this machine in to it."""
    question = {"domain": domain} if handle is None else {"domain": domain, "handle": handle}
    made = Connection().call(api.HOST_INIT, input=question)
    if json:
        output.emit(made)
        return
    output.fields(
        [
            ("handle", made["handle"]),
            ("did", made["did"]),
            ("listens", made["listen"]),
            ("password", made.get("password")),
            ("keys", made.get("keyFile")),
        ]
    )
    output.note("the password is shown once: write it down")
    output.note(f"put a TLS proxy for https://{output.clean(domain)} in front of that address")
    output.note("and keep a backup of the keys: atd host backup FILE")


@app.command("status")
def status(json: JsonOption = False) -> None:
    """Show the hosts of this machine."""
    answer = Connection().call(api.HOST_STATUS)
    if json:
        output.emit(answer)
        return
    if not answer["hosts"]:
        output.note("no host is set up; make one with: atd host init DOMAIN")
        return
    rows = [
        (
            host["domain"],
            host.get("handle", "-"),
            host["did"],
            host["listen"],
            host.get("records", "-"),
            host.get("blobs", "-"),
            output.human_bytes(host["size"]) if "size" in host else "-",
            "running" if host.get("running") else "stopped",
        )
        for host in answer["hosts"]
    ]
    output.table(rows, ("domain", "handle", "did", "listens", "records", "blobs", "size", "state"))


@app.command("backup")
def backup(
    target: Annotated[Path, typer.Argument(help="Where the backup goes; must not exist yet.")],
    domain: Annotated[str | None, typer.Option(help="Which host, if there are several.")] = None,
    json: JsonOption = False,
) -> None:
    """Write a consistent copy of a host: its database, blobs and keys. Keep it private."""
    question = {"path": str(target.expanduser().absolute())}
    if domain is not None:
        question["domain"] = domain
    made = Connection().call(api.HOST_BACKUP, input=question)
    if json:
        output.emit(made)
    else:
        output.say(f"{output.clean(made['path'])}  {output.human_bytes(made['size'])}")
