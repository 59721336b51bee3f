"""``atd daemon``: run, start, stop, look at the local daemon."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from atd import api
from atd.cli import output
from atd.cli.options import JsonOption
from atd.cli.words import examples
from atd.connection import Connection
from atd.errors import Conflict, DaemonAway, DaemonError
from atd.settings import Settings

app = typer.Typer(
    help="The local daemon, which other commands start by themselves.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def _part(name: str) -> Any:
    """A module of the daemon's package: loaded when a command needs it, never by ``--help``."""
    return importlib.import_module(f"atd_daemon.{name}")


PublicOption = Annotated[
    str | None,
    typer.Option(
        "--public",
        metavar="HOST:PORT",
        help="Also serve everybody, read only: data sets of those you follow (docs/serving.md).",
    ),
]
_RUN = examples(
    "atd daemon run              # for a service manager, or to watch it work",
    "atd daemon run --tcp 0      # also over HTTP on loopback; the token is in run/token",
)
_START = examples(
    "atd daemon start                        # it stays until: atd daemon stop",
    "atd daemon start --public 0.0.0.0:8080  # and serves a group",
)
_STOP = examples("atd daemon stop")
_STATUS = examples(
    "atd daemon status",
    "atd daemon status --json  # for programs that watch it",
)
_LOGS = examples("atd daemon logs", "atd daemon logs -n 500")


@app.command("run", epilog=_RUN)
def run(
    tcp: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            metavar="PORT",
            help="Also listen on this port of 127.0.0.1, with a token; 0 picks one.",
        ),
    ] = None,
    public: PublicOption = None,
) -> None:
    """Run the daemon in the foreground, until interrupted."""
    _part("main").run(_settings(public), tcp=tcp)


@app.command("start", epilog=_START)
def start(public: PublicOption = None, json: JsonOption = False) -> None:
    """Start the daemon in the background, unless it runs."""
    status = _part("lifecycle").start(_settings(public))
    if public is not None and "public" not in status:
        raise Conflict(
            f"a daemon runs already (process {status['pid']}), without the public mode",
            next_step=f"atd daemon stop; then: atd daemon start --public {public}",
        )
    _show(status, json)


def _settings(public: str | None) -> Settings:
    settings = Settings.load()
    return settings if public is None else settings.listening_publicly(public)


@app.command("stop", epilog=_STOP)
def stop(json: JsonOption = False) -> None:
    """Stop the daemon.

    A publication that is going on is journaled, and goes on when it is asked for again.
    """
    stopped = _part("lifecycle").stop(Settings.load())
    if json:
        output.emit({"stopped": stopped})
    else:
        output.say("stopped" if stopped else "no daemon was running")


@app.command("status", epilog=_STATUS)
def status(json: JsonOption = False) -> None:
    """Show how the daemon is: process, socket, accounts, sizes.

    Exits with 61 if none runs, and starts none.
    """
    settings = Settings.load()
    found = _part("lifecycle").status(settings)
    if found is None:
        raise DaemonAway(
            f"no daemon is running for {settings.state_dir}",
            next_step="start it with: atd daemon start (other commands do so by themselves)",
        )
    try:
        health = {"health": Connection(settings, start=False).call(api.GET_HEALTH)}
    except DaemonError:
        health = {}  # a daemon of an older version does not know the question
    _show({**found, **health}, json)


@app.command("logs", epilog=_LOGS)
def logs(
    lines: Annotated[int, typer.Option("-n", min=1, metavar="LINES", help="How many lines.")] = 50,
) -> None:
    """Show the end of the daemon's log."""
    for line in _part("lifecycle").logs(Settings.load(), lines):
        output.say(output.clean(line))


def _show(status: Any, json: bool) -> None:
    if json:
        output.emit(status)
        return
    index, store, host = status["index"], status["store"], status.get("host")
    public = status.get("public")
    output.fields(
        [
            ("version", status["version"]),
            ("pid", status["pid"]),
            ("socket", status["socket"]),
            ("tcp", status.get("tcp")),
            ("started", status["startedAt"]),
            ("memory", output.human_bytes(status["memory"])),
            ("accounts", ", ".join(a.get("handle") or a["did"] for a in status["accounts"]) or "-"),
            (
                "index",
                f"{output.plural(index['datasets'], 'data set')}, "
                f"{output.plural(index['publishers'], 'publisher')}, "
                f"{output.plural(index['problems'], 'problem')}, "
                f"{output.human_bytes(index['size'])}",
            ),
            (
                "store",
                f"{output.plural(store['shards'], 'shard')}, {output.human_bytes(store['size'])} "
                f"in {store['path']}",
            ),
            ("host", f"{host['domain']} at {host['listen']}" if host else None),
            ("public", public and (public.get("problem") or public["listen"])),
            *_health(status.get("health", {})),
        ]
    )


def _health(health: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """A line for each of the three answers, and one for each publisher that is not fresh."""
    for check in ("live", "ready", "fresh"):
        if check in health:
            verdict = health[check]
            words = [*verdict["reasons"], *verdict["notes"]]
            yield check, "; ".join(["yes" if verdict["ok"] else "NO", *words])
    for one in health.get("stale", ()):
        yield "stale", f"{one.get('handle') or one['did']}: {one['state']}, {one['reason']}"
