"""``atd cache``: what the store holds, what may go, and whether it is still right."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from atd import api, errors, service
from atd.cli import finding, output
from atd.cli.options import JsonOption, YesOption
from atd.cli.progress import progress_line
from atd.cli.questions import confirm
from atd.cli.removing import refuse_stayed, say_freed
from atd.cli.words import examples
from atd.connection import Connection
from atd.settings import parse_bytes

app = typer.Typer(
    help="The shards on this machine: look, prune, check, pin.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_DIGESTS = "bafkrei"
"""How every CID of raw bytes under SHA-256 begins, which no shard's digest is without."""

TargetArgument = Annotated[
    str,
    typer.Argument(metavar="REF|DIGEST", help="A data set, @VERSION or all; or one shard's CID."),
]


def _bytes(text: str) -> int:
    try:
        return parse_bytes(text)
    except ValueError:
        raise typer.BadParameter(f"expected bytes such as 500MB or 2TB, got {text!a}") from None


_LS = examples("atd cache ls", "atd cache ls --files --json")
_PRUNE = examples(
    "atd cache prune                  # down to the quota, and damaged files away",
    "atd cache prune --to 20GB        # down to 20 GB, the longest unused first",
    "atd cache prune --to 0 --dry-run  # what would go",
    after="Pinned shards, and those that a program is reading, always stay.",
)
_VERIFY = examples(
    "atd cache verify",
    after="Exits 0 if every file is right, or right again; else with the code of DigestMismatch.",
)
_PIN = examples("atd cache pin @alice.example.com/flowers@1.0.0")
_UNPIN = examples("atd cache unpin @alice.example.com/flowers")
_RM = examples("atd cache rm @alice.example.com/flowers", "atd cache rm bafkrei…")


@app.command("ls", epilog=_LS)
def ls(
    files: Annotated[bool, typer.Option("--files", help="List every shard file as well.")] = False,
    json: JsonOption = False,
) -> None:
    """List what the store holds, by data set."""
    answer = Connection().call(api.LIST_CACHE, {"files": files})
    if json:
        output.emit(answer)
        return
    if answer["releases"]:
        rows = [_row(one) for one in answer["releases"]]
        output.table(rows, ("shards", "size", "used", "pinned", "data set"))
        output.say()
    if answer.get("files"):
        rows = [
            (
                output.human_bytes(one["size"]),
                one["usedAt"][:16],
                "pinned" if one["pinned"] else "-",
                one["digest"],
                ", ".join(one["names"]),
            )
            for one in answer["files"]
        ]
        output.table(rows, ("size", "used", "pinned", "digest", "name"))
        output.say()
    for line in _summary(answer):
        output.say(line)


def _row(one: Mapping[str, Any]) -> tuple[str, ...]:
    owner = f"@{one['handle']}" if "handle" in one else one["did"]
    total = f" of {one['shardsTotal']:,}" if "shardsTotal" in one else ""
    return (
        f"{one['shards']:,}{total}",
        output.human_bytes(one["size"]),
        one.get("usedAt", "-")[:16],
        "pinned" if one["pinned"] else "-",
        f"{owner}/{one['name']}@{one['version']}",
    )


def _summary(answer: Mapping[str, Any]) -> list[str]:
    quota = f" of {output.human_bytes(answer['quota'])}" if "quota" in answer else ", no quota"
    pinned = f", {output.human_bytes(answer['pinned'])} pinned" if answer["pinned"] else ""
    size = output.human_bytes(answer["size"])
    lines = [f"{output.plural(answer['shards'], 'shard')}, {size}{quota}{pinned}"]
    if answer["unfinishedSize"]:
        lines.append(f"{output.human_bytes(answer['unfinishedSize'])} of unfinished downloads")
    if answer["damaged"]:
        lines.append(
            f"{output.plural(answer['damaged'], 'damaged file')} set aside,"
            f" {output.human_bytes(answer['damagedSize'])}; remove with: atd cache prune"
        )
    return lines


