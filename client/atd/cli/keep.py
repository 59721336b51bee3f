"""``atd rm``, ``gc``, ``outdated``, ``untrack``: looking after what is kept on this machine.

``atd ls REF`` and ``atd pull --outdated`` are printed here as well.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Any, Final

import typer

from atd import errors, keeping
from atd.cli import advice, finding, output
from atd.cli.bar import asking
from atd.cli.options import (
    JsonOption,
    RefArgument,
    ShardOption,
    SplitOption,
    YesOption,
    shard_numbers,
)
from atd.cli.progress import progress_line
from atd.cli.questions import confirm
from atd.cli.removing import refuse_gone, refuse_stayed, say_freed
from atd.cli.words import examples

DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")]

_KINDS: Final = {
    "unfinished": "unfinished downloads",
    "damaged": "damaged shards, set aside",
    "sidecar": "what was remembered of shards that are gone",
    "temporary": "temporary files",
    "staging": "folders of publications that are over",
}


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("rm", epilog=_RM)(rm)
    app.command("gc", epilog=_GC)(gc)
    app.command("outdated", epilog=_OUTDATED)(outdated)
    app.command("untrack", epilog=_UNTRACK)(untrack)


_RM = examples(
    "atd rm @alice.example.com/flowers",
    "atd rm @alice.example.com/flowers@1.0.0 --yes   # one version",
    "atd rm @alice.example.com/flowers --split train --shard 0,4",
    after="Only what is on this machine goes; to take back what you published: atd unpublish.",
)
_GC = examples("atd gc --dry-run", "atd gc")
_OUTDATED = examples(
    "atd outdated", "atd outdated @alice.example.com/flowers", after="Then: atd pull --outdated"
)
_UNTRACK = examples("atd untrack @alice.example.com/flowers")


def show_held(ref: str, split: str | None, json: bool) -> None:
    """Print what of a data set is here, for ``atd ls REF [SPLIT]``."""
    ref = finding.settled(ref)
    with advice.about(ref), asking(ref, quiet=json):
        answer = keeping.held(ref, split)
    if json:
        output.emit(answer)
        return
    kept = "kept" if answer["kept"] else "not kept"
    output.say(f"{_name(answer)}@{output.clean(answer['version'])}  {kept}")
    if split is None:
        rows = [
            (f"{one['stored']:,}/{one['shards']:,}", *_sizes(one), one["name"])
            for one in answer["splits"]
        ]
        output.table(rows, ("shards", "here", "size", "samples", "split"))
        return
    files = [one for part in answer["splits"] for one in part["files"]]
    marks = {(True, True): "pinned", (True, False): "here"}
    rows = [
        (
            f"{one['number']}",
            marks.get((one["stored"], one["pinned"]), "-"),
            output.human_bytes(one["size"]),
            f"{one['samples']:,}",
            one["name"],
        )
        for one in files
    ]
    output.table(rows, ("shard", "state", "size", "samples", "name"))


def _sizes(one: Mapping[str, Any]) -> tuple[str, str, str]:
    here, size = output.human_bytes(one["storedSize"]), output.human_bytes(one["size"])
    return here, size, f"{one['samples']:,}"


def rm(
    ref: RefArgument,
    split: SplitOption = None,
    shard: ShardOption = None,
    yes: YesOption = False,
    force: Annotated[
        bool, typer.Option("--force", help="Pinned shards too; their pins go.")
    ] = False,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Remove a data set, or a part of it, from this machine.

    Says what goes and asks first. Shards that another kept data set has too stay.
    """
    ref = finding.settled(ref)
    numbers = shard_numbers(shard)
    options: dict[str, Any] = {"splits": split or (), "shards": numbers, "force": force}
    with advice.about(ref):
        plan = keeping.remove(ref, dry_run=True, **options)
    if dry_run:
        if json:
            output.emit(plan)
        else:
            _say_removed(plan, "would remove")
        return
    if not yes and plan["removed"]:
        for line in _staying(plan):
            output.note(line)
        shards = output.plural(plan["removed"], "shard")
        size = output.human_bytes(plan["freed"])
        question = f"Remove {shards} of {ref} ({size}) from this machine?"
        if not confirm(question, without_terminal="nothing was removed"):
            output.note("nothing was removed")
            raise typer.Exit
    done = keeping.remove(ref, **options)
    if json:
        output.emit(done)
    else:
        _say_removed(done, "removed")
    refuse_stayed(done, "remove pinned ones with --force; or end the program that reads them")


def _say_removed(done: Mapping[str, Any], verb: str) -> None:
    staying = _staying(done)
    if done["removed"] or staying or done["inUse"]:
        say_freed(done, verb)
    else:
        output.say("nothing of that is here")
    for line in staying:
        output.say(line)


def _staying(plan: Mapping[str, Any]) -> list[str]:
    """What stays and why."""
    lines = [
        f"{output.plural(count, 'shard')} {'stays' if count == 1 else 'stay'}:"
        f" {output.clean(other)} has {'it' if count == 1 else 'them'} too"
        for other, count in Counter(one["with"] for one in plan["shared"]).items()
    ]
    if plan["pinned"]:
        lines.append(f"{output.plural(plan['pinned'], 'shard')} pinned, --force removes them too")
    return lines


