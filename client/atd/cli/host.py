"""``atd host``: a PDS of one's own in the daemon."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from atd import api
from atd.cli import output
from atd.cli.bar import asking
from atd.cli.options import JsonOption
from atd.cli.words import examples
from atd.connection import Connection

app = typer.Typer(
    help="A PDS of your own, on your own domain; no account anywhere.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_INIT = examples(
    "atd host init data.example.org",
    "atd host init data.example.org --handle lab.example.org",
    after="docs/hosting.md says how to put a TLS proxy in front, and how to keep it running.",
)
_BACKUP = examples("atd host backup ~/data.example.org.tar")


@app.command("init", epilog=_INIT)
def init(
    domain: Annotated[
        str,
        typer.Argument(
            metavar="DOMAIN", help="Its host name, such as data.example.org; :PORT on loopback."
        ),
    ],
    handle: Annotated[
        str | None,
        typer.Option(metavar="HANDLE", help="The account's handle; the host name if absent."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Set up a host for DOMAIN, with one account.

    Logs in to it too, if it can be reached at its public name already.
    """
    question = {"domain": domain} if handle is None else {"domain": domain, "handle": handle}
    with asking(domain, quiet=json):
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
    for line in _still_to_do(made):
        output.note(output.clean(line))


def _still_to_do(made: dict[str, Any]) -> list[str]:
    """What is left for the owner to do, most urgent first."""
    handle, domain = made["handle"], made["domain"]
    lines = ["the password is shown once: write it down"] if made.get("password") else []
    if made.get("problem"):
        lines.append(f"note: {made['problem']}")
    if ":" not in domain:
        lines.append(f"put a TLS proxy for https://{domain} in front of {made['listen']}")
    if handle != domain:
        lines.append(f'let DNS say: _atproto.{handle} TXT "did={made["did"]}"')
    if made.get("loggedIn"):
        lines.append("you are logged in, and can publish")
    else:
        lines.append(f"then log in with: atd login {handle}")
    return [*lines, "keep a backup of the keys: atd host backup FILE"]


@app.command("status", epilog=examples("atd host status --json"))
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


@app.command("backup", epilog=_BACKUP)
def backup(
    target: Annotated[
        Path, typer.Argument(metavar="FILE", help="Where it goes; must not exist yet.")
    ],
    domain: Annotated[
        str | None, typer.Option(metavar="DOMAIN", help="Which host, if there are several.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Write a copy of a host: records, blobs and keys.

    The copy is consistent while the host runs. Keep it private: the keys are in it.
    """
    question = {"path": str(target.expanduser().absolute())}
    if domain is not None:
        question["domain"] = domain
    made = Connection().call(api.HOST_BACKUP, input=question)
    if json:
        output.emit(made)
    else:
        output.say(f"{output.clean(made['path'])}  {output.human_bytes(made['size'])}")
