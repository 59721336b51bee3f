"""``atd doctor``: what is wrong on this machine, and what to do."""

from __future__ import annotations

import importlib
from typing import Any, Final

import typer

from atd.cli import output
from atd.cli.options import JsonOption
from atd.cli.words import examples
from atd.errors import LocalError

_EXITS: Final = {"OK": 0, "SKIP": 0, "WARN": 3, "FAIL": 4}
_MARKS: Final = {"OK": "ok  ", "SKIP": "-   ", "WARN": "warn", "FAIL": "FAIL"}


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("doctor", epilog=examples("atd doctor", "ATD_OFFLINE=1 atd doctor --json"))(doctor)


def doctor(json: JsonOption = False) -> None:
    """Look for what is wrong on this machine, and say what to do.

    Changes nothing, and needs no daemon. Exits with 0 if all is well, 3 if something should be
    looked at, 4 if something does not work.
    """
    findings = []
    for finding in _rounds().examine():
        findings.append(finding)
        if not json:
            _print(finding)
    worst = importlib.import_module("atd_daemon.doctor.finding").worst(findings).name
    if json:
        checks = [
            {
                "check": one.check,
                "state": one.state.name.lower(),
                "message": one.message,
                **({"nextStep": one.next_step} if one.next_step else {}),
            }
            for one in findings
        ]
        output.emit({"state": worst.lower(), "checks": checks})
    raise typer.Exit(_EXITS[worst])


def _rounds() -> Any:
    """The checks, which are the daemon's; without its libraries there is only one thing to say."""
    try:
        return importlib.import_module("atd_daemon.doctor.rounds")
    except ModuleNotFoundError as error:
        raise LocalError(
            f"a library that atd needs is not installed: {error.name}",
            next_step="pip install --upgrade atd-catalog",
        ) from None


def _print(finding: Any) -> None:
    output.say(output.clean(f"{_MARKS[finding.state.name]}  {finding.check}: {finding.message}"))
    if finding.next_step:
        output.say(output.clean(f"        {finding.next_step}"))
