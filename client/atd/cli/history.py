"""``atd log``, and what ``atd show --history`` prints: what the index saw change."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Final

import typer

from atd import changes as past
from atd import service
from atd.changes import ChangeInfo
from atd.cli import advice, output
from atd.cli.bar import asking
from atd.cli.options import JsonOption
from atd.cli.words import examples
from atd.errors import RecordAbsent, Unreachable
from atd.names import DATASET, RECIPE, RELEASE, SCHEMA

_ALARMS: Final = {
    "moved": "its content changed under the same key; whoever pinned it by CID is not misled",
    "backwards": "the latest version is an earlier one than before",
    "unreadable": "what is there now cannot be read",
}
_NOUNS: Final = {DATASET: "card", RELEASE: "release", SCHEMA: "schema", RECIPE: "recipe"}
_VERBS: Final = {"create": "published", "update": "changed", "delete": "deleted"}
_LOG: Final = examples(
    "atd log                                # everybody, newest first",
    "atd log @alice.example.com --since 7d",
    "atd log --alarms                       # only what is worth a second look",
    after="It goes back as far as this index does: what changed before was not seen.",
)


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("log", epilog=_LOG)(log)


def log(
    actor: Annotated[
        str | None,
        typer.Argument(metavar="@HANDLE", help="A publisher; all that are known if absent."),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="WHEN", help="Seen then or later: 2026-01, 2026-01-31, 12h, 7d, 2w ago."
        ),
    ] = None,
    alarms: Annotated[
        bool, typer.Option("--alarms", help="Only what is worth a second look.")
    ] = False,
    shards: Annotated[bool, typer.Option("--shards", help="Shard lists as well.")] = False,
    limit: Annotated[
        int, typer.Option(min=1, max=10_000, metavar="N", help="How many at most, 1 to 10,000.")
    ] = 50,
    json: JsonOption = False,
) -> None:
    """Show what changed, when, and by which commit.

    As the index saw it: of publishers that are followed at once, of others whenever they were
    looked at.
    """
    with advice.about(actor or ""):
        found = past.log(actor, since=since, alarms=alarms, shards=shards, limit=limit)
    if json:
        output.emit({"changes": [one.raw for one in found]})
        return
    if not found:
        output.note("nothing was seen to change; the index sees what is listed or followed")
    tell(found)


def show(ref: str, *, cached: bool, json: bool) -> None:
    """Answer ``atd show REF --history``: the publisher is asked first, if it can be."""
    if not cached:
        try:
            with advice.about(ref), asking(ref, quiet=json):
                service.show(ref)
        except (RecordAbsent, Unreachable) as error:
            output.note(output.clean(f"what was seen so far: {error.message}"))
    found = past.history(ref, limit=1000)
    if json:
        output.emit({"changes": [one.raw for one in found]})
        return
    if not found:
        output.note("nothing was seen of it here")
    tell(found)


def tell(changes: Iterable[ChangeInfo]) -> None:
    """Print changes, with what differs below each."""
    for change in changes:
        who = f"@{change.handle}" if change.handle else change.did
        noun = _NOUNS.get(change.collection, "shard list")
        words = f"{change.seen_at}  {who}/{change.key}  {noun} {_VERBS.get(change.action, '?')}"
        output.say(output.clean(words))
        output.say(output.clean(f"    rev {change.rev}, commit {change.commit}"))
        if change.alarm is not None:
            said = _ALARMS.get(change.alarm, "")
            output.say(output.clean(f"    ! {change.alarm}: {said}"))
        for line in change.differences or ():
            output.say(output.clean(f"    {line}"))
        if change.compatible is not None:
            does = "compatible: reads" if change.compatible else "not compatible: does not read"
            output.say(f"    {does} with code for the samples before")