@app.command("prune", epilog=_PRUNE)
def prune(
    to: Annotated[
        int | None,
        typer.Option(
            "--to", metavar="BYTES", parser=_bytes, help="Down to this; the quota if absent."
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    json: JsonOption = False,
) -> None:
    """Let go of the longest unused shards, and of damaged files."""
    question: dict[str, Any] = {"dryRun": dry_run}
    if to is not None:
        question["size"] = to
    done = Connection().call(api.PRUNE_CACHE, input=question)
    if json:
        output.emit(done)
        return
    _say_removed(done, "would remove" if dry_run else "removed")
    if "quota" not in done and to is None:
        output.say("there is no quota; say how much may stay with --to, or set cache_quota")


@app.command("verify", epilog=_VERIFY)
def verify(
    no_fetch: Annotated[
        bool, typer.Option("--no-fetch", help="Only say what is damaged, and set it aside.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Hash every shard in the store, and fetch damaged ones anew."""
    steps: list[Mapping[str, Any]] = []
    with progress_line("checking", quiet=json) as show:

        def told(event: Mapping[str, Any]) -> None:
            if "step" not in event:
                show(event)
                return
            steps.append(event["step"])
            if not json:
                show.clear()
                _say_damaged(event["step"])

        events = Connection().stream(api.VERIFY_CACHE, {"fetch": not no_fetch})
        result = service.finish(events, told)
    if json:
        output.emit({**result, "files": steps})
    else:
        output.say(_verdict(result))
    if result["damaged"] > result["repaired"]:
        names = ", ".join(step["name"] for step in steps if not step["repaired"])
        raise errors.DigestMismatch(
            f"damaged in the store and not fetched anew: {names}",
            next_step="fetch what is missing with: atd pull REF",
        )


def _verdict(result: Mapping[str, Any]) -> str:
    shards = output.plural(result["shards"], "shard")
    size = output.human_bytes(result["size"])
    if not result["damaged"]:
        return f"{shards}, {size}: all right"
    return f"{shards}, {size}: {result['damaged']:,} damaged, {result['repaired']:,} fetched anew"


def _say_damaged(step: Mapping[str, Any]) -> None:
    output.say(f"FAIL  {output.clean(step['name'])}")
    output.say(f"        {output.clean(step['found'])}")
    after = "fetched anew" if step["repaired"] else step.get("detail", "not fetched")
    output.say(f"        {output.clean(after)}")


@app.command("pin", epilog=_PIN)
def pin(target: TargetArgument, json: JsonOption = False) -> None:
    """Keep the shards of a release, whatever the quota.

    Those that come later too.

    Without @VERSION, of the latest. It fetches nothing: atd pull does.
    """
    _say_targets(Connection().call(api.PIN, input={"target": _settled(target)}), "pinned", json)


@app.command("unpin", epilog=_UNPIN)
def unpin(target: TargetArgument, json: JsonOption = False) -> None:
    """Let the quota have them again; without @VERSION, all versions."""
    _say_targets(
        Connection().call(api.UNPIN, input={"target": _settled(target)}), "not pinned", json
    )


def _settled(target: str) -> str:
    """``target``, or the data set that it means where it is a name alone; a digest as it is."""
    return target if target.startswith(_DIGESTS) else finding.settled(target)


def _say_targets(answer: Mapping[str, Any], what: str, json: bool) -> None:
    if json:
        output.emit(answer)
        return
    for target in answer["targets"]:
        output.say(f"{what}: {output.clean(target)}")


@app.command("rm", epilog=_RM)
def rm(target: TargetArgument, yes: YesOption = False, json: JsonOption = False) -> None:
    """Remove the shards of a data set, or one shard, from the store.

    They can be fetched again, as long as their publisher has them.
    """
    target = _settled(target)
    question = f"Remove the shards of {target} from this machine?"
    if not yes and not confirm(question, without_terminal="nothing was removed"):
        output.note("nothing was removed")
        raise typer.Exit
    done = Connection().call(api.REMOVE_CACHED, input={"target": target})
    if json:
        output.emit(done)
    else:
        _say_removed({**done, "over": 0}, "removed")
    refuse_stayed(done, "take pins away with: atd cache unpin; or end the program that reads them")


def _say_removed(done: Mapping[str, Any], verb: str) -> None:
    say_freed(done, verb)
    if done["over"]:
        output.say(
            f"still {output.human_bytes(done['over'])} too much: {done['pinned']:,} pinned,"
            f" {done['inUse']:,} in use, {output.human_bytes(done['unfinished'])} being downloaded"
        )
