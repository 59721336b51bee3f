"""``atd follow``, ``unfollow``, ``following``, ``discover``: publishers that stay up to date."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from atd import errors
from atd import following as service
from atd.cli import advice, output
from atd.cli.options import JsonOption
from atd.cli.progress import progress_line
from atd.cli.words import examples
from atd.errors import Absent, AtdError, RemoteError, Unreachable
from atd.refs import parse_authority

Json = Mapping[str, Any]

ActorsArgument = Annotated[
    list[str], typer.Argument(metavar="@HANDLE", help="Publishers: handles or DIDs.")
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("follow", epilog=_FOLLOW)(follow)
    app.command("unfollow", epilog=_UNFOLLOW)(unfollow)
    app.command("following", epilog=_FOLLOWING)(following)
    app.command("discover", epilog=_DISCOVER)(discover)


_FOLLOW = examples(
    "atd follow @alice.example.com",
    "atd follow @alice.example.com @bob.example.org --no-wait",
    after="Undo it with: atd unfollow @HANDLE",
)
_UNFOLLOW = examples(
    "atd unfollow @alice.example.com             # what was proved stays",
    "atd unfollow @alice.example.com --forget    # and goes",
    after="Undo it with: atd follow @HANDLE",
)
_FOLLOWING = examples("atd following", "atd following --json")
_DISCOVER = examples(
    "atd discover https://pds.example.com",
    "atd discover https://relay.example.com --relay --follow",
)


def follow(
    actors: ActorsArgument,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Do not wait until everything is indexed.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Index all that publishers have, and keep it up to date.

    Everything is proved. The daemon listens to their servers from now on, also after it was
    restarted.
    """
    for actor in actors:
        parse_authority(actor)  # all of them, before anything is done
    done: list[Json] = []
    failed: AtdError | None = None
    for actor in actors:
        with advice.about(actor), progress_line(quiet=json) as show:
            result = service.follow(actor, wait=not no_wait, on_progress=show)
        done.append(result)
        failed = failed or _failure(result)
        if not json:
            output.say(_followed(result, waited=not no_wait))
    if json:
        output.emit({"followed": done})
    if failed is not None:
        raise failed


