"""``atd lock``: the file that pins what a program loads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from atd.cli import advice, finding, output
from atd.cli.bar import asking
from atd.cli.options import JsonOption
from atd.cli.words import examples
from atd.connection import Connection
from atd.errors import AtdError, InvalidSyntax, PinMismatch
from atd.locks import FILE_NAME, Lock, Pin, pin_now, pinned_answer
from atd.refs import parse_dataset_ref

_LOCK = examples(
    "atd lock @alice.example.com/flowers     # pin its latest version in atd.lock",
    "atd lock --check                        # is that still what is published?",
    "atd lock --update                       # take what is published now",
    after='Load what is pinned with: atd.load(REF, lock="atd.lock"); atd pull REF --lock atd.lock',
)


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("lock", epilog=_LOCK)(lock)


def lock(
    refs: Annotated[
        list[str] | None,
        typer.Argument(metavar="REF", help="Data sets: @HANDLE/NAME, also with @VERSION."),
    ] = None,
    file: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The lockfile.")
    ] = Path(FILE_NAME),
    check: Annotated[
        bool, typer.Option("--check", help="Compare the pins with what is published; change none.")
    ] = False,
    update: Annotated[
        bool, typer.Option("--update", help="Pin what is published now, for all or for REF.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Pin data sets to exact content, in a file beside a program.

    Names are added to the file, or replaced in it; the others stay as they are.
    """
    if (check and update) or not (refs or check or update):
        raise InvalidSyntax(
            "expected data sets to pin, or one of --check and --update",
            next_step="pin one with: atd lock @HANDLE/NAME",
        )
    if check:
        _check(Lock.load(file), refs or [], json)
        return
    known = Lock.load(file) if update or file.exists() else Lock(file, {})
    given = [parse_dataset_ref(ref if update else finding.settled(ref)) for ref in refs or []]
    wanted = given or list(known.pins)
    changes = []
    for ref in wanted:
        with advice.about(str(ref)), asking(str(ref), quiet=json):
            pin = pin_now(known.find(ref).ref if update else ref)
        changes.append(_Change(known.pins.get(pin.ref), pin))
    made = known.with_pins([change.after for change in changes])
    made.write()
    if json:
        output.emit({"file": str(file), "pins": [change.to_json() for change in changes]})
        return
    for change in changes:
        output.say(output.clean(f"{change.word:9} {change.after.ref}  {change.after.version}"))
        for difference in change.differences:
            output.say(output.clean(f"          {difference}"))


@dataclass(frozen=True)
class _Change:
    """What a name was pinned to, and what it is pinned to now."""

    before: Pin | None
    after: Pin

    @property
    def differences(self) -> list[str]:
        return [] if self.before is None else self.before.differences(self.after)

    @property
    def word(self) -> str:
        if self.before is None:
            return "pinned"
        return "updated" if self.differences else "unchanged"

    def to_json(self) -> dict[str, Any]:
        return {
            **_pin_json(self.after),
            "change": self.word,
            "differences": self.differences,
        }


def _check(known: Lock, refs: list[str], json: bool) -> None:
    """Compare each pin with what its publisher has; raises the first error when all are told."""
    pins = [known.find(parse_dataset_ref(ref)) for ref in refs] or list(known.pins.values())
    daemon = Connection()
    anew = not daemon.settings.offline
    rows: list[dict[str, Any]] = []
    problems: list[AtdError] = []
    for pin in sorted(pins, key=lambda pin: str(pin.ref)):
        row = {**_pin_json(pin), "holds": True}
        try:
            with asking(str(pin.ref), quiet=json):
                pinned_answer(known, pin.ref, {"anew": anew}, daemon)
                row |= _newer(pin)
        except AtdError as error:
            row |= {"holds": False, "error": type(error).__name__, "reason": error.message}
            problems.append(error)
        rows.append(row)
    if json:
        output.emit({"file": str(known.path), "pins": rows, "holds": not problems})
    else:
        for row in rows:
            _print(row)
    if problems:
        raise problems[0]


def _newer(pin: Pin) -> dict[str, Any]:
    """What the name stands for now, if that is another version or account: no error, but news."""
    try:
        now = pin_now(pin.ref)
    except PinMismatch:
        raise
    except AtdError as error:
        return {"note": f"what it stands for now is not known: {error.message}"}
    if now.did != pin.did:
        return {"note": f"{pin.ref} leads to another account now: {now.did}"}
    return {"latest": now.version} if now.version != pin.version else {}


def _print(row: dict[str, Any]) -> None:
    mark = "ok  " if row["holds"] else "FAIL"
    output.say(output.clean(f"{mark}  {row['ref']}  {row['version']}"))
    if not row["holds"]:
        output.say(output.clean(f"      {row['reason']}"))
    if "latest" in row:
        output.say(output.clean(f"      {row['latest']} is the latest; atd lock --update pins it"))
    if "note" in row:
        output.say(output.clean(f"      {row['note']}"))


def _pin_json(pin: Pin) -> dict[str, Any]:
    return {
        "ref": str(pin.ref),
        "did": str(pin.did),
        "version": pin.version,
        "release": str(pin.release),
        "schema": str(pin.schema),
    }