def gc(dry_run: DryRunOption = False, json: JsonOption = False) -> None:
    """Remove unfinished downloads, damaged files and other leftovers.

    Never a shard that is whole, and nothing that somebody works on.
    """
    done = keeping.collect(dry_run=dry_run)
    if json:
        output.emit(done)
        return
    sizes: Counter[str] = Counter()
    for one in done["leftovers"]:
        sizes[one["kind"]] += one["size"]
        if dry_run:
            output.say(f"{output.human_bytes(one['size'])}  {output.clean(one['path'])}")
    counts = Counter(one["kind"] for one in done["leftovers"])
    verb = "would remove" if dry_run else "removed"
    for kind, count in counts.items():
        size = output.human_bytes(sizes[kind])
        output.say(f"{verb} {count:,}, {size}: {_KINDS.get(kind, output.clean(kind))}")
    if not counts:
        output.say("nothing is left over")


def outdated(
    ref: Annotated[
        str | None, typer.Argument(metavar="REF", help="Only this data set; all if absent.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """List pulled data sets that have newer releases.

    Asks their publishers, and says what atd pull --outdated would fetch.
    """
    ref = None if ref is None else finding.settled(ref)
    with asking(ref or "the publishers", quiet=json):
        found = keeping.outdated(ref)
    if json:
        output.emit({"datasets": found})
    else:
        _say_outdated(found)
    _raise_if_all_failed(found)


def pull_outdated(ref: str | None, json: bool) -> None:
    """Fetch what changed, for ``atd pull --outdated``."""
    with progress_line("fetching", quiet=json) as show:
        found = keeping.pull_outdated(ref, on_progress=show)
    if json:
        output.emit({"datasets": found})
    else:
        _say_renewed(found)
    _raise_if_all_failed(found)
    for one in found:
        if one["outdated"] and "error" in one:
            raise errors.rebuild(one["error"], f"{one['name']}: {one['detail']}")
    refuse_gone(*(one["pulled"] for one in found if "pulled" in one))


def _say_renewed(found: list[Mapping[str, Any]]) -> None:
    for one in found:
        if "pulled" in one:
            done = one["pulled"]
            output.say(
                f"{_name(one)} {output.clean(one['version'])} -> {output.clean(one['latest'])}:"
                f" {output.plural(done['shards'], 'shard')} changed,"
                f" {output.human_bytes(done['fetched'])} fetched"
            )
            if one["replaced"]:
                output.say(f"  {_replaced(one)}")
    _say_rest(found)


def _replaced(one: Mapping[str, Any]) -> str:
    shards = output.plural(one["replaced"], "shard")
    verb = "is" if one["replaced"] == 1 else "are"
    old = f"{_name(one)}@{output.clean(one['version'])}"
    return f"{shards} of the old release {verb} still here; to remove: atd rm {old}"


def _say_outdated(found: list[Mapping[str, Any]]) -> None:
    rows = [
        (
            one["version"],
            one["latest"],
            f"{len(one['shards']):,}",
            output.human_bytes(one["size"]),
            _name(one),
        )
        for one in found
        if one["outdated"]
    ]
    if rows:
        output.table(rows, ("kept", "latest", "to fetch", "size", "data set"))
    _say_rest(found)


def _say_rest(found: list[Mapping[str, Any]]) -> None:
    """Those that are up to date, and on stderr those whose publishers could not be asked."""
    current = sum(1 for one in found if not one["outdated"] and "error" not in one)
    if current:
        output.say(f"{output.plural(current, 'data set')} up to date")
    if not found:
        output.say("nothing is kept; keep a data set with: atd pull REF")
    for one in found:
        if "error" in one:
            verb = "not fetched" if one["outdated"] else "not checked"
            output.note(f"{verb}: {_name(one)}: {output.clean(one['detail'])}")


def _raise_if_all_failed(found: list[Mapping[str, Any]]) -> None:
    """Nothing could be found out: that is an error, not an answer."""
    if found and all("error" in one for one in found):
        raise errors.rebuild(found[0]["error"], f"{found[0]['name']}: {found[0]['detail']}")


def untrack(ref: RefArgument, json: JsonOption = False) -> None:
    """Keep a data set no longer; its files stay for now.

    They stay until the quota or atd rm takes them. It is not looked at by atd outdated any more.
    The publisher is not concerned.
    """
    ref = finding.settled(ref)
    done = keeping.untrack(ref)
    if json:
        output.emit(done)
        return
    output.say(f"not kept any more: {_name(done)}@{output.clean(done['version'])}")
    if not done["shards"]:
        output.say("nothing of it is here")
        return
    shards, size = output.plural(done["shards"], "shard"), output.human_bytes(done["size"])
    pinned = f", {done['pinned']:,} of them pinned" if done["pinned"] else ""
    output.say(f"{shards}, {size}, stay here{pinned}; remove them with: atd rm {_name(done)}")


def _name(one: Mapping[str, Any]) -> str:
    owner = f"@{one['handle']}" if "handle" in one else one["did"]
    return output.clean(f"{owner}/{one['name']}")