def unfollow(
    actors: ActorsArgument,
    forget: Annotated[
        bool, typer.Option("--forget", help="Drop what the index has of them as well.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Follow publishers no more.

    What was proved stays in the index, and is kept up to date no longer.
    """
    for actor in actors:
        parse_authority(actor)
    done = []
    for actor in actors:
        with advice.about(actor):
            result = service.unfollow(actor, forget=forget)
        done.append(result)
        if not json:
            output.say(f"{output.clean(actor)}: {_unfollowed(result, forget=forget)}")
    if json:
        output.emit({"unfollowed": done})


def following(json: JsonOption = False) -> None:
    """Show who is followed, how far, and how fresh.

    Also what was refused, and the last error in words.
    """
    answer = service.following()
    if json:
        output.emit(answer)
        return
    publishers: Sequence[Json] = answer["publishers"]
    if not publishers:
        output.note("nobody is followed; begin with: atd follow @HANDLE")
        return
    now = datetime.now(UTC)
    rows = [
        (
            _name(one),
            _state(one),
            one.get("rev", "-"),
            _lag(one, now),
            _ago(one.get("verifiedAt"), now),
            f"{one['records']:,}",
            sum(reject["count"] for reject in one["rejects"]) or "-",
            _words(one),
        )
        for one in publishers
    ]
    heads = ("publisher", "state", "rev", "lag", "verified", "records", "refused", "last error")
    output.table(rows, heads)
    for one in publishers:
        for reject in one["rejects"]:
            times = output.plural(reject["count"], "time")
            what = f"{_name(one)}: {reject['reason']} {times}, last: {reject['message']}"
            output.note(f"refused: {output.clean(what)}")


def discover(
    url: Annotated[str, typer.Argument(metavar="URL", help="A PDS, or a relay: https://HOST.")],
    relay: Annotated[
        bool, typer.Option("--relay", help="It is a relay: ask it for publishers by collection.")
    ] = False,
    follow_all: Annotated[
        bool, typer.Option("--follow", help="Follow all of them, without waiting.")
    ] = False,
    limit: Annotated[
        int, typer.Option(min=1, max=10_000, metavar="COUNT", help="At most so many publishers.")
    ] = 1000,
    json: JsonOption = False,
) -> None:
    """Ask a server who may publish data sets.

    What it says is a hint: whoever is followed is resolved, and every record is proved.
    """
    with progress_line(quiet=json) as show:
        answer = service.discover(url, relay=relay, limit=limit, on_progress=show)
    found: Sequence[Json] = answer["publishers"]
    failed = _follow_found(found, quiet=json) if follow_all else None
    if json:
        output.emit(answer)
    else:
        for one in found:
            known = "followed" if follow_all or one["followed"] else "not followed"
            output.say(f"{output.clean(_name(one))}  {known}")
        _discovered(answer, follow_all=follow_all)
    if failed is not None:
        raise failed


def _follow_found(found: Sequence[Json], *, quiet: bool) -> AtdError | None:
    """Follow everybody that was found; those who cannot be are named, and the first is raised."""
    failed: AtdError | None = None
    for one in found:
        try:
            service.follow(one["did"], wait=False)
        except (Absent, RemoteError, Unreachable) as error:
            failed = failed or error
            if not quiet:
                output.note(f"not followed: {output.clean(one['did'])}: {output.clean(error)}")
    return failed


def _discovered(answer: Json, *, follow_all: bool) -> None:
    """What was not said by the list alone."""
    found, asked = len(answer["publishers"]), output.plural(answer["asked"], "account")
    if not found:
        output.note(f"nobody there publishes data sets ({asked} looked at)")
    elif not follow_all:
        output.note("hints, not proved; follow them with: atd discover … --follow")
    if not answer["complete"]:
        output.note("the list was not read to its end: see --limit")


def _name(publisher: Json) -> str:
    return f"@{publisher['handle']}" if "handle" in publisher else str(publisher["did"])


def _state(publisher: Json) -> str:
    state, status = str(publisher["state"]), publisher.get("status")
    if state == "inactive" and status:
        return f"inactive ({status})"
    if state == "synchronized" and not publisher["complete"]:
        return "synchronized (completeness not proved)"
    return state


def _lag(publisher: Json, now: datetime) -> str:
    """How far behind the index may be: live, or since when there was no news that could come."""
    if publisher["state"] == "inactive":
        return "-"
    if "behindAt" in publisher:
        return f"behind {_span(publisher['behindAt'], now)}"
    if publisher["state"] == "synchronized" and publisher["connected"]:
        return "live"
    known = max(publisher.get("verifiedAt", ""), publisher.get("checkedAt", ""))
    return f"up to {_span(known, now)}" if known else "unknown"


def _words(publisher: Json) -> str:
    error = publisher.get("error") or publisher.get("hostError")
    return "" if error is None else str(error["message"])


def _ago(moment: str | None, now: datetime) -> str:
    return "never" if moment is None else f"{_span(moment, now)} ago"


def _span(moment: str, now: datetime) -> str:
    """The time from ``moment`` to ``now``, in the unit that reads best."""
    seconds = max(0.0, (now - datetime.fromisoformat(moment)).total_seconds())
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds)} s"


def _followed(result: Json, *, waited: bool) -> str:
    """One line about somebody who is followed now."""
    publisher = result["publisher"]
    start = f"{_name(publisher)}: {'followed' if result['new'] else 'followed already'}"
    if publisher["state"] == "synchronized":
        records = output.plural(publisher["records"], "record")
        proved = "all of its repository proved" if publisher["complete"] else "listed, each proved"
        what = f"{output.plural(result['datasets'], 'data set')} ({records}; {proved})"
        return output.clean(f"{start}, {what}, rev {publisher['rev']}")
    if not waited:
        return output.clean(f"{start}, is being indexed; see: atd following")
    return output.clean(f"{start}, but not indexed yet ({_state(publisher)}): it is tried again")


def _failure(result: Json) -> AtdError | None:
    """Why somebody who is followed is not indexed, with what to do."""
    error = result["publisher"].get("error")
    if error is None or result["publisher"]["state"] == "synchronized":
        return None
    step = "it is tried again by itself; see how it goes with: atd following"
    return errors.rebuild(error["error"], error["message"], step)


def _unfollowed(result: Json, *, forget: bool) -> str:
    if not result["followed"]:
        return "was not followed"
    if forget:
        return "followed no more; its records, proofs and history are forgotten"
    kept = output.plural(result["records"], "record")
    return f"followed no more; {kept} stay as they are (atd unfollow --forget drops them)"
